"""Published experiments: what their files say, and a real run that is compared number by number."""

from __future__ import annotations

import json
import shutil
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from bench.acceptance import ITEMS, Acceptance, Printed, acceptance, acceptance_names, compare
from bench.choice import settings_of
from bench.cli import app
from bench.config import CONFIGS, model_set
from bench.errors import BadInput, CheckFailed
from bench.recipe import build_method
from bench.road import board_of
from results.board import Board
from results.store import Store
from tasks.catalogue import resolve
from tasks.glue.suite import COLA, MNLI, MRPC, QNLI, QQP, RTE, SST2
from tests.bench import classifiers

N = 20
DRAFT: dict[str, Any] = {
    "source": "nobody", "suite": "mini_glue", "models": "mini_glue", "methods": ["average"], "allow": "items",
    "limit": N, "accuracy": {"base": {"mini_sentiment": "1/20"}},
}  # fmt: skip


def write(folder: Path, **other: Any) -> str:
    file = folder / "draft.yaml"
    file.write_text(yaml.safe_dump({**DRAFT, **other}))
    return str(file)


def draft(folder: Path, **other: Any) -> Acceptance:
    return acceptance(write(folder, **other))


@pytest.mark.parametrize("name", acceptance_names())
def test_every_file_names_what_there_is(name: str) -> None:
    found = acceptance(name)
    assert found.limit is None and resolve(found.suite).name == found.suite
    assert model_set(found.models).experts
    for text in found.methods:
        method, settings = settings_of(text, dict(found.settings), found.suite)
        build_method(method, settings)
        assert "@" in text or method == "average", "a published parameter is named, not left to a default"


def test_counts_are_the_published_shares() -> None:
    """The shares that FusionBench prints for GPT-2 at lambda = 0 and 0.5, six digits each."""
    zero = acceptance("glue").accuracy["base"]
    shares = {
        "cola": 0.308725, "mnli": 0.330107, "mrpc": 0.313725, "qnli": 0.491671, "qqp": 0.631660,
        "rte": 0.527076, "sst2": 0.509174,
    }  # fmt: skip
    assert {b: round(float(Fraction(zero[b])), 6) for b in shares} == shares
    for name, row, mean in (
        ("glue", "base", 44.4591),
        ("glue", "task_arithmetic", 70.0163),
        ("clip", "task_arithmetic", 68.0),
    ):
        numbers = dict(acceptance(name).accuracy[row])
        half = Printed.of(numbers["mean"]).half
        assert numbers.pop("mean") == str(mean)
        parts = [100 * float(Fraction(text)) for text in numbers.values()]
        assert sum(parts) / len(parts) == pytest.approx(mean, abs=half + 1e-9)
    sizes = {benchmark.name: benchmark.sizes for benchmark in resolve("clip").benchmarks}
    for benchmark, text in acceptance("clip").accuracy["average"].items():
        assert sizes[benchmark] and Printed.of(text).of_items == sizes[benchmark]["test"]


def test_numbers_as_printed() -> None:
    assert Printed.of("322/1043") == Printed(100 * 322 / 1043, 0.0, 322, 1043)
    assert Printed.of("76.8").half == pytest.approx(0.05) and Printed.of("80").half == 0.5
    assert (Printed.of("76.80").value, Printed.of("76.80").of_items) == (76.8, None)
    for wrong in ("7/0", "8/7", "a/7", "76,8", "-3", "", "7/", "1e3"):
        with pytest.raises(ValueError, match="RIGHT/ITEMS"):
            Printed.of(wrong)


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"accuracy": {"base": {"mini_sentimen": "1/20"}}}, "Did you mean 'mini_sentiment'"),
        ({"accuracy": {"expert:sentimen": {"mini_sentiment": "1/20"}}}, "Did you mean 'expert:sentiment'"),
        ({"accuracy": {"ties": {"mini_sentiment": "1/20"}}}, "row of .*draft.yaml 'ties'"),
        ({"accuracy": {"base": {"mini_sentiment": "21/20"}}}, "base on mini_sentiment: '21/20' is not RIGHT/ITEMS"),
        ({"accuracy": {"base": {"mini_sentiment": 61.5}}}, "valid string"),
        ({"methods": ["ties", "ties@clip"]}, "stands twice"),
        ({"allow": "nothing"}, "'items' or 'errors'"),
        ({"tolerance": 3}, "tolerance"),
    ],
)  # fmt: skip
def test_files_that_cannot_be_meant(other: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=said):
        draft(tmp_path, **other)


def test_what_it_says_itself_cannot_be_said_again(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="Did you mean 'glue'"):
        acceptance("glu")
    for option in (("--limit", "3"), ("--set", "lambda=1"), ("--split", "train"), ("--prompt-mode", "x")):
        done = CliRunner().invoke(app, ["run", "--acceptance", write(tmp_path), *option])
        assert isinstance(done.exception, BadInput) and "leave out every option" in str(done.exception)


def run(file: str, folder: Path) -> Any:
    return CliRunner().invoke(app, ["run", "--acceptance", file, "--runs", str(folder / "runs"), "--json"])


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """A run of everything that the other tests compare with."""
    folder = tmp_path_factory.mktemp("acceptance")
    return folder, run(write(folder), folder)


