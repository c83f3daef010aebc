"""The tokenizer of the embedded zoo: a small fixed vocabulary, built from code and not from a corpus.

Frequent words of the mini L2S suite are one token together with their leading space, digits and all
other characters are tokens of their own, and ``\\boxed{`` is one token. Text is split by a regular
expression that lists the pieces, so a word outside the vocabulary falls back to its characters, and
only characters outside printable ASCII become ``<unk>``. Decoding joins the pieces as they are:
``decode(encode(text)) == text`` for every text without ``<unk>``. No token is added at the front.
"""

from __future__ import annotations

import re
import string

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

PAD, EOS, UNK = "<pad>", "<eos>", "<unk>"

_NAMES = "Tom Ana Ben Mia Leo Eva Sam Zoe"
_OBJECTS = "apples books cards coins pens shells stamps eggs"
_STORY = (
    "has have buys buy gives loses lose more fewer times as many bags of to half Then doubles triples "
    "them they They do does How What much is left for each and pay"
)
_MATH = "Compute Let Replace by the remainder mod x"
_CHAIN = "Wait let me check ok Check The answer"
_PIECES = ("\\boxed{", "Q:", "\nA:")
_CHARACTERS = string.digits + string.ascii_letters + " \n.,;:?+-*/=()\\{}"

MAX_LENGTH = 512


def words() -> list[str]:
    """The words that are one token together with their leading space."""
    listed = " ".join((_NAMES, _OBJECTS, _STORY, _MATH, _CHAIN)).split()
    return list(dict.fromkeys(listed))


def vocabulary() -> dict[str, int]:
    """Every token and its id: special tokens, characters, pieces, words."""
    tokens = [PAD, EOS, UNK, *_CHARACTERS, *_PIECES, *(f" {word}" for word in words())]
    return {token: index for index, token in enumerate(tokens)}


def split_pattern() -> str:
    """The regular expression whose matches are the tokens of a text."""
    word = "|".join(sorted(words(), key=lambda item: (-len(item), item)))
    pieces = "|".join(re.escape(piece).replace("\\\n", "\\n") for piece in _PIECES)
    return rf"{pieces}| (?:{word})(?![A-Za-z])|[\s\S]"


def build_tokenizer() -> PreTrainedTokenizerFast:
    """The tokenizer as a transformers object, ready for ``save_pretrained``."""
    core = Tokenizer(models.WordLevel(vocabulary(), unk_token=UNK))
    core.pre_tokenizer = pre_tokenizers.Split(Regex(split_pattern()), behavior="isolated")
    core.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token=PAD,
        eos_token=EOS,
        unk_token=UNK,
        padding_side="left",
        model_max_length=MAX_LENGTH,
        clean_up_tokenization_spaces=False,
        model_input_names=["input_ids", "attention_mask"],
    )
