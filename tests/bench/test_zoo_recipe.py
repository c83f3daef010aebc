"""The embedded zoo: the committed weights are what their cards say, and the recipe still runs."""

from __future__ import annotations

import itertools
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    Qwen2ForCausalLM,
)

from bench.zoo import facts, glue, l2s, skills, words
from bench.zoo.__main__ import MODELS, RECIPES, main, rewrite_cards, train_family
from bench.zoo.card import render
from bench.zoo.data import IGNORE, batches
from bench.zoo.facts import parameters, scores, sha256
from bench.zoo.l2s import BASE_NAME, EXPERT_NAME, Problems
from bench.zoo.snapshot import answers, choices
from bench.zoo.tokenizer import build_tokenizer, vocabulary
from bench.zoo.training import Recipe, Stage, learning_rate_factor, loss_sum
from tasks.contract import Benchmark, Example
from tasks.mini_glue.sentences import TASKS, sentences
from tasks.mini_l2s import problems as generator
from tasks.mini_l2s.problems import LEVELS, STYLES, problems, train_stream
from tasks.mini_skills import problems as skill_problems

PAIR = (BASE_NAME, EXPERT_NAME)
STAGES = [(recipe, stage) for recipe in RECIPES.values() for stage in recipe.stages]
every_model = pytest.mark.parametrize(
    ("recipe", "stage"), STAGES, ids=lambda value: getattr(value, "name", "")
)
# The weights that everything measured stands on. A retraining on another machine may differ in last bits.
WEIGHTS = {
    "l2s-base": "13068d3a12c002f0e26ed12995d7fac294f85f569ba929a83763dc52c41f4cb8",
    "l2s-expert": "c49d8436175c85658964c96936f054db8787e52403d64f51ed21f3aab2023f39",
    "skills-base": "d38fc7d47355a2fe4542c0e6784abe67ee1e78d1ebc8e9ec855e23bff41d1447",
    "skills-arithmetic": "04eee663928b273e75d8aefbeaa548f60b2cec936b48603a9f04bd4ea2a9b9db",
    "skills-strings": "3120b17b353a7d5fe53a823c59beca9fa80fb9eca3e8e7d548278465e7181339",
    "skills-lookup": "39ef44ddc662db800acfaafc8a682b4f7afbb5437be9ab998d5dc88775094ecf",
    "mergebench-base": "9f6e5e384cdfbc58ae29e56073c00b5e470253720f3b4a031f70230f7b402466",
    "mergebench-maths": "a1309fadd1f21b94190c3dde74c031e3579d1f7df67b5d73ddc556484290b05e",
    "mergebench-multilingual": "799c057065cfb41fd57108aae8d9f389f8ea2a61ddb390878dd13f0cee0cf422",
    "mergebench-instruction": "0c0ccc02f7f269a445b3b75e39eb4ee0d353291e1a1fcd807f6f2175262ff981",
    "mergebench-coding": "5d673ee63f201e937e87560cab017b3c329ca81efad868b17e8c31aa542862e4",
    "mergebench-safety": "c4b5447c5a3dbd536ae5843b57c9900d6b830a8554cb3a9890ba375c90d8209f",
    "glue-base": "2fbf8ee9dd83b0fd65cfdd27e7383df054ba5af919aec3f3a6e8a047e68c3ad1",
    "glue-sentiment": "3b5da920a51f2ee71b05199216342193b2d5a9e6378e8a1116e18484a09a32ae",
    "glue-preference": "2a5e70dd9361a875453bf6ed377e2618693d0a3cf7deb53e7fbc7deb0b19da17",
    "glue-entailment": "224e2b8d257dba861075832c3066440bd99ed958aa18bafa3607af5ab1210837",
    "glue-acceptability": "d21f1d0321172fdf24de1caf5065a0679b4b2868fbf612978dbcdce458614a42",
    "clip-base": "3348112e254ea0b25004ee59dcd790ee6b02c08fb709691dea7800eb928f553c",
    "clip-digits": "9c733ea9a867f34e9cdf937265e6d68e1a866434d5d3506d80d03675c2a3462c",
    "clip-shapes": "57099c43f2477560ed8cd4a910d44b6079d4c55caa340990c1de49dc7c628cfc",
    "clip-textures": "5018114524ff970de739a63fc5b38675580e59c00f0a59ed6a46251e6cde85c6",
    "clip-spots": "c6f9eed9c68a2acd4b52d33e31b4ebf240fa4561a945d11d12c571aeef632aac",
}
SIZE_LIMIT = 25_000_000
MODEL_FILES = {
    "README.md",
    "card.json",
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
    "train_log.jsonl",
}
WRITING, READING = {"generation_config.json"}, {"tokenizer.json", "tokenizer_config.json"}
SEEING = {"preprocessor_config.json"}


