"""The pages, run by Streamlit's own test harness on a database that a run has filled."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pyarrow
import pytest
import streamlit as st
from streamlit import config
from streamlit.testing.v1 import AppTest

from app import chart, curve, data, table
from results import text
from results.board import Board
from results.leaderboard import leaderboard
from results.published import published_rows, published_tables
from results.published.recording import recorded
from results.store import Store
from tests.results.factory import answers, checkpoint, response, scores, verdict, world, write
from tests.results.test_leaderboard import measured
from tests.results.wide import ASKED, COLUMNS, wide

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """An empty place for a database, which the app is told about."""
    st.cache_data.clear()
    monkeypatch.setenv("MERGEBOARD_DB", str(tmp_path / "leaderboard.duckdb"))
    listen_on("localhost")
    return Store(tmp_path / "leaderboard.duckdb")


@pytest.fixture
def filled(store: Store) -> Store:
    half = [
        ("checkpoints", checkpoint("half", "merged", at=20)),
        *measured("half", "mini_gsm", "110" * 10, 25),
    ]
    write(store, [*world(questions=30), *half])
    return store


def listen_on(address: str | None) -> None:
    """What the server's command line or configuration would set."""
    config.set_option("server.address", address)


def run(page: str = "") -> AppTest:
    app = AppTest.from_file(str(ROOT / "app" / "leaderboard.py"), default_timeout=60).run()
    if page:
        app.switch_page(f"views/{page}.py").run()
    assert not app.exception
    return app


def all_text(app: AppTest) -> str:
    kinds = (app.title, app.caption, app.markdown, app.text, app.info, app.error, app.code)
    return "\n".join(str(element.value) for kind in kinds for element in kind)


def test_no_database_says_which_command_makes_one(store: Store) -> None:
    app = run()
    assert app.title[0].value == "No results yet"
    assert "make bench METHOD=fim_ties" in all_text(app) and str(store.path) in all_text(app)
    assert not store.path.exists()


def test_a_database_without_scores_says_so_too(store: Store) -> None:
    write(store, [("runs", {"run_id": "run-1"})])
    assert "has no scores" in all_text(run())


def test_the_table_is_that_of_the_query(filled: Store) -> None:
    app = run()
    board = leaderboard(filled, "mini")
    complete, incomplete = (frame.value for frame in app.dataframe)
    assert list(complete["", "model"]) == ["○ base", "● expert", *(_name(board, rank) for rank in (1, 2, 3))]
    assert list(complete["mean of 2", "accuracy"]) == [
        row.accuracy.value for row in board.rows if row.accuracy
    ]
    assert list(incomplete["", "model"]) == ["half"]
    assert incomplete["mean of 2", "accuracy"].isna().all() and incomplete["mini_aime", "length"].isna().all()
    assert ("", "#") not in incomplete.columns
    # What sums a row up comes before the benchmarks, which are in the order of their suite; the cost is last.
    groups = list(dict.fromkeys(group for group, _ in complete.columns))
    assert groups == ["", "mean of 2", "compared", "mini_gsm", "mini_aime", "merge"]
    definitions = dict(zip(complete["", "model"], complete["merge", "definition"], strict=True))
    assert definitions["fim_ties †"] == "† reconstructed" and definitions["ties"] == "of its source"
    gains = complete["mean of 2", "accuracy"] - complete["mean of 2", "accuracy"][0]
    assert list(complete["compared", "points vs base"][1:]) == pytest.approx(list(gains[1:]))
    words = all_text(app)
    assert "n = 30, greedy, prompt plain, grader boxed@1, engine hf float32" in words
    assert "† **fim_ties** is a reconstruction: the log base is a guess" in words
    assert [metric.label for metric in app.metric] == ["Base", "Expert", f"Top merge: {board.rows[2].title}"]


def _name(board: Board, rank: int) -> str:
    return next(table.label(row) for row in board.rows if row.rank == rank)


