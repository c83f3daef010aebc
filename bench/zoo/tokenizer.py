"""The tokenizers of the zoo's decoders: words of a suite, digits, and ``\\boxed{`` as one token.

The class is `Qwen2Tokenizer`, because `AutoTokenizer` builds that class for every model of type ``qwen2``,
whatever its tokenizer_config.json names.
"""

from __future__ import annotations

import string

from transformers import Qwen2Tokenizer

from bench.zoo.vocabulary import Vocabulary

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

MAX_LENGTH = 512


def vocabulary(listed: str = L2S_WORDS) -> Vocabulary:
    """The vocabulary with these words."""
    return Vocabulary(_CHARACTERS, _PIECES, tuple(listed.split()))


def build_tokenizer(listed: str = L2S_WORDS) -> Qwen2Tokenizer:
    """The tokenizer with these words."""
    return vocabulary(listed).tokenizer(Qwen2Tokenizer, padding_side="left", model_max_length=MAX_LENGTH)
