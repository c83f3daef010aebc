"""How compute threads wait for each other: spinning while nobody else wants the processor, else asleep.

A decoding step is a thousand short parallel loops. On a quiet machine threads that sleep at once cost a quarter of
the speed; beside another process threads that spin stop each other, and both run at less than half of theirs.
"""

from __future__ import annotations

import os
import time
from collections.abc import MutableMapping
from pathlib import Path

SPINS = "20000"  # looks of a waiting thread before it sleeps: a fraction of a millisecond
SAMPLES, PAUSE = 6, 0.005  # seconds between two looks at who is running
BUSY = 0.25  # of the cores have other threads to run, on average
STATISTICS = Path("/proc/stat")


def set_waiting(environment: MutableMapping[str, str]) -> None:
    """Write OpenMP's setting into `environment`, which torch reads once, when it is first imported: at the start of
    a command, and before an engine that is used without one. Takes a thirtieth of a second.

    What the caller has set is kept; where nobody can tell who is running (not Linux), OpenMP's default.
    """
    if "OMP_WAIT_POLICY" in environment or "GOMP_SPINCOUNT" in environment:
        return
    others = others_running()
    if others is None:
        return
    if others < BUSY * (os.cpu_count() or 1):
        environment["GOMP_SPINCOUNT"] = SPINS
    else:
        environment["OMP_WAIT_POLICY"] = "PASSIVE"


def others_running() -> float | None:
    """Threads of this machine that want a processor now, this one not counted: the mean of a few looks. None where
    the system does not say."""
    total = 0
    for _ in range(SAMPLES):
        running = _running()
        if running is None:
            return None
        total += running - 1
        time.sleep(PAUSE)
    return total / SAMPLES


def _running() -> int | None:
    try:
        lines = STATISTICS.read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) for line in lines if line.startswith("procs_running ")), None)
