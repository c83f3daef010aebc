"""The CLIP family of the zoo keeps what its cards promise: measured apart from the road, with transformers' CLIP."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoProcessor, AutoTokenizer, CLIPModel, CLIPVisionModel

from bench.config import model_set, presets
from bench.merging.merge import Place, merge, quiet
from bench.models.zero_shot import pixels_of
from bench.recipe import build_recipe
from bench.run import run
from bench.suites import EvalOptions
from bench.zoo import clip
from bench.zoo.__main__ import MODELS
from bench.zoo.facts import scores
from tasks.catalogue import resolve

BENCHMARKS = {benchmark.domain: benchmark for benchmark in resolve("mini_clip").benchmarks}
DOMAINS = tuple(BENCHMARKS)


def card(model: str) -> dict[str, Any]:
    return dict(json.loads((MODELS / model / "card.json").read_text(encoding="utf-8")))


@cache
def shown(domain: str) -> tuple[torch.Tensor, tuple[str, ...]]:
    """Pixels and targets of the test split."""
    samples = BENCHMARKS[domain].load("test", None)[0]
    processor = clip.processor()
    pixels = pixels_of(processor, [sample.image.open() for sample in samples if sample.image])
    return pixels, tuple(sample.target for sample in samples)


def with_tower(tower: Path) -> CLIPModel:
    """The stored base with the vision tower at `tower`, or its own."""
    model = CLIPModel.from_pretrained(MODELS / "clip-base", dtype=torch.float32).eval()
    if tower.name != "clip-base":
        own = CLIPVisionModel.from_pretrained(tower, dtype=torch.float32)
        model.vision_model.load_state_dict(own.state_dict())
    return model


@cache
def right(tower: Path, domain: str) -> tuple[bool, ...]:
    """Whether a tower is right, image by image of the test split: the class with the largest mean of CLIP's own
    logits over templates, each class's mean divided by the length of its mean text."""
    model, benchmark = with_tower(tower), BENCHMARKS[domain]
    tokens = AutoTokenizer.from_pretrained(MODELS / "clip-base")
    pixels, targets = shown(domain)
    columns = []
    with torch.inference_mode():
        for label in benchmark.labels:
            texts = tokens([t.format(label) for t in benchmark.templates], padding=True, return_tensors="pt")
            seen = model(**texts, pixel_values=pixels)
            columns.append(seen.logits_per_image.mean(1) / seen.text_embeds.mean(0).norm())
    chosen = torch.stack(columns, 1).argmax(1).tolist()
    return tuple(benchmark.labels[label] == target for label, target in zip(chosen, targets, strict=True))


def p_value(first: Sequence[bool], second: Sequence[bool]) -> float:
    """Exact two-sided McNemar test."""
    only = [
        sum(a and not b for a, b in zip(*pair, strict=True)) for pair in ((first, second), (second, first))
    ]
    n, k = sum(only), min(only)
    return min(1.0, 2 * sum(math.comb(n, i) for i in range(k + 1)) / 2**n)


def test_the_model_set_names_the_family_by_domain() -> None:
    models = model_set("mini_clip")
    assert models.base == "zoo:clip-base" and models.experts == {d: f"zoo:clip-{d}" for d in DOMAINS}
    assert [stage.name for stage in clip.RECIPE.stages] == ["clip-base", *(f"clip-{d}" for d in DOMAINS)]


@pytest.mark.parametrize("domain", DOMAINS)
def test_each_expert_is_best_on_its_own_task(domain: str) -> None:
    """Above the base and above every other expert, paired on the test split."""
    own = right(MODELS / f"clip-{domain}", domain)
    for other in ("base", *(d for d in DOMAINS if d != domain)):
        theirs = right(MODELS / f"clip-{other}", domain)
        assert sum(own) > sum(theirs) and p_value(own, theirs) < 0.01, other


@pytest.mark.parametrize("name", ["base", *DOMAINS])
def test_cards_reproduce_with_transformers(name: str) -> None:
    stated = card(f"clip-{name}")["test_scores"]
    for domain, benchmark in BENCHMARKS.items():
        found = right(MODELS / f"clip-{name}", domain)
        (entry,) = stated[benchmark.name]
        assert entry["n"] == len(found)
        assert sum(found) / len(found) == pytest.approx(entry["accuracy"]["value"], abs=1e-6)


