"""Programs that try to get out of the sandbox get nowhere: they leave no trace, keep to limits, forge nothing."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tasks.sandbox import Limits, Sandbox
from tasks.sandbox.pool import BACKENDS, probe
from tests.tasks.hostile_programs import FORGERS, HOSTILE, LATE, Hostile

SECONDS = 1.0
ENDING = 10.0  # for programs that end by themselves, on a machine with other work
CLEARING = 1.5  # beyond its limit, on a busy machine: making and taking away the sandbox
LIMITS = Limits(seconds=SECONDS, memory_bytes=1 << 30, scratch_bytes=16 << 20)
USABLE = [name for name in BACKENDS if probe(name) is None]
# Of the programs, those that hurt nobody where nothing holds them.
HARMLESS = (
    "subprocess", "shell", "exec", "TCP", "UDP", "abstract socket", "socket file", "project", "user list",
    "other processes", "memory files", "descriptors", "mapped memory",
)  # fmt: skip
ENVIRONMENT = "MERGEBOARD_TEST_SECRET"


class Outside(NamedTuple):
    """What a program must not reach: a folder that anybody may write to, and servers."""

    folder: Path
    servers: tuple[socket.socket, ...]
    words: dict[str, str]  # what stands for what in the programs

    def connections(self) -> list[object]:
        """Whoever reached a server."""
        found: list[object] = []
        for server in self.servers:
            with contextlib.suppress(BlockingIOError):
                found.append(server.accept() if server.type == socket.SOCK_STREAM else server.recv(10))
        return found


@pytest.fixture(scope="module")
def outside() -> Iterator[Outside]:
    with tempfile.TemporaryDirectory(prefix="outside") as name:
        folder = Path(name)
        folder.chmod(0o777)
        tcp = socket.create_server(("127.0.0.1", 0))
        port = tcp.getsockname()[1]
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        udp.bind(("127.0.0.1", port))
        hidden, file = (socket.socket(socket.AF_UNIX) for _ in range(2))
        hidden.bind(f"\0mergeboard-{os.getpid()}")
        file.bind(f"{folder}/socket")
        os.chmod(folder / "socket", 0o777)
        for server in (hidden, file):
            server.listen()
        servers = (tcp, udp, hidden, file)
        for server in servers:
            server.setblocking(False)
        words = {
            "OUTSIDE": name, "HOME": str(Path.home()), "PROJECT": __file__, "PORT": str(port),
            "ABSTRACT": f"mergeboard-{os.getpid()}", "SOCKET": f"{folder}/socket",
        }  # fmt: skip
        yield Outside(folder, servers, words)
        for server in servers:
            server.close()


@pytest.fixture(scope="module", params=USABLE or ["none"])
def sandbox(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    if not USABLE:
        pytest.skip("; ".join(filter(None, map(probe, BACKENDS))))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(ENVIRONMENT, "hidden-from-programs")
        with Sandbox(backend=request.param, workers=1) as made:
            made.run(["pass"])  # what starts with the first program
            yield made


def alive(user: int) -> set[str]:
    """Processes of a sandbox: of the user that its programs are."""
    found = set()
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it ended just now
            if place.stat().st_uid == user and user != os.getuid():
                found.add(place.name)
    return found


def emptied(user: int) -> bool:
    """Whether the kernel has taken away every process of a sandbox, or does within a moment."""
    until = time.monotonic() + 2.0
    while alive(user) and time.monotonic() < until:
        time.sleep(0.01)
    return not alive(user)


def files() -> list[object]:
    """What a program could leave outside its folder: shared memory, and a core in the folder of this process."""
    return [sorted(os.listdir("/dev/shm")), Path("/proc/sysvipc/shm").read_text(), sorted(os.listdir())]


def written(program: Hostile, words: dict[str, str]) -> str:
    text = program.program
    for word, meant in words.items():
        text = text.replace(word, meant)
    return text


@pytest.mark.parametrize(
    "hostile", [h for h in HOSTILE if LATE not in h.ends], ids=lambda hostile: hostile.name
)
def test_no_program_gets_out(sandbox: Sandbox, outside: Outside, hostile: Hostile) -> None:
    (who,) = sandbox.run(["import os; print(os.getuid())"], LIMITS)
    before = files()
    started = time.monotonic()
    (outcome,) = sandbox.run(
        [written(hostile, outside.words)], dataclasses.replace(LIMITS, seconds=ENDING, **hostile.limits)
    )
    took = time.monotonic() - started
    assert outcome.status in hostile.ends, outcome
    assert "ESCAPED" not in outcome.output
    assert len(outcome.output) <= LIMITS.output_bytes + 20 and len(outcome.why) <= 400
    assert took < ENDING + CLEARING
    assert outside.connections() == []
    if hostile.limits:
        time.sleep(0.7)  # longer than a daemon waits before it writes
    assert os.listdir(outside.folder) == ["socket"]
    assert emptied(int(who.output))
    assert files() == before


def test_programs_that_would_take_for_ever_are_ended(sandbox: Sandbox) -> None:
    late = [hostile for hostile in HOSTILE if LATE in hostile.ends]
    started = time.monotonic()
    with Sandbox(backend=sandbox.backend, workers=len(late) // 2) as several:
        outcomes = several.run([hostile.program for hostile in late], LIMITS)
    assert time.monotonic() - started < 3 * (SECONDS + CLEARING)
    for hostile, outcome in zip(late, outcomes, strict=True):
        assert outcome.status in hostile.ends, (hostile.name, outcome)
        assert outcome.seconds < SECONDS + CLEARING, (hostile.name, outcome)
        assert "ESCAPED" not in outcome.output and len(outcome.output) <= LIMITS.output_bytes + 20


@pytest.mark.parametrize("name", HARMLESS)
def test_without_a_sandbox_the_programs_get_what_they_want(outside: Outside, name: str) -> None:
    """So that the tests above show the sandbox, and not programs that could do nothing anywhere."""
    (hostile,) = [hostile for hostile in HOSTILE if hostile.name == name]
    command = [sys.executable, "-c", written(hostile, outside.words)]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=outside.folder, timeout=60, check=False
    )
    assert "ESCAPED" in done.stdout or outside.connections(), done


@pytest.mark.parametrize("forger", FORGERS, ids=lambda forger: forger.name)
def test_no_program_passes_that_did_not_reach_its_end(sandbox: Sandbox, forger: Hostile) -> None:
    (outcome,) = sandbox.run([forger.program], LIMITS)
    assert outcome.status in forger.ends, outcome
    assert not outcome.passed and outcome.why


def test_the_sandbox_itself_outlives_them_all(sandbox: Sandbox) -> None:
    """Nothing that ran before has changed what runs now: neither files, nor modules, nor the process that serves."""
    alter = "import math, builtins\nmath.pi = builtins.len = 3\nopen('left', 'w').write('x')"
    unaltered = "import math, os\nassert math.pi > 3.1 and len('ab') == 2 and os.listdir('.') == []"
    pids = []
    for program in (alter, unaltered):
        (outcome,) = sandbox.run([program], LIMITS)
        assert outcome.passed, outcome
        pids.append([getattr(getattr(worker, "_template", None), "pid", None) for worker in sandbox._workers])
    assert pids[0] == pids[1]
