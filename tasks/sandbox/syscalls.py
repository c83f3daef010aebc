"""The system calls that Python has no name for. Linux only; every failure is an OSError that names the call."""

from __future__ import annotations

import ctypes
import os
from functools import cache

NEWNS, NEWCGROUP, NEWUTS, NEWIPC = 0x00020000, 0x02000000, 0x04000000, 0x08000000
NEWUSER, NEWPID, NEWNET = 0x10000000, 0x20000000, 0x40000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT = 1, 2, 4, 8, 32
MS_BIND, MS_REC, MS_PRIVATE = 4096, 16384, 1 << 18
MNT_DETACH = 2
PR_SET_PDEATHSIG, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 1, 24, 38

_AT_FDCWD, _AT_RECURSIVE = -100, 0x8000
_ATTR_RDONLY, _ATTR_NOSUID, _ATTR_NODEV = 1, 2, 4
_MOUNT_SETATTR = 442  # the same number on every architecture
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
_CAPSET = {"x86_64": 126, "aarch64": 91}
_CAPABILITY_VERSION_3 = 0x20080522


@cache
def libc() -> ctypes.CDLL:
    """The C library of this process."""
    return ctypes.CDLL(None, use_errno=True)


def _checked(result: int, call: str) -> None:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{call}: {os.strerror(code)}")


def unshare(flags: int) -> None:
    """New namespaces for this process (NEWPID: for its children)."""
    _checked(libc().unshare(flags), "unshare")


def setns(descriptor: int, kind: int) -> None:
    """Join a namespace (NEWPID: the children will)."""
    _checked(libc().setns(descriptor, kind), "setns")


def mount(source: str, target: str, kind: str | None, flags: int = 0, data: str = "") -> None:
    """mount(2)."""
    names = [None if text is None else os.fsencode(text) for text in (source, target, kind)]
    _checked(libc().mount(*names, ctypes.c_ulong(flags), os.fsencode(data)), f"mount {target}")


def unmount(target: str) -> None:
    """Take a mount away, at once from sight, altogether when nothing uses it."""
    _checked(libc().umount2(os.fsencode(target), MNT_DETACH), f"umount {target}")


def bind(source: str, target: str, *, device: bool = False) -> None:
    """Show `source` at `target` as well, with all that is mounted below it, read-only and without set-uid."""
    mount(source, target, None, MS_BIND | MS_REC)
    attributes = _ATTR_RDONLY | _ATTR_NOSUID | (0 if device else _ATTR_NODEV)
    asked = (ctypes.c_uint64 * 4)(attributes, 0, 0, 0)  # set, clear, propagation, user namespace
    result = libc().syscall(
        _MOUNT_SETATTR,
        _AT_FDCWD,
        os.fsencode(target),
        _AT_RECURSIVE,
        ctypes.byref(asked),
        ctypes.sizeof(asked),
    )
    _checked(result, f"mount_setattr {target}")


def pivot_root(new: str, old: str) -> None:
    """Make `new` the root of this mount namespace; the present one goes to `old`."""
    number = _PIVOT_ROOT[os.uname().machine]
    _checked(libc().syscall(number, os.fsencode(new), os.fsencode(old)), "pivot_root")


def prctl(option: int, value: int) -> None:
    """prctl(2) with one argument."""
    _checked(libc().prctl(option, *(ctypes.c_ulong(v) for v in (value, 0, 0, 0))), f"prctl {option}")


def drop_capabilities() -> None:
    """Give up every capability of this thread, for good."""
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    nothing = (ctypes.c_uint32 * 6)()
    number = _CAPSET[os.uname().machine]
    _checked(libc().syscall(number, ctypes.byref(header), ctypes.byref(nothing)), "capset")


def drop_bounding_set() -> None:
    """No program started from here ever gets a capability. Needs CAP_SETPCAP."""
    for capability in range(64):
        if libc().prctl(PR_CAPBSET_DROP, *(ctypes.c_ulong(v) for v in (capability, 0, 0, 0))) < 0:
            if capability == 0:
                _checked(-1, "prctl PR_CAPBSET_DROP")
            return  # past the last one that this kernel knows
