"""Examples that statistics are computed on: JSON lines of a user, or a suite's training split; never test items."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import BadInput
from bench.identity import digest
from methods.common.contract import Need
from tasks.contract import Example, Suite
from tasks.errors import DataUnavailable

if TYPE_CHECKING:
    from bench.recipe import Recipe

SPLITS = ("train", "validation")
ONE_SET_EACH = ("optimised", "distance_data")  # kinds on everyone's data that must know whose it is


@dataclass(frozen=True)
class ExampleSet:
    """Examples of one expert. `name` says where they are from; identity is their content alone."""

    name: str
    examples: tuple[Example, ...]

    @cached_property
    def digest(self) -> str:
        """Hash of the examples in order."""
        return digest([(e.prompt, e.response, e.label) for e in self.examples])


def read_examples(file: Path) -> ExampleSet:
    """Examples of a JSON-lines file: `prompt` (or `text`), with `response` for a language model or `label` (a whole
    number, the class) for a classifier; neither where unlabelled text is enough.

    BadInput names file and line of what is wrong.
    """
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
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


def suite_examples(
    suite: Suite, experts: Sequence[str], split: str, data_dir: Path | None
) -> tuple[ExampleSet, ...]:
    """One example set per expert of a model set, from the benchmarks whose domain is the expert's name.

    A single expert takes those of every benchmark. `split` is "train" or "validation".
    """
    if split not in SPLITS:
        raise BadInput(f"statistics take examples of {' or '.join(SPLITS)}, never of {split!r}")
    return tuple(_of_expert(suite, name, len(experts) == 1, split, data_dir) for name in experts)


def _of_expert(suite: Suite, expert: str, single: bool, split: str, data_dir: Path | None) -> ExampleSet:
    given = [benchmark for benchmark in suite.benchmarks if benchmark.examples is not None]
    chosen = [benchmark for benchmark in given if single or benchmark.domain == expert]
    examples: list[Example] = []
    for benchmark in chosen:
        assert benchmark.examples is not None
        try:
            examples += benchmark.examples(split, data_dir)
        except DataUnavailable as error:
            raise BadInput(str(error)) from error
    if not examples:
        domains = ", ".join(sorted({benchmark.domain for benchmark in given})) or "none"
        raise BadInput(
            f"suite {suite.name} has no {split} examples for the expert {expert!r} (it has them for: {domains}); "
            "`bench merge --data` takes your own"
        )
    return ExampleSet(f"{'+'.join(benchmark.name for benchmark in chosen)} {split}", tuple(examples))


def data_needs(needs: Iterable[Need]) -> list[Need]:
    """The needs that are computed on examples."""
    return [need for need in needs if need.data != "none"]


def with_files(recipe: Recipe, files: Sequence[Path]) -> Recipe:
    """The recipe with the examples of `files`, one per expert, checked."""
    if files and not data_needs(recipe.method.needs()):
        raise _unused(recipe, map(str, files))
    found = replace(recipe, data=tuple(read_examples(file) for file in files))
    check_data(found)
    return found


def _unused(recipe: Recipe, names: Iterable[str]) -> BadInput:
    return BadInput(f"{recipe.name} needs no data: leave out --data ({', '.join(names)})")


def check_data(recipe: Recipe) -> None:
    """Refuse, before any work, examples that nothing uses, too few sets, and models that a need does not fit."""
    wanting = data_needs(recipe.method.needs())
    if not wanting:
        if recipe.data:
            raise _unused(recipe, (examples.name for examples in recipe.data))
        return
    kinds = ", ".join(f"{need.name} ({need.kind})" for need in wanting)
    experts = len(recipe.experts)
    if not recipe.data:
        raise BadInput(
            f"{recipe.name} needs examples for {kinds}: give --data FILE.jsonl per expert, or run it on a suite with "
            "training examples"
        )
    apart = any(need.data == "own" or need.kind in ONE_SET_EACH for need in wanting)
    if apart and len(recipe.data) != experts:
        raise BadInput(
            f"{recipe.name} needs one --data file per expert, in their order: {experts} experts, "
            f"{len(recipe.data)} files"
        )
    for need in wanting:
        _check_fit(recipe, need)


def _check_fit(recipe: Recipe, need: Need) -> None:
    """Refuse what is defined for classifiers only, or for language models only, on the other."""
    from bench.statistics import is_classifier, options_of

    estimator = options_of(need).get("estimator")
    for m, model in enumerate(recipe.experts):
        classifier = is_classifier(model)
        if need.kind == "optimised" and not classifier:
            raise BadInput(
                f"{recipe.name} needs classifiers, and {model.name} is none: no entropy objective is defined for "
                "open generation"
            )
        if need.kind == "distance_data" and classifier:
            raise BadInput(
                f"{recipe.name} compares the logits of language models: {model.name} is a classifier"
            )
        if need.kind == "fisher_data" and not classifier and estimator in ("exact", "batch_sqrt"):
            raise BadInput(
                f"{recipe.name}: the {estimator} Fisher needs a backward pass for every class, which language "
                f"models ({model.name}) do not have: take empirical, sampled or argmax"
            )
        if need.data == "own":
            _check_labels(recipe.data[m], need, estimator, classifier=classifier)


def _check_labels(examples: ExampleSet, need: Need, estimator: Any, *, classifier: bool) -> None:
    """Refuse examples without the answer that a label-based statistic is taken of."""
    labelled = need.kind == "sensitivity_data" or (
        need.kind == "fisher_data" and (estimator == "empirical" or not classifier and estimator == "sampled")
    )
    field = "label" if classifier else "response"
    lacking = [i for i, example in enumerate(examples.examples, 1) if getattr(example, field) is None]
    if labelled and lacking:
        raise BadInput(
            f"{examples.name}: example {lacking[0]} has no {field}, which {need.kind} is taken of "
            f"({len(lacking)} of {len(examples.examples)} lack it)"
        )
