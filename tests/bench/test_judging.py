"""Judges: a server that answers like WildGuard, over real sockets, and tiny real models; what they say is stored."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from bench import engines
from bench.as_is import evaluate_models
from bench.engines import served
from bench.errors import BadInput
from bench.merging.merge import quiet
from bench.road import RunReport
from bench.suites import EvalOptions
from results.store import Store
from tasks.safety.wildguard import WildGuard
from tests.bench import tiny
from tests.bench.command import BENCH, environment
from tests.helpers.completions import Completions, Fault

COMPLIED = "Harmful request: no\nResponse refusal: no\nHarmful response: no"
REFUSED = "Harmful request: yes\nResponse refusal: yes\nHarmful response: no"
GARBLED = "Well..."
# What the scripted judge says of the answers to six safe and six unsafe requests.
SAFE = [COMPLIED, COMPLIED, COMPLIED, REFUSED, REFUSED, GARBLED]
UNSAFE = [REFUSED, REFUSED, COMPLIED, COMPLIED, COMPLIED, COMPLIED]
SCRIPT = {f"safe request {n}": word for n, word in enumerate(SAFE)} | {
    f"unsafe request {n}": word for n, word in enumerate(UNSAFE)
}
Says = Callable[[str], str]


def request_of(prompt: str) -> str:
    """The human's request in what a judge is asked."""
    return prompt.partition("Human user:\n")[2].partition("\n\nAI assistant:")[0]


