"""The program that a sandbox has to pass before it is trusted: it tries ways out, and fails if one is open."""

from __future__ import annotations

import os
from pathlib import Path

from tasks.sandbox.room import SCRATCH, Room, room

_LOOKING = """
import os, socket, sys, threading

def refused(act, *arguments):
    try:
        found = act(*arguments)
    except OSError:
        return
    raise SystemError(f"{act.__name__}{arguments} was not refused: {found!r}")

for path in OUTSIDE:
    if os.path.lexists(path):
        raise SystemError(f"{path} can be seen")
if 0 in (os.getuid(), os.geteuid(), os.getgid(), os.getegid()):
    raise SystemError("programs would run as root")
if os.getpid() > 9:
    raise SystemError("processes of the machine can be seen")
refused(socket.socket, socket.AF_INET)
refused(socket.socket, socket.AF_UNIX)
refused(os.fork)
refused(os.execv, sys.executable, [sys.executable])
for folder in ("/", "/dev", "/usr", "/etc"):
    refused(open, folder + "/probe", "w")
refused(os.setuid, 0)
refused(os.chroot, SCRATCH)
refused(os.memfd_create, "memory")
refused(os.open, "/dev/mem", os.O_RDONLY)
with open(os.path.join(SCRATCH, "probe"), "w") as file:
    file.write("can be written")
threading.Thread(target=print).start()
"""


def probing() -> str:
    """The text of the program, with paths of this machine that must not be seen."""
    outside = [__file__, "/etc/passwd", "/proc/1", "/sys/kernel", *_at_home(room())]
    return f"OUTSIDE, SCRATCH = {outside!r}, {SCRATCH!r}\n{_LOOKING}"


def _at_home(shown: Room) -> list[str]:
    """What lies in the home folder, but for the way to an interpreter that is installed there."""
    home = Path.home()
    inside = [path for _, path in shown.binds]
    try:
        names = sorted(os.listdir(home))
    except OSError:  # there is none, or it is closed to its own user
        return []
    if str(home) in ("/", SCRATCH):
        return []
    found = [str(home / name) for name in names]
    return [path for path in found if not any(f"{other}/".startswith(f"{path}/") for other in inside)]
