"""A room made by bubblewrap (`bwrap`), one for each program: for machines where only it may make namespaces.

Ubuntu since 24.04 is one: AppArmor takes what a user namespace gives from everything but bwrap, and from what bwrap
starts. So nothing in there can make further namespaces, and each program pays for starting an interpreter.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

from tasks.sandbox import cell, watch
from tasks.sandbox import room as rooms
from tasks.sandbox.contract import Limits, Outcome, SandboxUnavailable
from tasks.sandbox.namespaces import NOBODY, free_user

_START = (
    f"import sys; sys.path.insert(0, {rooms.CODE!r}); "
    "from tasks.sandbox.cell import main; main(sys.argv[1], sys.argv[2])"
)
_PACKAGE = Path(__file__).resolve().parent
_CLEARING_SECONDS = 10.0


class BubblewrapWorker:
    """Starts bwrap for every program."""

    def __init__(self) -> None:
        self.room = rooms.room()
        self.user = free_user(os.getpid()) if os.geteuid() == 0 else None

    def run(self, program: str, limits: Limits) -> Outcome:
        """What became of a program. Raises SandboxUnavailable where bwrap is not installed."""
        found = shutil.which("bwrap")
        if found is None:
            raise SandboxUnavailable("bwrap: not installed")
        secret = os.urandom(cell.SECRET_BYTES)
        asked = {
            "program": program, "secret": secret.hex(), "limits": dataclasses.asdict(limits), "user": self.user,
        }  # fmt: skip
        (word, saying), (printed, printing) = os.pipe(), os.pipe()
        started = time.monotonic()
        process = subprocess.Popen(
            self.command(found, limits, saying),
            stdin=subprocess.PIPE,
            stdout=printing,
            stderr=printing,
            pass_fds=(saying,),
            start_new_session=True,
        )
        for one in (saying, printing):
            os.close(one)
        ended = os.pidfd_open(process.pid)
        assert process.stdin is not None
        with process.stdin as request:
            request.write(json.dumps(asked).encode())
        heard = watch.Heard(limits.output_bytes)
        in_time = watch.listen(word, printed, ended, heard, until=started + limits.seconds)
        os.kill(process.pid, signal.SIGKILL)  # not waited for yet: the number is still its own
        _, status, used = os.wait4(process.pid, 0)
        watch.drain(word, printed, heard, seconds=_CLEARING_SECONDS)
        for one in (word, printed, ended):
            os.close(one)
        code = process.returncode = os.waitstatus_to_exitcode(status)
        # bwrap says a signal of what it started as 128 + its number.
        end = (
            watch.End(128 - code if code > 128 else code, used.ru_utime + used.ru_stime) if in_time else None
        )
        return watch.judge(heard, secret, end, limits, time.monotonic() - started)

    def close(self) -> None:
        """Nothing stays between two programs."""

    def command(self, bwrap: str, limits: Limits, channel: int) -> list[str]:
        """The whole command line of one program."""
        if self.user is None:
            who = ["--unshare-user", "--uid", str(NOBODY), "--gid", str(NOBODY)]
        else:  # a real root makes namespaces without; the cell becomes somebody else
            keep = [part for name in ("SETUID", "SETGID", "SETPCAP") for part in ("--cap-add", f"CAP_{name}")]
            who = ["--cap-drop", "ALL", *keep]
        variables = [part for item in rooms.ENVIRONMENT.items() for part in ("--setenv", *item)]
        return [
            bwrap, *who, "--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts",
            "--unshare-cgroup-try", "--die-with-parent", "--new-session", "--clearenv", *variables,
            *self._furniture(limits.scratch_bytes), "--",
            self.room.interpreter, *rooms.PYTHON_OPTIONS, "-c", _START, json.dumps(self.room.path), str(channel),
        ]  # fmt: skip

    def _furniture(self, scratch_bytes: int) -> list[str]:
        own = ((str(_PACKAGE), f"{rooms.CODE}/tasks/sandbox"),)
        binds = (*self.room.binds, *own)
        # Made by hand: where a folder outside is closed to others, bwrap closes the one that it makes inside too.
        above = sorted({str(folder) for _, inside in binds for folder in Path(inside).parents} - {"/"})
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
