"""Statistics are computed again exactly when their numbers could differ: ids, and what a sweep reuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from bench.examples import ExampleSet
from bench.merging.merge import Place, merge, merge_id, method_files
from bench.recipe import Recipe, build_method, build_recipe
from bench.statistics import statistic_id
from methods.common.contract import Need, Role
from tasks.contract import Example
from tests.bench.statistics.small import SPOKEN, computed, family, need, of, write


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    return family(tmp_path, "qwen2", 2)


def ids(folder: Path, recipe: Recipe, wanted: Need) -> list[str]:
    return [statistic_id(subject, folder / "fingerprints.json") for subject in of(recipe, wanted)]


def other_data(recipe: Recipe, m: int) -> Recipe:
    """Expert m's examples and one more."""
    sets = list(recipe.data)
    sets[m] = ExampleSet(sets[m].name, (*sets[m].examples, Example("more", "of it")))
    return replace(recipe, data=tuple(sets))


def other_expert(recipe: Recipe, m: int) -> Recipe:
    """Expert m with other weights."""
    file = recipe.experts[m].path / "model.safetensors"
    values = load_file(file)
    values["model.norm.weight"] += 1
    save_file(values, file, metadata={"format": "pt"})
    return recipe


def other_base(recipe: Recipe) -> Recipe:
    file = recipe.base.path / "model.safetensors"
    save_file({n: v + 0.01 for n, v in load_file(file).items()}, file, metadata={"format": "pt"})
    return recipe


CASES: dict[str, tuple[Callable[[Recipe], Recipe], dict[str, list[bool]]]] = {
    # what changes, and for a need: which subjects' ids change
    "data of the first": (
        lambda r: other_data(r, 0),
        {"own": [True, False], "aligned": [True, False], "of the base": [True, False], "all": [True]},
    ),
    "weights of the second": (
        lambda r: other_expert(r, 1),
        {"own": [False, True], "aligned": [True, True], "of the base": [False, False], "all": [False],
         "distance": [True, True], "information": [False, True]},
    ),
    "weights of the base": (
        other_base,
        {"own": [False, False], "aligned": [True, True], "of the base": [True, True], "all": [True],
         "tau": [True, True], "theta": [False, False]},
    ),
    "the treatment of norms": (
        lambda r: replace(r, method=build_method("task_arithmetic", {"norms": "mean"})),
        {"own": [False, False], "aligned": [True, True], "information": [False, False]},
    ),
    "lambda": (
        lambda r: replace(r, method=build_method("task_arithmetic", {"lambda": 0.7})),
        {"own": [False, False], "aligned": [False, False], "all": [False], "distance": [False, False]},
    ),
    "names of the data": (
        lambda r: replace(r, data=tuple(ExampleSet(f"renamed {s.name}", s.examples) for s in r.data)),
        {"own": [False, False], "aligned": [False, False], "all": [False]},
    ),
}  # fmt: skip
LINEAR = (Role.LINEAR,)
NEEDS = {
    "own": need("fisher_data", roles=LINEAR),
    "aligned": need("fisher_data", "aligned", roles=LINEAR),
    "of the base": need("fisher_data", "base", roles=LINEAR),
    "all": need("channels_data", "base", data="all", roles=LINEAR),
    "distance": need("distance_data", data="all", scope="model"),
    "information": need("information_data", data="all", scope="block"),
    "tau": need("sensitivity_data", scope="block", product="tau", roles=LINEAR),
    "theta": need("sensitivity_data", scope="block", roles=LINEAR),
}


@pytest.mark.parametrize("case", CASES)
def test_ids_change_exactly_where_they_should(case: str, recipe: Recipe, tmp_path: Path) -> None:
    change, expected = CASES[case]
    before = {name: ids(tmp_path, recipe, NEEDS[name]) for name in expected}
    changed = change(recipe)
    after = {name: ids(tmp_path, changed, NEEDS[name]) for name in expected}
    found = {name: [a != b for a, b in zip(before[name], after[name], strict=True)] for name in expected}
    assert found == expected


@pytest.mark.parametrize(
    "options", [{"examples": 3}, {"seed": 1}, {"estimator": "argmax"}, {"token_reduction": "mean"},
                {"max_length": 30}, {"dtype": "bfloat16"}, {"chat_template": "never"}, {"roles": (Role.NORM,)}],
    ids=str,
)  # fmt: skip
def test_options_are_part_of_the_identity(options: dict[str, Any], recipe: Recipe, tmp_path: Path) -> None:
    assert set(ids(tmp_path, recipe, need("fisher_data", **options))).isdisjoint(
        ids(tmp_path, recipe, need("fisher_data"))
    )


