"""`bench prr`: rates of a table from anywhere, what it refuses to divide, and the papers' own tables."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.errors import BadInput
from bench.prr import rates_of
from bench.prr_tables import rates_table
from bench.show import printer
from results.published import MEAN, published_rows, published_tables
from results.published.retained import DOMAINS, PAPER
from results.statistics import Estimate, proportion
from tasks.catalogue import resolve
from tests.bench.command import bench, bench_json

HEADER = "method,domain,benchmark,value,expert_value"
SMALL = (
    "ours,Maths,gsm8k,40,80",
    "ours,Maths,minerva,30,30",
    "ours,Safety,xstest,60,50",
    "dare,Maths,gsm8k,20,80",
    "dare,Maths,minerva,15,30",
    "dare,Safety,xstest,,50",
)


def write(folder: Path, *lines: str, header: str = HEADER) -> Path:
    file = folder / "scores.csv"
    file.write_text("\n".join((header, *lines)) + "\n")
    return file


def of(estimate: Estimate | None) -> float:
    assert estimate is not None
    return estimate.value


def test_domains_first_and_what_is_missing_stays_missing(tmp_path: Path) -> None:
    found = rates_of(write(tmp_path, *SMALL))
    ours, dare = found.rates["ours"], found.rates["dare"]
    assert [(d.domain, of(d.estimate)) for d in ours.domains] == [("maths", 75), ("safety", 120)]
    assert (of(ours.mean), of(ours.without_safety)) == (97.5, 75) and ours.flags == (
        "xstest: 120.0 is above 110",
    )
    assert (
        dare.mean is None and of(dare.domains[0].estimate) == 37.5 and dare.missing == ("xstest: no score",)
    )
    without_line = rates_of(write(tmp_path, *SMALL[:5]))
    assert without_line.rates["dare"] == dare, "no line is no score"


def test_percent_and_fractions_alike(tmp_path: Path) -> None:
    percent = rates_of(write(tmp_path, *SMALL))
    fractions = ("ours,maths,gsm8k,0.40,0.80", "ours,maths,minerva,0.3,0.3", "ours,safety,xstest,0.6,0.5")
    other = rates_of(write(tmp_path, *fractions, header=HEADER.replace("expert_value", "expert")))
    assert other.rates["ours"].mean == percent.rates["ours"].mean
    assert other.rates["ours"].score == percent.rates["ours"].score


def test_errors_from_the_number_of_items_are_those_of_scores(tmp_path: Path) -> None:
    header = HEADER + ",n,constant,denominator,seed"
    file = write(tmp_path, "ours,maths,gsm8k,30,60,50,65,quoted,1", header=header)
    found = rates_of(file)
    merged, expert = proportion([1] * 15 + [0] * 35), proportion([1] * 30 + [0] * 20)
    assert merged and expert and merged.stderr and expert.stderr
    by_hand = 100 * (merged.stderr**2 + 0.25 * expert.stderr**2) ** 0.5 / 0.6
    mean = found.rates["ours"].mean
    assert mean is not None and mean.stderr == pytest.approx(by_hand)
    assert found.rates["ours"].flags == (
        "gsm8k: its denominator, 60.0, is below the best constant answer, 65.0",
    )
    assert found.marks == ("denominators quoted, not measured with the scores: gsm8k",)
    assert found.unread == ("seed",)


def test_two_denominators_are_refused_and_marked_where_asked_for(tmp_path: Path) -> None:
    """Table 4 of the paper: its own row was divided by other experts than the rest."""
    lines = ("pcb,maths,gsm8k,59.9,65.6", "ours,maths,gsm8k,42.2,61.9")
    with pytest.raises(BadInput, match=r"65.6 on gsm8k in line 2 and 61.9 in line 3.*--mixed"):
        rates_of(write(tmp_path, *lines))
    found = rates_of(write(tmp_path, *lines), mixed=True)
    assert of(found.rates["ours"].mean) == pytest.approx(100 * 42.2 / 61.9)
    assert found.marks == ("gsm8k: rows have different denominators (65.6, 61.9): they cannot be compared",)
    kinds = ("a,maths,gsm8k,50,60,measured", "a,maths,minerva,20,30,quoted")
    with pytest.raises(BadInput, match="line 2 were measured and those of line 3 are quoted"):
        rates_of(write(tmp_path, *kinds, header=HEADER + ",denominator"))
    assert rates_of(write(tmp_path, *kinds, header=HEADER + ",denominator"), mixed=True).marks


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("ours,maths,gsm8k,40,80", "lines 2 and 3: both are ours on gsm8k"),
        ("ours,maths,minerva,-3,80", "line 3: value is negative, -3"),
        ("ours,maths,minerva,30,fifty", "line 3: expert_value is 'fifty', not a number"),
        ("ours,maths,minerva,nan,50", "line 3: value is 'nan', not a number"),
        ("ours,safety,gsm8k2,30,50,9", "line 3: more cells than the header has columns"),
        ("ours,,minerva,30,50", "line 3: domain is empty"),
        ("dare,coding,gsm8k,30,80", "gsm8k is in domain coding here and in maths before"),
    ],
)
def test_lines_that_cannot_be_meant(line: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=said):
        rates_of(write(tmp_path, "ours,maths,gsm8k,40,80", line))


def test_files_that_cannot_be_meant(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"no column domain, expert_value \(or expert\)\. A line is one score"):
        rates_of(write(tmp_path, "a,b,1", header="method,benchmark,value"))
    with pytest.raises(BadInput, match="no line of scores"):
        rates_of(write(tmp_path))
    with pytest.raises(BadInput, match="ones are fractions"):
        rates_of(write(tmp_path, "ours,maths,gsm8k,0.4,80", "ours,maths,minerva,0.3,30"))
    (tmp_path / "scores.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BadInput, match="not a CSV file in UTF-8"):
        rates_of(tmp_path / "scores.csv")


def test_the_papers_detailed_table_as_a_file_gives_its_printed_means(tmp_path: Path) -> None:
    """Tables 7 and 8 written as a person would; Table 2 prints the means."""
    rows = [row for row in published_rows() if "Tables 2, 7 and 8" in row["source"]]
    scores = {(r["method"], r["benchmark"]): r["value"] for r in rows if r["metric"] == "accuracy"}
    lines = [
        f'"{method}",{DOMAINS[name]},{name},{value},{scores["Skyline(s)", name]}'
        for (method, name), value in scores.items()
    ]
    found = bench_json("prr", write(tmp_path, *lines), cwd=tmp_path)
    printed = {
        r["method"]: float(r["value"]) for r in rows if r["benchmark"] == MEAN and r["metric"] == "PRR"
    }
    assert len(printed) == 8
    for method, value in printed.items():
        assert found["rates"][method]["mean"]["value"] == pytest.approx(value, abs=0.015)
    assert found["rates"]["Skyline(s)"]["mean"]["value"] == 100


@pytest.mark.parametrize(
    ("suite", "tables"),
    [
        ("mergebench", ["Tables 2, 7 and 8", "Tables 3, 9 and 10"]),
        ("llama2", ["Table 4"]),
        ("glue", ["Table 1"]),
        ("clip", ["Table 5", "Table 11"]),
        ("general", []),
    ],
)
def test_printed_tables_stand_beside_the_suite_that_they_measured(suite: str, tables: list[str]) -> None:
    found = resolve(suite)
    printed = published_tables(published_rows(), found.reported)
    assert [table.source for table in printed] == [f"{PAPER}, {table}" for table in tables]
    assert all({b for row in one.rows for b in row.accuracy} == set(found.reported) for one in printed)
    if suite == "mergebench":
        asked = (*found.benchmarks, *found.lm_eval, *found.composites)
        assert {one.name: one.domain for one in asked if one.name in found.reported} == DOMAINS


def test_published_tables_from_the_command_line(tmp_path: Path) -> None:
    done = bench("prr", "--published", cwd=tmp_path)
    assert "Known contradictions: 27 of 157" in done.stdout and "a digit is wrong" in done.stdout
    assert "--published" in bench("prr", cwd=tmp_path, code=2).stderr


def test_the_table_says_what_must_be_known(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    printer()(rates_table("scores.csv", rates_of(write(tmp_path, *SMALL))))
    shown = " ".join(capsys.readouterr().out.split())
    assert "ours 75.00 120.00 97.50 75.00 maths 43.33" in shown and "dare 37.50 – – 37.50 – –" in shown
    assert "ours, xstest: 120.0 is above 110" in shown and "dare, xstest: no score" in shown
