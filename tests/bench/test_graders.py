"""Several graders side by side, what is known of every response, and votes that resume; without a model where none
is needed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from bench.engines.contract import Completion, Request
from bench.errors import BadInput
from bench.evaluation import grading
from bench.evaluation.answering import answered
from bench.evaluation.evaluate import EvalReport
from bench.evaluation.questions import Pool, pools
from bench.evaluation.target import EvalTarget
from bench.evaluation.token_counts import FixedTokenizer, token_counts
from bench.identity import fingerprint
from bench.models.checkpoint import locate
from bench.suites import EvalOptions
from results.leaderboard import leaderboard
from results.spool import Spool
from tasks.catalogue import resolve
from tasks.contract import Verdict
from tasks.mini_l2s.grader import BoxedInteger
from tasks.qwen_compat.grader import qwen_compat
from tests.bench import tiny
from tests.bench.test_evaluate import Lab

ROOT = Path(__file__).resolve().parents[2]
OPTIONS = EvalOptions(suite="mini_aime", limit=3, max_new_tokens=24, threads=1)


class Parity:
    """Another grader beside the exact one: right when the text has an even number of characters."""

    name, version = "parity", "7"

    def grade(self, pairs: Sequence[tuple[str, str]]) -> list[Verdict]:
        return [Verdict(len(text) % 2 == 0, str(len(text)), str(len(text)), "counted") for text, _ in pairs]


def both(options: EvalOptions = OPTIONS) -> list[Pool]:
    """The pools of mini_aime, graded by two graders."""
    return [
        replace(pool, benchmark=replace(pool.benchmark, also_graded_by=(Parity,)))
        for pool in pools(resolve(options.suite), options)
    ]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> EvalTarget:
    path = tiny.write(tmp_path_factory.mktemp("model"), context=400)
    mark = fingerprint(path, path.parent / "fingerprints.json")
    return EvalTarget(
        path=path, fingerprint=mark, name="base", model_set="tiny", base=mark, experts={}
    )  # fmt: skip


@pytest.fixture
def lab(tmp_path: Path, model: EvalTarget) -> Lab:
    """A database with the answers of a random model, graded by both."""
    lab = Lab(tmp_path)
    row = {"checkpoint": model.fingerprint, "model_set": "tiny", "name": "base", "kind": "base"}
    with Spool(lab.store.spool_dir, "first") as spool:
        spool.append("checkpoints", row)
    lab.evaluate(model, OPTIONS, asked=both())
    return lab


def test_every_grader_judges_every_response_and_the_flips_are_counted(lab: Lab) -> None:
    counts = lab.store.rows("SELECT grader, count(*) AS n FROM verdicts GROUP BY grader ORDER BY grader")
    assert [(row["grader"], row["n"]) for row in counts] == [("boxed_integer", 51), ("parity", 51)]
    texts = lab.store.rows("SELECT text FROM responses WHERE draw = 'greedy@24'")
    even = sum(len(row["text"]) % 2 == 0 for row in texts)
    board = leaderboard(lab.store, "mini_aime")
    cell = board.rows[0].cells["mini_aime"]
    assert cell is not None and cell.grader == "boxed_integer@1" and cell.accuracy is not None
    assert cell.accuracy.value == 0 and cell.flips == {"parity": pytest.approx(even / 3)}
    assert board.known_graders == ("boxed_integer", "parity")
    assert [(f.benchmark, f.other, f.flipped, f.responses) for f in board.flips] == [
        ("mini_aime", "parity", even, 3)
    ]
    other = leaderboard(lab.store, "mini_aime", grader="parity")
    shown = other.rows[0].cells["mini_aime"]
    assert shown is not None and shown.accuracy is not None and other.graders == {"mini_aime": "parity@7"}
    assert shown.accuracy.value == pytest.approx(even / 3)
    assert shown.length == cell.length and other.rows[0].complete  # lengths belong to no grader


def test_lengths_are_scored_once_however_many_graders_there_are(lab: Lab) -> None:
    rows = lab.store.rows("SELECT metric, grader, first_grader FROM current_scores WHERE draw = 'greedy@24'")
    by_metric: dict[str, list[str | None]] = {}
    for row in rows:
        by_metric.setdefault(row["metric"], []).append(row["grader"])
        assert row["first_grader"] == ({"boxed_integer@1": True, "parity@7": False}.get(row["grader"]))
    assert sorted(by_metric["accuracy"]) == ["boxed_integer@1", "parity@7"]
    assert by_metric["length_mean"] == [None] and by_metric["reflections"] == [None]


def test_a_second_grader_that_comes_later_needs_no_model(tmp_path: Path, model: EvalTarget) -> None:
    lab = Lab(tmp_path)
    lab.evaluate(model, OPTIONS)
    assert lab.rescore(model, OPTIONS, asked=both()).graded == 102
    report = lab.evaluate(model, OPTIONS, asked=both())
    assert (report.generated, report.graded) == (0, 0)


def test_responses_are_graded_in_groups_of_whole_questions(
    lab: Lab, model: EvalTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = lab.store.rows("SELECT * FROM current_scores ORDER BY ALL")
    seen: list[int] = []
    original = BoxedInteger.grade

    def grade(self: BoxedInteger, pairs: Sequence[tuple[str, str]]) -> list[Verdict]:
        seen.append(len(pairs))
        return original(self, pairs)

    monkeypatch.setattr(grading, "CHUNK", 10)
    monkeypatch.setattr(BoxedInteger, "grade", grade)
    lab.rescore(model, OPTIONS, asked=both())
    assert seen == [3, 16, 16, 16]  # the greedy draw, then three questions of sixteen
    assert lab.store.rows("SELECT * FROM current_scores ORDER BY ALL") == before


def test_what_an_older_row_does_not_say_is_read_from_its_text(lab: Lab, model: EvalTarget) -> None:
    def scores() -> dict[str, float]:
        rows = lab.store.rows("SELECT * FROM current_scores WHERE draw = 'greedy@24' AND grader IS NULL")
        return {row["metric"]: row["value"] for row in rows}

    before = scores()
    assert before["reflections"] is not None
    import duckdb

    with duckdb.connect(str(lab.store.path)) as connection:
        connection.execute("UPDATE responses SET n_reflections = NULL, complete_box = NULL")
        connection.execute("UPDATE responses SET ends_with_code_fence = NULL")
    lab.rescore(model, OPTIONS, asked=both())
    assert scores() == before
    assert lab.store.rows("SELECT count(n_reflections) AS n FROM responses") == [
        {"n": 0}
    ]  # nothing overwritten


def test_answers_that_meet_a_limit_are_counted_when_graded_and_when_reused(
    tmp_path: Path, model: EvalTarget
) -> None:
    greedy = both()[0]
    asked = [replace(greedy, benchmark=replace(greedy.benchmark, also_graded_by=(qwen_compat("math500"),)))]
    lab = Lab(tmp_path)
    lab.evaluate(model, OPTIONS, asked=[replace(asked[0], benchmark=greedy.benchmark)])
    import duckdb

    with duckdb.connect(str(lab.store.path)) as connection:
        connection.execute(
            "UPDATE responses SET text = ? WHERE sample_id = ?",
            [f"So \\boxed{{{'7+' * 10_000}}}.", greedy.asks[0].sample.id],
        )

    def stopped() -> dict[str, float]:
        rows = lab.store.rows("SELECT grader, value FROM current_scores WHERE metric = 'stopped'")
        return {row["grader"].partition("@")[0]: row["value"] for row in rows}

    lab.rescore(model, OPTIONS, asked=asked)
    assert stopped()["qwen_compat"] == pytest.approx(1 / 3)
    assert lab.evaluate(model, OPTIONS, asked=asked).graded == 0
    assert stopped()["qwen_compat"] == pytest.approx(1 / 3)


class Written:
    """An engine's contract over texts that are already there."""

    family, dtype, batch_size, threads = "hf", "float32", 1, 1

    def __init__(self, text: str) -> None:
        self.text = text

    def generate(self, requests: Sequence[Request]) -> list[list[Completion]]:
        return [[Completion(request, self.text, 9, 9, 3, 24, "stop") for request in requests]]


