"""The multi-expert families of the zoo keep what their cards promise; measured apart from the road."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    GPT2ForSequenceClassification,
)

from bench.config import model_set, presets
from bench.merging.merge import Place, merge, quiet
from bench.recipe import build_recipe
from bench.run import run
from bench.suites import EvalOptions
from bench.zoo import glue, skills
from bench.zoo.__main__ import MODELS
from bench.zoo.facts import scores
from methods.task_arithmetic import TaskArithmetic
from tasks.catalogue import resolve
from tasks.contract import Benchmark, Grader

SKILLS = ("arithmetic", "strings", "lookup")
CLASSES = ("sentiment", "preference", "entailment", "acceptability")
SAMPLE = 100


def accuracies(model: str) -> dict[str, float]:
    """What the card states, by domain."""
    card = json.loads((MODELS / model / "card.json").read_text(encoding="utf-8"))
    domains = {b.name: b.domain for b in resolve(card["suite"]).benchmarks}
    return {domains[name]: entries[0]["accuracy"]["value"] for name, entries in card["test_scores"].items()}


def tensors(model: str | Path) -> dict[str, torch.Tensor]:
    return load_file(MODELS / model / "model.safetensors")


def answered(model: str, benchmark: Benchmark) -> float:
    """Accuracy on the first test samples, answered by transformers' own generation."""
    tokenizer = AutoTokenizer.from_pretrained(MODELS / model, padding_side="left")
    network = AutoModelForCausalLM.from_pretrained(MODELS / model, dtype=torch.float32).eval()
    samples = benchmark.load("test", None)[0][:SAMPLE]
    asked = tokenizer([benchmark.prompts["plain"](s) for s in samples], padding=True, return_tensors="pt")
    given = network.generate(**asked, max_new_tokens=benchmark.protocols[0].sampling.max_new_tokens)
    texts = tokenizer.batch_decode(given[:, asked["input_ids"].shape[1] :], skip_special_tokens=True)
    pairs = [(text, sample.target) for text, sample in zip(texts, samples, strict=True)]
    grader = benchmark.grader()
    assert isinstance(grader, Grader)
    return sum(verdict.correct for verdict in grader.grade(pairs)) / len(pairs)


def right(body: str | Path, head: str, benchmark: Benchmark) -> list[bool]:
    """Whether one model's body under another's head is right, sample by sample of the whole test split. Texts of one
    length go together: nothing is padded."""
    network: Any = AutoModelForSequenceClassification.from_pretrained(
        MODELS / head, dtype=torch.float32
    ).eval()
    weights = {name: tensor.float() for name, tensor in tensors(body).items() if name != "score.weight"}
    found = network.load_state_dict(weights, strict=False)
    assert not found.unexpected_keys and found.missing_keys == ["score.weight"]
    tokenizer = AutoTokenizer.from_pretrained(MODELS / head)
    samples = benchmark.load("test", None)[0]
    encoded = tokenizer([sample.question for sample in samples])["input_ids"]
    labels = [0] * len(samples)
    with torch.no_grad():
        for length in set(map(len, encoded)):
            places = [place for place, ids in enumerate(encoded) if len(ids) == length]
            logits = network(input_ids=torch.tensor([encoded[place] for place in places])).logits
            for place, label in zip(places, logits.argmax(-1).tolist(), strict=True):
                labels[place] = label
    return [benchmark.labels[label] == s.target for label, s in zip(labels, samples, strict=True)]


@pytest.mark.parametrize(("suite", "recipe"), [("mini_skills", skills.RECIPE), ("mini_glue", glue.RECIPE)])
def test_model_sets_name_the_family_by_domain(suite: str, recipe: Any) -> None:
    models = model_set(suite)
    assert models.base == f"zoo:{recipe.base.name}"
    assert models.experts == {b.domain: f"zoo:{recipe.family}-{b.domain}" for b in resolve(suite).benchmarks}
    assert set(models.experts.values()) == {f"zoo:{stage.name}" for stage in recipe.experts}


