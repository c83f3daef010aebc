"""What the sandbox says of ordinary programs, which limits it keeps, and what it does where it cannot be made."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks import sandbox as sandboxes
from tasks.sandbox import Limits, Sandbox, SandboxUnavailable, run_programs, seccomp
from tasks.sandbox.pool import BACKENDS, STARTUP_SECONDS, probe

ROOT = Path(__file__).resolve().parents[2]
LIMITS = Limits(seconds=5.0)
USABLE = [name for name in BACKENDS if probe(name) is None]
OVERHEAD = 1.5


@pytest.fixture(scope="module", params=USABLE or ["none"])
def sandbox(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    if not USABLE:
        pytest.skip("; ".join(filter(None, map(probe, BACKENDS))))
    with Sandbox(backend=request.param, workers=2) as made:
        yield made


def test_what_becomes_of_programs_comes_in_their_order(sandbox: Sandbox) -> None:
    programs = [f"print({n})\nassert {n} % 3" for n in range(12)]
    outcomes = sandbox.run(programs, LIMITS)
    assert [outcome.output for outcome in outcomes] == [f"{n}\n" for n in range(12)]
    assert [outcome.passed for outcome in outcomes] == [n % 3 != 0 for n in range(12)]
    assert {outcome.why for outcome in outcomes} == {"", "AssertionError: "}


def test_a_program_has_what_python_needs_and_little_else(sandbox: Sandbox) -> None:
    program = """
import collections, decimal, hashlib, json, math, random, re, sqlite3, ssl, statistics, typing, zlib, numpy, os, sys
from dataclasses import dataclass
@dataclass
class Point: x: int
assert numpy.allclose(numpy.linalg.inv(numpy.eye(3) * 2), numpy.eye(3) / 2) and Point(3).x == 3
open("a", "w").write("x"); assert open("a").read() == "x"
print(json.dumps([sys.version_info[:2], sorted(os.listdir("/")), sorted(os.listdir("/dev")), os.getgroups()]))
try: import torch
except ImportError: print("no torch")
"""
    (outcome,) = sandbox.run([program], LIMITS)
    assert outcome.passed, outcome
    first, torch = outcome.output.splitlines()
    version, top, devices, groups = json.loads(first)
    assert version == list(sys.version_info[:2]) and torch == "no torch"
    assert not {"proc", "sys", "home", "var", "run", "work", "boot"} & set(top)
    assert devices == ["null", "random", "urandom", "zero"] and groups in ([], [65534])


@pytest.mark.parametrize(
    ("program", "status", "why"),
    [
        ("def f(:", "failed", "SyntaxError"),
        ("1/0", "failed", "ZeroDivisionError: division by zero"),
        ("raise SystemExit(0)", "ended early", "exit code 0"),
        ("import os; os._exit(7)", "ended early", "exit code 7"),
        ("x = 'x' * (1 << 31)", "out of memory", "memory limit"),
        ("import os; os.kill(os.getpid(), 11)", "killed", "SIGSEGV"),
        ("import sys; sys.exit('no')", "ended early", "exit code"),
        ("if __name__ == '__main__': raise ValueError", "passed", ""),  # as where HumanEval's harness runs it
        ("", "passed", ""),
    ],
)
def test_how_a_program_ended_is_said(sandbox: Sandbox, program: str, status: str, why: str) -> None:
    (outcome,) = sandbox.run([program], LIMITS)
    assert outcome.status == status and why in outcome.why, outcome


def test_processor_time_is_limited_by_itself(sandbox: Sandbox) -> None:
    """Several threads in C use it up faster than the clock on the wall: on one core the two are the same."""
    program = "import hashlib, threading\nd = bytes(1 << 28)\n" + (
        "ts = [threading.Thread(target=lambda: [hashlib.sha256(d) for _ in range(99)]) for _ in range(4)]\n"
        "for t in ts: t.start()\nfor t in ts: t.join()\n"
    )
    (outcome,) = sandbox.run([program], Limits(seconds=2.0))
    assert outcome.status == "timed out" and outcome.seconds < 2.0 + OVERHEAD


def test_what_is_printed_is_kept_up_to_its_limit(sandbox: Sandbox) -> None:
    program = "import os, sys\nfor _ in range(64): os.write(1, b'ab' * 50_000)\nsys.stderr.write('end')"
    (outcome,) = sandbox.run([program], Limits(output_bytes=1000))
    assert outcome.passed and outcome.output == "ab" * 500 + "\n(cut here)"


def test_runs_are_the_same_each_time(sandbox: Sandbox) -> None:
    program = "print({chr(n) for n in range(97, 120)})"
    assert len({outcome.output for outcome in sandbox.run([program] * 4, LIMITS)}) == 1


def test_a_lost_sandbox_is_replaced_and_says_nothing_of_the_program() -> None:
    if "namespaces" not in USABLE:
        pytest.skip(str(probe("namespaces")))
    with Sandbox(backend="namespaces", workers=1) as one:
        assert one.run(["pass"], LIMITS)[0].passed
        template = one._workers[0]._template  # type: ignore[attr-defined]
        os.kill(template.pid, signal.SIGKILL)
        template.wait()
        assert one.run(["pass"], LIMITS)[0].passed


@pytest.mark.parametrize("backend", USABLE)
def test_programs_die_with_the_process_that_runs_them(backend: str, tmp_path: Path) -> None:
    """Killed, not asked: nothing can clear up after itself."""
    waiting = "import os, time\\nprint(os.getuid())\\ntime.sleep(60)"
    code = (
        "from tasks.sandbox import Limits, Sandbox\n"
        f"s = Sandbox(backend={backend!r}, workers=1)\nprint(s.run(['import os; print(os.getuid())'])[0].output)\n"
        f"print('now', flush=True)\ns.run(['{waiting}'], Limits(seconds=60))"
    )
    command = [sys.executable, "-u", "-c", code]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        user = int(parent.stdout.readline())
        while parent.stdout.readline() != "now\n":
            pass
        until = time.monotonic() + STARTUP_SECONDS
        while not _of(user) and time.monotonic() < until:
            time.sleep(0.02)
        assert _of(user) or user == 65534
        parent.kill()
    until = time.monotonic() + 5.0
    while _of(user) and time.monotonic() < until:
        time.sleep(0.02)
    assert not _of(user)


def _of(user: int) -> list[str]:
    """Processes of a user."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            if place.stat().st_uid == user:
                found.append(place.name)
        except OSError:
            continue
    return found


