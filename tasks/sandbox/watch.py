"""Watching one program from outside its cell: what it prints, what it says at the end, and when its time is up."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from tasks.sandbox.contract import Limits, Outcome, Status

_PIECE = 1 << 16
_GLANCE_SECONDS = 0.1
_LONGEST_WORD = 4096  # bytes of what a cell says at its end
_SAYS: tuple[Status, ...] = ("failed", "out of memory")  # what a program may say of itself


@dataclass
class Heard:
    """What came out of a cell: printed bytes up to the limit, and its word on how it ended."""

    most: int
    printed: bytearray = field(default_factory=bytearray)
    word: bytearray = field(default_factory=bytearray)
    cut: bool = False

    def print(self, piece: bytes) -> None:
        """Keep what there is room for; the rest is read and let go, so that a program may print what it likes."""
        room = self.most - len(self.printed)
        self.printed += piece[:room]
        self.cut = self.cut or len(piece) > room

    def say(self, piece: bytes) -> None:
        self.word += piece[: _LONGEST_WORD - len(self.word)]

    @property
    def text(self) -> str:
        """What was printed, as text."""
        return self.printed.decode("utf-8", "replace") + ("\n(cut here)" if self.cut else "")


def listen(
    channel: int,
    printed: int,
    ended: int,
    heard: Heard,
    *,
    until: float,
    stop: Callable[[], bool] = lambda: False,
) -> bool:
    """Read both pipes of a cell until descriptor `ended` closes or speaks; False when the time is up first.

    `until` is a time of `time.monotonic`; `stop` is asked ten times a second whether to give
    up earlier.
    """
    poll = select.poll()
    takers = {channel: heard.say, printed: heard.print}
    for one in (*takers, ended):
        poll.register(one, select.POLLIN)
    while True:
        left = until - time.monotonic()
        if left <= 0 or stop():
            return False
        for one, _ in poll.poll(min(left, _GLANCE_SECONDS) * 1000):
            if one == ended:
                return True
            piece = os.read(one, _PIECE)
            takers[one](piece)
            if not piece:
                poll.unregister(one)


def drain(channel: int, printed: int, heard: Heard, *, seconds: float) -> None:
    """What is left in the pipes of a cell that has ended; waits so long at most for the last process to let go."""
    until = time.monotonic() + seconds
    takers = {channel: heard.say, printed: heard.print}
    while takers:
        ready, _, _ = select.select(list(takers), [], [], max(0.0, until - time.monotonic()))
        if not ready:
            return
        for one in ready:
            piece = os.read(one, _PIECE)
            takers[one](piece)
            if not piece:
                del takers[one]


@dataclass(frozen=True)
class End:
    """How a cell's process ended: its exit code (negative: the signal), and its processor time in seconds."""

    code: int
    cpu: float


def judge(heard: Heard, secret: bytes, end: End | None, limits: Limits, seconds: float) -> Outcome:
    """What became of a program; `end` is None when its time was up."""
    status, why = _verdict(bytes(heard.word), secret, end, limits)
    return Outcome(status, why, heard.text, round(seconds, 4))


def _verdict(word: bytes, secret: bytes, end: End | None, limits: Limits) -> tuple[Status, str]:
    if end is None:
        return "timed out", f"more than {limits.seconds:g} s"
    if end.code < 0:
        if -end.code == signal.SIGXCPU or (-end.code == signal.SIGKILL and end.cpu >= limits.seconds):
            return "timed out", f"more than {limits.seconds:g} s of processor time"
        return "killed", f"the process was ended by {_signal(-end.code)}"
    if end.code == 0 and word == secret:
        return "passed", ""
    signed = word.startswith(secret)
    with contextlib.suppress(ValueError, AttributeError):
        said = json.loads(word[len(secret) :] if signed else word)
        if said.get("status") in (*_SAYS, *(("refused",) if signed else ())):
            return said["status"], str(said.get("why"))
    return "ended early", f"the process left with exit code {end.code} before the program's end"


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
