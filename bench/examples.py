"""Examples that statistics are computed on: JSON lines of a user, or a suite's training split; never test items."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from bench.errors import BadInput
from bench.identity import digest
from tasks.contract import Example, Suite
from tasks.errors import DataUnavailable

SPLITS = ("train", "validation")


@dataclass(frozen=True)
class ExampleSet:
    """Examples of one expert. `name` says where they are from; identity is their content alone.

    `labels` and `templates` are those of a zero-shot benchmark, whose head they make.
    """

    name: str
    examples: tuple[Example, ...]
    labels: tuple[str, ...] = ()
    templates: tuple[str, ...] = ()

    @cached_property
    def digest(self) -> str:
        """Hash of the examples in order."""
        shown = [(e.prompt, e.response, e.label, *_instead(e)) for e in self.examples]
        return digest([*shown, self.labels, self.templates] if self.templates else shown)


def _instead(example: Example) -> list[Any]:
    """Identity of what is shown in place of the prompt; nothing where the prompt is shown."""
    image, passage = example.image, example.passage
    return ([image.digest] if image else []) + (
        [passage.first, passage.second, passage.max_tokens] if passage else []
    )


def read_examples(file: Path) -> ExampleSet:
    """Examples of a JSON-lines file: `prompt` (or `text`), with `response` for a language model or `label` (a whole
    number, the class) for a classifier; neither where unlabelled text is enough.

    BadInput names file and line of what is wrong.
    """
    try:
        # JSON texts may hold what str.splitlines() takes for ends of lines (U+2028, U+0085, ...).
        lines = file.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"--data {file} cannot be read: {error}") from error
    examples = tuple(
        _example(line, f"{file}, line {number}") for number, line in enumerate(lines, 1) if line.strip()
    )
    if not examples:
        raise BadInput(f"--data {file} holds no examples")
    return ExampleSet(file.name, examples)


def _example(line: str, where: str) -> Example:
    try:
        found = json.loads(line)
    except ValueError as error:
        raise BadInput(f"{where} is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise BadInput(
            f"{where} holds {type(found).__name__}, not an object with the fields prompt and response"
        )
    prompts = [key for key in ("prompt", "text") if key in found]
    if len(prompts) != 1:
        given = ", ".join(map(repr, found)) or "no fields"
        raise BadInput(f"{where} needs `prompt` or `text`, one of the two, and has {given}")
    prompt, response, label = found[prompts[0]], found.get("response"), found.get("label")
    for key, value in ((prompts[0], prompt), ("response", response)):
        if not isinstance(value, str) and not (key == "response" and value is None):
            raise BadInput(f"{where}: {key} is {value!r}, not a text")
    if label is not None and (not isinstance(label, int) or isinstance(label, bool) or label < 0):
        raise BadInput(f"{where}: label is {label!r}, not the number of a class (0, 1, ...)")
    if not prompt and not response:
        raise BadInput(f"{where}: {prompts[0]} is empty")
    return Example(prompt, response, label)


def check_split(split: str) -> None:
    """Refuse what statistics must not see, and what is no split."""
    if split not in SPLITS:
        raise BadInput(f"statistics take examples of {' or '.join(SPLITS)}, never of {split!r}")


def suite_examples(
    suite: Suite, experts: Sequence[str], split: str, data_dir: Path | None
) -> tuple[ExampleSet, ...]:
    """One example set per expert of a model set, of the domain that is the expert's name: from the benchmarks of the
    domain, and from what the suite lends it.

    A single expert takes those of every domain. `split` is "train" or "validation".
    """
    check_split(split)
    return tuple(_of_expert(suite, name, len(experts) == 1, split, data_dir) for name in experts)


@dataclass(frozen=True)
class _Lender:
    """Where examples of a domain are read: a benchmark, or the suite."""

    name: str
    domain: str
    read: Callable[[str, Path | None], list[Example]]
    head: tuple[tuple[str, ...], tuple[str, ...]] | None = (
        None  # labels and templates of a zero-shot benchmark
    )


def _lenders(suite: Suite) -> list[_Lender]:
    benchmarks = [
        _Lender(b.name, b.domain, b.examples, (b.labels, b.templates) if b.templates else None)
        for b in suite.benchmarks
        if b.examples is not None
    ]
    return [*benchmarks, *(_Lender(f"{suite.name}:{d}", d, read) for d, read in suite.examples.items())]


def _of_expert(suite: Suite, expert: str, single: bool, split: str, data_dir: Path | None) -> ExampleSet:
    given = _lenders(suite)
    chosen = [lender for lender in given if single or lender.domain == expert]
    examples: list[Example] = []
    for lender in chosen:
        try:
            examples += lender.read(split, data_dir)
        except DataUnavailable as error:
            raise BadInput(str(error)) from error
    if not examples:
        domains = ", ".join(sorted({lender.domain for lender in given})) or "none"
        raise BadInput(
            f"suite {suite.name} has no {split} examples for the expert {expert!r} (it has them for: {domains}); "
            "`bench merge --data` takes your own"
        )
    name = f"{'+'.join(lender.name for lender in chosen)} {split}"
    heads = {lender.head for lender in chosen if lender.head is not None}
    if len(heads) > 1:
        raise BadInput(f"{name}: examples of one expert have several zero-shot heads; name one benchmark")
    return ExampleSet(name, tuple(examples), *(heads.pop() if heads else ()))