def test_printed_numbers_are_shown_apart_and_only_where_somebody_asked_for_them(store: Store) -> None:
    rows = [("checkpoints", checkpoint("base", "base")), *measured("base", "gsm8k", "1101", 20)]
    write(store, [*rows, *measured("base", "math500", "11", 30)])
    assert not run().expander
    recorded(store)
    app = run()
    [expander] = app.expander
    assert expander.label == "Reported in papers, not measured here"
    tables = published_tables(published_rows(), ("gsm8k", "math500"))
    assert len(expander.dataframe) == len(tables) > 1
    for shown, printed in zip(expander.dataframe, tables, strict=True):
        frame = shown.value
        assert all(name.endswith(" (reported)") for name in frame["", "model"])
        assert list(frame["gsm8k", "accuracy"].dropna()) == [
            row.accuracy["gsm8k"] for row in printed.rows if "gsm8k" in row.accuracy
        ]
    assert list(app.dataframe[0].value["", "model"]) == ["○ base"], "never among measured rows"


def test_what_is_retained_is_shown_by_domain_with_its_denominators_and_flags(store: Store) -> None:
    write(store, wide())
    app = run()
    board = leaderboard(store, "mergebench")
    rates, complete, incomplete = (frame.value for frame in app.dataframe)
    assert list(rates.columns) == ["model", "mean", *ASKED, "without safety", "worst domain"]
    assert list(rates["model"]) == [table.label(row) for row in board.rows]
    shown = [row.retain.mean.value if row.retain and row.retain.mean else None for row in board.rows]
    assert [None if value != value else value for value in rates["mean"]] == shown
    last = rates.iloc[-1]  # a language is missing: so is its domain, and every mean over it
    assert last["model"] == "task_arithmetic lambda=0.4" and last["coding"] > 0
    assert last[["mean", "multilingual", "without safety", "worst domain"]].isna().all()
    assert list(complete["PRR", "mean"]) == shown[:-1] and incomplete["PRR", "mean"].isna().all()
    words = all_text(app)
    assert "**Denominators**: expert:maths (maths), expert:multilingual (multilingual)" in words
    assert "m_arc: no score (task_arithmetic lambda=0.4)" in words and "Above 110 %" in words
    assert "xstest: its denominator, " in words and "below the best constant answer, 60.0" in words
    best = next(row for row in board.rows if row.rank == 1)
    assert best.retain is not None and best.retain.mean is not None
    assert [metric.label for metric in app.metric] == ["Base", f"Top merge: {best.title}"]
    assert app.metric[1].value == f"PRR {best.retain.mean.value:.1f} %"
    assert not app.expander, "printed numbers only where somebody asked for them"


def test_parts_and_groups_are_columns_on_demand_and_are_asked_for_by_their_own_names(store: Store) -> None:
    write(store, wide())
    app = run()
    assert app.multiselect(key="choice-Benchmarks").options == [name for name, *_ in COLUMNS]
    assert ("gsm8k", "gsm8k_cot") not in app.dataframe[1].value.columns
    app.button_group(key="columns").set_value(["parts", "groups"]).run()
    frame = app.dataframe[1].value
    assert set(frame["gsm8k", "best of them"]) == {"gsm8k_cot", "gsm8k_direct"}
    best = frame["gsm8k"][["gsm8k_cot", "gsm8k_direct"]].max(axis=1)
    assert list(best) == list(frame["gsm8k", "accuracy"])
    means = frame["m_arc"][[f"m_arc_{one}" for one in ("fr", "de", "ru", "es")]].mean(axis=1)
    assert list(means) == pytest.approx(list(frame["m_arc", "accuracy"]))
    both = 24 * frame["xstest", "safe"] + 16 * frame["xstest", "unsafe"]
    assert list(both / 40) == pytest.approx(list(frame["xstest", "accuracy"]))
    app = run("responses")
    options = app.selectbox(key="responses-benchmark").options
    assert "gsm8k_cot" in options and "ifeval:loose" in options and "gsm8k" not in options
    app.selectbox(key="responses-benchmark").set_value("ifeval:loose").run()
    assert not app.exception and "Grader loose@1" in all_text(app)


