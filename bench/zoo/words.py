"""The tokenizer of the zoo's GPT-2 family: one token a word of the mini GLUE suite, leading space included.

The class is `GPT2Tokenizer`, which `AutoTokenizer` builds for every model of type ``gpt2``: byte-level letters
without merges, and the words as added tokens. It pads on the right: GPT-2 counts its positions from the left,
and a classifier reads the last token that is not ``<pad>``.
"""

from __future__ import annotations

import string

from tokenizers import AddedToken
from transformers import GPT2Tokenizer

from bench.zoo.tokenizer import BYTE_LEVEL, EOS, PAD, UNK
from tasks.mini_glue.sentences import ADJECTIVES, ADVERBS, NEGATIONS, NOUNS, VERBS

MAX_LENGTH = 64
_PIECES = ("Review:", "First:")
_CHARACTERS = string.ascii_letters + " .,:"


def words() -> list[str]:
    """The words that are one token together with their leading space, each once."""
    content = (*NOUNS, *VERBS, *NEGATIONS, *ADVERBS, *ADJECTIVES["positive"], *ADJECTIVES["negative"])
    function = ("the", "and", "but", "although", "Second:", ".", ",")
    return list(dict.fromkeys((*content, *function)))


def vocabulary() -> dict[str, int]:
    """Every token and its id: special tokens, characters, pieces, words."""
    whole = (f" {word}" for word in words())
    return {
        token: index
        for index, token in enumerate([PAD, EOS, UNK, *_CHARACTERS.translate(BYTE_LEVEL), *_PIECES, *whole])
    }


def build_tokenizer() -> GPT2Tokenizer:
    """The tokenizer, ready for ``save_pretrained``."""
    tokenizer = GPT2Tokenizer(
        vocab=vocabulary(),
        merges=[],
        pad_token=PAD,
        bos_token=EOS,
        eos_token=EOS,
        unk_token=UNK,
        padding_side="right",
        model_max_length=MAX_LENGTH,
        clean_up_tokenization_spaces=False,
    )
    whole = [*_PIECES, *(f" {word}" for word in words())]
    tokenizer.add_tokens([AddedToken(piece, normalized=False) for piece in whole])
    return tokenizer
