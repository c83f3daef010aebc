"""The two ways a command ends badly, and the nearest-name suggestion that every unknown name gets."""

from __future__ import annotations

import os
from collections.abc import Iterable

from methods.common.nearest import unknown_name

DEBUG = "MERGEBOARD_DEBUG"  # with this variable set, what went wrong is said with the place that raised it


class BadInput(Exception):
    """What was asked cannot be done: exit code 2. The message says what, its value, and what to do next."""


class CheckFailed(Exception):
    """The work was done and a check on it failed: exit code 1."""


def unknown(kind: str, name: str, known: Iterable[str]) -> BadInput:
    """An error for an unknown `name`: offers the nearest known one and lists them all."""
    return BadInput(unknown_name(kind, name, known))


def debugging() -> bool:
    """Whether the person wants tracebacks: MERGEBOARD_DEBUG is set, and not to 0."""
    return os.environ.get(DEBUG, "0") not in ("", "0")