def test_printed_rates_stand_beside_what_their_scores_give(store: Store) -> None:
    write(store, wide())
    recorded(store)
    [expander] = run().expander
    frame = expander.dataframe[0].value.set_index(("", "model"))
    ours = frame.loc["DRIFT-MEDIAN (reported)"]
    assert (ours["PRR", "printed"], round(ours["PRR", "from its scores"], 2)) == (87.51, 87.51)
    assert (ours["PRR maths", "printed"], round(ours["PRR maths", "from its scores"], 2)) == (85.19, 80.95)


def test_filters_and_columns(filled: Store) -> None:
    app = run()
    app.multiselect(key="choice-Methods").set_value(["ties"]).run()
    assert list(app.dataframe[0].value["", "model"]) == ["○ base", "● expert", "ties"]
    app.multiselect(key="choice-Benchmarks").set_value(["mini_aime"]).run()
    frame = app.dataframe[0].value
    assert ("mini_aime", "maj@16") in frame.columns and ("mini_gsm", "accuracy") not in frame.columns
    app.button_group(key="columns").set_value(["truncated", "n"]).run()
    names = [name for _, name in app.dataframe[0].value.columns]
    assert names == ["#", "model", "length vs expert", "accuracy", "length", "truncated", "boxed only", "n"]


def test_a_limited_row_says_of_how_many(store: Store) -> None:
    rows = [("checkpoints", checkpoint(name, kind)) for name, kind in (("base", "base"), ("ties", "merged"))]
    for name in ("base", "ties"):
        rows += measured(name, "gsm", "1101", 20, expected_n=500)
    write(store, rows)
    board = leaderboard(store, "gsm")
    shown = table.styled(board, board.rows, ())
    assert "4 of 500" in shown.to_html() and "n = 4 of 500" in all_text(run())
    widths = table.widths(shown.data)
    assert widths["", "model"] >= 8 * len("● base") and ("gsm", "accuracy") not in widths
    long = replace(board.rows[-1], name="drift_median select=above_median")
    assert table.widths(table.styled(board, [long], ()).data)["", "model"] > 200, (
        "a name without ranks beside it"
    )


def test_a_model_set_that_was_run_in_part_is_incomplete(filled: Store) -> None:
    rows = [("checkpoints", checkpoint("base", "base", model_set="another", at=30))]
    rows += [r for r in measured("base", "mini_aime", "10", 5, model_set="another") if r[0] == "scores"]
    write(filled, rows, "run-2")
    app = run()
    assert app.selectbox(key="choice-Model set").value == "another"
    assert app.multiselect(key="choice-Benchmarks").options == ["mini_gsm", "mini_aime"]
    (incomplete,) = (frame.value for frame in app.dataframe)
    assert list(incomplete["", "model"]) == ["○ base"] and incomplete["mini_gsm", "accuracy"].isna().all()


def test_the_card_of_an_expert_says_expert_once(store: Store) -> None:
    rows = [("checkpoints", checkpoint("expert", "expert", name="expert:long"))]
    write(store, [*rows, *measured("expert", "gsm", "1101", 20)])
    assert [metric.label for metric in run().metric] == ["Expert: long"]


def test_the_chart_has_every_point_and_the_front(filled: Store) -> None:
    app = run("tradeoff")
    words = all_text(app)
    assert "Accuracy against length" in words and "Not shown, because a score is missing: half." in words
    assert "Pareto front (base, expert, fim_ties †" in words
    assert "† **fim_ties** is a reconstruction: the log base is a guess" in words
    (drawn,) = app.get("vega_lite_chart")
    assert all(word in drawn.proto.spec for word in ("length_low", "accuracy_high", "Pareto"))
    app.button_group(key="tradeoff-benchmark").set_value("mini_gsm").run()
    app.selectbox(key="tradeoff-bars").set_value("none").run()
    app.toggle(key="tradeoff-log").set_value(True).run()
    assert not app.exception
    (drawn,) = app.get("vega_lite_chart")
    assert "length_low:Q" not in drawn.proto.spec and '"log"' in drawn.proto.spec


