"""`bench eval`: models as they are."""

from __future__ import annotations

from typing import Annotated

import typer

from bench.commands.options import (
    MODEL,
    AskingGroup,
    EngineGroup,
    Json,
    JudgeGroup,
    Limit,
    Models,
    PlaceGroup,
    Split,
    Suite,
    eval_options,
)
from bench.commands.printing import say, show_board
from bench.errors import CheckFailed


def evaluate(
    *,
    model: Annotated[list[str] | None, MODEL] = None,
    suite: Suite = "mini_l2s",
    rescore: Annotated[
        bool, typer.Option("--rescore", help="Grade stored responses again; generate nothing.")
    ] = False,
    models: Models = None,
    split: Split = "test",
    limit: Limit = None,
    engine: EngineGroup,
    asking: AskingGroup,
    judging: JudgeGroup,
    place: PlaceGroup,
    json: Json = False,
) -> None:
    """Evaluate models as they are, or grade what is stored again (--rescore)."""
    from bench.as_is import evaluate_models

    report = evaluate_models(
        model or [],
        eval_options(suite, split=split, limit=limit, engine=engine, asking=asking, judging=judging),
        models=models,
        rescore=rescore,
        runs=place.runs,
        db=place.database,
        say=say,
    )
    show_board(report.board, json=json, extra={"report": report.summary, "failed": report.failed})
    if report.failed:
        raise CheckFailed(f"not graded again in full: {', '.join(report.failed)}; the others are (see above)")
