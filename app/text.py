"""How numbers are written. One place, so that every page writes them alike."""

from __future__ import annotations

from results.board import Cell
from results.statistics import Estimate

MISSING = "missing"
MINUS = "−"


def percent(estimate: Estimate | None) -> str:
    """`70.8 ± 3.8`, in percent."""
    return _with_error(estimate, 100.0, 1)


def tokens(estimate: Estimate | None) -> str:
    """`40.0 ± 0.9`, in tokens."""
    return _with_error(estimate, 1.0, 1)


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
    """`0.024`; small ones as `< 0.001`."""
    if p is None:
        return MISSING
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def seconds(value: float | None) -> str:
    """`3.5 s`, from two minutes on `2 min 05 s`."""
    if value is None:
        return MISSING
    return f"{value:.1f} s" if value < 120 else f"{int(value) // 60} min {int(value) % 60:02d} s"


def size(count: int | None) -> str:
    """Bytes as `210 MB` or `1.5 GB` (powers of ten)."""
    if count is None:
        return MISSING
    return f"{count / 1e6:.0f} MB" if count < 1e9 else f"{count / 1e9:.1f} GB"


def protocol(cell: Cell) -> str:
    """How a cell was measured, in a few words."""
    parts = [f"n = {cell.coverage}", cell.draw, cell.prompt_mode and f"prompt {cell.prompt_mode}"]
    parts += [
        cell.grader and f"grader {cell.grader}",
        cell.engine and f"engine {cell.engine} {cell.dtype or ''}",
    ]
    return ", ".join(part.strip() for part in parts if part)


def _with_error(estimate: Estimate | None, scale: float, digits: int) -> str:
    if estimate is None:
        return MISSING
    value = f"{scale * estimate.value:.{digits}f}"
    return value if estimate.stderr is None else f"{value} ± {scale * estimate.stderr:.{digits}f}"
