"""Examples of the five domains for statistics: MergeBench's validation sets, which nothing is scored on.

He et al., arXiv 2505.10833: MergeBench/{math,multilingual,instruction,coding,safety}_val, of which its code reads the
split `train` and these columns. A local copy is `<data_dir>/examples/<domain>.jsonl`, with the same columns or with
`prompt` and `response`.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from tasks.contract import Example
from tasks.errors import DataUnavailable
from tasks.sources import HubDataset, in_row, read_rows
from tasks.splits import refuse_test

FOLDER = "examples"
SPLIT = "train"
MOST_EXAMPLES = 1024  # methods take 1,000 at most: a longer file has no part in what they are
SEED = 0
# The Hub's name of each domain, and its columns: what is asked, and what is answered.
DOMAINS = {
    "maths": ("math", "query", "response"),
    "multilingual": ("multilingual", "inputs", "targets"),
    "instruction": ("instruction", "instruction", "output"),
    "coding": ("coding", "instruction", "response"),
    "safety": ("safety", "prompt", "response"),
}


def examples(domain: str, split: str, data_dir: Path | None) -> list[Example]:
    """Prompts with their responses: all, or as many as MOST_EXAMPLES drawn with a fixed seed, in the file's order.

    A row without an answer is no example. Raises DataUnavailable for what cannot be read, with the place, and for a
    split other than "train"; ValueError for "test".
    """
    refuse_test(split)
    if split != SPLIT:
        raise DataUnavailable(
            f"MergeBench has no {split} examples of {domain}: its validation sets are one split; take {SPLIT}"
        )
    theirs, prompt, response = DOMAINS[domain]
    rows, source = read_rows(
        FOLDER,
        domain,
        data_dir=data_dir,
        hub=HubDataset(f"MergeBench/{theirs}_val", splits={domain: SPLIT}),
        fields=(("prompt", prompt), ("response", response)),
    )
    answered = []
    for number, row in enumerate(rows, start=1):
        with in_row(number, source):
            example = Example(_text(row, "prompt", prompt), _text(row, "response", response))
        if example.prompt and example.response:
            answered.append(example)
    if not answered:
        raise DataUnavailable(f"{source.location} has no row with both a prompt and a response")
    drawn = random.Random(SEED).sample(range(len(answered)), min(MOST_EXAMPLES, len(answered)))
    return [answered[place] for place in sorted(drawn)]


def _text(row: Mapping[str, Any], ours: str, theirs: str) -> str:
    """A cell under our name or under theirs; nothing where it is empty."""
    name = ours if ours in row else theirs
    found = row[name]
    if found is not None and not isinstance(found, str):
        raise DataUnavailable(f"{name} is a text, this one is {found!r}")
    return found if found and found.strip() else ""


EXAMPLES: dict[str, Callable[[str, Path | None], list[Example]]] = {
    domain: partial(examples, domain) for domain in DOMAINS
}