def test_what_is_known_of_a_response(model: EvalTarget) -> None:
    pool = both()[0]
    missing = {"id": (pool, pool.asks[0])}

    def row(text: str) -> dict:
        return next(iter(answered(model, Written(text), missing)))[0]  # type: ignore[arg-type]

    block = "Wait, 4? Let me check. wait"
    told = row(f"<think>{block}</think> So \\boxed{{4}}.")
    assert told["n_reflections"] == 3 and told["complete_box"] is True
    assert told["n_think_tokens"] == len(block.replace(" ", ""))  # one token for each character but spaces
    assert told["ends_with_code_fence"] is False
    plain = row("```python\nprint(4)\n```")
    assert plain["n_think_tokens"] is None and plain["ends_with_code_fence"] is True
    assert plain["complete_box"] is False and plain["n_reflections"] == 0


def test_a_fixed_tokenizer_counts_what_is_stored_once(lab: Lab, model: EvalTarget) -> None:
    options = replace(OPTIONS, fixed_tokenizer="zoo:l2s-base")
    lab.rescore(model, options, asked=both())
    from transformers import AutoTokenizer

    oracle = AutoTokenizer.from_pretrained(locate("zoo:l2s-base"))
    rows = lab.store.rows(
        "SELECT text, n_tokens, tokenizer FROM responses JOIN token_counts USING (response_id)"
    )
    assert len(rows) == 51 and {row["tokenizer"].split(":")[0] for row in rows} == {"l2s-base"}
    expected = [len(oracle(row["text"], add_special_tokens=False)["input_ids"]) for row in rows]
    assert [row["n_tokens"] for row in rows] == expected
    cell = leaderboard(lab.store, "mini_aime").rows[0].cells["mini_aime"]
    assert cell is not None and cell.length is not None
    (found,) = cell.length_fixed.values()
    assert found.value != cell.length.value
    tokenizer = FixedTokenizer("zoo:l2s-base")
    tokenizer.count = None  # type: ignore[assignment, method-assign]
    ids = [row["response_id"] for row in lab.store.rows("SELECT response_id FROM responses")]
    with Spool(lab.store.spool_dir, "again") as spool:
        assert len(token_counts(tokenizer, ids, store=lab.store, spool=spool)) == 51