def _files(name: str) -> set[str]:
    """A classifier writes nothing, so that nothing says how. What sees has an image processor, and what only sees no
    tokenizer."""
    shape = _card(name)["architecture"]
    if shape["type"] == "CLIPVisionModel":
        return MODEL_FILES - WRITING - READING | SEEING
    if shape["type"] == "CLIPModel":
        return MODEL_FILES - WRITING | SEEING
    return MODEL_FILES - (WRITING if "labels" in shape else set())


def _card(name: str) -> dict[str, Any]:
    return json.loads((MODELS / name / "card.json").read_text(encoding="utf-8"))


@every_model
def test_committed_files_agree_with_the_card(recipe: Recipe, stage: Stage) -> None:
    name, folder = stage.name, MODELS / stage.name
    stated, tokens = _card(name), recipe.tokenizer().get_vocab()
    assert {path.name for path in folder.iterdir()} == _files(name)
    assert sha256(folder / "model.safetensors") == WEIGHTS[name]
    assert stated["files"] == {"model.safetensors": {"sha256": WEIGHTS[name]}}
    assert parameters(folder / "model.safetensors") == stated["architecture"]["parameters"]
    assert (folder / "README.md").read_text(encoding="utf-8") == render(stated)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert config["dtype"] == "bfloat16"
    if recipe.family != "clip":
        assert config["eos_token_id"] == tokens["<eos>"]
        assert config["pad_token_id"] == tokens["<pad>"]
    elif stage is recipe.base:
        assert config["text_config"]["eos_token_id"] == tokens["<|endoftext|>"]
        assert config["text_config"]["pad_token_id"] == tokens["<pad>"]


def test_committed_models_are_small() -> None:
    assert {path.name for path in MODELS.iterdir()} == {stage.name for _, stage in STAGES}
    total = sum(path.stat().st_size for path in MODELS.rglob("*") if path.is_file())
    assert total < SIZE_LIMIT
    logs = [path.stat().st_size for path in MODELS.rglob("train_log.jsonl")]
    assert len(logs) == len(STAGES)
    assert max(logs) < 100_000


@every_model
def test_cards_state_the_recipe(recipe: Recipe, stage: Stage) -> None:
    stated = _card(stage.name)
    assert stated["fine_tuned_from"] == (None if stage is recipe.base else recipe.base.name)
    training = stated["training"]
    assert (training["steps"], training["seed"], training["batch"]) == (stage.steps, stage.seed, stage.batch)
    assert training["learning_rate"] == stage.learning_rate
    assert training["mixture"] == vars(stage.mixture)


def test_a_card_states_what_the_road_measures() -> None:
    """The base, which answers in seconds; tests/bench/test_zoo_pair.py compares both with a leaderboard."""
    stated = _card(BASE_NAME)["test_scores"]
    assert scores(MODELS / BASE_NAME, l2s.RECIPE) == stated, (
        "write the cards again: python -m bench.zoo --cards"
    )
    assert list(stated) == list(LEVELS)
    assert {"maj@1", "maj@8", "maj@16"} <= set(stated["mini_aime"][1])


