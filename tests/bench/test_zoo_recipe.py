"""The embedded zoo: the committed weights are what their cards say, and the recipe still runs."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from bench.zoo.__main__ import MODELS, main
from bench.zoo.card import render, sha256
from bench.zoo.data import IGNORE, Mixture, batches
from bench.zoo.decode import parse_answer, respond
from bench.zoo.l2s import BASE_NAME, EXPERT_NAME, Recipe, learning_rate_factor
from bench.zoo.tokenizer import build_tokenizer, vocabulary
from tasks.mini_l2s.problems import LEVELS, STYLES, problems, train_stream

NAMES = (BASE_NAME, EXPERT_NAME)
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


def _accuracy_and_length(name: str, n: int) -> tuple[float, float]:
    """Greedy accuracy and mean tokens on the first ``n`` mini_gsm test problems, in float32."""
    model = AutoModelForCausalLM.from_pretrained(MODELS / name, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(MODELS / name)
    asked = problems("mini_gsm", "test", n)
    given = respond(model, tokenizer, asked)
    right = sum(r.answer == p.answer for p, r in zip(asked, given, strict=True))
    return right / n, sum(r.tokens for r in given) / n


@pytest.mark.parametrize("name", NAMES)
def test_committed_files_agree_with_the_card(name: str) -> None:
    card, folder = _card(name), MODELS / name
    assert {path.name for path in folder.iterdir()} == set(MODEL_FILES)
    assert sha256(folder / "model.safetensors") == card["files"]["model.safetensors"]["sha256"]
    assert (folder / "README.md").read_text(encoding="utf-8") == render(card)
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


def test_the_pair_is_long_to_short() -> None:
    """The expert is much more accurate and much longer than the base, as its card says."""
    base_accuracy, base_tokens = _accuracy_and_length(BASE_NAME, 60)
    expert_accuracy, expert_tokens = _accuracy_and_length(EXPERT_NAME, 60)
    assert base_accuracy > 0.25
    assert expert_accuracy > base_accuracy + 0.15
    assert expert_tokens > 4 * base_tokens


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


@pytest.mark.parametrize(
    ("text", "answer"), [(" \\boxed{39}", 39), ("\\boxed{1} \\boxed{2}", 2), ("39", None), ("\\boxed{", None)]
)
def test_parse_answer(text: str, answer: int | None) -> None:
    assert parse_answer(text) == answer


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
