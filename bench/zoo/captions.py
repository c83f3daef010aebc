"""The tokenizer of the zoo's CLIP family: a byte-level vocabulary whose merges make one token of every word used.

The class is `CLIPTokenizer`, which `AutoTokenizer` builds for every model of type ``clip``.
"""

from __future__ import annotations

import re
import string

from transformers import CLIPTokenizer

from tasks.mini_clip.labels import LABELS
from tasks.mini_clip.suite import TEMPLATES

START, END, PAD = "<|startoftext|>", "<|endoftext|>", "<pad>"
LAST = "</w>"  # how CLIP marks the end of a word
CONTEXT = 16  # tokens: the longest prompt has 10
Pair = tuple[str, str]


def words() -> list[str]:
    """Every word of templates and labels, each once."""
    texts = [text for texts in (*TEMPLATES.values(), *LABELS.values()) for text in texts]
    return list(dict.fromkeys(re.findall(r"[a-z]+", " ".join(texts))))


def merges_of(whole: list[str]) -> list[Pair]:
    """Merges under which each of these words is one token; those of a word never cut an earlier one."""
    ranks: dict[Pair, int] = {}
    for word in whole:
        parts = _merged([*word[:-1], word[-1] + LAST], ranks)
        while len(parts) > 1:
            ranks[parts[0], parts[1]] = len(ranks)
            parts = _merged(parts, ranks)
    return list(ranks)


def _merged(parts: list[str], ranks: dict[Pair, int]) -> list[str]:
    """Byte-pair encoding: the merge of the lowest rank first, wherever its pair stands."""
    while found := [pair for pair in zip(parts, parts[1:], strict=False) if pair in ranks]:
        best, joined = min(found, key=ranks.__getitem__), list[str]()
        for part in parts:
            if joined and (joined[-1], part) == best:
                joined[-1] += part
            else:
                joined.append(part)
        parts = joined
    return parts


def build_tokenizer() -> CLIPTokenizer:
    """The tokenizer."""
    letters = string.ascii_lowercase + "."
    merges = merges_of(words())
    tokens = [PAD, END, START, *letters, *(letter + LAST for letter in letters), *(a + b for a, b in merges)]
    vocabulary = {token: index for index, token in enumerate(dict.fromkeys(tokens))}
    return CLIPTokenizer(
        vocab=vocabulary,
        merges=merges,
        bos_token=START,
        eos_token=END,
        unk_token=END,
        pad_token=PAD,
        padding_side="right",
        model_max_length=CONTEXT,
    )