def test_the_points_of_the_chart(filled: Store) -> None:
    points = chart.points_of(leaderboard(filled, "mini"), None)
    drawn = {
        v["model"]: v["definition"]
        for v in chart.tradeoff(points, errors=0, log=False).to_dict()["data"]["values"]
    }
    assert drawn["fim_ties †"] == "reconstructed" and drawn["ties"] == "of its source"
    assert {point.row.name for point in points} == {"base", "expert", "fim_ties", "task_arithmetic", "ties"}
    spec = chart.tradeoff(points, errors=1.96, log=False).to_dict()
    values = {value["model"]: value for value in spec["data"]["values"]}
    base, row = values["base"], points[0].row
    assert row.accuracy is not None and row.accuracy.stderr is not None
    assert base["accuracy_high"] == pytest.approx(100 * (row.accuracy.value + 1.96 * row.accuracy.stderr))
    assert base["n"] == "mini_gsm 30, mini_aime 30"
    assert [value["front"] for value in values.values()] == chart.front(points)


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("good", ["0" * 20, "1" * 20, "0" * 19 + "1"])
def test_the_axes_end_where_the_numbers_end(store: Store, good: str, log: bool) -> None:
    rows = [("checkpoints", checkpoint("base", "base")), *measured("base", "gsm", good, 3)]
    write(store, rows)
    points = chart.points_of(leaderboard(store, "gsm"), None)
    spec = chart.tradeoff(points, errors=1.96, log=log).to_dict()
    axes = spec["layer"][0]["encoding"]
    (low, high), (short, long) = axes["y"]["scale"]["domain"], axes["x"]["scale"]["domain"]
    assert 0 <= low < high <= 100 and 0 <= short < 3 < long and axes["y"]["scale"]["nice"] is False
    (value,) = spec["data"]["values"]
    assert low <= value["accuracy_low"] < value["accuracy_high"] <= high


def test_a_model_that_never_says_anything_has_its_place_on_both_axes(store: Store) -> None:
    """A mean length of 0 has no logarithm: there it stands at a tenth of a token, and everywhere else at 0."""
    silent = [("checkpoints", checkpoint("base", "base")), *measured("base", "gsm", "0" * 20, 0)]
    said = [("checkpoints", checkpoint("expert", "expert")), *measured("expert", "gsm", "1" * 20, 30)]
    write(store, [*silent, *said])
    app = run("tradeoff")
    app.toggle(key="tradeoff-log").set_value(True).run()
    assert not app.exception
    points = chart.points_of(leaderboard(store, "gsm"), None)
    for log, place in ((True, 0.1), (False, 0.0)):
        spec = chart.tradeoff(points, errors=1.96, log=log).to_dict()
        first, _ = sorted(spec["data"]["values"], key=lambda value: value["length"])
        assert first["length"] == first["length_low"] == first["length_high"] == place
        low, high = spec["layer"][0]["encoding"]["x"]["scale"]["domain"]
        assert low <= place < 30 < high and (low > 0 or not log)


def test_numbers_in_the_table_are_numbers(filled: Store) -> None:
    board = leaderboard(filled, "mini")
    styled = table.styled(board, board.rows, table.OPTIONS)
    kinds = {str(kind) for kind in pyarrow.Table.from_pandas(styled.data).schema.types}
    assert kinds == {"double", "string"}
    html = styled.to_html()
    first = board.rows[2]
    assert text.percent(first.accuracy) in html and "font-weight: bold" in html


