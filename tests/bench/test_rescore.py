"""`bench eval --rescore`: what is stored is graded again as it was asked, with nothing of its models left here."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import duckdb
import pytest
from typer.testing import CliRunner

from bench import as_is, rescore
from bench.as_is import evaluate_models
from bench.cli import app
from bench.errors import BadInput, CheckFailed
from bench.evaluation import stored_groups
from bench.merging.merge import quiet
from bench.models.checkpoint import locate
from bench.road import RunReport
from bench.suites import EvalOptions
from results.spool import Spool
from results.store import Store
from tasks.contract import Suite, Verdict
from tasks.errors import DataUnavailable
from tasks.mini_l2s.grader import BoxedInteger
from tests.bench.command import bench

OPTIONS = EvalOptions(suite="mini_gsm", limit=3, max_new_tokens=8)
ANY = EvalOptions(suite="mini_gsm", engine="auto")  # what the command line says when it says nothing
NEW = ("response_id", "engine", "dtype", "run_id", "created_at")


class Later(BoxedInteger):
    """The next version of the grader, which accepts everything."""

    version = "2"

    def grade(self, pairs: Sequence[tuple[str, str]]) -> list[Verdict]:
        return [Verdict(True, target, target, "accepted") for _, target in pairs]


def asked(runs: Path, specs: Sequence[str | Path], options: EvalOptions, *, again: bool = False) -> RunReport:
    db = runs / "leaderboard.duckdb"
    return evaluate_models(
        [*map(str, specs)], options, models=None, rescore=again, runs=runs, db=db, say=quiet
    )


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real answers of hf in float32, and in bfloat16 at two budgets; the same under the names of others,
    of one as if a chat template had made its prompts."""
    folder = tmp_path_factory.mktemp("rescore")
    model, runs = shutil.copytree(locate("zoo:l2s-base"), folder / "gone"), folder / "runs"
    for options in (
        OPTIONS,
        replace(OPTIONS, dtype="bfloat16"),
        replace(OPTIONS, dtype="bfloat16", max_new_tokens=5),
    ):
        asked(runs, [model], options)  # fmt: skip
    store = Store(runs / "leaderboard.duckdb")
    rows = store.rows("SELECT * FROM responses WHERE dtype = 'float32' ORDER BY sample_id")
    with Spool(store.spool_dir, "elsewhere") as spool:
        for engine in ("vllm", "server:sglang"):
            for row in rows:
                kept = {name: value for name, value in row.items() if name not in NEW}
                own = {"response_id": f"{engine}-{row['sample_id']}", "engine": engine, "dtype": "float16"}
                own |= {"prompt_mode": "chat", "prompt_hash": "of a template"} if engine != "vllm" else {}
                spool.append("responses", {**kept, **own})
    store.ingest()
    shutil.rmtree(model)
    return folder