class Scripted(Completions):
    """A completions server whose model says of each request what `says` says."""

    says: Says = staticmethod(lambda request: SCRIPT[request])

    def answer(self, body: dict[str, Any]) -> dict[str, Any]:
        text = self.says(request_of(body["prompt"]))
        usage = {"prompt_tokens": len(self.tokens(body["prompt"])), "completion_tokens": len(text)}
        choices = [{"index": 0, "text": text, "finish_reason": "stop"}]
        return {"object": "text_completion", "choices": choices, "usage": usage}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model to evaluate, two judges (one with too short a context), and twelve requests."""
    folder = tmp_path_factory.mktemp("judging")
    tiny.write(folder / "model", context=512)
    tiny.write(folder / "wildguard", seed=1, context=4096)
    tiny.write(folder / "small", seed=2, context=300)
    rows = [{"prompt": f"safe request {n}", "type": "homonyms"} for n in range(6)]
    rows += [{"prompt": f"unsafe request {n}", "type": "contrast_homonyms"} for n in range(6)]
    (folder / "data" / "xstest").mkdir(parents=True)
    (folder / "data" / "xstest" / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@contextmanager
def judge(place: Path, **settings: Any) -> Iterator[Scripted]:
    tokenizer = AutoTokenizer.from_pretrained(place / "wildguard")
    state = Scripted(lambda text: tokenizer(text)["input_ids"], tokenizer.convert_tokens_to_ids, by="other",
                     context=4096, **settings)  # fmt: skip
    served.served.cache_clear()
    state.start()
    try:
        yield state
    finally:
        state.stop()


def evaluate(place: Path, runs: Path, *, again: bool = False, **options: Any) -> RunReport:
    db = runs / "leaderboard.duckdb"
    found = EvalOptions("xstest", max_new_tokens=4, data_dir=place / "data", **options)
    models = [] if again else [str(place / "model")]
    return evaluate_models(models, found, models=None, rescore=again, runs=runs, db=db, say=quiet)


def metrics(runs: Path, grader: str = "wildguard") -> dict[str, float | None]:
    rows = Store(runs / "leaderboard.duckdb").rows(
        "SELECT metric, value FROM current_scores WHERE starts_with(grader, $g || '@')", {"g": grader}
    )
    return {row["metric"]: row["value"] for row in rows}


def rows(runs: Path, sql: str) -> list[dict[str, Any]]:
    return Store(runs / "leaderboard.duckdb").rows(sql)


EXPECTED = {
    "accuracy": 5 / 12, "accuracy:safe": 3 / 6, "accuracy:unsafe": 2 / 6, "overall_accuracy": 5 / 12,
    "inverted_rta_all_safe": 4 / 6, "refusal_precision": 2 / 4, "refusal_recall": 2 / 6, "refusal_f1": 0.4,
    "judge_unparsed": 1 / 12, "no_answer": 1 / 12,
}  # fmt: skip


def test_what_a_judge_says_is_stored_and_scored_once(place: Path, tmp_path: Path) -> None:
    with judge(place) as server:
        said = evaluate(place, tmp_path, judge=str(place / "wildguard"), judge_url=server.url)
        assert len(server.seen) == 12
        again = evaluate(place, tmp_path, judge=str(place / "wildguard"), judge_url=server.url)
        assert len(server.seen) == 12, "a stored answer was judged again"
    found = metrics(tmp_path)
    assert {name: found[name] for name in EXPECTED} == pytest.approx(EXPECTED)
    assert any(
        "12 judged in" in line and "1 answers of wildguard could not be read" in line for line in said.summary
    )
    assert any("all grades reused" in line and "judged in" not in line for line in again.summary)
    stored = rows(tmp_path, "SELECT * FROM responses WHERE benchmark = 'judge:wildguard'")
    assert {row["text"] for row in stored} == {COMPLIED, REFUSED, GARBLED} and len(stored) == 12
    judged = {
        row["response_id"]
        for row in rows(tmp_path, "SELECT response_id FROM responses WHERE benchmark = 'xstest'")
    }
    assert {row["sample_id"] for row in stored} == judged
    [mark] = {row["checkpoint"] for row in stored}
    [version] = {row["grader_version"] for row in rows(tmp_path, "SELECT grader_version FROM verdicts")}
    assert version == f"1+{mark[:8]}"


def test_graded_again_from_stored_words_without_judge_or_model(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with judge(place) as server:
        evaluate(place, tmp_path, judge=str(place / "wildguard"), judge_url=server.url)
    before = metrics(tmp_path)
    monkeypatch.setattr(WildGuard, "version", "2")
    report = evaluate(place, tmp_path, again=True)  # the server is gone
    assert metrics(tmp_path) == before
    versions = {
        row["grader_version"][0] for row in rows(tmp_path, "SELECT grader_version FROM current_verdicts")
    }
    assert versions == {"1", "2"} and any("12 graded" in line for line in report.summary)


def test_two_judges_stand_beside_each_other(place: Path, tmp_path: Path) -> None:
    """The second is a tiny real model on hf, which cannot judge: nothing it says can be read."""
    with judge(place) as server:
        evaluate(place, tmp_path, judge=str(place / "wildguard"), judge_url=server.url)
    other = shutil.copytree(place / "wildguard", tmp_path / "other")
    evaluate(place, tmp_path, judge=str(other), judge_engine="hf")
    assert metrics(tmp_path)["accuracy"] == pytest.approx(5 / 12)
    second = metrics(tmp_path, "wildguard:other")
    assert (second["accuracy"], second["judge_unparsed"], second["inverted_rta_all_safe"]) == (0.0, 1.0, 1.0)
    answers = rows(tmp_path, "SELECT engine, dtype FROM responses WHERE benchmark = 'judge:wildguard:other'")
    assert [(row["engine"], row["dtype"]) for row in answers] == [("hf", "float32")] * 12
    before = metrics(tmp_path), second
    evaluate(place, tmp_path, again=True)  # both, and now their differences too: five of twelve
    first, second = metrics(tmp_path), metrics(tmp_path, "wildguard:other")
    assert first.pop("flips:wildguard:other") == second.pop("flips:wildguard") == pytest.approx(5 / 12)
    assert first == before[0] and second == {**before[1]}


def test_the_judge_is_loaded_when_the_model_is_closed(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two large models do not fit beside each other."""
    loaded: list[str] = []
    opened: set[str] = set()
    real = engines.load

    def load(name: str, path: Path, **options: Any) -> Any:
        assert not opened, f"{path.name} beside {opened}"
        opened.add(path.name)
        loaded.append(path.name)
        engine = real(name, path, **options)
        close = engine.close
        monkeypatch.setattr(engine, "close", lambda: (opened.discard(path.name), close()))
        return engine

    monkeypatch.setattr(engines, "load", load)
    evaluate(place, tmp_path, judge=str(place / "wildguard"), judge_engine="hf")
    assert (loaded, opened) == (["model", "wildguard"], set())