def test_responses_can_be_filtered_and_paged(filled: Store) -> None:
    app = run("responses")
    app.selectbox(key="responses-model").select("ties").run()
    app.selectbox(key="responses-benchmark").set_value("mini_aime").run()
    assert app.selectbox(key="responses-draw").options == ["greedy", "vote"]
    app.selectbox(key="responses-draw").set_value("vote").run()
    assert len(app.code) == 10 and "mini_aime-0 · sample 0" in all_text(app)
    app.number_input[0].set_value(2).run()
    assert "mini_aime-0 · sample 10" in all_text(app)
    app.button_group(key="responses-outcome").set_value("no answer").run()
    words = all_text(app)
    assert "no boxed answer was found" in words and "3+1=" in words and app.number_input[0].value == 1
    assert not app.exception


def test_a_reconstruction_is_named_beside_its_responses(filled: Store) -> None:
    app = run("responses")
    assert "is a reconstruction" not in all_text(app)
    app.selectbox(key="responses-model").select("fim_ties †").run()
    assert "† **fim_ties** is a reconstruction" in all_text(app)


def test_labels_have_no_length_on_any_page(store: Store) -> None:
    label = {"n_generated": None, "budget": None, "finish_reason": "label", "text": "good"}
    rows = [("checkpoints", checkpoint("base", "base"))]
    for at, name in enumerate(("mood", "topic", "third")):
        rows.append(("checkpoints", checkpoint(name, "expert", name=f"expert:{name}", at=at)))
    for name in ("base", "mood", "topic", "third"):
        for benchmark in ("a", "b"):
            rows += measured(name, benchmark, "1100" if name == "base" else "1110", None, **label)
    write(store, rows)
    app = run()
    (frame,) = (frame.value for frame in app.dataframe)
    assert {name for _, name in frame.columns} == {
        "model",
        "accuracy",
        "points vs base",
        "p vs base",
        "time",
        "memory",
    }
    assert [metric.label for metric in app.metric] == [
        "Base",
        "Expert: mood",
        "Expert: third",
        "Expert: topic",
    ]
    assert all(metric.delta == "" for metric in app.metric)
    assert not {"truncated", "no answer", "length spread"} & set(app.button_group(key="columns").options)
    assert "such answers have no length to trade" in all_text(run("tradeoff"))
    words = all_text(run("responses"))
    assert "a label was chosen" in words and "The most probable label" in words and "None" not in words


def test_what_was_generated_is_held_against_the_budget(store: Store) -> None:
    rows = [("checkpoints", checkpoint("base", "base")), *measured("base", "gsm", "1", 257, n_generated=256)]
    write(store, rows)
    assert "257 tokens, 256 generated of at most 256" in all_text(run("responses"))


def test_what_a_reasoning_model_thought_is_counted(store: Store) -> None:
    said = {"n_generated": 20, "n_think_tokens": 15, "n_reflections": 2}
    write(store, [("checkpoints", checkpoint("base", "base")), *measured("base", "gsm", "1", 20, **said)])
    assert "20 tokens, 15 in the think block, 2 reflection keywords, 20 generated" in all_text(
        run("responses")
    )


def test_nothing_that_a_model_wrote_is_markup(store: Store) -> None:
    hostile = "<script>alert(1)</script> $x$ **bold** [a](http://example.org) :material/home:"
    rows = [("checkpoints", checkpoint("base", "base")), *measured("base", "gsm", "10", 5)]
    answer = response("base", "gsm", 5) | {"text": hostile, "question": hostile, "target": hostile}
    rows += [("responses", answer), ("verdicts", verdict(answer, False, extracted=hostile, why=hostile))]
    write(store, rows)
    app = run("responses")
    assert hostile in [element.value for element in app.code]
    assert [element.value for element in app.text].count(hostile) == 3
    assert not any("script" in str(element.value) for kind in (app.markdown, app.caption) for element in kind)