def right(store: Store, name: str) -> dict[str, int]:
    """Right answers by benchmark, counted from the verdicts."""
    rows = store.rows(
        "SELECT r.benchmark, count(*) FILTER (WHERE v.correct) AS k, count(*) AS n FROM responses r "
        "JOIN verdicts v USING (response_id) JOIN checkpoints c ON c.checkpoint = r.checkpoint "
        f"WHERE c.name = '{name}' GROUP BY r.benchmark"
    )
    assert {row["n"] for row in rows} == {N}
    return {row["benchmark"]: row["k"] for row in rows}


def test_a_real_run_reaches_its_own_counts_and_no_others(first: tuple[Path, Any]) -> None:
    """The counts come from the stored verdicts, one by one; two items may differ and three may not."""
    folder, done = first
    assert isinstance(done.exception, CheckFailed) and "base on mini_sentiment" in str(done.exception)
    assert "1 of 1 numbers of nobody are not reached" in str(done.exception)
    assert [check["passed"] for check in json.loads(done.stdout)["acceptance"]] == [False]
    store = Store(folder / "runs" / "leaderboard.duckdb")
    rows = {name: right(store, name) for name in ("base", "expert:sentiment", "average")}
    mean = 100 * sum(rows["base"].values()) / N / len(rows["base"])
    numbers = {name: {b: f"{k}/{N}" for b, k in counts.items()} for name, counts in rows.items()}
    numbers["base"]["mean"] = f"{mean:.4f}"
    again = run(write(folder, accuracy=numbers), folder)
    assert again.exit_code == 0, again.exception
    checks = json.loads(again.stdout)["acceptance"]
    assert len(checks) == 3 * len(rows["base"]) + 1 and all(check["passed"] for check in checks)
    assert all(check["measured"] == check["published"] for check in checks if "/" in check["published"])
    assert all(abs(check["difference"]) < 1e-4 for check in checks)


def the_board(folder: Path) -> tuple[Board, list[str]]:
    board = board_of(folder / "runs" / "leaderboard.duckdb", "mini_glue", split="test", model_set=None)
    return board, [row.checkpoint for row in board.rows]


def off_by(count: int, items: int, folder: Path) -> bool:
    board, checkpoints = the_board(folder)
    other = count - items if count >= items else count + items
    found = draft(folder, accuracy={"base": {"mini_sentiment": f"{other}/{N}"}})
    (check,) = compare(found, board, checkpoints)
    assert check.allowed == pytest.approx(100 * ITEMS / N)
    return check.passed


def test_what_may_differ(first: tuple[Path, Any]) -> None:
    folder, _ = first
    board, checkpoints = the_board(folder)
    count = right(Store(folder / "runs" / "leaderboard.duckdb"), "base")["mini_sentiment"]
    assert [off_by(count, items, folder) for items in (0, 2, 3)] == [True, True, False]

    def checked(text: str, row: str = "base", **other: Any) -> Any:
        found = draft(folder, accuracy={row: {"mini_sentiment": text}}, **other)
        return compare(found, board, checkpoints)[0]

    # Two standard errors of 20 answers at 0.5: 2 * sqrt(0.25 / 20) = 22.36 points, and half of the last digit.
    errors = checked("50.0", allow="errors")
    assert errors.allowed == pytest.approx(22.3607 + 0.05, abs=1e-3)
    assert errors.passed == (abs(100 * count / N - 50) <= errors.allowed)
    assert checked(f"{100 * count / N + 10.04:.2f}").passed is False
    assert checked(f"{100 * count / N:.1f}", limit=None).why == "asked only in part: 20 of 500"
    assert checked(f"{2 * count}/{2 * N}").why == f"{N} items here, {2 * N} published"
    missing = compare(
        draft(folder, accuracy={"average": {"mini_sentiment": "1/20"}}), board, checkpoints[:1]
    )[0]
    assert missing.why == "no score" and not missing.passed
    length = draft(folder, length={"base": {"mini_sentiment": "12.0"}})
    assert [check.why for check in compare(length, board, checkpoints)][1:] == ["no score"], (
        "labels have no length"
    )


def small_glue(folder: Path) -> tuple[Path, Path]:
    """Configs whose GPT-2 models are tiny, laid out as FusionBench's are, and three rows of every task."""
    configs, data = folder / "configs", folder / "data"
    shutil.copytree(CONFIGS, configs)
    experts = {}
    for seed, task in enumerate((COLA, MNLI, MRPC, QNLI, QQP, RTE, SST2), start=1):
        experts[task.name] = str(classifiers.write_numbered(folder / task.name, len(task.labels), seed))
        rows = [{**dict.fromkeys(task.fields, f"word {i}"), "label": i % 2} for i in range(3)]
        (data / task.name).mkdir(parents=True)
        (data / task.name / "test.jsonl").write_text("\n".join(map(json.dumps, rows)))
    models = {"base": str(classifiers.write_base(folder / "base")), "experts": experts}
    (configs / "models" / "gpt2-glue.yaml").write_text(yaml.safe_dump(models))
    return configs, data


def test_the_gpt2_anchors_find_every_row_and_say_that_items_are_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configs, data = small_glue(tmp_path)
    monkeypatch.setattr("bench.config.CONFIGS", configs)
    words = [
        "run",
        "--acceptance",
        "glue",
        "--data-dir",
        str(data),
        "--runs",
        str(tmp_path / "runs"),
        "--json",
    ]
    done = CliRunner().invoke(app, words)
    assert isinstance(done.exception, CheckFailed), done.exception
    checks = json.loads(done.stdout)["acceptance"]
    assert len(checks) == 10 * 7 + 2 and all(check["measured"] is not None for check in checks)
    assert all(check["why"].startswith("asked only in part: 3 of ") for check in checks)
