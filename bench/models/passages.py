"""Prompts as token ids: texts, and what classifiers are shown instead: one text or two, cut to a length."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from tasks.contract import Passage


def token_ids(tokenizer: Any, shown: Sequence[str | Passage]) -> list[list[int]]:
    """Token ids of each, in order, with the special tokens that the tokenizer adds by itself.

    Two texts are joined as the tokenizer joins pairs: GPT-2's puts the tokens of one behind those of the other, which
    is not what it makes of the joined text.
    """
    found: list[list[int]] = [[] for _ in shown]
    alike: dict[tuple[bool, int | None], list[int]] = defaultdict(list)
    for place, one in enumerate(shown):
        pair = isinstance(one, Passage) and one.second is not None
        alike[pair, one.max_tokens if isinstance(one, Passage) else None].append(place)
    for (pair, limit), places in alike.items():
        texts = [one if isinstance(one, str) else one.first for one in (shown[place] for place in places)]
        seconds = [one.second for place in places if isinstance(one := shown[place], Passage)]
        cut = {} if limit is None else {"truncation": "longest_first", "max_length": limit}
        ids = tokenizer(texts, *([seconds] if pair else []), **cut)["input_ids"]
        for place, own in zip(places, ids, strict=True):
            found[place] = list(own)
    return found
