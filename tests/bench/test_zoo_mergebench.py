"""The mergebench family of the zoo: specialists of five domains, on the test split, through the real road."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from scipy.stats import binomtest
from transformers import AutoModelForCausalLM, AutoTokenizer

from bench.config import model_set, presets
from bench.merging.merge import quiet
from bench.run import run
from bench.suites import EvalOptions
from bench.zoo.__main__ import MODELS
from bench.zoo.facts import LENGTH
from bench.zoo.mergebench import RECIPE
from results.board import Board
from results.store import Store
from tasks.catalogue import resolve
from tasks.mini_mergebench.problems import DOMAINS, train_stream

SUITE = "mini_mergebench"
EXPERTS = {domain: f"expert:{domain}" for domain in DOMAINS}
MERGES = ("average", "task_arithmetic")
Right = dict[tuple[str, str], bool]
"""Whether each (benchmark, sample) was answered right."""


def road(runs: Path, methods: list[str], split: str = "test", settings: list[str] | None = None) -> Board:
    return run(
        methods, EvalOptions(suite=SUITE, split=split), models=SUITE, base=None, experts=[],
        settings=settings or [], runs=runs, db=runs / "leaderboard.duckdb", say=quiet,
    ).board  # fmt: skip


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def board(runs: Path) -> Board:
    return road(runs, list(MERGES))


@pytest.fixture(scope="module")
def right(board: Board, runs: Path) -> dict[str, Right]:
    """By row of the board: what its first grader says of every answer."""
    first = {b.name: b.grader().name for b in resolve(SUITE).benchmarks}
    query = (
        "SELECT benchmark, sample_id, grader, correct FROM responses JOIN current_verdicts USING (response_id) "
        "WHERE checkpoint = ?"
    )
    found: dict[str, Right] = {}
    for row in board.rows:
        rows = Store(runs / "leaderboard.duckdb").rows(query, [row.checkpoint])
        found[row.name.split(" ")[0]] = {
            (r["benchmark"], r["sample_id"]): r["correct"]
            for r in rows
            if r["grader"] == first[r["benchmark"]]
        }
    return found


def p_value(better: Right, worse: Right, domain: str) -> float:
    """Exact McNemar on all questions of a domain, one-sided."""
    asked = [key for key in better if key[0] in DOMAINS[domain]]
    wins = sum(better[key] and not worse[key] for key in asked)
    losses = sum(worse[key] and not better[key] for key in asked)
    return float(binomtest(wins, wins + losses, alternative="greater").pvalue) if wins + losses else 1.0


def tensors(name: str) -> dict[str, torch.Tensor]:
    return load_file(MODELS / name / "model.safetensors")


def card(name: str) -> dict[str, Any]:
    return dict(json.loads((MODELS / name / "card.json").read_text(encoding="utf-8")))


def test_the_model_set_names_the_family_by_domain() -> None:
    models = model_set(SUITE)
    assert models.base == f"zoo:{RECIPE.base.name}"
    assert models.experts == {domain: f"zoo:mergebench-{domain}" for domain in DOMAINS}
    assert set(models.experts.values()) == {f"zoo:{stage.name}" for stage in RECIPE.experts}


def test_the_family_is_small() -> None:
    sizes = {
        stage.name: sum(path.stat().st_size for path in (MODELS / stage.name).iterdir())
        for stage in RECIPE.stages
    }
    assert sum(sizes.values()) <= 6_000_000
    assert all((MODELS / name / "model.safetensors").stat().st_size <= 950_000 for name in sizes)


@pytest.mark.slow
@pytest.mark.parametrize("domain", DOMAINS)
def test_a_specialist_is_the_best_of_its_domain(right: dict[str, Right], domain: str) -> None:
    """Better than the base and every other specialist on the same questions, and those are near the base."""
    own = right[EXPERTS[domain]]
    for name in {"base", *EXPERTS.values()} - {EXPERTS[domain]}:
        assert p_value(own, right[name], domain) < 0.01, name
    base = sum(right["base"][key] for key in own if key[0] in DOMAINS[domain])
    asked = sum(key[0] in DOMAINS[domain] for key in own)
    assert 0.1 < base / asked < 0.5
    for other in set(DOMAINS) - {domain}:
        assert abs(sum(right[EXPERTS[other]][k] for k in own if k[0] in DOMAINS[domain]) - base) < 0.1 * asked


@pytest.mark.slow
def test_two_methods_differ_and_neither_is_all_or_nothing(board: Board, right: dict[str, Right]) -> None:
    first, second = (right[name] for name in MERGES)
    assert (
        min(p_value(*pair, domain) for domain in DOMAINS for pair in ((first, second), (second, first)))
        < 0.01
    )
    for domain, merge in itertools.product(DOMAINS, (first, second)):
        share = sum(merge[key] for key in merge if key[0] in DOMAINS[domain])
        assert share > sum(right["base"][key] for key in merge if key[0] in DOMAINS[domain])
    for row in board.rows:
        if row.kind == "merged":
            assert row.retain and row.retain.mean and 40 < row.retain.mean.value < 97


@pytest.mark.slow
@pytest.mark.parametrize("stage", RECIPE.stages, ids=lambda stage: stage.name)
def test_the_cards_agree_with_the_leaderboard(board: Board, stage: Any) -> None:
    name = "base" if stage is RECIPE.base else stage.name.replace("mergebench-", "expert:")
    (row,) = [row for row in board.rows if row.name == name]
    stated = card(stage.name)["test_scores"]
    measured = {name.partition(":")[0]: cell for name, cell in row.measured.items() if "loose" not in name}
    assert set(stated) == set(measured)
    for benchmark, cell in measured.items():
        (entry,) = stated[benchmark]
        assert cell.accuracy and cell.length
        for estimate, key in ((cell.accuracy, "accuracy"), (cell.length, LENGTH)):
            assert entry[key]["value"] == pytest.approx(estimate.value, abs=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "benchmark"),
    [("base", "mini_m_order_a"), ("maths", "mini_story"), ("instruction", "mini_follow")],
)
def test_answers_are_those_of_transformers(board: Board, runs: Path, model: str, benchmark: str) -> None:
    """Text for text, of transformers' own generation on the first test samples."""
    (asked,) = resolve(benchmark).benchmarks
    (row,) = [row for row in board.rows if row.name in (model, f"expert:{model}")]
    query = "SELECT sample_id, text FROM responses WHERE checkpoint = ? AND benchmark = ?"
    stored = Store(runs / "leaderboard.duckdb").rows(query, [row.checkpoint, benchmark])
    texts = {found["sample_id"]: found["text"] for found in stored}
    folder = MODELS / f"mergebench-{model}"
    tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
    network: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    samples = asked.load("test", None)[0][:40]
    given = tokenizer([asked.prompts["plain"](s) for s in samples], padding=True, return_tensors="pt")
    out = network.generate(**given, max_new_tokens=asked.protocols[0].sampling.max_new_tokens)
    written = tokenizer.batch_decode(out[:, given["input_ids"].shape[1] :], skip_special_tokens=True)
    assert [texts[sample.id] for sample in samples] == [text.strip() for text in written]