def test_answers_without_a_judge_are_judged_later(place: Path, tmp_path: Path) -> None:
    evaluate(place, tmp_path, no_judge=True)
    assert not rows(tmp_path, "SELECT * FROM scores") and len(rows(tmp_path, "SELECT * FROM responses")) == 12
    with pytest.raises(BadInput, match="no judge's answers are stored"):
        raise BadInput("; ".join(evaluate(place, tmp_path, again=True).summary))
    with judge(place) as server:
        report = evaluate(place, tmp_path, judge=str(place / "wildguard"), judge_url=server.url)
    assert any("all 12 responses reused; 12 judged" in line for line in report.summary)
    assert metrics(tmp_path)["accuracy"] == pytest.approx(5 / 12)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({}, "xstest is graded by a judge, by default allenai/wildguard: .*--judge, .*--no-judge"),
        ({"judge": "/nowhere/judge"}, "graded by a judge: no checkpoint at '/nowhere/judge'"),
        ({"judge": "zoo:l2s-base", "judge_engine": "quick"}, "quick"),
        ({"judge": "zoo:l2s-base", "judge_engine": "server"}, "needs an address"),
        (
            {"judge": "zoo:l2s-base", "judge_engine": "hf", "judge_url": "http://x/v1"},
            "does not take --judge-url",
        ),
        ({"judge": "zoo:l2s-base", "no_judge": True}, "--no-judge with --judge"),
    ],
)
def test_a_judge_that_is_not_there_is_refused_before_any_work(
    place: Path, tmp_path: Path, options: dict[str, Any], says: str
) -> None:
    with pytest.raises(BadInput, match=says):
        evaluate(place, tmp_path / "runs", **options)
    assert not (tmp_path / "runs").exists()


def test_what_is_too_long_for_the_judge_is_counted(place: Path, tmp_path: Path) -> None:
    """All of it on hf, with a judge of 300 tokens; the longest on a server with less context than its model."""
    report = evaluate(place, tmp_path / "hf", judge=str(place / "small"), judge_engine="hf")
    assert any("12 judged" in line and "(12 too long for the judge)" in line for line in report.summary)
    assert metrics(tmp_path / "hf", "wildguard:small")["judge_unparsed"] == 1.0
    tokenizer = AutoTokenizer.from_pretrained(place / "wildguard")
    asked = rows(tmp_path / "hf", "SELECT question FROM responses WHERE benchmark = 'judge:wildguard:small'")
    least = min(len(tokenizer(row["question"])["input_ids"]) for row in asked)
    with judge(place) as server:
        server.context = least + 1  # room for the shortest, and one token of an answer
        report = evaluate(place, tmp_path / "server", judge=str(place / "wildguard"), judge_url=server.url)
    assert 0 < len(server.seen) < 12
    assert any(f"({12 - len(server.seen)} too long for the judge)" in line for line in report.summary)
    before = metrics(tmp_path / "server")
    garbled = sum(SCRIPT[request_of(body["prompt"])] == GARBLED for body in server.seen)
    assert before["judge_unparsed"] == pytest.approx((12 - len(server.seen) + garbled) / 12)
    evaluate(place, tmp_path / "server", again=True)  # what was too long is known to be
    assert metrics(tmp_path / "server") == before


def in_spools(folder: Path) -> set[str]:
    """Requests whose judgement is in a spool, in full."""
    found = set()
    for spool in (folder / "spool").glob("*.jsonl"):
        for line in spool.read_bytes().split(b"\n")[1:-1]:
            entry = json.loads(line)
            if entry["table"] == "responses" and entry["row"]["benchmark"] == "judge:wildguard":
                found.add(request_of(entry["row"]["question"]))
    return found


def test_killed_while_the_judge_answers_nothing_is_judged_twice(place: Path, tmp_path: Path) -> None:
    slow = {f"unsafe request {n}" for n in range(6)}

    def fault(prompt: str, attempt: int) -> Fault:
        return "hang" if request_of(prompt) in slow and attempt == 1 else None

    words = ["eval", "--model", place / "model", "--suite", "xstest", "--data-dir", place / "data", "--runs", "runs",
             "--max-new-tokens", "4", "--judge", place / "wildguard", "--judge-url"]  # fmt: skip
    with judge(place, fault=fault) as server:
        command = [*BENCH, *map(str, words), server.url]
        process = subprocess.Popen(command, cwd=tmp_path, env=environment(), stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL)  # fmt: skip
        while process.poll() is None and len(in_spools(tmp_path / "runs")) < 6:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        assert process.wait(60) == -signal.SIGKILL, "it ended before it could be killed"
        evaluate(place, tmp_path / "runs", judge=str(place / "wildguard"), judge_url=server.url)
        asked = {request_of(prompt): times for prompt, times in server.attempts.items()}
    assert asked == {request: 2 if request in slow else 1 for request in SCRIPT}
    assert {name: metrics(tmp_path / "runs")[name] for name in EXPECTED} == pytest.approx(EXPECTED)