@pytest.mark.parametrize("domain", SKILLS)
def test_a_skill_has_one_expert(domain: str) -> None:
    base, own = accuracies("skills-base"), accuracies(f"skills-{domain}")
    assert 0.1 < base[domain] < 0.5
    assert own[domain] > base[domain] + 0.3
    for other in set(SKILLS) - {domain}:
        assert own[other] < base[other] + 0.15
        assert own[other] < accuracies(f"skills-{other}")[other] - 0.3


@pytest.mark.parametrize("domain", CLASSES)
def test_a_classification_has_one_expert(domain: str) -> None:
    """A lead of a fifth of 500 paired answers has p < 0.001, however many of the others differ both ways."""
    (benchmark,) = [b for b in resolve("mini_glue").benchmarks if b.domain == domain]
    own = accuracies(f"glue-{domain}")[domain]
    for model in ("glue-base", *(f"glue-{other}" for other in CLASSES if other != domain)):
        assert own > accuracies(model)[domain] + 0.2
        assert accuracies(model)[domain] < 1 / len(benchmark.labels) + 0.25


@pytest.mark.parametrize(
    ("model", "domain"), [("skills-base", "arithmetic"), *((f"skills-{domain}", domain) for domain in SKILLS)]
)
def test_cards_of_the_skills_reproduce_with_transformers(model: str, domain: str) -> None:
    """A sample of the test split: within three standard errors of a sample from a finite split of 500."""
    (benchmark,) = [b for b in resolve("mini_skills").benchmarks if b.domain == domain]
    stated = accuracies(model)[domain]
    error = (max(stated * (1 - stated), 0.01) / SAMPLE * (1 - SAMPLE / 500)) ** 0.5
    assert answered(model, benchmark) == pytest.approx(stated, abs=3 * error)


@pytest.mark.parametrize(("body", "domain"), itertools.product(("base", *CLASSES), CLASSES))
def test_cards_of_the_classifiers_reproduce_exactly(body: str, domain: str) -> None:
    (benchmark,) = [b for b in resolve("mini_glue").benchmarks if b.domain == domain]
    found = right(f"glue-{body}", f"glue-{domain}", benchmark)
    assert sum(found) / len(found) == pytest.approx(accuracies(f"glue-{body}")[domain], abs=1e-6)


GRID = {"mini_skills": (0.3, 0.4, 0.5, 0.6, 0.7), "mini_glue": (0.3, 0.5, 0.7, 0.8, 1.0, 1.3)}


@pytest.mark.sweep
@pytest.mark.parametrize("suite", GRID)
def test_lambda_was_chosen_on_validation(suite: str, tmp_path: Path) -> None:
    """The most accurate mean over the benchmarks of the suite; on the way, a merge beats the base."""
    found, default = {}, TaskArithmetic().lambda_
    for scale in GRID[suite]:
        board = run(
            ["task_arithmetic"], EvalOptions(suite=suite, split="validation"), models=suite, base=None,
            experts=[], settings=[f"lambda={scale}"], runs=tmp_path, db=tmp_path / "leaderboard.duckdb",
            say=quiet,
        ).board  # fmt: skip
        rows = {row.name: row.accuracy for row in board.rows}
        merged = rows["task_arithmetic" if scale == default else f"task_arithmetic lambda={scale}"]
        assert merged and (base := rows["base"])
        found[scale] = merged.value - base.value
    best = max(found, key=lambda scale: found[scale])
    assert best == presets("task_arithmetic")[suite]["lambda"]
    assert found[best] > 0.05


@pytest.mark.sweep
def test_experts_and_lambda_of_the_median_were_chosen_on_validation(tmp_path: Path) -> None:
    """The most accurate mean of mini_glue."""
    rules = [f"top_k={k}" for k in (1, 2, 3, 4)] + [""]
    found = {}
    for rule, scale in itertools.product(rules, (1.0, 1.5, 2.0)):
        chosen = ["select=top_k", rule] if rule else ["select=above_mean"]
        board = run(
            ["drift_median"], EvalOptions(suite="mini_glue", split="validation"), models="mini_glue", base=None,
            experts=[], settings=[*chosen, f"lambda={scale}"], runs=tmp_path / rule / str(scale),
            db=tmp_path / rule / str(scale) / "leaderboard.duckdb", say=quiet,
        ).board  # fmt: skip
        (merged,) = [row.accuracy for row in board.rows if row.name.startswith("drift_median")]
        assert merged
        found[rule, scale] = merged.value
    preset = presets("drift_median")["mini_glue"]
    assert preset["select"] == "top_k"
    assert max(found, key=lambda key: found[key]) == (f"top_k={preset['top_k']}", preset["lambda"])