def test_nothing_runs_where_nothing_isolates(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither namespaces (the kernel refuses) nor bwrap (not installed): a refusal that says what to do."""
    refused = 'import errno, sys\nprint(\'{"unavailable": "unshare: Operation not permitted"}\')'
    monkeypatch.setattr("tasks.sandbox.pool._START", refused)
    monkeypatch.setenv("PATH", str(tmp_path))
    reason = sandboxes.available()
    assert reason is not None
    assert "Operation not permitted" in reason and "bwrap: not installed" in reason
    assert "apt-get install bubblewrap" in reason
    with pytest.raises(SandboxUnavailable, match="cannot isolate"):
        run_programs([f"open('{tmp_path}/ran', 'w')"])
    assert not (tmp_path / "ran").exists()


def test_a_sandbox_with_a_hole_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """The probe is a program: with the filter of system calls left out, it finds what is open."""
    if "namespaces" not in USABLE:
        pytest.skip(str(probe("namespaces")))
    holed = (
        "import sys; sys.path.insert(0, sys.argv[1]); from tasks.sandbox import seccomp; "
        "seccomp.install = lambda forks: None; from tasks.sandbox.template import main; main(sys.argv[2])"
    )
    monkeypatch.setattr("tasks.sandbox.pool._START", holed)
    reason = probe("namespaces")
    assert reason is not None and "was not refused" in reason


@pytest.mark.parametrize("folder", ["/", "/tmp", "/usr"])
def test_where_the_caller_stands_changes_nothing(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HOME", folder)
    assert [name for name in BACKENDS if probe(name) is None] == USABLE


def interpreted(code: list[seccomp.Instruction], machine: int, number: int, first: int) -> int:
    """What a filter says of a system call: classic BPF, as linux/filter.h and linux/seccomp.h define it."""
    data, held, place = {0: number, 4: machine, 16: first}, 0, 0
    while True:
        kind, true, false, operand = code[place]
        place += 1
        if kind == 0x20:
            held = data[operand]
        elif kind == 0x06:
            return operand
        else:
            jumps = {0x15: held == operand, 0x35: held >= operand, 0x45: bool(held & operand)}
            place += true if jumps[kind] else false


@pytest.mark.parametrize(
    ("machine", "audit", "calls"),
    [
        # Numbers of the kernel's tables: arch/x86/entry/syscalls/syscall_64.tbl, include/uapi/asm-generic/unistd.h.
        (
            "x86_64",
            0xC000003E,
            {"execve": 59, "socket": 41, "fork": 57, "clone": 56, "read": 0, "mount": 165},
        ),
        ("aarch64", 0xC00000B7, {"execve": 221, "socket": 198, "clone": 220, "read": 63, "mount": 40}),
    ],
)
def test_the_filter_of_system_calls(machine: str, audit: int, calls: dict[str, int]) -> None:
    """Both processors' filters, in an interpreter of the language that filters are written in."""
    allow, refuse, no_call, kill = 0x7FFF0000, 0x00050001, 0x00050026, 0x80000000
    thread, process, namespace = 0x3D0F00, 0x01200011, 0x10000000
    for forks in (False, True):
        code = seccomp.instructions(machine, forks=forks)

        def said(name: str, first: int = 0, code: list[seccomp.Instruction] = code) -> int:
            return interpreted(code, audit, calls[name], first)

        assert said("read") == allow
        assert said("execve") == said("socket") == said("mount") == refuse
        assert said("clone", thread) == allow
        assert said("clone", process) == (allow if forks else refuse)
        assert said("clone", process | namespace) == said("clone", thread | namespace) == refuse
        assert interpreted(code, audit, 435, 0) == no_call  # clone3
        assert interpreted(code, 0x40000003, calls["read"], 0) == kill  # 32-bit
        if "fork" in calls:
            assert said("fork") == (allow if forks else refuse)
            assert interpreted(code, audit, 0x40000000 | calls["read"], 0) == refuse  # x32
