"""`bench run`: the whole road."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench.commands.options import (
    AcceptanceName,
    AnySuite,
    AskingGroup,
    Base,
    ContextLength,
    EngineGroup,
    ExperimentName,
    Experts,
    Json,
    JudgeGroup,
    Limit,
    Models,
    PlaceGroup,
    RopeFrom,
    Settings,
    Split,
    eval_options,
)
from bench.commands.printing import say, show, show_board
from bench.errors import BadInput, CheckFailed

if TYPE_CHECKING:
    from bench.acceptance import Acceptance, Check
    from results.board import Board


def run(
    *,
    method: Annotated[
        str | None, typer.Option("--method", help="Methods, comma-separated, or `all` [fim_ties].")
    ] = None,
    suite: AnySuite = None,
    experiment: ExperimentName = None,
    acceptance: AcceptanceName = None,
    models: Models = None,
    base: Base = None,
    expert: Experts = None,
    set_: Settings = None,
    split: Split = "test",
    limit: Limit = None,
    engine: EngineGroup,
    asking: AskingGroup,
    judging: JudgeGroup,
    data_split: Annotated[
        str, typer.Option("--data-split", help="Examples for methods that need data: train or validation.")
    ] = "train",
    context_length: ContextLength = None,
    rope_from: RopeFrom = None,
    place: PlaceGroup,
    json: Json = False,
) -> None:
    """The whole road: merge, evaluate base, experts and merges, record, and print the table."""
    from bench.experiments import wanted
    from bench.models.context import Context
    from bench.run import run as road

    asked = wanted(experiment, method=method, suite=suite, models=models, base=base, experts=expert)
    published = None
    if acceptance is not None:
        own = (method, suite, experiment, models, base, expert, set_, limit, context_length, rope_from)
        published = _published(acceptance, asking, *own, split != "test", data_split != "train")
        asked, limit, asking = published.wanted, published.limit, replace(asking, samples=0)
    report = road(
        asked.methods,
        eval_options(asked.suite, split=split, limit=limit, engine=engine, asking=asking, judging=judging),
        models=asked.models,
        base=base,
        experts=expert or [],
        settings=asked.set_with(set_),
        runs=place.runs,
        db=place.database,
        say=say,
        data_split=data_split,
        context=Context(context_length, rope_from),
    )
    extra = {"report": report.summary, "not_applicable": report.refused, "failed": report.failed}
    checks = _checks(published, report.board, report.checkpoints)
    said = {"acceptance": [{**asdict(check), "passed": check.passed} for check in checks]}
    show_board(report.board, json=json, extra={**extra, **(said if published else {})})
    _say_reasons("does not apply", report.refused)
    _say_reasons("left out", dict.fromkeys(asked.left_out, "needs examples: bench merge --data"))
    _say_reasons("FAILED", report.failed)
    if report.failed:
        raise CheckFailed(f"{', '.join(report.failed)}; the results of the others are kept")
    if published is not None:
        _accept(published, checks, json=json)


def _published(name: str, asking: AskingGroup, *own: Any) -> Acceptance:
    """The published experiment, whose numbers are of no other models, parameters or questions."""
    from bench.acceptance import acceptance

    if any(own) or asking.max_new_tokens or asking.prompt_mode or asking.samples:
        raise BadInput(
            f"--acceptance {name} says methods, models, parameters and questions itself, as they were published: "
            "leave out every option but those of the engine, the data folder and the place of results"
        )
    return acceptance(name)


def _checks(published: Acceptance | None, board: Board, checkpoints: Sequence[str]) -> list[Check]:
    from bench.acceptance import compare

    return compare(published, board, checkpoints) if published else []


def _accept(published: Acceptance, checks: Sequence[Check], *, json: bool) -> None:
    """The numbers beside the published ones; ends badly where one does not agree."""
    from bench.acceptance import table

    if not json:
        show(table(published, checks))
    wrong = [check for check in checks if not check.passed]
    if wrong:
        named = ", ".join(f"{check.row} on {check.benchmark}" for check in wrong)
        raise CheckFailed(
            f"{len(wrong)} of {len(checks)} numbers of {published.source} are not reached: {named}"
        )


def _say_reasons(what: str, reasons: Mapping[str, str]) -> None:
    """One line a method, on standard error, behind everything else."""
    width = max(map(len, reasons), default=0)
    for name, why in reasons.items():
        say(f"{name:{width}}  {what}: {why}")
