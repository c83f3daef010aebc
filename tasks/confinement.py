"""What a worker on untrusted text may not do: start processes, open sockets, change files.

An audit hook, so a second wall: graders do not evaluate code in the first place (tasks/expressions.py), and a text
that got that far should find nothing it can do. It does not hold against native code.
"""

from __future__ import annotations

import os
import sys
from typing import Any

_FORBIDDEN = (
    "subprocess.", "socket.", "shutil.", "ctypes.", "pty.", "os.system", "os.exec", "os.fork",
    "os.posix_spawn", "os.spawn", "os.startfile", "os.kill", "os.killpg", "os.remove", "os.rename", "os.rmdir",
    "os.mkdir", "os.link", "os.symlink", "os.truncate", "os.chmod", "os.chown", "os.putenv",
    "os.unsetenv", "urllib.", "http.", "ftplib.", "smtplib.", "webbrowser.",
)  # fmt: skip
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class Forbidden(PermissionError):
    """The work tried something that grading never needs."""


def confine() -> None:
    """From now on this process refuses what grading never needs. Cannot be undone."""
    sys.addaudithook(_refuse)


def _refuse(event: str, arguments: tuple[Any, ...]) -> None:
    if event.startswith(_FORBIDDEN) or (event == "open" and _writes(arguments)):
        raise Forbidden(f"grading may not do this: {event}")


def _writes(arguments: tuple[Any, ...]) -> bool:
    path, mode, flags = (*arguments, None, None, None)[:3]
    if isinstance(path, int):  # a descriptor that is open already
        return False
    return bool(isinstance(flags, int) and flags & _WRITING) or (
        isinstance(mode, str) and any(letter in mode for letter in "wax+")
    )
