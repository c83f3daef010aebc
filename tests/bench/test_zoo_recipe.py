"""The embedded zoo: the committed weights are what their cards say, and the recipe still runs."""

from __future__ import annotations

import itertools
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, Qwen2ForCausalLM

from bench.zoo import card
from bench.zoo.__main__ import MODELS, main, rewrite_cards
from bench.zoo.card import parameters, render, scores, sha256
from bench.zoo.data import IGNORE, Mixture, batches
from bench.zoo.l2s import BASE_NAME, EXPERT_NAME, Recipe, learning_rate_factor, snapshot_scores
from bench.zoo.tokenizer import build_tokenizer, vocabulary
from tasks.mini_l2s import problems as generator
from tasks.mini_l2s.problems import LEVELS, STYLES, problems, train_stream

NAMES = (BASE_NAME, EXPERT_NAME)
WEIGHTS = {
    BASE_NAME: "13068d3a12c002f0e26ed12995d7fac294f85f569ba929a83763dc52c41f4cb8",
    EXPERT_NAME: "c49d8436175c85658964c96936f054db8787e52403d64f51ed21f3aab2023f39",
}
SIZE_LIMIT = 6_000_000
MODEL_FILES = (
    "README.md",
    "card.json",
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
    "train_log.jsonl",
)


