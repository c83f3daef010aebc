"""Labels chosen by task heads: against transformers' own classifiers, batched, and along the whole road."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from bench import run as road
from bench.as_is import evaluate_models
from bench.engines.contract import Choice, Request
from bench.engines.hf import HFEngine
from bench.errors import BadInput
from bench.evaluation.experts import check_heads, expert_of
from bench.merging.merge import quiet
from bench.models.checkpoint import Checkpoint
from bench.suites import EvalOptions
from results.board import Board
from results.store import Store
from tasks.catalogue import suites
from tasks.contract import Sampling
from tests.bench.classifiers import LABELS, suite, write_base, write_expert

PROMPTS = [("word " * (i % 7) + f"{i}?")[: 3 + i] for i in range(1, 23)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`base` and an expert per domain."""
    made = tmp_path_factory.mktemp("classifiers")
    write_base(made / "base")
    for domain in LABELS:
        write_expert(made / domain, domain)
    return made


@pytest.fixture(autouse=True)
def _catalogue(monkeypatch: pytest.MonkeyPatch) -> None:
    """The suite of these tests, beside those of `tasks/`."""
    every = {**suites(), "choosing": suite()}
    monkeypatch.setattr("tasks.catalogue.suites", lambda: every)


def chosen(engine: HFEngine, head: Path) -> dict[str, Choice]:
    asked = [Request(str(i), prompt, Sampling(1), seed=i) for i, prompt in enumerate(PROMPTS)]
    return {choice.request.id: choice for group in engine.classify(asked, head) for choice in group}


def by_transformers(body: Path, head: Path) -> torch.Tensor:
    """Logits [prompts, labels] of transformers' own classifier of that body and that head, one prompt at a time."""
    model = AutoModelForSequenceClassification.from_pretrained(head)
    state = load_file(body / "model.safetensors")
    own = {name.removeprefix("transformer."): tensor for name, tensor in state.items()}
    model.transformer.load_state_dict(
        {k: v for k, v in own.items() if k.split(".")[0] in ("wte", "wpe", "h", "ln_f")}
    )
    tokenizer = AutoTokenizer.from_pretrained(body)
    with torch.inference_mode():
        return torch.cat([model.eval()(torch.tensor([tokenizer(p)["input_ids"]])).logits for p in PROMPTS])


@pytest.mark.parametrize("kind", ["lm", "body", "mood"])
def test_logits_are_those_of_transformers_for_any_body_under_any_head(
    kind: str, folder: Path, tmp_path: Path
) -> None:
    body = folder / "mood" if kind == "mood" else write_base(tmp_path / "base", kind)
    engine = HFEngine(body, batch_size=5, answers="labels")  # one body for both heads, one after the other
    for domain in LABELS:
        expected = by_transformers(body, folder / domain)
        found = chosen(engine, folder / domain)
        logits = torch.tensor([found[str(i)].logits for i in range(len(PROMPTS))])
        torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-5)
        assert [found[str(i)].label for i in range(len(PROMPTS))] == expected.argmax(-1).tolist()
        assert len(set(expected.argmax(-1).tolist())) > 1, "labels were to differ"


def test_a_head_without_padding_token_is_asked_one_by_one(folder: Path, tmp_path: Path) -> None:
    head = write_expert(tmp_path / "mood", "mood", pad=False)
    logits = torch.tensor([c.logits for c in chosen(HFEngine(folder / "base"), head).values()])
    order = sorted(range(len(PROMPTS)), key=lambda i: -len(PROMPTS[i]))
    torch.testing.assert_close(logits, by_transformers(folder / "base", head)[order], rtol=1e-4, atol=1e-5)


def test_a_body_with_holes_is_not_completed_at_random(folder: Path, tmp_path: Path) -> None:
    body = write_base(tmp_path / "base")
    state = load_file(body / "model.safetensors")
    save_file(
        {k: v for k, v in state.items() if "h.1.mlp" not in k}, body / "model.safetensors", {"format": "pt"}
    )
    with pytest.raises(BadInput, match="lacks 4 of the tensors"):
        HFEngine(body, answers="labels")


def test_the_expert_of_a_domain() -> None:
    assert expert_of({"maths": 1, "chat": 2}, "chat") == 2
    assert expert_of({"long": 1}, "maths") == 1
    assert expert_of({"maths": 1, "chat": 2}, "code") is None and expert_of({}, "code") is None