@pytest.fixture
def folder(evaluated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of its own, with the grader's next version, where no tokenizer and no engine may be opened."""
    shutil.copytree(evaluated / "runs", tmp_path / "runs")
    suite = as_is.chosen_suite(OPTIONS)

    def later(options: EvalOptions) -> Suite:
        return replace(suite, benchmarks=tuple(replace(b, grader=Later) for b in suite.benchmarks))

    monkeypatch.setattr(rescore, "chosen_suite", later)
    for forbidden in ("bench.engines.load", "bench.engines.engine_identity", "bench.models.chat.ChatTemplate",
                      "bench.engines.texts.load_tokenizer"):  # fmt: skip
        monkeypatch.setattr(forbidden, None)
    return tmp_path


def verdicts(runs: Path) -> dict[tuple[str, str, str], int]:
    """How many verdicts of version 2 there are of each engine, dtype and draw."""
    rows = Store(runs / "leaderboard.duckdb").rows(
        "SELECT engine, dtype, draw, count(*) AS n FROM verdicts JOIN responses USING (response_id) "
        "WHERE grader_version = '2' AND correct GROUP BY ALL"
    )
    return {(row["engine"], row["dtype"], row["draw"]): row["n"] for row in rows}


EVERY = {
    ("hf", "float32", "greedy@8"): 3,
    ("hf", "bfloat16", "greedy@8"): 3,
    ("hf", "bfloat16", "greedy@5"): 3,
    ("vllm", "float16", "greedy@8"): 3,
    ("server:sglang", "float16", "greedy@8"): 3,
}


@pytest.mark.parametrize("named", ["path", "name", "fingerprint", "nothing"])
def test_everything_stored_is_graded_again_without_folder_engine_or_tokenizer(
    folder: Path, evaluated: Path, named: str
) -> None:
    store = Store(folder / "runs" / "leaderboard.duckdb")
    mark = store.rows("SELECT DISTINCT checkpoint FROM responses")[0]["checkpoint"]
    specs = {"path": [evaluated / "gone"], "name": ["base"], "fingerprint": [mark[:8]], "nothing": []}[named]
    report = asked(folder / "runs", specs, ANY, again=True)
    assert verdicts(folder / "runs") == EVERY and not report.failed
    assert len(report.summary) == 5 and all("3 graded" in said for said in report.summary)
    assert "vllm float16" in " ".join(report.summary)
    # Of the accepted, every score is 1, under the key of its own engine, dtype and draw.
    scores = store.rows(
        "SELECT engine, dtype, draw, n, value, expected_n FROM current_scores WHERE metric = 'accuracy' "
        "AND grader = 'boxed_integer@2'"
    )
    assert {(row["engine"], row["dtype"], row["draw"]): row["n"] for row in scores} == EVERY
    assert {(row["value"], row["expected_n"]) for row in scores} == {(1.0, 500)}


@pytest.mark.parametrize(
    ("chosen", "left"),
    [
        ({"engine": "vllm"}, [("vllm", "float16", "greedy@8")]),
        ({"engine": "server"}, [("server:sglang", "float16", "greedy@8")]),
        ({"dtype": "bfloat16"}, [("hf", "bfloat16", "greedy@8"), ("hf", "bfloat16", "greedy@5")]),
        ({"dtype": "bfloat16", "max_new_tokens": 5}, [("hf", "bfloat16", "greedy@5")]),
    ],
)  # fmt: skip
def test_options_choose_among_what_is_stored(
    folder: Path, evaluated: Path, chosen: dict[str, str], left: list[tuple[str, str, str]]
) -> None:
    asked(folder / "runs", [evaluated / "gone"], replace(ANY, **chosen), again=True)  # type: ignore[arg-type]
    assert sorted(verdicts(folder / "runs")) == sorted(left)


def test_what_is_not_stored_is_said_and_does_not_stop_the_others(folder: Path, evaluated: Path) -> None:
    gone = evaluated / "gone"
    report = asked(folder / "runs", ["zoo:l2s-expert", f"{gone}x", gone], ANY, again=True)
    assert verdicts(folder / "runs") == EVERY
    assert "nothing is stored for zoo:l2s-expert" in report.failed["zoo:l2s-expert"]
    assert f"Did you mean '{gone}'" in report.failed[f"{gone}x"]
    with pytest.raises(
        BadInput, match=r"with --engine hf --dtype float16 --prompt-mode plain: it has .*float32"
    ):
        asked(
            folder / "runs",
            [gone],
            replace(ANY, dtype="float16", prompt_mode="plain", engine="hf"),
            again=True,
        )


def test_answers_of_another_version_and_data_that_cannot_be_read_are_said(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [gsm] = rescore.chosen_suite(ANY).benchmarks

    def unread(split: str, data_dir: Path | None) -> NoReturn:
        raise DataUnavailable("the disk is away")

    for changed, says in (
        (replace(gsm, version="99"), "mini_gsm .* is stored of version .* and now is 99: evaluate it again"),
        (replace(gsm, load=unread), "mini_gsm: the disk is away"),
    ):
        suite = Suite("mini_l2s", "", (changed,))
        monkeypatch.setattr(rescore, "chosen_suite", lambda options, suite=suite: suite)
        with pytest.raises(BadInput, match=says):
            asked(folder / "runs", [], ANY, again=True)
    assert verdicts(folder / "runs") == {}


def test_the_scores_are_those_that_an_evaluation_makes(tmp_path: Path) -> None:
    """Pools of two sizes, graded again under the same version: no number changes and none is added."""
    runs, options = tmp_path / "runs", EvalOptions(suite="mini_aime", limit=4, max_new_tokens=8, samples=4)
    asked(runs, ["zoo:l2s-base"], options)
    asked(runs, ["zoo:l2s-base"], replace(options, limit=2, samples=6))
    store = Store(runs / "leaderboard.duckdb")
    before = store.rows("SELECT * FROM scores ORDER BY ALL")
    asked(runs, ["zoo:l2s-base"], replace(options, samples=None, limit=None, max_new_tokens=None), again=True)
    new = store.rows("SELECT * FROM scores ORDER BY ALL")
    assert [row for row in new if row in before] == before
    # Only the greedy answers of two questions and of four were asked twice: the larger set is scored.
    assert new == before


def copied(runs: Path, n: int, **changed: Any) -> Store:
    """The database with copies of the first `n` answers of hf in float32, which differ in `changed`."""
    store = Store(runs / "leaderboard.duckdb")
    rows = store.rows("SELECT * FROM responses WHERE engine = 'hf' AND dtype = 'float32' ORDER BY sample_id")
    with Spool(store.spool_dir, f"copied-{n}") as spool:
        for row in rows[:n]:
            kept = {name: value for name, value in row.items() if name not in ("run_id", "created_at")}
            spool.append("responses", kept | changed | {"response_id": f"copied-{n}-{row['sample_id']}"})
    store.ingest()
    return store


def lengths(store: Store, view: str = "current_scores") -> list[tuple[int, float]]:
    """Questions and mean lengths that are stored of hf in float32."""
    rows = store.rows(
        f"SELECT n, value FROM {view} WHERE metric = 'length_mean' AND engine = 'hf' AND dtype = 'float32' "
        "ORDER BY ALL"
    )
    return [(row["n"], row["value"]) for row in rows]


FLOAT32 = replace(ANY, engine="hf", dtype="float32")


def test_of_groups_with_one_name_only_the_newest_is_scored(folder: Path) -> None:
    runs = folder / "runs"
    store = copied(runs, 3, temperature=0.5, n_tokens_text=777)
    report = asked(runs, [], FLOAT32, again=True)
    assert lengths(store) == [(3, 777.0)]
    said = " ".join(report.summary)
    assert "temperature 0.5, top_p 1, budget 8): all 3 responses" in said
    assert "greedy@8: temperature 0, top_p 1, budget 8) is not graded again: newer responses" in said
    stored = lengths(store, "scores")
    for _ in range(2):
        asked(runs, [], FLOAT32, again=True)
        assert lengths(store, "scores") == stored


@pytest.mark.parametrize(("n", "which", "mean"), [(1, "earlier", None), (3, "later", 777.0)])
def test_one_score_does_not_mix_two_prompts(folder: Path, n: int, which: str, mean: float | None) -> None:
    """A template that changed, under the same name of its mode, before some of the questions or all were asked."""
    runs = folder / "runs"
    before = lengths(Store(runs / "leaderboard.duckdb"))
    store = copied(runs, n, prompt_hash="of another template", n_tokens_text=777)
    report = asked(runs, [], FLOAT32, again=True)
    assert lengths(store) == ([(3, mean)] if mean else before)
    assert (
        f"{n} of the questions were asked with two prompts; the {which} counts, with which 3 of 3 were asked"
        in " ".join(report.summary)
    )


def test_questions_asked_only_after_the_prompt_changed_count_with_the_later(folder: Path) -> None:
    """Two questions under the old prompt; one of them and the third under the new: of equals the later."""
    runs = folder / "runs"
    store = copied(runs, 3, prompt_hash="of another template", n_tokens_text=777)
    with duckdb.connect(str(store.path)) as connection:
        connection.execute(
            "WITH places AS (SELECT sample_id, row_number() OVER (ORDER BY sample_id) AS place FROM responses "
            "WHERE response_id LIKE 'copied-%') DELETE FROM responses USING places WHERE "
            "places.sample_id = responses.sample_id AND engine = 'hf' AND dtype = 'float32' AND "
            "((place = 1 AND response_id LIKE 'copied-%') OR (place = 3 AND response_id NOT LIKE 'copied-%'))"
        )
    asked(runs, [], FLOAT32, again=True)
    assert (2, 777.0) in lengths(store)
    assert not [found for found in lengths(store) if found[0] == 2 and found[1] != 777.0]


def test_a_run_has_one_prompt_in_whatever_order_it_asks() -> None:
    """The old run asked a and b, the new one d, b, c; a third, which asked nothing twice, asked e."""
    asked_for = [("old", "a", "1a"), ("old", "b", "1b"), ("new", "d", "2d"), ("new", "b", "2b"), ("new", "c", "2c"),
                 ("third", "e", "2e")]  # fmt: skip
    rows = [
        {"run_id": run, "document_hash": document, "prompt_hash": prompt, "response_id": prompt,
         "sample_index": 0, "created_at": time}
        for time, (run, document, prompt) in enumerate(asked_for)
    ]  # fmt: skip
    answers, remark = stored_groups._of_one_prompt(rows)
    assert answers == {document: {0: f"2{document}"} for document in "dbce"}
    assert remark is not None and "1 of the questions" in remark and "4 of 5" in remark
    # Of a new run that asked less than the old, in another order than it, nothing counts.
    less = [row for row in rows if row["document_hash"] in "ab"]
    answers, remark = stored_groups._of_one_prompt([less[1], less[0], less[2]])
    assert answers == {"a": {0: "1a"}, "b": {0: "1b"}} and remark is not None and "the earlier" in remark
    assert stored_groups._of_one_prompt(less[:2]) == ({"a": {0: "1a"}, "b": {0: "1b"}}, None)


def test_a_larger_pool_that_was_not_scored_before_is_scored(tmp_path: Path) -> None:
    """Generated, but killed before its scores: it is scored as an evaluation would have."""
    runs, options = tmp_path / "runs", EvalOptions(suite="mini_aime", limit=2, max_new_tokens=8, samples=2)
    asked(runs, ["zoo:l2s-base"], options)
    asked(runs, ["zoo:l2s-base"], replace(options, samples=4))
    store = Store(runs / "leaderboard.duckdb")
    query = "SELECT metric, samples, n, value FROM scores WHERE draw LIKE 'pool%' ORDER BY ALL"
    before = store.rows(query)
    with duckdb.connect(str(store.path)) as connection:
        connection.execute("DELETE FROM scores WHERE samples = 4")
    assert {row["samples"] for row in store.rows(query)} == {2}
    asked(runs, ["zoo:l2s-base"], EvalOptions(suite="mini_aime", engine="auto"), again=True)
    assert store.rows(query) == before


def test_a_model_with_one_unreadable_benchmark_is_not_said_to_be_undone(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = folder / "runs"
    [gsm] = rescore.chosen_suite(ANY).benchmarks

    def unread(split: str, data_dir: Path | None) -> NoReturn:
        raise DataUnavailable("the disk is away")

    suite = Suite("mini_gsm", "", (gsm, replace(gsm, name="other", load=unread)))
    monkeypatch.setattr(rescore, "chosen_suite", lambda options: suite)
    copied(runs, 3, benchmark="other")
    done = CliRunner().invoke(
        app, ["eval", "--suite", "mini_gsm", "--rescore", "--json", "--runs", str(runs)]
    )
    assert isinstance(done.exception, CheckFailed)
    assert str(done.exception) == "not graded again in full: base; the others are (see above)"
    assert '"base": "graded again but for other: the disk is away"' in done.stdout
    assert verdicts(runs) == EVERY


def test_the_command_names_what_was_asked_and_ends_with_a_code(evaluated: Path, tmp_path: Path) -> None:
    runs = shutil.copytree(evaluated / "runs", tmp_path / "runs")
    refused = bench("eval", "--suite", "aime24", "--rescore", "--runs", runs, cwd=tmp_path, code=2)
    assert "nothing is stored for suite aime24" in refused.stderr
    both = ("--model", "zoo:l2s-expert", "--model", evaluated / "gone")
    done = bench("eval", "--suite", "mini_l2s", *both, "--rescore", "--engine", "vllm", "--runs", runs,
                 cwd=tmp_path, code=1)  # fmt: skip
    assert "vllm float16" in done.stderr and "3 graded" in done.stderr
    assert "nothing is stored for mini_aime" in done.stderr
    assert "failed: not graded again in full: zoo:l2s-expert; the others are" in done.stderr
