"""The two ways a command ends badly, and the nearest-name suggestion that every unknown name gets."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class BadInput(Exception):
    """What was asked cannot be done: exit code 2. The message says what, its value, and what to do next."""


class CheckFailed(Exception):
    """The work was done and a check on it failed: exit code 1."""


def unknown(kind: str, name: str, known: Iterable[str]) -> BadInput:
    """An error for an unknown `name`: offers the nearest known one and lists them all."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.4)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return BadInput(f"unknown {kind} {name!r}.{hint} Known: {', '.join(names) or 'none'}.")