def test_the_cards_show_a_long_to_short_pair() -> None:
    base, expert = (_card(name)["test_scores"]["mini_gsm"][0] for name in PAIR)
    assert base["n"] == expert["n"] == 500
    assert base["accuracy"]["value"] > 0.4
    assert expert["accuracy"]["value"] > base["accuracy"]["value"] + 0.2
    assert expert["mean_response_tokens"]["value"] > 4 * base["mean_response_tokens"]["value"]


@pytest.mark.parametrize("name", PAIR)
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
    found = l2s.RECIPE.snapshot(model, tokenizer, 20)
    assert torch.equal(torch.get_rng_state(), generator_state)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert model.training and all(p.requires_grad for p in model.parameters())
    assert list(found) == list(LEVELS)
    assert found["mini_gsm"]["accuracy"] > 0.2 and 5 < found["mini_gsm"]["tokens"] < 12


def _only_three(benchmark: Benchmark) -> Benchmark:
    """A benchmark with three samples in every split."""
    return replace(benchmark, load=lambda split, folder: (benchmark.load(split, folder)[0][:3], None))


def test_a_snapshot_of_a_small_split_divides_by_what_is_there() -> None:
    """mini_aime's validation split has 60 problems where 100 are asked for: no accuracy may end at 0.6."""
    expert = Qwen2ForCausalLM.from_pretrained(MODELS / EXPERT_NAME, dtype=torch.float32)
    suite = replace(l2s.SUITE, benchmarks=tuple(_only_three(b) for b in l2s.SUITE.benchmarks[:1]))
    (found,) = answers(expert, build_tokenizer(), 7, suite).values()
    assert found == answers(expert, build_tokenizer(), 3, suite)["mini_gsm"]
    assert found["accuracy"] in (0.6667, 1.0) and found["tokens"] > 40
    judge = AutoModelForSequenceClassification.from_pretrained(MODELS / "glue-sentiment", dtype=torch.float32)
    few = _only_three(glue.SUITE.benchmarks[0])
    (found,) = choices(judge, words.build_tokenizer(), 7, few).values()
    assert found == choices(judge, words.build_tokenizer(), 3, few)["mini_sentiment"]
    assert found["accuracy"] in (0.6667, 1.0)


@pytest.mark.parametrize("name", PAIR)
def test_saved_tokenizer_is_the_built_one(name: str) -> None:
    saved = AutoTokenizer.from_pretrained(MODELS / name)
    assert saved.get_vocab() == vocabulary().ids
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
    mixture = Problems({"mini_gsm": 1.0}, {"direct": 1.0})
    parts = next(batches(tokenizer, mixture.examples(3), 8, 4))
    assert [part.input_ids.shape[0] for part in parts] == [4, 4]
    for part in parts:
        for ids, labels in zip(part.input_ids, part.labels, strict=True):
            response = tokenizer.decode(ids[labels != IGNORE])
            assert response.startswith(" \\boxed{")
            assert response.endswith("}<eos>")


def test_the_loss_is_that_of_transformers() -> None:
    """Of next tokens and of classes, rows of different lengths padded."""
    tokenizer = words.build_tokenizer()
    texts = [s.text for task in TASKS for s in sentences(task, "train", 3)]
    written = next(batches(tokenizer, iter([Example("", text) for text in texts]), 12, 12))[0]
    model = AutoModelForCausalLM.from_pretrained(MODELS / "glue-base", dtype=torch.float32)
    expected = model(input_ids=written.input_ids, labels=written.labels).loss
    count = (written.labels[:, 1:] != IGNORE).sum()
    torch.testing.assert_close(loss_sum(model, written) / count, expected)
    examples = [Example(text, label=index % 3) for index, text in enumerate(texts)]
    chosen = next(batches(tokenizer, iter(examples), 12, 12))[0]
    judge = AutoModelForSequenceClassification.from_pretrained(
        MODELS / "glue-preference", dtype=torch.float32
    )
    alone = [
        judge(**tokenizer(e.prompt, return_tensors="pt"), labels=torch.tensor([e.label])).loss
        for e in examples
    ]
    torch.testing.assert_close(loss_sum(judge, chosen), torch.stack(alone).sum())


