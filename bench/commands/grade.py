"""`bench grade`: outputs of any tool under both graders."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench.commands.options import Json
from bench.commands.printing import show, show_rows


def grade(
    file: Annotated[Path, typer.Argument(help="JSON lines: `response` or `responses`, and `answer`.")],
    *,
    benchmark: Annotated[str, typer.Option("--benchmark", help="Whose answers these are, e.g. math500.")],
    out: Annotated[
        Path | None, typer.Option("--out", help="Also write every verdict and its reason as JSON lines.")
    ] = None,
    json: Json = False,
) -> None:
    """Grade the outputs of any tool on a benchmark of suite l2s, under both graders."""
    from bench import grade as grading
    from bench.show import status

    questions = grading.read_outputs(file, benchmark)
    if out is not None:
        grading.check_out(out, file)
    with status() as progress:
        graded = grading.grade_outputs(
            questions, benchmark, advance=lambda done, of: progress(f"graded {done} of {of} responses")
        )
    if out is not None:
        grading.write_verdicts(graded, out)
    rows, notes = grading.summary(graded), grading.notes(graded)
    whole = {"scores": rows, "flips": graded.flips, "notes": notes}
    show_rows(f"grade: {benchmark}", grading.listed(rows), json=json, whole=whole)
    if not json:
        for note in notes:
            show(note)
