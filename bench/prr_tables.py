"""Performance Retain Rates of files and papers in a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bench.show import literal
from bench.show_columns import table_of_models
from results import text
from results.prr import SAFETY
from results.published.retained import PRR, contradictions

if TYPE_CHECKING:
    from rich.table import Table

    from bench.prr import Rates
    from results.published.retained import Claim
    from results.statistics import Estimate


def rates_table(name: str, found: Rates) -> Table:
    """PRR of every method of a file by domain, and under it what must be known of single numbers."""
    rates = found.rates
    domains = list(dict.fromkeys(domain.domain for rate in rates.values() for domain in rate.domains))
    safety = SAFETY in domains
    lines = [
        "Share in % of the score of each domain's expert (± standard error, from n): of the benchmarks of a domain "
        "first, then of the domains. Not clipped.",
        *(f"• {mark}" for mark in found.marks),
        *(f"• {method}, {said}" for method, rate in rates.items() for said in (*rate.flags, *rate.missing)),
    ]
    columns = [*domains, "mean", *([f"without\n{SAFETY}"] if safety else []), "worst\ndomain", "plain\nmean"]
    table = table_of_models(f"PRR · {name}", "\n".join(lines), columns)
    for method, rate in rates.items():
        table.add_row(
            literal(method),
            *(_rate(domain.estimate) for domain in rate.domains),
            _rate(rate.mean),
            *([_rate(rate.without_safety)] if safety else []),
            literal(f"{rate.worst[0]}\n{rate.worst[1].value:.2f}" if rate.worst else text.MISSING),
            _rate(rate.score),
        )
    return table


def claims_tables(found: Sequence[Claim]) -> list[Table]:
    """Printed means beside recomputed ones, and everything printed that does not agree."""
    means = [claim for claim in found if claim.metric == PRR and claim.of != "its printed domains"]
    wrong = contradictions(found)
    return [
        _claims_table("Printed mean PRR, recomputed from the printed scores", means, ()),
        _claims_table(
            f"Known contradictions: {len(wrong)} of {len(found)} printed PRR and means do not agree",
            wrong,
            _reasons(wrong),
        ),
    ]


def _claims_table(title: str, found: Sequence[Claim], notes: Sequence[str]) -> Table:
    table = table_of_models(
        title,
        "\n".join(f"• {note}" for note in notes),
        ["table", "what", "against", "printed", "recomputed", "agrees"],
    )
    for claim in found:
        table.add_row(
            literal(claim.method),
            claim.source.rpartition("), ")[2],
            _what(claim),
            claim.of,
            f"{claim.printed:.2f}",
            f"{claim.recomputed:.2f}",
            "yes" if claim.agrees else "NO",
        )
    return table


def _reasons(wrong: Sequence[Claim]) -> list[str]:
    """What is known of each, once where several numbers of a row do not agree for one reason."""
    lines: dict[tuple[str, str, str], str] = {}
    for claim in wrong:
        for part in claim.note.split("; "):
            said = f"{claim.source.rpartition('), ')[2]}, {claim.method}, {_what(claim)}: {part}"
            lines.setdefault((claim.source, claim.method, part), said)
    return list(lines.values())


def _what(claim: Claim) -> str:
    return claim.metric.replace(f"{PRR}:", f"{PRR} of ")


def _rate(estimate: Estimate | None) -> str:
    """Two decimals, as papers print them; the standard error on a line of its own."""
    if estimate is None:
        return text.MISSING
    return f"{estimate.value:.2f}" + ("" if estimate.stderr is None else f"\n±{estimate.stderr:.2f}")
