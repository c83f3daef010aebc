"""A process in a room of its own that runs programs, one after the other, each in a cell forked from it.

Python and numpy are loaded once, so that a program costs milliseconds. A cell has its own namespace of processes, in
which an init of ours is the first: when the program ends, or its time is up, that init ends and the kernel ends
everything else that was started there. Its scratch folder and its shared memory go the same way.

Started as `python -c START FOLDER ROOM`; answers each line of JSON on standard input with one.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import select
import struct
import sys
import time
from typing import NoReturn

from tasks.sandbox import cell, namespaces, watch
from tasks.sandbox import syscalls as sys_
from tasks.sandbox.contract import Limits, Outcome
from tasks.sandbox.room import Room

READY = b'"ready"\n'
# What programs often import: found loaded. They do not become names of a program that does not import them.
PRELOADED = (
    "bisect", "collections", "copy", "datetime", "decimal", "fractions", "functools", "hashlib", "heapq",
    "itertools", "math", "operator", "random", "re", "statistics", "string", "typing", "numpy",
)  # fmt: skip
_REPORT = "id"  # exit code, processor time: struct format


def main(encoded_room: str) -> None:
    """Enter the room, say so, and serve. A room that cannot be made is said in JSON instead."""
    fields = json.loads(encoded_room)
    pairs = {name: tuple(map(tuple, fields[name])) for name in ("binds", "links")}
    room = Room(fields["interpreter"], hidden=tuple(fields["hidden"]), path=tuple(fields["path"]), **pairs)
    try:
        inside = namespaces.enter(room)
    except OSError as error:
        _reply({"unavailable": str(error)})
        return
    sys.path[:] = room.path
    sys.path_importer_cache.clear()
    for name in PRELOADED:
        with contextlib.suppress(ImportError):  # numpy may be missing; a program that wants it then fails
            importlib.import_module(name)
    gc.collect()
    gc.freeze()
    os.write(1, READY)
    _serve(inside)


def _serve(inside: namespaces.Inside) -> None:
    for line in sys.stdin.buffer:
        asked = json.loads(line)
        outcome = _program(asked["program"], Limits(**asked["limits"]), inside)
        _reply(
            {
                "status": outcome.status,
                "why": outcome.why,
                "output": outcome.output,
                "seconds": outcome.seconds,
            }
        )


def _reply(fields: dict[str, object]) -> None:
    left = json.dumps(fields).encode() + b"\n"
    while left:
        left = left[os.write(1, left) :]


def _program(program: str, limits: Limits, inside: namespaces.Inside) -> Outcome:
    """Run one program in a cell and watch it."""
    (word, saying), (printed, printing), (report, reporting), (key, keeping) = (os.pipe() for _ in range(4))
    started = time.monotonic()
    sys_.unshare(sys_.NEWPID)
    init = os.fork()
    if init == 0:
        os.close(keeping)
        _init(program, limits, inside, saying=saying, printing=printing, reporting=reporting, key=key)
    sys_.setns(inside.processes, sys_.NEWPID)
    secret = os.urandom(cell.SECRET_BYTES)  # after the fork: nothing of it is in the memory of the cell
    os.write(keeping, secret)
    for one in (saying, printing, reporting, key, keeping):
        os.close(one)
    heard = watch.Heard(limits.output_bytes)
    in_time = watch.listen(word, printed, report, heard, until=started + limits.seconds, stop=_left_alone)
    with contextlib.suppress(ProcessLookupError):
        os.kill(init, 9)
    os.waitpid(init, 0)  # returns when everything in its namespace is gone
    watch.drain(word, printed, heard, seconds=0.0)
    end = _end(os.read(report, 64)) if in_time else None
    for one in (word, printed, report):
        os.close(one)
    return watch.judge(heard, secret, end, limits, time.monotonic() - started)


def _left_alone() -> bool:
    """Whether the process that asks has gone: nobody else holds the other end of standard input."""
    poll = select.poll()
    poll.register(0, 0)
    return any(what & select.POLLHUP for _, what in poll.poll(0))


def _end(report: bytes) -> watch.End:
    if len(report) != struct.calcsize(_REPORT):
        return watch.End(-9, 0.0)  # the init itself was ended
    return watch.End(*struct.unpack(_REPORT, report))


def _init(
    program: str,
    limits: Limits,
    inside: namespaces.Inside,
    *,
    saying: int,
    printing: int,
    reporting: int,
    key: int,
) -> NoReturn:
    """The first process of a cell: starts the program's, waits for it alone, and takes the rest along."""
    try:
        os.setsid()
        try:
            namespaces.own_scratch(limits.scratch_bytes, inside.user)
        except OSError as error:
            cell.refuse(saying, key, error)
        child = os.fork()
        if child == 0:
            cell.enter(program, limits, user=inside.user, channel=saying, key=key, printed=printing)
        for one in (saying, printing, key):
            os.close(one)
        while True:
            pid, status, used = os.wait4(-1, 0)
            if pid == child:
                break
        code = os.waitstatus_to_exitcode(status)
        os.write(reporting, struct.pack(_REPORT, code, used.ru_utime + used.ru_stime))
    finally:
        os._exit(0)