@pytest.mark.parametrize("skill", skill_problems.SKILLS)
def test_tokenizer_of_the_skills_round_trip(skill: str) -> None:
    tokenizer = skills.RECIPE.tokenizer()
    for problem in itertools.islice(skill_problems.train_stream(skill, 21), 200):
        text = problem.prompt + skill_problems.worked(problem)
        ids = tokenizer(text)["input_ids"]
        assert tokenizer.decode(ids) == text
        assert (
            ids
            == tokenizer(problem.prompt)["input_ids"] + tokenizer(skill_problems.worked(problem))["input_ids"]
        )


@pytest.mark.parametrize("task", TASKS)
def test_tokenizer_of_the_classifiers_has_a_token_for_every_word(task: str) -> None:
    tokenizer = words.build_tokenizer()
    assert tokenizer.padding_side == "right"
    for sentence in sentences(task, "train", 200):
        ids = tokenizer(sentence.text)["input_ids"]
        assert tokenizer.decode(ids) == sentence.text
        assert len(ids) == len(sentence.text.split())


def test_mixtures_keep_to_their_shares_and_steps() -> None:
    drawn = list(itertools.islice(skills.BASE.mixture.examples(1), 300))
    rows = [e for e in drawn if ": " in e.prompt.removeprefix("Q: ")]
    tables = [e for e in drawn if "Follow" in e.prompt]
    assert len(rows) + len(tables) < len(drawn)
    assert rows and all("," not in e.prompt for e in rows), "one operation"
    assert tables and all("4 times" in e.prompt for e in tables)
    texts = [e.response or "" for e in itertools.islice(glue.BASE.mixture.examples(1), 200)]
    assert {text.split()[0] for text in texts} == {"Review:", "First:", "Premise:", "Sentence:"}
    labels = {e.label for e in itertools.islice(glue.EXPERTS[1].mixture.examples(1), 200)}
    assert labels == {0, 1, 2}


def test_learning_rate_schedule() -> None:
    factors = [learning_rate_factor(step, 100, 10) for step in range(100)]
    assert factors[0] == pytest.approx(0.1)
    assert max(factors) == pytest.approx(1.0)
    assert factors[-1] < 0.02


@pytest.mark.parametrize("family", RECIPES)
def test_quick_recipe_runs_end_to_end_and_repeats(tmp_path: Path, family: str) -> None:
    before = torch.get_num_threads()
    try:
        main(tmp_path / "first", only=family, quick=True)
        train_family(RECIPES[family].quick(), tmp_path / "second", lambda *progress: None)
    finally:
        torch.set_num_threads(before)
    names = [stage.name for stage in RECIPES[family].stages]
    assert {path.name for path in (tmp_path / "first").iterdir()} == set(names)
    for name in names:
        first, second = (tmp_path / run / name for run in ("first", "second"))
        assert {path.name for path in first.iterdir()} == _files(name)
        assert sha256(first / "model.safetensors") == sha256(second / "model.safetensors")
        if _files(name) >= READING:
            AutoTokenizer.from_pretrained(first)
    assert len({sha256(tmp_path / "first" / name / "model.safetensors") for name in names}) == len(names)


def test_cards_are_written_again_without_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything but the scores, which are tested above."""
    monkeypatch.setattr(facts, "scores", lambda folder, recipe, limit=None: _card(folder.name)["test_scores"])
    for _, stage in STAGES:
        shutil.copytree(MODELS / stage.name, tmp_path / stage.name)
        (tmp_path / stage.name / "README.md").unlink()
    rewrite_cards(tmp_path)
    for path in (path for path in MODELS.rglob("*") if path.is_file()):
        assert (tmp_path / path.relative_to(MODELS)).read_bytes() == path.read_bytes()