def test_new_rows_are_seen_and_the_file_is_left_alone(filled: Store) -> None:
    before = len(run().dataframe[0].value)
    new = [("checkpoints", checkpoint("new", "merged", at=50))]
    new += [*measured("new", "mini_gsm", "1" * 30, 9), *measured("new", "mini_aime", "1" * 30, 9)]
    write(filled, new, "run-2")  # would fail if a page had kept the file open
    assert len(run().dataframe[0].value) == before + 1


HOLDER = (
    "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print('open', flush=True); sys.stdin.readline()"
)


def test_a_database_in_use_is_said_and_can_be_tried_again(
    filled: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data, "WAIT_SECONDS", 0.2)
    command = [sys.executable, "-c", HOLDER, str(filled.path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "open\n"
        app = run()
        assert f"process {holder.pid}" in app.error[0].value and app.button[0].label == "Try again"
        holder.communicate("\n")
    app.button[0].click().run()
    assert len(app.dataframe) == 2


def test_a_damaged_database_is_said(store: Store) -> None:
    store.path.write_bytes(b"not a database" * 1000)
    assert "is not a DuckDB database" in run().error[0].value


@pytest.mark.parametrize("address", [None, "", "0.0.0.0", "192.168.1.7"])
def test_a_server_that_others_can_reach_shows_nothing(filled: Store, address: str | None) -> None:
    listen_on(address)
    app = run()
    assert "make leaderboard" in app.error[0].value and not app.dataframe and not app.selectbox


def test_the_curve_of_votes(filled: Store) -> None:
    app = run("votes")
    words = all_text(app)
    assert "Self-consistency" in words and "resample questions, then" in words
    assert app.selectbox(key="votes-benchmark").options == ["mini_aime"]
    app.selectbox(key="votes-against").set_value("tokens per problem").run()
    assert not app.exception
    board = leaderboard(filled, "mini")
    lines = curve.lines_of(board, "mini_aime", ["robust", "toolkit"])
    assert len(lines) == 2 * 5 and [point.n for point in lines[0].points] == [1, 8, 16]
    made = curve.chart(lines, against=curve.COST).to_dict()
    values = made["layer"][0]["data"]["values"] if "data" in made["layer"][0] else made["data"]["values"]
    first = next(v for v in values if v["n"] == 8)
    cell = board.rows[0].cells["mini_aime"]
    assert cell is not None and first["accuracy"] == pytest.approx(100 * cell.votes[8].value)
    assert first["low"] <= first["accuracy"] <= first["high"]


def test_nothing_to_vote_on_is_said(store: Store) -> None:
    write(store, [("checkpoints", checkpoint("base", "base")), *measured("base", "gsm", "10", 5)])
    assert "nothing to vote on" in all_text(run("votes"))


def test_the_choice_of_a_grader(store: Store) -> None:
    rows: list = [("checkpoints", checkpoint("base", "base"))]
    responses, verdicts = answers("base", "gsm", [True, True, False, False])
    other = [row | {"grader": "exact", "correct": q == 0} for q, row in enumerate(verdicts)]
    rows += [("responses", row) for row in responses]
    rows += [("scores", r) for r in scores((responses, verdicts), expected_n=4, others={"exact": other})]
    rows += [
        ("scores", r)
        for r in scores((responses, other), expected_n=4, others={"boxed": verdicts}, first=False)
    ]
    write(store, rows)
    app = run()
    assert "verdicts that flip under exact: gsm 1 of 4" in all_text(app)
    assert app.dataframe[0].value["gsm", "accuracy"][0] == 0.5
    app.selectbox(key="choice-Grader").set_value("exact").run()
    assert app.dataframe[0].value["gsm", "accuracy"][0] == 0.25 and "**Grader** exact@1" in all_text(app)


def test_one_grader_is_no_choice(filled: Store) -> None:
    assert "choice-Grader" not in [box.key for box in run().selectbox]