@pytest.mark.parametrize(
    ("wanted", "different"),
    [
        (need("fisher_data", "aligned", roles=LINEAR), True),
        (need("fisher_random_tokens", "aligned", data="none", roles=LINEAR), True),
        (need("fisher_data", "experts", roles=LINEAR), True),
        (need("fisher_data", "base", roles=LINEAR), False),
    ],
    ids=lambda value: f"{value.kind} at {value.of}" if isinstance(value, Need) else "",
)
def test_on_shared_examples_experts_share_what_is_the_base_s_alone(
    wanted: Need, different: bool, recipe: Recipe, tmp_path: Path
) -> None:
    shared = replace(recipe, data=(recipe.data[0],) * 2)
    first, second = ids(tmp_path, shared, wanted)
    assert (first != second) is different


def test_defaults_left_out_or_given_are_one_statistic(recipe: Recipe, tmp_path: Path) -> None:
    assert ids(tmp_path, recipe, need("fisher_data", seed=42, estimator="empirical")) == ids(
        tmp_path, recipe, need("fisher_data")
    )


def test_only_the_statistic_of_the_expert_that_changed_is_computed_again(
    recipe: Recipe, tmp_path: Path
) -> None:
    computed(tmp_path, recipe, NEEDS["own"])
    again = computed(tmp_path, other_expert(recipe, 1), NEEDS["own"])
    assert [statistic.reused for statistic in again] == [True, False]


def drift(folder: Path, **settings: Any) -> Recipe:
    """DRIFT-MEDIAN of the models in a folder."""
    experts = [str(folder / f"expert{m}") for m in range(2)]
    made = build_recipe("drift_median", settings, str(folder / "base"), experts)
    return replace(made, data=tuple(ExampleSet(f"set {m}", SPOKEN[m:]) for m in range(2)))


def test_a_sweep_of_drift_median_never_computes_a_fisher_again(tmp_path: Path) -> None:
    base = write(tmp_path / "base", "qwen2", 1)
    for m in range(2):
        write(tmp_path / f"expert{m}", "qwen2", 10 + m, near=base)
    place = Place(tmp_path / "runs")
    sweep: list[dict[str, Any]] = [
        {}, {"lambda": 1.3}, {"lambda": 0.9, "select": "top_k", "top_k": 1}, {"select": "top_k", "top_k": 2},
        {"select": "above_mean"}, {"aggregate": "fisher_mean"}, {"zeros": "exclude"}, {"keep": 1.0},
    ]  # fmt: skip
    manifests, said = [], []
    for number, settings in enumerate(sweep):
        result = merge(drift(tmp_path, **settings), tmp_path / f"out{number}", place, say=said.append)
        manifests.append(result.manifest)
    assert len({m["merge_id"] for m in manifests}) == len(sweep)
    assert len({json.dumps(m["statistics"]) for m in manifests}) == 1
    assert [m["statistics_reused"]["fisher"] for m in manifests] == [False] + [True] * (len(sweep) - 1)
    assert sum(text.startswith("computing fisher_data") for text in said) == 2  # one per expert, once
    assert [set(d) for d in manifests[0]["data"]] == [{"name", "digest", "examples"}] * 2
    off = merge(drift(tmp_path, sign=False), tmp_path / "off", place)  # its Fisher is another: at the experts
    assert not off.manifest["statistics_reused"]["fisher"]


def test_a_merge_id_follows_from_its_data(tmp_path: Path, recipe: Recipe) -> None:
    made = build_recipe("fisher", {}, str(recipe.base.path), [str(e.path) for e in recipe.experts])
    first = replace(made, data=recipe.data)
    place = Place(tmp_path)
    assert merge_id(first, place) == merge_id(replace(first), place) != merge_id(other_data(first, 1), place)


def test_the_code_of_wrapped_methods_is_part_of_a_merge(recipe: Recipe) -> None:
    made = build_recipe("aim", {}, str(recipe.base.path), [str(e.path) for e in recipe.experts])
    wrapped = [file.stem for file in method_files(made)]
    assert wrapped[0] == "aim" and set(wrapped[1:]) == set(made.method.wraps()) and len(wrapped) > 1
