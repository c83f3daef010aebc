"""What a sandbox is asked and what it answers: limits of one program, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

Status = Literal["passed", "failed", "timed out", "out of memory", "killed", "ended early", "refused"]


class SandboxUnavailable(RuntimeError):
    """Nothing on this machine can isolate a program; the message says why and what to install."""


@dataclass(frozen=True)
class Limits:
    """What one program may use.

    `seconds` limits the clock on the wall and, rounded up, processor time. `memory_bytes` is the address space of all
    its processes together, so that each of `processes` gets its part; with one process, starting another is refused.
    `threads` counts processes too. `scratch_bytes` is the size of the only folder that can be written, and of the
    largest file; `output_bytes` is how much of what it prints is kept.
    """

    seconds: float = 20.0
    memory_bytes: int = 1 << 30
    scratch_bytes: int = 64 << 20
    output_bytes: int = 64 << 10
    processes: int = 1
    threads: int = 32


@dataclass(frozen=True)
class Outcome:
    """What became of one program; `why` is a sentence, empty when it passed.

    Only a program that reached its end "passed": one that left before is "ended early", whatever its exit code. One
    that is "refused" did not run at all: its sandbox could not be made.
    `output` is what it printed, cut at the limit; `seconds` is wall-clock time.
    """

    status: Status
    why: str = ""
    output: str = ""
    seconds: float = 0.0

    @property
    def passed(self) -> bool:
        """Whether the program ran to its end without an exception."""
        return self.status == "passed"


class Worker(Protocol):
    """Runs one program at a time, each in an isolation of its own."""

    def run(self, program: str, limits: Limits) -> Outcome: ...

    def close(self) -> None: ...
