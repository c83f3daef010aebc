"""The tokenizers of the zoo's decoders: small fixed vocabularies, built from code and not from a corpus.

Frequent words of a suite are one token together with their leading space, digits and all
other characters are tokens of their own, and ``\\boxed{`` is one token. Decoding joins the pieces as they
are: ``decode(encode(text)) == text`` for every text made of the vocabulary's characters. No token is
added at the front.

The class is `Qwen2Tokenizer`, because `AutoTokenizer` builds that class for every model of type ``qwen2``,
whatever its tokenizer_config.json names: byte-level characters without merges, and the words as added
tokens. It has no fallback for unknown characters: what is not in the vocabulary is dropped.
"""

from __future__ import annotations

import string

from tokenizers import AddedToken
from transformers import Qwen2Tokenizer

PAD, EOS, UNK = "<pad>", "<eos>", "<unk>"

_NAMES = "Tom Ana Ben Mia Leo Eva Sam Zoe"
_OBJECTS = "apples books cards coins pens shells stamps eggs"
_STORY = (
    "has have buys buy gives loses lose more fewer times as many bags of to half Then doubles triples "
    "them they They do does How What much is left for each and pay"
)
_MATH = "Compute Let Replace by the remainder mod x"
_CHAIN = "Wait let me check ok Check The answer"
L2S_WORDS = " ".join((_NAMES, _OBJECTS, _STORY, _MATH, _CHAIN))
_PIECES = ("\\boxed{", "Q:", "\nA:")
_CHARACTERS = string.digits + string.ascii_letters + " \n.,;:?+-*/=()\\{}"
# How byte-level vocabularies write the two characters that are not printed as themselves.
BYTE_LEVEL = str.maketrans({" ": "\u0120", "\n": "\u010a"})

MAX_LENGTH = 512


def words(listed: str = L2S_WORDS) -> list[str]:
    """The words that are one token together with their leading space, each once."""
    return list(dict.fromkeys(listed.split()))


def vocabulary(listed: str = L2S_WORDS) -> dict[str, int]:
    """Every token and its id: special tokens, characters, pieces, and the listed words."""
    whole = (f" {word}" for word in words(listed))
    tokens = [PAD, EOS, UNK, *_CHARACTERS.translate(BYTE_LEVEL), *_PIECES, *whole]
    return {token: index for index, token in enumerate(tokens)}


def build_tokenizer(listed: str = L2S_WORDS) -> Qwen2Tokenizer:
    """The tokenizer with these words, ready for ``save_pretrained``."""
    tokenizer = Qwen2Tokenizer(
        vocab=vocabulary(listed),
        merges=[],
        pad_token=PAD,
        eos_token=EOS,
        unk_token=UNK,
        padding_side="left",
        model_max_length=MAX_LENGTH,
        clean_up_tokenization_spaces=False,
    )
    whole = [*_PIECES, *(f" {word}" for word in words(listed))]
    tokenizer.add_tokens([AddedToken(piece, normalized=False) for piece in whole])
    return tokenizer
