"""A room made by bubblewrap (`bwrap`), one for each program: for machines where only it may make namespaces.

Ubuntu since 24.04 is one: AppArmor takes what a user namespace gives from everything but bwrap, and from what bwrap
starts. So nothing in there can make further namespaces, and each program pays for starting an interpreter.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import signal
import subprocess
import threading
import time
from pathlib import Path

from tasks.sandbox import cell, watch
from tasks.sandbox import room as rooms
from tasks.sandbox.contract import Limits, Outcome, SandboxUnavailable
from tasks.sandbox.namespaces import FILES, NOBODY, free_user

_START = (
    f"import sys; sys.path.insert(0, {rooms.CODE!r}); "
    "from tasks.sandbox.cell import main; main(*sys.argv[1:])"
)
_PACKAGE = Path(__file__).resolve().parent
_CLEARING_SECONDS = 10.0
_BEFORE = rooms.SCRATCH if os.path.isdir(rooms.SCRATCH) else "/"


class BubblewrapWorker:
    """Starts bwrap for every program."""

    def __init__(self) -> None:
        self.room = rooms.room()

    def run(self, program: str, limits: Limits) -> Outcome:
        """What became of a program. Raises SandboxUnavailable where bwrap is not installed."""
        found = shutil.which("bwrap")
        if found is None:
            raise SandboxUnavailable("bwrap: not installed")
        secret = os.urandom(cell.SECRET_BYTES)
        # The number of a thread is its own on the whole machine, and a thread watches one program at a time.
        user = free_user(threading.get_native_id()) if os.geteuid() == 0 else None
        asked = {"program": program, "limits": dataclasses.asdict(limits), "user": user}
        (word, saying), (printed, printing), (facts, telling), (key, keeping) = (os.pipe() for _ in range(4))
        os.write(keeping, secret)
        started = time.monotonic()
        process = subprocess.Popen(
            self.command(found, limits, user, cell_pipes=(saying, key), facts=telling),
            stdin=subprocess.PIPE,
            stdout=printing,
            stderr=printing,
            pass_fds=(saying, telling, key),
            start_new_session=True,
        )
        for one in (saying, printing, telling, key, keeping):
            os.close(one)
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError), process.stdin as request:
            request.write(json.dumps(asked).encode())
        heard, crowd = watch.Heard(limits.output_bytes), _Crowd(facts)
        end = _watch(process, (word, printed), heard, crowd, until=started + limits.seconds)
        for one in (word, printed, facts):
            os.close(one)
        outcome = watch.judge(heard, secret, end, limits, time.monotonic() - started)
        if crowd.seen:
            return dataclasses.replace(outcome, status="killed", why=f"more than {FILES} files in its folder")
        return outcome

    def close(self) -> None:
        """Nothing stays between two programs."""

    def command(
        self, bwrap: str, limits: Limits, user: int | None, *, cell_pipes: tuple[int, int], facts: int
    ) -> list[str]:
        """The whole command line of one program."""
        if user is None:
            who = ["--unshare-user", "--uid", str(NOBODY), "--gid", str(NOBODY)]
        else:  # a real root makes namespaces without; the cell becomes somebody else
            keep = [part for name in ("SETUID", "SETGID", "SETPCAP") for part in ("--cap-add", f"CAP_{name}")]
            who = ["--cap-drop", "ALL", *keep]
        variables = [part for item in rooms.ENVIRONMENT.items() for part in ("--setenv", *item)]
        return [
            bwrap, *who, "--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts",
            "--unshare-cgroup-try", "--die-with-parent", "--new-session", "--info-fd", str(facts), "--clearenv",
            *variables, *self._furniture(limits.scratch_bytes), "--",
            self.room.interpreter, *rooms.PYTHON_OPTIONS, "-c", _START, json.dumps(self.room.path),
            *map(str, cell_pipes),
        ]  # fmt: skip

    def _furniture(self, scratch_bytes: int) -> list[str]:
        own = ((str(_PACKAGE), f"{rooms.CODE}/tasks/sandbox"),)
        binds = (*self.room.binds, *own)
        # Made by hand: where a folder outside is closed to others, bwrap closes the one that it makes inside too.
        inside = [path for _, path in binds] + list(rooms.DEVICES)
        above = sorted({str(folder) for path in inside for folder in Path(path).parents} - {"/"})
        parts = [part for folder in above for part in ("--perms", "0755", "--dir", folder)]
        parts += [part for pair in binds for part in ("--ro-bind", *pair)]
        for target, points_to in self.room.links:
            parts += ["--symlink", points_to, target]
        for device in rooms.DEVICES:
            parts += ["--dev-bind", device, device]
        for folder in self.room.hidden:
            parts += ["--tmpfs", folder, "--remount-ro", folder]
        scratch = ["--perms", "1777", "--size", str(scratch_bytes), "--tmpfs", rooms.SCRATCH]
        return [*parts, *scratch, "--remount-ro", "/", "--chdir", rooms.SCRATCH]


def _watch(
    process: subprocess.Popen[bytes],
    pipes: tuple[int, int],
    heard: watch.Heard,
    crowd: _Crowd,
    *,
    until: float,
) -> watch.End | None:
    """How bwrap ended, with everything in it; None when its time was up first."""
    ended = os.pidfd_open(process.pid)
    in_time = watch.listen(*pipes, ended, heard, until=until, stop=crowd.too_large)
    os.kill(process.pid, signal.SIGKILL)  # not waited for yet: the number is still its own
    _, status, used = os.wait4(process.pid, 0)
    os.close(ended)
    watch.drain(*pipes, heard, seconds=_CLEARING_SECONDS)
    code = process.returncode = os.waitstatus_to_exitcode(status)
    # bwrap says a signal of what it started as 128 + its number.
    return watch.End(128 - code if code > 128 else code, used.ru_utime + used.ru_stime) if in_time else None


class _Crowd:
    """Whether a program has made too many files: bwrap limits the size of a folder in memory, not their number,
    and each costs the kernel a kilobyte."""

    def __init__(self, facts: int) -> None:
        self.seen = False
        self._facts, self._said, self._folder = facts, b"", ""
        self._outside = os.stat(_BEFORE).st_dev  # what the folder's name means until the room is made
        os.set_blocking(facts, False)

    def too_large(self) -> bool:
        """Looks at the folder through the first process inside, whose number bwrap says."""
        if not self._folder:
            with contextlib.suppress(BlockingIOError, ValueError, KeyError):
                self._said += os.read(self._facts, 4096)
                self._folder = f"/proc/{json.loads(self._said)['child-pid']}/root{rooms.SCRATCH}"
        with contextlib.suppress(OSError):  # not there yet, or no more
            found = os.statvfs(self._folder)
            own = os.stat(self._folder).st_dev != self._outside
            self.seen = own and found.f_files - found.f_ffree > FILES
        return self.seen
