"""`bench lm-eval`: tasks of lm-eval through an engine of ours."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from bench.commands.options import MODEL, Budget, EngineGroup, Json, Limit, Models, PlaceGroup
from bench.commands.printing import say, show_rows


def lm_eval(
    *,
    model: Annotated[list[str], MODEL],
    tasks: Annotated[str, typer.Option("--tasks", help="Tasks, tags or groups of lm-eval, comma-separated.")],
    include_path: Annotated[
        Path | None, typer.Option("--include-path", help="Folder of task files of your own.")
    ] = None,
    num_fewshot: Annotated[
        int | None, typer.Option("--num-fewshot", min=0, help="Examples in the prompt [the task's own].")
    ] = None,
    apply_chat_template: Annotated[
        bool, typer.Option("--apply-chat-template", help="Ask through the model's chat template.")
    ] = False,
    models: Models = None,
    limit: Limit = None,
    engine: EngineGroup,
    max_new_tokens: Budget = None,
    place: PlaceGroup,
    json: Json = False,
) -> None:
    """Ask tasks of lm-eval (the Evaluation Harness) through an engine of ours; `bench table lm_eval` shows them."""
    from bench.lm_eval.run import LmEvalOptions, listed, run_lm_eval
    from bench.suites import EvalOptions

    options = EvalOptions(suite="lm_eval", limit=limit, max_new_tokens=max_new_tokens, **asdict(engine))
    names = tuple(name.strip() for name in tasks.split(",") if name.strip())
    asked = LmEvalOptions(names, include_path, num_fewshot, apply_chat_template)
    report = run_lm_eval(model, asked, options, models=models, runs=place.runs, db=place.database, say=say)
    whole = {"measured": report.measured, "report": report.run.summary, "board": report.run.board}
    show_rows("lm-eval", listed(report.measured), json=json, whole=whole)