def _card(name: str) -> dict[str, Any]:
    return json.loads((MODELS / name / "card.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", NAMES)
def test_committed_files_agree_with_the_card(name: str) -> None:
    stated, folder = _card(name), MODELS / name
    assert {path.name for path in folder.iterdir()} == set(MODEL_FILES)
    assert sha256(folder / "model.safetensors") == WEIGHTS[name]
    assert stated["files"] == {"model.safetensors": {"sha256": WEIGHTS[name]}}
    assert parameters(folder / "model.safetensors") == stated["architecture"]["parameters"]
    assert (folder / "README.md").read_text(encoding="utf-8") == render(stated)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert config["eos_token_id"] == vocabulary()["<eos>"]
    assert config["pad_token_id"] == vocabulary()["<pad>"]
    assert config["dtype"] == "bfloat16"


def test_committed_models_are_small() -> None:
    total = sum(path.stat().st_size for path in MODELS.rglob("*") if path.is_file())
    assert total < SIZE_LIMIT
    logs = [path.stat().st_size for path in MODELS.rglob("train_log.jsonl")]
    assert len(logs) == len(NAMES)
    assert max(logs) < 100_000


@pytest.mark.parametrize("name", NAMES)
def test_cards_state_the_recipe(name: str) -> None:
    recipe = Recipe()
    stage = recipe.base if name == BASE_NAME else recipe.expert
    training = _card(name)["training"]
    assert (training["steps"], training["seed"], training["batch"]) == (stage.steps, stage.seed, stage.batch)
    assert training["learning_rate"] == stage.learning_rate
    assert training["mixture"] == {"levels": stage.mixture.levels, "styles": stage.mixture.styles}


def test_a_card_states_what_the_road_measures() -> None:
    """The base, which answers in seconds; tests/bench/test_zoo_pair.py compares both with a leaderboard."""
    stated = _card(BASE_NAME)["test_scores"]
    assert scores(MODELS / BASE_NAME) == stated, "write the cards again: python -m bench.zoo --cards"
    assert list(stated) == list(LEVELS)
    assert {"maj@1", "maj@8", "maj@16"} <= set(stated["mini_aime"][1])


def test_the_cards_show_a_long_to_short_pair() -> None:
    base, expert = (_card(name)["test_scores"]["mini_gsm"][0] for name in NAMES)
    assert base["n"] == expert["n"] == 500
    assert base["accuracy"]["value"] > 0.4
    assert expert["accuracy"]["value"] > base["accuracy"]["value"] + 0.2
    assert expert["mean_response_tokens"]["value"] > 4 * base["mean_response_tokens"]["value"]


@pytest.mark.parametrize("name", NAMES)
def test_cards_say_how_training_and_evaluation_differ(name: str) -> None:
    notes = " ".join(_card(name)["notes"])
    assert str(generator._TRAIN_COUNTS) in notes and str(generator._EVALUATION_COUNTS) in notes
    assert "drops characters" in notes
    assert ("never corrects itself" in notes) == (name == EXPERT_NAME)


def test_a_snapshot_costs_the_training_nothing() -> None:
    """It draws no random number, leaves the weights alone and the model in training mode."""
    tokenizer = build_tokenizer()
    model = Qwen2ForCausalLM.from_pretrained(MODELS / BASE_NAME, dtype=torch.float32).train()
    before, generator_state = {k: v.clone() for k, v in model.state_dict().items()}, torch.get_rng_state()
    found = snapshot_scores(model, tokenizer, 20)
    assert torch.equal(torch.get_rng_state(), generator_state)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert model.training and all(p.requires_grad for p in model.parameters())
    assert list(found) == list(LEVELS)
    assert found["mini_gsm"]["accuracy"] > 0.2 and 5 < found["mini_gsm"]["tokens"] < 12


@pytest.mark.parametrize("name", NAMES)
def test_saved_tokenizer_is_the_built_one(name: str) -> None:
    saved = AutoTokenizer.from_pretrained(MODELS / name)
    assert saved.get_vocab() == vocabulary()
    text = problems("mini_gsm", "test", 1)[0].prompt
    assert saved(text)["input_ids"] == build_tokenizer()(text)["input_ids"]
    assert (saved.pad_token, saved.eos_token, saved.unk_token) == ("<pad>", "<eos>", "<unk>")


@pytest.mark.parametrize("level", LEVELS)
def test_tokenizer_round_trip(level: str) -> None:
    """Prompt and response survive, know no <unk>, and are cut the same apart as together."""
    tokenizer = build_tokenizer()
    for problem in itertools.islice(train_stream(level, 21), 200):
        for render_style in STYLES.values():
            response = render_style(problem)
            ids = tokenizer(problem.prompt + response)["input_ids"]
            assert tokenizer.decode(ids) == problem.prompt + response
            assert tokenizer.unk_token_id not in ids
            assert ids == tokenizer(problem.prompt)["input_ids"] + tokenizer(response)["input_ids"]


def test_tokenizer_pieces() -> None:
    tokenizer = build_tokenizer()
    assert tokenizer.tokenize(" \\boxed{39}") == ["\u0120", "\\boxed{", "3", "9", "}"]
    assert tokenizer.tokenize(" Tom has Tomas") == [" Tom", " has", " Tom", "a", "s"]
    assert tokenizer("\u4e00")["input_ids"] == []
    assert len(tokenizer) <= 150


def test_labels_cover_the_response_only() -> None:
    tokenizer = build_tokenizer()
    mixture = Mixture({"mini_gsm": 1.0}, {"direct": 1.0})
    parts = next(batches(tokenizer, mixture, 3, 8, 4))
    assert [part.input_ids.shape[0] for part in parts] == [4, 4]
    for part in parts:
        for ids, labels in zip(part.input_ids, part.labels, strict=True):
            response = tokenizer.decode(ids[labels != IGNORE])
            assert response.startswith(" \\boxed{")
            assert response.endswith("}<eos>")


def test_learning_rate_schedule() -> None:
    factors = [learning_rate_factor(step, 100, 10) for step in range(100)]
    assert factors[0] == pytest.approx(0.1)
    assert max(factors) == pytest.approx(1.0)
    assert factors[-1] < 0.02


def test_quick_recipe_runs_end_to_end_and_repeats(tmp_path: Path) -> None:
    before = torch.get_num_threads()
    try:
        main(tmp_path / "first", quick=True)
        main(tmp_path / "second", quick=True)
    finally:
        torch.set_num_threads(before)
    for name in NAMES:
        first, second = (tmp_path / run / name for run in ("first", "second"))
        assert {path.name for path in first.iterdir()} == set(MODEL_FILES)
        assert sha256(first / "model.safetensors") == sha256(second / "model.safetensors")
        AutoModelForCausalLM.from_pretrained(first)
    weights = {sha256(tmp_path / "first" / name / "model.safetensors") for name in NAMES}
    assert len(weights) == len(NAMES)


def test_cards_are_written_again_without_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything but the scores, which are tested above."""
    monkeypatch.setattr(card, "scores", lambda folder, limit=None: _card(folder.name)["test_scores"])
    for name in NAMES:
        shutil.copytree(MODELS / name, tmp_path / name)
        (tmp_path / name / "README.md").unlink()
    rewrite_cards(tmp_path)
    for path in (path for path in MODELS.rglob("*") if path.is_file()):
        assert (tmp_path / path.relative_to(MODELS)).read_bytes() == path.read_bytes()
