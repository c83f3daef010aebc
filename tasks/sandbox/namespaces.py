"""A room made with the kernel's namespaces: for root with CAP_SYS_ADMIN, or where users may make user namespaces.

`enter` moves this process into it. What it starts has no network, sees the room's file system alone and no process
but its own.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from tasks.sandbox import syscalls as sys_
from tasks.sandbox.room import DEVICES, SCRATCH, Room

NOBODY = 65534  # the name of the only user of a user namespace; outside it is the caller
_FIRST_FREE = 2_000_000_000  # far above what systems give to people, services or containers
_BASE = "/tmp"  # any folder: the room is built over it, unseen from outside
FILES = 4096  # most files of a scratch folder
_TINY = "size=1m,nr_inodes=4096,mode=755"


@dataclass(frozen=True)
class Inside:
    """What a process in the room knows of it: the user that programs become (None: already that one), and its own
    namespace of processes, to come back from a program's."""

    user: int | None
    processes: int


def enter(room: Room) -> Inside:
    """Move this process, which has one thread, into a room of its own. Returns in a child process.

    Raises OSError when the machine does not allow it.
    """
    root = os.geteuid() == 0
    caller, group = os.geteuid(), os.getegid()
    common = sys_.NEWNS | sys_.NEWNET | sys_.NEWIPC | sys_.NEWUTS | sys_.NEWCGROUP | sys_.NEWPID
    sys_.unshare(common | (0 if root else sys_.NEWUSER))
    if not root:
        _write("/proc/self/setgroups", "deny")
        _write("/proc/self/uid_map", f"{NOBODY} {caller} 1")
        _write("/proc/self/gid_map", f"{NOBODY} {group} 1")
    _go_on_in_a_child()
    _write("/proc/self/oom_score_adj", "1000")  # when memory runs out, this goes first
    processes = os.open("/proc/self/ns/pid", os.O_RDONLY)
    # /proc, still the machine's, names this process as the machine does.
    user = free_user(int(os.readlink("/proc/self"))) if root else None
    _furnish(room)
    return Inside(user, processes)


def own_scratch(size: int, user: int | None) -> None:
    """A fresh scratch folder, and shared memory, that only this process and its children see."""
    owner = NOBODY if user is None else user
    sys_.unshare(sys_.NEWNS | sys_.NEWIPC)
    flags = sys_.MS_NOSUID | sys_.MS_NODEV | sys_.MS_NOEXEC
    sys_.mount(
        "scratch", SCRATCH, "tmpfs", flags, f"size={size},nr_inodes={FILES},mode=700,uid={owner},gid={owner}"
    )


def _go_on_in_a_child() -> None:
    """Processes have a namespace of their own from the first child on; the parent waits and ends with it."""
    child = os.fork()
    if child:
        status = os.waitpid(child, 0)[1]
        os._exit(os.waitstatus_to_exitcode(status) & 0xFF)
    sys_.prctl(sys_.PR_SET_PDEATHSIG, 9)


def _furnish(room: Room) -> None:
    """Build the file system of the room and forget the other one."""
    sys_.mount("none", "/", None, sys_.MS_REC | sys_.MS_PRIVATE)
    sys_.mount("room", _BASE, "tmpfs", sys_.MS_NOSUID | sys_.MS_NODEV, _TINY)
    os.mkdir(f"{_BASE}/old")
    os.mkdir(f"{_BASE}/new")
    sys_.mount(f"{_BASE}/new", f"{_BASE}/new", None, sys_.MS_BIND)
    # From here everything of the machine is below /old, also what lies in the folder that the room is built over.
    sys_.pivot_root(_BASE, f"{_BASE}/old")
    os.chdir("/new")
    for target, points_to in room.links:
        _folder(os.path.dirname("/new" + target))
        os.symlink(points_to, "/new" + target)
    for outside, inside in room.binds:
        _show("/old" + outside, "/new" + inside)
    for device in DEVICES:
        _show("/old" + device, "/new" + device, device=True)
    for folder in room.hidden:
        sys_.mount(
            "nothing", "/new" + folder, "tmpfs", sys_.MS_RDONLY | sys_.MS_NOSUID | sys_.MS_NODEV, _TINY
        )
    _folder("/new" + SCRATCH)
    sys_.mount(
        "none", "/new", None, sys_.MS_BIND | sys_.MS_REMOUNT | sys_.MS_RDONLY | sys_.MS_NOSUID | sys_.MS_NODEV
    )
    sys_.unmount("/old")
    os.chdir("/new")
    sys_.pivot_root(".", ".")  # the folder of both mounts goes away with the one below
    sys_.unmount(".")
    os.chdir("/")


def _show(source: str, target: str, *, device: bool = False) -> None:
    if os.path.isdir(source):
        _folder(target)
    else:
        _folder(os.path.dirname(target))
        Path(target).touch()
    sys_.bind(source, target, device=device)


def _folder(path: str) -> None:
    os.makedirs(path, mode=0o755, exist_ok=True)


def free_user(process: int) -> int:
    """A user id that nobody has, so that limits of processes, which are counted by user, are a sandbox's own.

    `process` is the number of a process on this machine: two sandboxes of one time never get the same id.
    """
    ranges = [tuple(map(int, line.split())) for line in Path("/proc/self/uid_map").read_text().splitlines()]
    first, _, n = max(ranges)
    last = first + n - 1
    return (
        _FIRST_FREE + process if last >= 2 * _FIRST_FREE else last - 1 - process % min(1000, max(1, n // 2))
    )


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="ascii") as file:
        file.write(text)
