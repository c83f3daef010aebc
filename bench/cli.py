"""The command line: the commands that there are, and how every way of ending becomes an exit code and a sentence.

Exit codes: 0 done, 1 a check failed, 2 bad input, 130 interrupted.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import traceback
from collections.abc import Callable
from typing import NoReturn

import typer

from bench.commands.doctor import doctor
from bench.commands.evaluate import evaluate
from bench.commands.grade import grade
from bench.commands.listings import methods, models, suites
from bench.commands.lm_eval import lm_eval
from bench.commands.merge import merge
from bench.commands.options import flat
from bench.commands.plan import plan
from bench.commands.printing import say
from bench.commands.prr import prr
from bench.commands.regress import regress
from bench.commands.run import run
from bench.commands.table import table
from bench.errors import BadInput, CheckFailed, debugging
from bench.waiting import set_waiting
from results.errors import StoreError

# As `bench --help` lists them.
COMMANDS: dict[str, Callable[..., None]] = {
    "run": run,
    "merge": merge,
    "eval": evaluate,
    "lm-eval": lm_eval,
    "table": table,
    "prr": prr,
    "methods": methods,
    "suites": suites,
    "models": models,
    "plan": plan,
    "regress": regress,
    "grade": grade,
    "doctor": doctor,
}

app = typer.Typer(
    help="Merge models, evaluate them, and see which merge is better, on what, by how much, and how sure.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for _name, _command in COMMANDS.items():
    app.command(name=_name)(flat(_command))


class Interrupted(BaseException):
    """Ctrl-C, under a name of ours: the command-line library would answer KeyboardInterrupt with exit code 1."""


def _interrupt(number: int, frame: object) -> None:
    raise Interrupted


def _collect_seldom() -> None:
    """Importing torch makes a million objects that stay: walking them again and again takes longer than a small
    merge."""
    gc.set_threshold(50_000, 20, 100)


def _end(error: Exception, how: str, code: int) -> NoReturn:
    """The sentence and the exit code of an error; the traceback, with all causes, for who asks for it."""
    if debugging():
        traceback.print_exception(error)
    say(f"{how}: {error}")
    sys.exit(code)


def main() -> None:
    """Entry point: turns every way of ending into an exit code and a sentence."""
    signal.signal(signal.SIGINT, _interrupt)
    set_waiting(os.environ)
    _collect_seldom()
    try:
        app()
    except (BadInput, StoreError, OSError) as error:
        _end(error, "error", 2)
    except CheckFailed as error:
        _end(error, "failed", 1)
    except Interrupted:
        say("\nInterrupted. Finished responses and merges are kept: the same command goes on from there.")
        sys.exit(130)
