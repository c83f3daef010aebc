"""Run a command as a fresh process and measure it from outside: wall time, and peak memory of its whole tree."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

POLL_SECONDS = 0.02
COPY = 1 << 24


@dataclass(frozen=True)
class Usage:
    """Wall seconds from start to exit, seconds of processor time, and peaks in bytes: of a process and its children.

    `anonymous` is memory of its own (heap, stacks: RssAnon), which no page cache can give back; `resident` adds the
    file pages that are mapped at that moment (VmHWM of a lone process).
    """

    seconds: float
    anonymous: int
    resident: int
    processor: float = 0.0


class RunFailed(Exception):
    """The command ended with an error; the message holds the end of what it printed."""


def measured(command: Sequence[str | Path], log: Path, **environment: str) -> Usage:
    """Run `command` to its end with its output in `log`. Raises RunFailed if it fails."""
    started = time.perf_counter()
    with log.open("wb") as sink:
        process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            env={**os.environ, **environment},
        )
        watch = _Watch(process.pid)
        watch.start()
        try:
            _, status, used = os.wait4(process.pid, 0)
            process.returncode = code = os.waitstatus_to_exitcode(status)
        finally:
            process.kill()  # only after an interruption: a finished process is not touched
            seconds = time.perf_counter() - started
            watch.stop()
    if code:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
        raise RunFailed(f"{Path(command[0]).name} ended with code {code}:\n{tail}")
    return Usage(seconds, watch.anonymous, watch.resident, used.ru_utime + used.ru_stime)


class _Watch(threading.Thread):
    """Polls /proc for the memory of a process and of what it started."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.pid = pid
        self.anonymous = self.resident = 0
        self._over = threading.Event()

    def run(self) -> None:
        while not self._over.is_set():
            found = [_memory(pid) for pid in _tree(self.pid)]
            self.anonymous = max(self.anonymous, sum(m.get("RssAnon", 0) for m in found))
            highest = max((m.get("VmHWM", 0) for m in found), default=0)
            self.resident = max(self.resident, highest, sum(m.get("VmRSS", 0) for m in found))
            self._over.wait(POLL_SECONDS)

    def stop(self) -> None:
        """End the polling."""
        self._over.set()
        self.join()


def _tree(pid: int) -> list[int]:
    """The process and all its descendants that are alive."""
    found, waiting = [], [pid]
    while waiting:
        one = waiting.pop()
        found.append(one)
        with suppress(OSError):  # the process ended meanwhile
            for thread in Path(f"/proc/{one}/task").iterdir():
                with suppress(OSError):  # the thread did
                    waiting += map(int, (thread / "children").read_text().split())
    return found


def _memory(pid: int) -> dict[str, int]:
    """Fields of /proc/PID/status that are sizes, in bytes; empty for a process that is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return {}
    return {
        key: int(value.split()[0]) * 1024
        for key, _, value in (line.partition(":") for line in lines)
        if value.endswith("kB")
    }


def read_seconds(files: Sequence[Path]) -> float:
    """Time to read files once from start to end; it also brings them into the page cache."""
    buffer = bytearray(COPY)
    started = time.perf_counter()
    for file in files:
        with file.open("rb", buffering=0) as handle:
            while handle.readinto(buffer):
                pass
    return time.perf_counter() - started


def write_seconds(nbytes: int, file: Path) -> tuple[float, float]:
    """Time to write `nbytes` into a new file, and the same until the disk has them. The file is removed."""
    chunk = os.urandom(COPY)
    started = time.perf_counter()
    with file.open("wb", buffering=0) as handle:
        for begin in range(0, nbytes, COPY):
            handle.write(chunk[: min(COPY, nbytes - begin)])
        written = time.perf_counter() - started
        os.fsync(handle.fileno())
    flushed = time.perf_counter() - started
    file.unlink()
    return written, flushed
