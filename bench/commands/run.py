"""`bench run`: the whole road."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import typer

from bench.commands.options import (
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
from bench.commands.printing import say, show_board
from bench.errors import CheckFailed


def run(
    *,
    method: Annotated[
        str | None, typer.Option("--method", help="Methods, comma-separated, or `all` [fim_ties].")
    ] = None,
    suite: AnySuite = None,
    experiment: ExperimentName = None,
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
    show_board(report.board, json=json, extra=extra)
    _say_reasons("does not apply", report.refused)
    _say_reasons("left out", dict.fromkeys(asked.left_out, "needs examples: bench merge --data"))
    _say_reasons("FAILED", report.failed)
    if report.failed:
        raise CheckFailed(f"{', '.join(report.failed)}; the results of the others are kept")


def _say_reasons(what: str, reasons: Mapping[str, str]) -> None:
    """One line a method, on standard error, behind everything else."""
    width = max(map(len, reasons), default=0)
    for name, why in reasons.items():
        say(f"{name:{width}}  {what}: {why}")