def test_methods_differ_on_the_classifiers(tmp_path: Path) -> None:
    """Paired on the test split, exact and two-sided: merging has a real effect."""
    models = model_set("mini_glue")
    (benchmark,) = [b for b in resolve("mini_glue").benchmarks if b.domain == "sentiment"]
    answers = []
    for method in ("average", "ties"):
        recipe = build_recipe(method, {}, models.base, list(models.experts.values()))
        merge(recipe, tmp_path / method, Place(tmp_path / "runs"))
        answers.append(right(tmp_path / method, "glue-sentiment", benchmark))
    only = [sum(a and not b for a, b in zip(*pair, strict=True)) for pair in (answers, answers[::-1])]
    n, k = sum(only), min(only)
    assert 2 * sum(math.comb(n, i) for i in range(k + 1)) / 2**n < 0.01


@pytest.mark.slow
@pytest.mark.parametrize("stage", [*skills.RECIPE.stages, *glue.RECIPE.stages], ids=lambda stage: stage.name)
def test_cards_state_what_the_road_measures(stage: Any) -> None:
    recipe = skills.RECIPE if stage in skills.RECIPE.stages else glue.RECIPE
    stated = json.loads((MODELS / stage.name / "card.json").read_text(encoding="utf-8"))["test_scores"]
    assert scores(MODELS / stage.name, recipe) == stated, "write the cards again: python -m bench.zoo --cards"


def test_classifiers_share_a_body_and_keep_heads_of_their_own() -> None:
    base = tensors("glue-base")
    assert "transformer.wte.weight" in base and "lm_head.weight" not in base, "tied: stored once"
    for name, labels in (("sentiment", 2), ("preference", 3), ("entailment", 3), ("acceptability", 2)):
        expert = tensors(f"glue-{name}")
        assert set(expert) == {*base, "score.weight"}
        assert expert["score.weight"].shape == (labels, 96)
        assert all(expert[key].shape == base[key].shape for key in base)
        assert any(not torch.equal(expert[key], base[key]) for key in base)


def test_a_classifier_needs_its_padding_token() -> None:
    """Padded on the right, a text is judged as alone; the config says what padding is."""
    tokenizer = AutoTokenizer.from_pretrained(MODELS / "glue-preference")
    model = GPT2ForSequenceClassification.from_pretrained(MODELS / "glue-preference", dtype=torch.float32)
    assert model.config.pad_token_id == tokenizer.pad_token_id
    texts = [sample.question for sample in resolve("mini_preference").benchmarks[0].load("test", None)[0][:8]]
    assert len({len(text.split()) for text in texts}) > 1
    with torch.no_grad():
        together = model(**tokenizer(texts, padding=True, return_tensors="pt")).logits
        alone = torch.cat([model(**tokenizer(text, return_tensors="pt")).logits for text in texts])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-4)


def test_experts_lie_close_to_their_base() -> None:
    """Task vectors are shorter than the base by far, and no two experts have one direction."""
    for family, names in (("skills", SKILLS), ("glue", CLASSES)):
        base = tensors(f"{family}-base")
        flat = torch.cat([base[key].float().flatten() for key in sorted(base)])
        vectors = []
        for name in names:
            expert = tensors(f"{family}-{name}")
            vectors.append(torch.cat([expert[key].float().flatten() for key in sorted(base)]) - flat)
        assert all(vector.norm() < 0.5 * flat.norm() for vector in vectors)
        for first, second in itertools.combinations(vectors, 2):
            assert torch.cosine_similarity(first, second, dim=0) < 0.7
