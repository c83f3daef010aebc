"""How numbers are written, in terminal tables and on pages alike. None is missing, and says so."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from results.statistics import Estimate  # its libraries are heavy, and writing a number needs none

MISSING = "–"
RECONSTRUCTED = "†"  # beside the name of every row whose method's definition had to be reconstructed
MINUS = "−"
MOST = 6  # names in one sentence


def percent(estimate: Estimate | None) -> str:
    """`70.8 ±3.8`: a share in percent, with its standard error."""
    return _with_error(estimate, 100.0)


def tokens(estimate: Estimate | None) -> str:
    """`40.0 ±0.9`: a length in tokens, with its standard error."""
    return _with_error(estimate, 1.0)


def number(estimate: Estimate | None) -> str:
    """`40.0`: without its error."""
    return MISSING if estimate is None else f"{estimate.value:.1f}"


def share(value: float | None) -> str:
    """`14.4 %`."""
    return MISSING if value is None else f"{100 * value:.1f} %"


def change(value: float | None) -> str:
    """`−55 %`, with a true minus sign."""
    if value is None:
        return MISSING
    return f"{100 * value:+.0f} %".replace("-", MINUS).replace("+0 %", "0 %").replace(f"{MINUS}0 %", "0 %")


def points(value: float | None) -> str:
    """`+12.5`, a difference of percentages in points."""
    return MISSING if value is None else f"{100 * value:+.1f}".replace("-", MINUS)


def p_value(p: float | None) -> str:
    """`0.024`; small ones as `<0.001`."""
    if p is None:
        return MISSING
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def seconds(value: float | None) -> str:
    """`45 ms`, `3.5 s`, from two minutes on `2 min 05 s`."""
    if value is None:
        return MISSING
    if value < 0.1:
        return f"{1000 * value:.0f} ms"
    return f"{value:.1f} s" if value < 120 else f"{int(value) // 60} min {int(value) % 60:02d} s"


def size(count: float | None) -> str:
    """Bytes as `210 MB` or `1.5 GB` (powers of ten)."""
    if count is None:
        return MISSING
    for unit, one in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= one:
            return f"{count / one:.{0 if count >= 100 * one else 1}f} {unit}"
    return f"{count:.0f} B"


def listed(words: Iterable[str]) -> str:
    """The first names, and how many more there are."""
    found = list(words)
    return ", ".join(found[:MOST]) + (f" and {len(found) - MOST} more" if len(found) > MOST else "")


def _with_error(estimate: Estimate | None, scale: float) -> str:
    if estimate is None:
        return MISSING
    value = f"{scale * estimate.value:.1f}"
    return value if estimate.stderr is None else f"{value} ±{scale * estimate.stderr:.1f}"
