"""Performance Retain Rate and retention in a terminal: a table of domains, and sentences under it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bench.show import literal
from bench.show_columns import ends_section, folded, legend, style, table_of_models
from results import text
from results.prr import SAFETY
from results.remarks import divisor_line, retain_lines, retention_lines

if TYPE_CHECKING:
    from rich.table import Table

    from results.board import Board, Row
    from results.statistics import Estimate

SIDE_BY_SIDE = 3  # domains whose value and standard error fit on one line


def retain_table(board: Board, model_set: str, rows: Sequence[Row]) -> Table | None:
    """PRR of every row by domain; None where the model set has none."""
    rows = [row for row in rows if row.retain]
    if not rows or rows[0].retain is None:
        return None
    domains = [domain.domain for domain in rows[0].retain.domains]
    narrow = len(domains) > SIDE_BY_SIDE
    caption = (
        "Share in % ± standard error of the score of each domain's expert: of the benchmarks of a domain first, "
        f"then of the domains. Not clipped. Denominators: {divisor_line(board, model_set)}."
    )
    safety = SAFETY in domains
    table = table_of_models(
        f"PRR · performance retained of the experts · {model_set}",
        "\n".join([caption + legend(rows), *(f"• {line}" for line in retain_lines(board, model_set))]),
        [*domains, "mean", *([f"without\n{SAFETY}"] if safety else []), "worst\ndomain"],
    )
    for row, following in zip(rows, [*rows[1:], None], strict=True):
        rate = row.retain
        assert rate is not None
        table.add_row(
            literal(f"{f'{row.rank}. ' if row.rank else ''}{row.title}"),
            *(_rate(domain.estimate, narrow=narrow) for domain in rate.domains),
            _rate(rate.mean, narrow=narrow),
            *([_rate(rate.without_safety, narrow=narrow)] if safety else []),
            literal(f"{rate.worst[0]}\n{rate.worst[1].value:.1f}" if rate.worst else text.MISSING),
            end_section=ends_section(row, following),
            style=style(row),
        )
    return table


def retention_table(board: Board, model_set: str, rows: Sequence[Row]) -> Table | None:
    """Performance relative to the base on what has no expert; None where there is nothing of it."""
    rows = [row for row in rows if row.retention]
    if not rows or rows[0].retention is None:
        return None
    names = [ratio.benchmark for ratio in rows[0].retention.ratios]
    caption = (
        "Share in % ± standard error of the base's score: what was forgotten. These benchmarks have no expert, so "
        "they are in no PRR."
    )
    table = table_of_models(
        f"retention · performance relative to the base · {model_set}",
        "\n".join([caption + legend(rows), *(f"• {line}" for line in retention_lines(board, model_set))]),
        [*map(folded, names), "mean"],
    )
    narrow = len(names) > SIDE_BY_SIDE
    for row in rows:
        assert row.retention is not None
        estimates = [*(ratio.estimate for ratio in row.retention.ratios), row.retention.mean]
        table.add_row(literal(row.title), *(_rate(one, narrow=narrow) for one in estimates), style=style(row))
    return table


def _rate(estimate: Estimate | None, *, narrow: bool) -> str:
    """A number in %, with its standard error, in a narrow column on a line of its own."""
    return text.tokens(estimate).replace(" ±", "\n±" if narrow else " ±")
