"""Ends the processes that were started for this one when it is gone, also when it was killed.

vLLM's engine process does not notice that the program which uses it was killed: it would keep its memory, and a
GPU's, until somebody looks. A shell outside our process group waits for the end of a pipe that only we hold open.
"""

from __future__ import annotations

import os
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

MARK = "MERGEBOARD_PROCESS"
# multiprocessing's resource tracker is left alone: it removes shared memory and then ends by itself.
SWEEP = """
cat
for file in $(grep -lzxF "$0" /proc/[0-9]*/environ 2>/dev/null); do
    process=${file%/environ}
    grep -q resource_tracker "$process/cmdline" 2>/dev/null || kill -9 "${process#/proc/}" 2>/dev/null
done
"""


class Reaper:
    """`marking` marks the processes that are started under it, and theirs; `close` or our own end kills them.

    Where there is no /proc nothing is killed.
    """

    def __init__(self) -> None:
        self.mark = uuid.uuid4().hex
        self.shell = subprocess.Popen(
            ["/bin/sh", "-c", SWEEP, f"{MARK}={self.mark}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # an interrupt from the keyboard is not for it
        )

    @contextmanager
    def marking(self) -> Iterator[None]:
        """Processes started meanwhile carry the mark in their environment."""
        os.environ[MARK] = self.mark
        try:
            yield
        finally:
            del os.environ[MARK]

    def close(self) -> None:
        """Kill what is still there."""
        if self.shell.stdin is not None:
            self.shell.stdin.close()
        self.shell.wait()
