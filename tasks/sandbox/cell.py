"""The process in which one program runs: what it gives up, and how it says how the program ended.

Whatever the program does, it does in this process, so nothing here is trusted from outside but one thing: the secret
that the process was given at its start and that it returns after the program's last statement. A program that leaves
before that, in whatever way, has not returned it.
"""

from __future__ import annotations

import contextlib
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
_CHANNEL = 3


def enter(
    program: str, secret: bytes, limits: Limits, *, user: int | None, channel: int, printed: int
) -> NoReturn:
    """Make this process a cell and run a program in it."""
    wire(channel, printed)
    try:
        confine(limits, user=user)
    except OSError as error:
        refuse(_CHANNEL, secret, error)
    run(program, secret)


def main(path: str, channel: str) -> None:
    """A cell in an interpreter of its own: what it is asked stands on standard input, `path` is JSON."""
    asked = json.loads(sys.stdin.buffer.read())
    sys.path[:] = json.loads(path)
    secret, limits = bytes.fromhex(asked["secret"]), Limits(**asked["limits"])
    enter(asked["program"], secret, limits, user=asked["user"], channel=int(channel), printed=1)


def refuse(channel: int, secret: bytes, error: OSError) -> NoReturn:
    """Say, signed by the secret, that there is no cell to run a program in, and end the process."""
    os.write(channel, secret + _why("refused", f"the sandbox could not be made: {error}"))
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


def wire(channel: int, printed: int) -> None:
    """Standard input is empty, both outputs are `printed`, descriptor 3 is `channel`; nothing else is open."""
    # Out of the way first: one of them may have the number that the other gets.
    channel, printed = (os.dup(one) for one in (channel, printed))
    nothing = os.open("/dev/null", os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(printed, 1)
    os.dup2(printed, 2)
    spare = os.dup(channel) if channel != _CHANNEL else channel
    os.dup2(spare, _CHANNEL)
    os.closerange(_CHANNEL + 1, 4096)


def run(program: str, secret: bytes) -> NoReturn:
    """Run a program as `exec(program, {})`, as the evaluation harness of HumanEval does, and end the process."""
    leave, write = os._exit, os.write  # what the program puts in their places is not what is called
    everything, memory, left = BaseException, MemoryError, SystemExit
    for name in [name for name in sys.modules if name.partition(".")[0] == "tasks"]:
        del sys.modules[name]
    gc.collect()
    said = secret
    try:
        try:
            exec(compile(program, "<program>", "exec"), {})
        except left:
            said = b""
        except memory:
            said = _why("out of memory", "the memory limit was reached")
        except everything as error:
            said = _why("failed", _message(error))
        with contextlib.suppress(everything):
            sys.stdout.flush()
            sys.stderr.flush()
        write(_CHANNEL, said)
    finally:
        leave(0)


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