def test_heads_that_do_not_fit_are_refused(folder: Path, tmp_path: Path) -> None:
    mood, _ = suite().benchmarks
    topic = Checkpoint(folder / "topic")
    with pytest.raises(BadInput, match="experts for: topic, code"):
        check_heads([mood], {"topic": topic, "code": topic})
    with pytest.raises(
        BadInput, match=r"has 2 labels \(bad, good\) and the task head of topic has 3 outputs"
    ):
        check_heads([mood], {"mood": topic})
    with pytest.raises(BadInput, match="base has no task head"):
        check_heads([mood], {"mood": Checkpoint(folder / "base")})
    turned = write_expert(tmp_path / "turned", "mood")
    config = json.loads((turned / "config.json").read_text())
    (turned / "config.json").write_text(json.dumps({**config, "id2label": {"0": "good", "1": "bad"}}))
    with pytest.raises(BadInput, match="in this order, and turned .id2label of config.json. has good, bad"):
        check_heads([mood], {"mood": Checkpoint(turned)})


def merged(folder: Path, runs: Path) -> Board:
    experts = [str(folder / domain) for domain in LABELS]
    return road.run(
        ["task_arithmetic"], EvalOptions(suite="choosing"), models=None, base=str(folder / "base"), experts=experts,
        settings=[], runs=runs, db=runs / "leaderboard.duckdb", say=quiet,
    ).board  # fmt: skip


def test_the_whole_road_of_labels(folder: Path, tmp_path: Path) -> None:
    board = merged(folder, tmp_path)
    rows = {row.name: row for row in board.rows}
    assert list(rows)[:3] == ["base", "expert:mood", "expert:topic"] and len(rows) == 4
    store = Store(tmp_path / "leaderboard.duckdb")
    marks = {name.removeprefix("expert:"): row.checkpoint for name, row in rows.items()}
    for row in board.rows:
        assert (
            row.complete and row.accuracy is not None and (row.length, row.length_reduction) == (None, None)
        )
        for domain in LABELS:
            cell = row.cells[f"tiny_{domain}"]
            assert cell is not None and cell.expert == marks[domain] and not cell.has_length
            assert (cell.no_answer, cell.truncated, cell.length) == (None, None, None)
    assert board.rows[-1].rank == 1 and board.rows[-1].against_base is not None
    answers = store.rows("SELECT * FROM responses WHERE benchmark = 'tiny_topic'")
    assert len(answers) == 4 * 12 and {row["finish_reason"] for row in answers} == {"label"}
    assert {row["text"] for row in answers} <= set(LABELS["topic"])
    assert {(row["n_generated"], row["n_tokens_text"], row["budget"]) for row in answers} == {(None,) * 3}


def test_stored_labels_are_reused_and_graded_again_without_any_folder(folder: Path, tmp_path: Path) -> None:
    copied = tmp_path / "models"
    folder.rename(copied)
    try:
        merged(copied, tmp_path)
        again: list[str] = []
        store = Store(tmp_path / "leaderboard.duckdb")
        before = store.rows("SELECT count(*) AS n FROM responses")
    finally:
        copied.rename(folder)
    report = evaluate_models(
        [], EvalOptions(suite="choosing", dtype="float32"), models=None, rescore=True, runs=tmp_path,
        db=store.path, say=again.append,
    )  # fmt: skip
    assert len(again) == 4 and all("all 24 responses reused; 24 graded" in said for said in again)
    assert store.rows("SELECT count(*) AS n FROM responses") == before
    marks = {row.name: row.checkpoint for row in report.board.rows}
    experts = {row.cells["tiny_mood"].expert for row in report.board.rows if row.cells["tiny_mood"]}
    assert experts == {marks["expert:mood"]}


def test_a_stranger_answers_with_its_own_head(folder: Path, tmp_path: Path) -> None:
    options = EvalOptions(suite="tiny_mood")
    (row,) = evaluate_models(
        [str(folder / "mood")], options, models=None, rescore=False, runs=tmp_path, db=tmp_path / "x.duckdb",
        say=quiet,
    ).board.rows  # fmt: skip
    assert row.complete and row.kind == "base"
    with pytest.raises(BadInput, match="3 outputs"):
        evaluate_models(
            [str(folder / "topic")], options, models=None, rescore=False, runs=tmp_path, db=tmp_path / "x.duckdb",
            say=quiet,
        )  # fmt: skip


def test_a_merge_does_not_answer_with_another_head_than_that_of_its_expert(
    folder: Path, tmp_path: Path
) -> None:
    models = shutil.copytree(folder, tmp_path / "models")
    merged(models, tmp_path)
    [merge] = (tmp_path / "merges").iterdir()
    write_expert(models / "mood", "mood", pad=False)
    with pytest.raises(BadInput, match="mood was changed since .* its task head is another one"):
        evaluate_models(
            [str(merge)], EvalOptions(suite="choosing"), models=None, rescore=False, runs=tmp_path,
            db=tmp_path / "leaderboard.duckdb", say=quiet,
        )  # fmt: skip
