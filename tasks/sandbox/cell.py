"""The process in which one program runs: what it gives up, and how it says how the program ended.

Whatever the program does, it does in this process, so nothing here is trusted from outside but one thing: the secret
that the process was given at its start and that it returns after the program's last statement. A program that leaves
before that, in whatever way, has not returned it.
"""

from __future__ import annotations

import fcntl
import gc
import json
import math
import os
import resource
import sys
from typing import NoReturn

from tasks.sandbox import seccomp
from tasks.sandbox.contract import Limits
from tasks.sandbox.room import SCRATCH
from tasks.sandbox.syscalls import PR_SET_NO_NEW_PRIVS, drop_bounding_set, drop_capabilities, prctl

SECRET_BYTES = 16
SHOWN = 300  # characters of a program's own error message
OPEN_FILES = 64
_CHANNEL, _KEY = 3, 4
_PRYING = frozenset(
    ("gc.get_objects", "gc.get_referrers", "gc.get_referents", "sys.settrace", "sys.setprofile")
)


def enter(
    program: str, limits: Limits, *, user: int | None, channel: int, key: int, printed: int
) -> NoReturn:
    """Make this process a cell and run a program in it."""
    wire(channel, key, printed)
    try:
        confine(limits, user=user)
    except OSError as error:
        refuse(_CHANNEL, _KEY, error)
    run(program)


def main(path: str, channel: str, key: str) -> None:
    """A cell in an interpreter of its own: what it is asked stands on standard input, `path` is JSON."""
    asked = json.loads(sys.stdin.buffer.read())
    sys.path[:] = json.loads(path)
    limits = Limits(**asked["limits"])
    enter(asked["program"], limits, user=asked["user"], channel=int(channel), key=int(key), printed=1)


def refuse(channel: int, key: int, error: OSError) -> NoReturn:
    """Say, signed by the secret, that there is no cell to run a program in, and end the process."""
    os.write(channel, _take(key) + _why("refused", f"the sandbox could not be made: {error}"))
    os._exit(1)


def confine(limits: Limits, *, user: int | None) -> None:
    """Take everything from this process that a program does not need; `user` is who it becomes. For good."""
    os.chdir(SCRATCH)
    os.umask(0o077)
    _limit(limits)
    if user is not None:
        drop_bounding_set()
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
    drop_capabilities()
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    seccomp.install(forks=limits.processes > 1)


def _limit(limits: Limits) -> None:
    seconds = max(1, math.ceil(limits.seconds))
    memory = limits.memory_bytes // max(1, limits.processes)
    tasks = (
        max(limits.threads, limits.processes) + 3
    )  # where the user is the caller's, those that watch count too
    for name, soft, hard in (
        (
            resource.RLIMIT_CPU,
            seconds,
            seconds + 1,
        ),  # the first is a signal that says why, the second is final
        (resource.RLIMIT_AS, memory, memory),
        (resource.RLIMIT_FSIZE, limits.scratch_bytes, limits.scratch_bytes),
        (resource.RLIMIT_NPROC, tasks, tasks),
        (resource.RLIMIT_NOFILE, OPEN_FILES, OPEN_FILES),
        (resource.RLIMIT_CORE, 0, 0),
        (resource.RLIMIT_MEMLOCK, 0, 0),
        (resource.RLIMIT_MSGQUEUE, 0, 0),
        (resource.RLIMIT_SIGPENDING, 64, 64),
        (resource.RLIMIT_RTPRIO, 0, 0),
        (resource.RLIMIT_NICE, 0, 0),
    ):
        most = resource.getrlimit(name)[1]
        if most != resource.RLIM_INFINITY:
            soft, hard = min(soft, most), min(hard, most)
        resource.setrlimit(name, (soft, hard))


def wire(channel: int, key: int, printed: int) -> None:
    """Standard input is empty, both outputs are `printed`, 3 is `channel`, 4 is `key`; nothing else is open."""
    # Out of the way first: one of them may have the number that another gets.
    places = (0, printed), (1, printed), (2, printed), (_CHANNEL, channel), (_KEY, key)
    copies = [fcntl.fcntl(source, fcntl.F_DUPFD, _KEY + 1) for _, source in places]
    copies[0] = os.open("/dev/null", os.O_RDONLY)
    for (place, _), copy in zip(places, copies, strict=True):
        os.dup2(copy, place)
    os.closerange(_KEY + 1, 4096)


def run(program: str) -> NoReturn:
    """Run a program as `exec(program, {})`, as the evaluation harness of HumanEval does, and end the process.

    While it runs the secret is an argument of a call that has not begun: on the interpreter's own stack, where no
    frame, no module and no variable shows it to Python.
    """
    leave, write = os._exit, os.write  # what the program puts in their places is not what is called
    everything, memory, left = BaseException, MemoryError, SystemExit
    for name in [name for name in sys.modules if name.partition(".")[0] == "tasks"]:
        del sys.modules[name]
    gc.collect()
    sys.addaudithook(_no_prying)
    said = b""
    try:
        try:
            write(_CHANNEL, _printed(_take(_KEY), exec(compile(program, "<program>", "exec"), {})))  # type: ignore[func-returns-value]
        except left:
            pass
        except memory:
            said = _why("out of memory", "the memory limit was reached")
        except everything as error:
            said = _why("failed", _message(error))
        _printed(b"", None)
        write(_CHANNEL, said)
    finally:
        leave(0)


def _take(key: int) -> bytes:
    """The secret, which can be read once."""
    secret = os.read(key, SECRET_BYTES)
    os.close(key)
    return secret


def _printed(said: bytes, done: None) -> bytes:
    """What is said when all that the program printed is on its way."""
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:  # what stands there is the program's
        return said
    return said


def _no_prying(event: str, arguments: tuple[object, ...]) -> None:
    """The functions that show what an interpreter's stack holds, or that follow it step by step."""
    if event in _PRYING:
        raise PermissionError(f"a program may not do this: {event}")


def _message(error: BaseException) -> str:
    """An exception in a line; its text is the program's, and so may be what makes the text."""
    name = type(error).__name__
    try:
        return f"{name}: {error}"
    except Exception:
        return name


def _why(status: str, why: str) -> bytes:
    kept = "".join(letter if letter.isprintable() else " " for letter in why[:SHOWN])
    return json.dumps({"status": status, "why": kept}).encode()
