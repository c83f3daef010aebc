"""The one place that limits untrusted work: a worker process with a time and a memory limit per item.

`Limited` calls a function in a process of its own, one item at a time. An item that takes too much processor
time or memory, or that brings the process down, is an outcome for that item alone: the process is replaced
and the next item goes on. Processor time is what counts, so that a busy machine changes no verdict; a
generous wall-clock limit behind it catches an item that sleeps or blocks.

The two sides talk in lines of JSON over pipes: an item and its result are JSON values, and the function is
named `module:function`, so that nothing of the caller's process is copied. A module may have a `prepare()`:
imports and tables that are made before the first item and its clock. What the work may not do at all says
`tasks/confinement.py`.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import resource
import select
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from tasks.confinement import confine

STARTUP_SECONDS = 120.0
WALL_PER_CPU_SECOND = 30.0  # a niced process on a machine with ten others gets a tenth of a core
ITEMS_FOR_A_WORKER = 8
_READY = b'"ready"\n'

Status = Literal["done", "failed", "timed out", "out of memory", "crashed"]


@dataclass(frozen=True)
class Outcome:
    """What became of one item: its `value` when `status` is "done", else `why` in a sentence."""

    status: Status
    value: Any = None
    why: str = ""


class Limited:
    """One worker: calls `function` ("module:function") on items, each limited to `seconds` of processor time.

    `memory_bytes` limits the address space of the worker (RLIMIT_AS). The worker starts with the first item
    and ends with `close` or the `with` block.
    """

    def __init__(self, function: str, *, seconds: float, memory_bytes: int) -> None:
        self.function, self.seconds, self.memory_bytes = function, seconds, memory_bytes
        self._worker: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Limited:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.close()

    def map(self, items: Iterable[Any]) -> Iterator[Outcome]:
        """One outcome per item, in order. Raises RuntimeError when the worker cannot start at all."""
        for item in items:
            yield self.call(item)

    def call(self, item: Any) -> Outcome:
        """The outcome of one item."""
        worker = self._worker or self._start()
        assert worker.stdin is not None
        try:
            worker.stdin.write(json.dumps(item).encode() + b"\n")
            worker.stdin.flush()
        except BrokenPipeError:
            return self._post_mortem(worker)
        line = _read_line(worker, self.seconds * WALL_PER_CPU_SECOND)
        if line is None:
            self.close()
            return Outcome("timed out", why=f"no result after {self.seconds * WALL_PER_CPU_SECOND:g} s")
        if not line.endswith(b"\n"):
            return self._post_mortem(worker)
        outcome = Outcome(**json.loads(line))
        if outcome.status == "out of memory":
            self.close()  # what is left of the address space may be too fragmented for the next item
        return outcome

    def close(self) -> None:
        """End the worker, whatever it is doing."""
        worker, self._worker = self._worker, None
        if worker is None:
            return
        worker.kill()
        for stream in (worker.stdin, worker.stdout):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()
        worker.wait()

    def _start(self) -> subprocess.Popen[bytes]:
        root = str(Path(__file__).resolve().parent.parent)
        path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
        arguments = [self.function, repr(self.seconds), str(self.memory_bytes)]
        command = [sys.executable, "-m", "tasks.limits", *arguments]
        worker = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": path}
        )
        self._worker = worker
        if _read_line(worker, STARTUP_SECONDS) != _READY:
            self.close()
            raise RuntimeError(
                f"the worker for {self.function} did not start (exit code {worker.returncode}); "
                "its own message is above"
            )
        return worker

    def _post_mortem(self, worker: subprocess.Popen[bytes]) -> Outcome:
        """The outcome of the item that ended the worker."""
        code = worker.wait()
        self.close()
        if code == -signal.SIGPROF:
            return Outcome("timed out", why=f"more than {self.seconds:g} s of processor time")
        if code < 0:
            return Outcome("crashed", why=f"the worker was ended by {signal.Signals(-code).name}")
        return Outcome("crashed", why=f"the worker ended with exit code {code}")


class LimitedPool:
    """Several `Limited` workers that share the items of a call and stay for the next one.

    The outcomes come in the order of the items, whichever worker was replaced in between. A process that forgets
    the pool ends its workers; `close` ends them at once.
    """

    def __init__(
        self, function: str, *, seconds: float, memory_bytes: int, workers: int | None = None
    ) -> None:
        count = workers or len(os.sched_getaffinity(0))
        self._workers = [Limited(function, seconds=seconds, memory_bytes=memory_bytes) for _ in range(count)]
        self._end = weakref.finalize(self, _close_all, self._workers)

    def map(self, items: Sequence[Any]) -> list[Outcome]:
        """One outcome per item, in order. Raises RuntimeError when a worker cannot start at all."""
        if not items:
            return []
        outcomes: list[Outcome | None] = [None] * len(items)
        places = iter(range(len(items)))
        taking = threading.Lock()

        def work(worker: Limited) -> None:
            while True:
                with taking:
                    place = next(places, None)
                if place is None:
                    return
                outcomes[place] = worker.call(items[place])

        # A worker costs a second to start: no more of them than there is work for.
        used = self._workers[: max(1, len(items) // ITEMS_FOR_A_WORKER)]
        if len(used) == 1:
            work(used[0])
        else:
            with ThreadPoolExecutor(len(used)) as threads:
                list(threads.map(work, used))
        return [outcome for outcome in outcomes if outcome is not None]

    @property
    def pids(self) -> list[int]:
        """The processes that run now."""
        return [worker._worker.pid for worker in self._workers if worker._worker is not None]

    def close(self) -> None:
        """End the workers, whatever they are doing; the next `map` starts new ones."""
        _close_all(self._workers)


def _close_all(workers: Sequence[Limited]) -> None:
    for worker in workers:
        worker.close()


def limit_reached(outcome: Outcome) -> str:
    """Why an item has no value, beginning with the limit that it met: for verdicts, where limits are counted."""
    named = {"timed out": "time limit", "out of memory": "memory limit", "crashed": "process ended"}
    return f"{named.get(outcome.status, 'could not be compared')}: {outcome.why}"


def _read_line(worker: subprocess.Popen[bytes], seconds: float) -> bytes | None:
    """One line from the worker; None when time runs out, a partial line when the worker ended."""
    assert worker.stdout is not None
    descriptor, deadline, line = worker.stdout.fileno(), time.monotonic() + seconds, b""
    while not line.endswith(b"\n"):
        if not select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))[0]:
            return None
        piece = os.read(descriptor, 1 << 16)
        if not piece:
            break
        line += piece
    return line


def _serve(function: Callable[[Any], Any], seconds: float) -> None:
    """The worker: answers each line of stdin with an outcome. An item that takes too long ends it."""
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what the work prints is not a reply
    signal.signal(signal.SIGPROF, signal.SIG_DFL)  # ends the process even inside one long C call
    replies.write(_READY)
    replies.flush()
    for line in sys.stdin.buffer:
        item = json.loads(line)
        signal.setitimer(signal.ITIMER_PROF, seconds)
        reply = _attempt(function, item)
        signal.setitimer(signal.ITIMER_PROF, 0)
        replies.write(reply)
        replies.flush()


def _attempt(function: Callable[[Any], Any], item: Any) -> bytes:
    """The outcome of one call as a line of JSON."""
    try:
        return json.dumps({"status": "done", "value": function(item)}).encode() + b"\n"
    except MemoryError:
        reply = {"status": "out of memory", "why": "the memory limit was reached"}
    except Exception as error:  # the work is untrusted: whatever it raises is its outcome
        reply = {"status": "failed", "why": f"{type(error).__name__}: {error}"[:300]}
    return json.dumps(reply).encode() + b"\n"


def _main(function: str, seconds: str, memory_bytes: str) -> None:
    # Ctrl-C at a terminal reaches the whole group. It is the parent's to act on, and to end this process.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    module, _, name = function.partition(":")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (int(memory_bytes), int(memory_bytes)))
    work = importlib.import_module(module)
    if prepare := getattr(work, "prepare", None):  # what the first item should not pay for
        prepare()
    confine()
    _serve(getattr(work, name), float(seconds))


if __name__ == "__main__":
    _main(*sys.argv[1:])
