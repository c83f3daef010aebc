"""Programs in sandboxes: several at a time, each in an isolation of its own, by the backend that this machine has."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import queue
import select
import subprocess
import sys
import time
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType

from tasks.sandbox import room as rooms
from tasks.sandbox.bubblewrap import BubblewrapWorker
from tasks.sandbox.contract import Limits, Outcome, SandboxUnavailable, Worker
from tasks.sandbox.probe import probing
from tasks.sandbox.seccomp import known_machine

ROOT = str(Path(__file__).resolve().parents[2])
STARTUP_SECONDS = 60.0
GRACE_SECONDS = (
    30.0  # for starting and clearing away a cell on a busy machine, beyond the program's own limit
)
PROGRAMS_FOR_A_WORKER = 2
PROBE_SECONDS = 20.0
_START = (
    "import sys; sys.path.insert(0, sys.argv[1]); from tasks.sandbox.template import main; main(sys.argv[2])"
)


class Sandbox:
    """Workers that share the programs of a call and stay for the next one; `close` or the `with` block ends them.

    `backend` is a name of `BACKENDS`; None takes the first that passes the probe. Raises SandboxUnavailable, before
    any program runs, where none does.
    """

    def __init__(self, *, workers: int | None = None, backend: str | None = None) -> None:
        self.backend = backend or choose()
        self._workers = [BACKENDS[self.backend]() for _ in range(workers or len(os.sched_getaffinity(0)))]
        self._end = weakref.finalize(self, _close_all, self._workers)

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.close()

    def run(self, programs: Sequence[str], limits: Limits | None = None) -> list[Outcome]:
        """What became of each program, in order."""
        asked = limits or Limits()
        # A worker costs a tenth of a second to start: no more of them than there is work for.
        used = self._workers[: max(1, len(programs) // PROGRAMS_FOR_A_WORKER)]
        if len(used) == 1:
            return [used[0].run(program, asked) for program in programs]
        free: queue.SimpleQueue[Worker] = queue.SimpleQueue()
        for worker in used:
            free.put(worker)

        def one(program: str) -> Outcome:
            worker = free.get()
            try:
                return worker.run(program, asked)
            finally:
                free.put(worker)

        with ThreadPoolExecutor(len(used)) as threads:
            return list(threads.map(one, programs))

    def close(self) -> None:
        """End the workers, whatever they are doing; the next `run` starts new ones."""
        _close_all(self._workers)


def run_programs(
    programs: Sequence[str], limits: Limits | None = None, *, workers: int | None = None
) -> list[Outcome]:
    """Run each program in a sandbox of its own; what became of it, in order.

    `workers` run at a time (None: one for each core). Raises SandboxUnavailable, before any program runs, where
    nothing can isolate them.
    """
    with Sandbox(workers=workers) as sandbox:
        return sandbox.run(programs, limits)


def available() -> str | None:
    """Why this machine cannot run programs, and what to do about it; None where it can. Tries it, in 0.2 s."""
    try:
        choose()
    except SandboxUnavailable as error:
        return str(error)
    return None


def choose() -> str:
    """The first backend whose probe passes. Raises SandboxUnavailable with what each of them met."""
    met = []
    for name in BACKENDS:
        reason = probe(name)
        if reason is None:
            return name
        met.append(reason)
    raise SandboxUnavailable(
        f"this machine cannot isolate programs ({'; '.join(met)}). Install bubblewrap (Debian, Ubuntu: apt-get "
        "install bubblewrap), allow user namespaces, or give the container CAP_SYS_ADMIN"
    )


def probe(backend: str) -> str | None:
    """What is wrong with a backend, by a program that looks for every way out; None when it finds none."""
    if sys.platform != "linux" or not known_machine():
        return f"{backend}: only Linux on x86_64 and aarch64 is known"
    worker = BACKENDS[backend]()
    try:
        outcome = worker.run(probing(), Limits(seconds=PROBE_SECONDS))
    except SandboxUnavailable as error:
        return str(error)
    finally:
        worker.close()
    if outcome.passed:
        return None
    return f"{backend}: {' '.join([outcome.why, outcome.output[-200:].strip()]).strip()}"


class NamespaceWorker:
    """One template process; starts with the first program and again when it is lost."""

    def __init__(self) -> None:
        self._template: subprocess.Popen[bytes] | None = None

    def run(self, program: str, limits: Limits) -> Outcome:
        """What became of a program. Raises SandboxUnavailable where no room can be made."""
        outcome = self._run(program, limits)
        # A sandbox that was ended from outside (memory ran out elsewhere) says nothing of the program.
        return self._run(program, limits) if outcome.status == "refused" else outcome

    def _run(self, program: str, limits: Limits) -> Outcome:
        template = self._template or self._start()
        assert template.stdin is not None
        asked = {"program": program, "limits": dataclasses.asdict(limits)}
        line = None
        with contextlib.suppress(BrokenPipeError):
            template.stdin.write(json.dumps(asked).encode() + b"\n")
            template.stdin.flush()
            line = _read_line(template, limits.seconds + GRACE_SECONDS)
        if line is None or not line.endswith(b"\n"):
            self.close()
            return Outcome("refused", "the sandbox itself ended, or did not answer")
        return Outcome(**json.loads(line))

    def close(self) -> None:
        """End the template and whatever runs in it."""
        template, self._template = self._template, None
        if template is None:
            return
        template.kill()
        for stream in (template.stdin, template.stdout):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()
        template.wait()

    def _start(self) -> subprocess.Popen[bytes]:
        room = rooms.room()
        command = [
            room.interpreter, *rooms.PYTHON_OPTIONS, "-c", _START, ROOT, json.dumps(dataclasses.asdict(room)),
        ]  # fmt: skip
        template = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=rooms.ENVIRONMENT,
            cwd="/",
            start_new_session=True,  # Ctrl-C at a terminal is this process's to act on
        )
        self._template = template
        line = _read_line(template, STARTUP_SECONDS) or b""
        if line != b'"ready"\n':
            self.close()
            said = json.loads(line)["unavailable"] if line.startswith(b"{") else "it did not start"
            raise SandboxUnavailable(f"namespaces: {said}")
        return template


def _read_line(template: subprocess.Popen[bytes], seconds: float) -> bytes | None:
    """One line; None when time runs out, a partial line when the process ended."""
    assert template.stdout is not None
    descriptor, until, line = template.stdout.fileno(), time.monotonic() + seconds, b""
    while not line.endswith(b"\n"):
        if not select.select([descriptor], [], [], max(0.0, until - time.monotonic()))[0]:
            return None
        piece = os.read(descriptor, 1 << 16)
        if not piece:
            break
        line += piece
    return line


def _close_all(workers: Sequence[Worker]) -> None:
    for worker in workers:
        worker.close()


# In the order in which they are tried: a program costs 10 ms in the first, 100 ms in the second.
BACKENDS: dict[str, Callable[[], Worker]] = {"namespaces": NamespaceWorker, "bwrap": BubblewrapWorker}