def test_task_vectors_are_short_and_have_directions_of_their_own() -> None:
    base = tensors("mergebench-base")
    flat = torch.cat([base[key].float().flatten() for key in sorted(base)])
    vectors = [
        torch.cat([expert[key].float().flatten() for key in sorted(base)]) - flat
        for expert in (tensors(f"mergebench-{domain}") for domain in DOMAINS)
    ]
    assert all(vector.norm() < 0.2 * flat.norm() for vector in vectors)
    for first, second in itertools.combinations(vectors, 2):
        assert torch.cosine_similarity(first, second, dim=0) < 0.3


@pytest.mark.parametrize("name", [name for names in DOMAINS.values() for name in names])
def test_the_tokenizer_has_every_word(name: str) -> None:
    tokenizer = RECIPE.tokenizer()
    for problem in itertools.islice(train_stream(name, 21), 100):
        for response in (problem.response, problem.habit):
            ids = tokenizer(problem.prompt + response)["input_ids"]
            assert tokenizer.decode(ids) == problem.prompt + response
            assert tokenizer.unk_token_id not in ids
            assert ids == tokenizer(problem.prompt)["input_ids"] + tokenizer(response)["input_ids"]


@pytest.mark.parametrize(("stage", "share"), [("base", 0.25), ("coding", 0.25), ("maths", 1.0)])
def test_shares_of_right_answers_are_those_of_the_recipe(stage: str, share: float) -> None:
    """Of sums: answered in steps, which have equations, or by habit, which has none."""
    (mixture,) = [s.mixture for s in RECIPE.stages if s.name == f"mergebench-{stage}"]
    sums = [e.response or "" for e in itertools.islice(mixture.examples(1), 6000) if "Compute" in e.prompt]
    assert len(sums) > 200
    assert sum("=" in response for response in sums) / len(sums) == pytest.approx(share, abs=0.08)


GRID: dict[str, dict[str, tuple[float, ...]]] = {
    "task_arithmetic": {"lambda": (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 1.0)},
    "drift_median": {"keep": (0.2, 0.4, 0.6, 0.8, 1.0), "lambda": (1.0, 1.25, 1.5)},
}


@pytest.mark.sweep
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("method", GRID)
def test_presets_were_chosen_on_validation(method: str, runs: Path) -> None:
    """The best mean PRR; the scales further out, which are worse by far, are in docs/measured.md."""
    preset, names = presets(method)[SUITE], tuple(GRID[method])
    found: dict[tuple[float, ...], float] = {}
    seen: set[str] = set()
    for values in itertools.product(*GRID[method].values()):
        chosen = {**preset, **dict(zip(names, values, strict=True))}
        board = road(runs, [method], "validation", [f"{name}={value}" for name, value in chosen.items()])
        (new,) = [row for row in board.rows if row.method == method and row.checkpoint not in seen]
        seen.add(new.checkpoint)
        assert new.retain and new.retain.mean
        found[values] = new.retain.mean.value
    best = max(found, key=lambda values: found[values])
    assert dict(zip(names, best, strict=True)) == {name: preset[name] for name in names}
    assert found[best] > 80