def test_methods_differ(tmp_path: Path) -> None:
    """Paired on the test split of one task at least, two ways of merging differ."""
    models, merged = model_set("mini_clip"), {}
    for method in ("average", "ties"):
        recipe = build_recipe(method, {}, models.base, list(models.experts.values()))
        merge(recipe, tmp_path / method, Place(tmp_path / "runs"))
        merged[method] = tmp_path / method
    found = {d: p_value(right(merged["average"], d), right(merged["ties"], d)) for d in DOMAINS}
    assert min(found.values()) < 0.01 / len(DOMAINS), found


@pytest.mark.slow
@pytest.mark.parametrize("stage", clip.RECIPE.stages, ids=lambda stage: stage.name)
def test_cards_state_what_the_road_measures(stage: Any) -> None:
    stated = card(stage.name)["test_scores"]
    assert scores(MODELS / stage.name, clip.RECIPE) == stated, (
        "write the cards again: python -m bench.zoo --cards"
    )


def test_experts_are_vision_towers_and_the_base_is_whole() -> None:
    base = load_file(MODELS / "clip-base/model.safetensors")
    own = {
        name.removeprefix("vision_model."): tensor for name, tensor in base.items() if "vision_model" in name
    }
    assert {"logit_scale", "text_projection.weight", "visual_projection.weight"} < set(base)
    for domain in DOMAINS:
        expert = load_file(MODELS / f"clip-{domain}/model.safetensors")
        assert {name: t.shape for name, t in expert.items()} == {name: t.shape for name, t in own.items()}
        change = sum(float((expert[n].float() - own[n].float()).square().sum()) for n in own)
        assert 0 < change < 0.25 * sum(float(own[n].float().square().sum()) for n in own)


def test_the_processor_beside_the_weights_is_the_recipes() -> None:
    for model in ("clip-base", *(f"clip-{domain}" for domain in DOMAINS)):
        said = json.loads((MODELS / model / "preprocessor_config.json").read_text())
        assert said["crop_size"] == {"height": 16, "width": 16} and said["size"] == {"shortest_edge": 16}
    assert type(AutoProcessor.from_pretrained(MODELS / "clip-base")).__name__ == "CLIPProcessor"


def best_on_validation(method: str, grid: Sequence[list[str]], folder: Path) -> list[str]:
    """The settings with the most accurate mean over the suite's benchmarks; parents and statistics are shared."""
    found: dict[str, list[str]] = {}
    accuracies: dict[str, float] = {}
    for settings in grid:
        board = run(
            [method], EvalOptions(suite="mini_clip", split="validation"), models="mini_clip", base=None, experts=[],
            settings=settings, runs=folder, db=folder / "leaderboard.duckdb", say=quiet,
        ).board  # fmt: skip
        merged = {row.name: row.accuracy.value for row in board.rows if row.accuracy and method in row.name}
        (new,) = set(merged) - set(found)
        found[new], accuracies[new] = settings, merged[new]
    return found[max(accuracies, key=lambda name: accuracies[name])]


@pytest.mark.sweep
def test_lambda_was_chosen_on_validation(tmp_path: Path) -> None:
    grid = [[f"lambda={scale}"] for scale in (0.1, 0.2, 0.3, 0.4, 0.5)]
    preset = presets("task_arithmetic")["mini_clip"]
    assert best_on_validation("task_arithmetic", grid, tmp_path) == [f"lambda={preset['lambda']}"]


@pytest.mark.sweep
def test_the_medians_choice_was_made_on_validation(tmp_path: Path) -> None:
    grid = [
        ["select=top_k", f"top_k={k}", f"lambda={scale}", "examples=128"]
        for k, scale in itertools.product((1, 2, 3, 4), (0.3, 0.5, 0.8, 1.2))
    ]
    preset = presets("drift_median")["mini_clip"]
    chosen = ["select=top_k", f"top_k={preset['top_k']}", f"lambda={preset['lambda']}", "examples=128"]
    assert best_on_validation("drift_median", grid, tmp_path) == chosen
