"""Printed numbers: what the files hold, and that means of printed rows are formed as those of measured ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from results.published import (
    MEAN,
    PublishedTable,
    expert_of,
    means,
    published_rows,
    published_tables,
    recording,
)
from results.published.recording import recorded, stored
from results.published.retained import PAPER
from results.schema import PUBLISHED
from results.store import Store
from tests.results.factory import write

SIX = ("gsm8k", "math500", "minerva_ocw", "olympiadbench", "college_math", "aime24")


def tables() -> dict[str, PublishedTable]:
    return {
        table.source.split("), ")[0].split(" (")[0] + table.source[-1]: table
        for table in published_tables(published_rows(), SIX)
    }


def test_every_row_is_one_of_the_table_published() -> None:
    rows = published_rows()
    columns = {field.name for field in PUBLISHED.fields}
    keys = [tuple(row[name] for name in PUBLISHED.key) for row in rows]
    assert len(rows) > 300 and len(set(keys)) == len(keys)
    assert all(set(row) <= columns and isinstance(float(row["value"]), float) for row in rows)
    assert {row["benchmark"] for row in rows if PAPER not in row["source"]} == {*SIX, MEAN}


@pytest.mark.parametrize(
    ("method", "printed"),
    [
        ("Task Arithmetic", -48.7),
        ("TIES-Merging", -53.0),
        ("DARE", -30.6),
        ("AIM-TIES", -55.3),
        ("Sens-Merging", -49.8),
    ],
)
def test_the_change_of_length_is_the_mean_of_ratios_that_the_study_prints(
    method: str, printed: float
) -> None:
    table = tables()["L2S merging study1"]
    row = next(row for row in table.rows if row.method == method)
    change = means(row, expert_of(table), SIX).change
    assert change is not None and 100 * change == pytest.approx(printed, abs=0.05)
    assert row.printed["length_change"] == printed


def test_means_of_printed_accuracies_are_unweighted_and_need_all_benchmarks() -> None:
    table = tables()["FIM-Merging2"]
    row = next(row for row in table.rows if row.method == "FIM-TIES")
    found = means(row, expert_of(table), SIX)
    assert found.accuracy == pytest.approx(47.35) and row.printed["accuracy"] == 47.3
    assert found.length == 411 and found.change is None  # lengths by benchmark are not printed
    assert any("cut off, not rounded" in note for note in row.notes)
    short = tables()["L2S merging study2"]
    assert means(short.rows[0], short.rows[1], SIX).accuracy is None


def test_the_cell_that_is_printed_twice_says_so_both_times() -> None:
    notes = [
        row["note"]
        for row in published_rows()
        if row["value"] in ("26.7", "23.3") and row["method"] == "FIM-TIES"
    ]
    assert any("23.3" in note for note in notes) and any("26.7" in note for note in notes)


def test_a_suite_that_no_paper_has_measured_has_none() -> None:
    assert published_tables(published_rows(), ("mini_gsm", "mini_math")) == ()
    one = published_tables(published_rows(), ("gsm8k",))
    assert {b for table in one for row in table.rows for b in row.accuracy} == {"gsm8k"}


def test_the_database_holds_what_the_files_print_once_and_in_their_order(tmp_path: Path) -> None:
    store = Store(tmp_path / "leaderboard.duckdb")
    assert stored(store) == [] and not store.path.exists()
    rows = recorded(store)
    printed = published_rows()
    assert [[row[name] for name in PUBLISHED.key] for row in rows] == [
        [row[name] for name in PUBLISHED.key] for row in printed
    ]
    assert [row["value"] for row in rows] == [float(row["value"]) for row in printed]
    assert published_tables(rows, SIX) == published_tables(printed, SIX)
    assert recorded(store) == stored(store) == rows
    assert store.rows("SELECT count(*) AS n FROM published") == [{"n": len(printed)}]
    assert store.rows("SELECT DISTINCT run_id[:10] AS run FROM published") == [{"run": "published-"}]


def test_a_corrected_number_supersedes_keeps_its_place_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path / "leaderboard.duckdb")
    printed = published_rows()
    recorded(store)
    corrected = [dict(row) for row in printed]
    corrected[3]["value"] = "12.5"
    dropped = corrected.pop(7)
    monkeypatch.setattr(recording, "published_rows", lambda: corrected)
    rows = recorded(store)
    assert [row["value"] for row in rows] == [float(row["value"]) for row in corrected]
    key = ("source", "method", "benchmark", "metric")
    history = store.rows(
        f"SELECT value, note FROM published WHERE {' AND '.join(f'{name} = ?' for name in key)} ORDER BY rowid",
        [dropped[name] for name in key],
    )
    assert [row["value"] for row in history] == [float(dropped["value"]), None]
    assert "withdrawn" in history[1]["note"]
    monkeypatch.setattr(recording, "published_rows", lambda: printed)
    assert [row["value"] for row in recorded(store)] == [float(row["value"]) for row in printed]


def test_numbers_of_other_papers_are_left_alone(tmp_path: Path) -> None:
    store = Store(tmp_path / "leaderboard.duckdb")
    other = {
        "source": "another paper",
        "model_set": "m",
        "method": "x",
        "benchmark": "gsm8k",
        "metric": "accuracy",
    }
    write(store, [("published", {**other, "value": 1.0})])
    rows = recorded(store)
    assert rows[0]["source"] == "another paper" and len(rows) == len(published_rows()) + 1
