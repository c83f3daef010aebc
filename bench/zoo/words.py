"""The tokenizer of the zoo's GPT-2 family: one token a word of the mini GLUE suite, leading space included.

The class is `GPT2Tokenizer`, which `AutoTokenizer` builds for every model of type ``gpt2``. It pads on the right:
GPT-2 counts its positions from the left, and a classifier reads the last token that is not ``<pad>``.
"""

from __future__ import annotations

import string

from transformers import GPT2Tokenizer

from bench.zoo.vocabulary import EOS, Vocabulary
from tasks.mini_glue.sentences import ADJECTIVES, ADVERBS, NEGATIONS, NOUNS, VERBS

MAX_LENGTH = 64
_CONTENT = (*NOUNS, *VERBS, *NEGATIONS, *ADVERBS, *ADJECTIVES["positive"], *ADJECTIVES["negative"])
_FUNCTION = ("the", "and", "but", "although", "Second:", "Hypothesis:", ".", ",")
_STARTS = ("Review:", "First:", "Premise:", "Sentence:")
VOCABULARY = Vocabulary(string.ascii_letters + " .,:", _STARTS, (*_CONTENT, *_FUNCTION))


def build_tokenizer() -> GPT2Tokenizer:
    """The tokenizer."""
    return VOCABULARY.tokenizer(
        GPT2Tokenizer, bos_token=EOS, padding_side="right", model_max_length=MAX_LENGTH
    )
