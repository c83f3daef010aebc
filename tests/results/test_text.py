"""Numbers as people read them."""

from __future__ import annotations

from results import text
from results.statistics import Estimate


def test_how_numbers_are_written() -> None:
    assert text.percent(Estimate(0.7083, 0.0379)) == "70.8 ±3.8" and text.percent(None) == "–"
    assert text.tokens(Estimate(40.0, None)) == "40.0" == text.number(Estimate(40.0, 1.0))
    assert (text.change(-0.55), text.change(0.0), text.change(-0.001), text.change(1.2)) == (
        "−55 %",
        "0 %",
        "0 %",
        "+120 %",
    )
    assert (text.p_value(0.0004), text.p_value(0.0241), text.p_value(1.0)) == ("<0.001", "0.024", "1.000")
    assert (text.seconds(3.52), text.seconds(125.0)) == ("3.5 s", "2 min 05 s") and text.seconds(
        0.045
    ) == "45 ms"
    assert (text.size(210_000_000), text.size(1_500_000_000)) == ("210 MB", "1.5 GB")
    assert (text.size(2_500), text.size(999), text.size(0)) == ("2.5 kB", "999 B", "0 B")
    assert (text.points(0.125), text.points(-0.002)) == ("+12.5", "−0.2")
    assert {
        f(None) for f in (text.share, text.change, text.points, text.p_value, text.seconds, text.size)
    } == {"–"}
