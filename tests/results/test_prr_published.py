"""The papers' own tables through our arithmetic: what they print agrees, but for the cells that contradict
themselves."""

from __future__ import annotations

import pytest

from results.published import published_rows, published_tables
from results.published.retained import PAPER, Claim, claims, contradictions, recomputed

SETS = {"Tables 2, 7 and 8": "8B", "Tables 3, 9 and 10": "3B"}
MERGEBENCH = (
    "gsm8k", "minerva", "m_mmlu", "m_arc", "m_hellaswag", "ifeval_strict", "ifeval_loose", "humaneval_plus",
    "mbpp_plus", "wildguardtest", "harmbench", "dan", "xstest",
)  # fmt: skip
EIGHT_ROWS = (
    "Model Averaging (excl. embed)", "Model Averaging (incl. embed)", "Task Arithmetic", "TIES", "DARE",
    "Fisher Merging", "Localize & Stitch", "DRIFT-MEDIAN",
)  # fmt: skip
ABLATION = (
    "With Top-K, Sign Resolution and Median", "w/o Sign Resolution", "Mean instead of Median", "w/o Top-K",
    "w/o Scaling",
)  # fmt: skip
OWN, QUOTED = "Fine-tuned Models (own)", "Fine-tuned Models (quoted)"


@pytest.fixture(scope="module")
def found() -> list[Claim]:
    return claims(published_rows())


def key(claim: Claim) -> tuple[str, str, str, str]:
    return claim.source.removeprefix(f"{PAPER}, "), claim.method, claim.metric, claim.of


def test_exactly_the_known_cells_do_not_agree(found: list[Claim]) -> None:
    eight = "Tables 2, 7 and 8"
    known = {
        *((eight, row, "PRR:maths", "Skyline(s)") for row in EIGHT_ROWS),
        (eight, "Model Averaging (excl. embed)", "PRR:coding", "Skyline(s)"),
        *((eight, row, "PRR", "its printed domains") for row in EIGHT_ROWS if row != "Localize & Stitch"),
        ("Tables 3, 9 and 10", "Task Arithmetic", "PRR:maths", "Skyline(s)"),
        ("Table 4", "DRIFT-MEDIAN", "PRR", QUOTED),
        *(
            ("Table 4", row, "PRR", OWN)
            for row in ("Model Averaging", "Task Arithmetic", "TIES", "PCB-Merging")
        ),
        *(("Table 6", row, "PRR", "its printed domains") for row in ABLATION),
    }
    wrong = contradictions(found)
    assert {key(claim) for claim in wrong} == known
    assert all(claim.note for claim in wrong), "a contradiction is explained where it is printed"
    assert {claim.tolerance for claim in found if "Table 1" not in claim.source} == {0.015}


def test_every_printed_mean_rate_agrees_with_some_denominators(found: list[Claim]) -> None:
    """8 + 8 rows of MergeBench models, 6 of GPT-2, 5 of Llama-2, 5 + 3 of CLIP."""
    reproduced = {
        key(c)[:2] for c in found if c.metric == "PRR" and c.agrees and c.of != "its printed domains"
    }
    printed = {key(c)[:2] for c in found if c.metric == "PRR" and key(c)[0] != "Table 6"}
    assert reproduced == printed and len(printed) == 35


def test_the_domains_of_the_8b_table_as_somebody_else_computed_them(found: list[Claim]) -> None:
    """Maths and coding of Table 2 from Tables 7 and 8, computed by hand from the printed scores."""
    by = {key(claim)[:3]: claim.recomputed for claim in found if claim.of == "Skyline(s)"}
    values = {
        "Model Averaging (excl. embed)": (88.83, 89.67, 78.84),
        "Task Arithmetic": (95.89, 90.92, 82.85),
        "Fisher Merging": (81.81, 87.37, 83.07),
        "DRIFT-MEDIAN": (80.95, 94.45, 87.51),
    }
    for method, numbers in values.items():
        for metric, number in zip(("PRR:maths", "PRR:coding", "PRR"), numbers, strict=True):
            assert by["Tables 2, 7 and 8", method, metric] == pytest.approx(number, abs=0.0051)
    assert by["Tables 2, 7 and 8", "DRIFT-MEDIAN", "PRR:safety"] == pytest.approx(101.47, abs=0.0051)


def test_a_scores_error_of_print_is_noticed() -> None:
    """0.3 points in one score of one row: its domain and its mean no longer agree, and nothing else changes."""
    rows = [dict(row) for row in published_rows()]
    (cell,) = (
        row for row in rows
        if row["method"] == "DARE" and row["benchmark"] == "m_arc" and "Tables 3" in row["source"]
    )  # fmt: skip
    before = {key(claim) for claim in contradictions(claims(rows))}
    cell["value"] = str(float(cell["value"]) - 0.3)
    after = {key(claim) for claim in contradictions(claims(rows))}
    three = "Tables 3, 9 and 10"
    new = {(three, "DARE", metric, "Skyline(s)") for metric in ("PRR:multilingual", "PRR")}
    assert after - before == new and before <= after


def test_printed_tables_are_whole_and_belong_to_one_suite() -> None:
    rows = published_rows()
    shown = published_tables(rows, MERGEBENCH)
    assert [table.source for table in shown] == [f"{PAPER}, {name}" for name in SETS]
    for table in shown:
        assert len(table.rows) == 10 and all(set(row.accuracy) == set(MERGEBENCH) for row in table.rows)
        rated = [row for row in table.rows if row.printed]
        assert [row.method for row in rated] == list(EIGHT_ROWS)
        assert all(len(row.printed) == 6 for row in rated)
    assert len(published_tables(rows, ("cmmlu", "gsm8k", "humaneval"))) == 1
    l2s = ("gsm8k", "math500", "minerva_ocw", "olympiadbench", "college_math", "aime24")
    assert not any(PAPER in table.source for table in published_tables(rows, l2s))


def test_retain_rates_of_printed_rows_say_their_denominators_and_flags() -> None:
    rates = recomputed(published_rows())
    assert [one.denominators for one in rates if "Table 4" in one.source] == [QUOTED, OWN]
    own = next(one for one in rates if one.denominators == OWN).rates["DRIFT-MEDIAN"]
    assert [round(d.estimate.value, 1) for d in own.domains if d.estimate] == [101.7, 68.2, 118.2]
    assert own.flags == ("humaneval: 118.2 is above 110",)
    assert own.worst is not None and own.worst[0] == "gsm8k" and own.without_safety is None
    assert "Skyline(s)" not in rates[1].rates and "Base Model" in rates[1].rates
