"""Which recipes need examples, and whether those at hand fit: all said before any work."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.errors import BadInput
from bench.examples import ExampleSet, read_examples
from bench.models.checkpoint import Checkpoint
from bench.models.clip import is_tower
from bench.needs import title
from bench.recipe import Recipe
from methods.common.contract import Need

# What is computed on texts as such: on random tokens, on blocks of text, on the tokens that two models share.
OF_TEXTS = (
    "fisher_random_tokens", "inputs_random_tokens", "channels_data", "information_data", "distance_data",
)  # fmt: skip
ONE_SET_EACH = ("optimised", "distance_data")  # kinds on everyone's data that must know whose it is


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
    _check_images(recipe)
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


def _check_images(recipe: Recipe) -> None:
    """Refuse what is defined on texts for models that read images, and the one's examples for the other."""
    towers = [model for model in (recipe.base, *recipe.experts) if is_tower(model)]
    kinds = [need.kind for need in recipe.method.needs()]
    if of_texts := [kind for kind in kinds if towers and kind in OF_TEXTS]:
        raise BadInput(
            f"{recipe.name} needs {title(of_texts[0])}, and {towers[0].name} reads images, no texts"
        )
    for examples in recipe.data:
        seen = {example.image is not None for example in examples.examples}
        if seen != {bool(towers)}:
            read = "images: run it on a suite of images" if towers else "texts"
            raise BadInput(f"{examples.name}: {recipe.base.name} reads {read}")


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
            _check_labels(recipe.data[m], need, estimator, model)


def _check_labels(examples: ExampleSet, need: Need, estimator: Any, model: Checkpoint) -> None:
    """Refuse examples without the answer that a label-based statistic is taken of, or with one that cannot be."""
    from bench.statistics import is_classifier

    classifier = is_classifier(model)
    labelled = need.kind == "sensitivity_data" or (
        need.kind == "fisher_data" and (estimator == "empirical" or not classifier and estimator == "sampled")
    )
    if not labelled:
        return
    field = "label" if classifier else "response"
    lacking = [i for i, example in enumerate(examples.examples, 1) if getattr(example, field) is None]
    if lacking:
        raise BadInput(
            f"{examples.name}: example {lacking[0]} has no {field}, which {need.kind} is taken of "
            f"({len(lacking)} of {len(examples.examples)} lack it)"
        )
    if classifier:
        _check_range(examples, model)


def _check_range(examples: ExampleSet, model: Checkpoint) -> None:
    """Refuse labels that the classifier's head has no output for."""
    from bench.statistics import classes_of

    classes = classes_of(model)
    for number, example in enumerate(examples.examples, 1):
        if classes is not None and example.label is not None and not 0 <= example.label < classes:
            raise BadInput(
                f"{examples.name}: example {number} has the label {example.label}, and {model.name} has {classes} "
                f"classes, 0 to {classes - 1}: give every expert the examples of its own task, in their order"
            )