def test_a_tokenizer_that_is_not_there_is_refused_before_any_work(
    lab: Lab, model: EvalTarget, tmp_path: Path
) -> None:
    with pytest.raises(BadInput, match="no tokenizer.json"):
        lab.evaluate(model, replace(OPTIONS, fixed_tokenizer=str(tmp_path)))


def test_raising_n_from_16_to_32_draws_16_more_and_a_smaller_n_replaces_nothing(tmp_path: Path) -> None:
    path = locate("zoo:l2s-base")
    mark = fingerprint(path, tmp_path / "fingerprints.json")
    target = EvalTarget(path=path, fingerprint=mark, name="base", model_set="zoo", base=mark, experts={})
    lab = Lab(tmp_path)
    with Spool(lab.store.spool_dir, "first") as spool:
        spool.append("checkpoints", {"checkpoint": mark, "model_set": "zoo", "name": "base", "kind": "base"})
    options = EvalOptions(suite="mini_aime", limit=2, max_new_tokens=48, threads=1)

    def drawn(n: int) -> EvalReport:
        return lab.evaluate(target, options, asked=pools(resolve("mini_aime"), replace(options, samples=n)))

    assert drawn(16).generated == 2 + 32
    texts = lab.texts()
    before = pool_scores(lab, 16)
    report = drawn(32)
    assert (report.generated, report.reused, report.graded) == (32, 2 + 32, 32)
    assert {id: text for id, text in lab.texts().items() if id in texts} == texts
    rows = lab.store.rows(
        "SELECT sample_id, list(sample_index ORDER BY sample_index) AS places, "
        "count(DISTINCT seed - sample_index) AS firsts FROM responses WHERE draw LIKE 'pool%' GROUP BY sample_id"
    )
    assert [(row["places"], row["firsts"]) for row in rows] == 2 * [(list(range(32)), 1)]
    after = pool_scores(lab, 32)
    assert {"maj@1", "maj@8", "maj@16", "maj@32", "maj@8:toolkit", "maj@32:toolkit"} <= set(after)
    # Votes are over nested prefixes: those of 8 and 16 are what they were. What is of the whole pool is not.
    nested = [metric for metric in before if metric.startswith("maj@") and metric != "maj@1"]
    assert len(nested) == 4 and all(after[metric] == before[metric] for metric in nested)
    assert after["tokens@32"] == pytest.approx(32 * after["length_mean"])

    fewer = drawn(8)
    assert (fewer.generated, fewer.graded) == (0, 0)
    assert pool_scores(lab, 32) == after and pool_scores(lab, 16) == before
    eight = mean_length(lab, 8)
    assert pool_scores(lab, 8)["length_mean"] == pytest.approx(eight) != pytest.approx(after["length_mean"])
    for most, size in ((None, 32), (20, 16), (8, 8)):
        [row] = leaderboard(lab.store, "mini_aime", samples=most).rows
        [cell] = row.cells.values()
        assert cell is not None and max(cell.votes) == size
        assert [(p.n, p.samples) for p in cell.curve if p.n == 1] == [(1, size)]
        assert cell.curve[0].tokens is not None
        assert cell.curve[0].tokens.value == pytest.approx(mean_length(lab, size))


def pool_scores(lab: Lab, samples: int) -> dict[str, float]:
    rows = lab.store.rows(
        "SELECT metric, value FROM current_scores WHERE draw LIKE 'pool%' AND samples = ?", [samples]
    )
    assert len({row["metric"] for row in rows}) == len(rows)
    return {row["metric"]: row["value"] for row in rows}


def mean_length(lab: Lab, samples: int) -> float:
    """Mean length over the first of each question's answers, from the responses themselves."""
    [row] = lab.store.rows(
        "SELECT avg(n_tokens_text) AS mean FROM responses WHERE draw LIKE 'pool%' AND sample_index < ?",
        [samples],
    )
    return float(row["mean"])


def test_the_printed_tables_beside_the_measured_one(tmp_path: Path) -> None:
    script = "from bench.cli import main; main()"
    command = [sys.executable, "-c", script, "table", "l2s", "--published"]
    env = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("reported, not measured here") == 5
    assert "Table 4 of the same paper prints 23.3 for this cell" in " ".join(done.stdout.split())
