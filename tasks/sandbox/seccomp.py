"""The system calls that a program may not make: what reaches past its limits, or further than it needs to.

A filter of seccomp-bpf (Linux, Documentation/userspace-api/seccomp_filter.rst). Refused calls fail with EPERM. What
memory limits do not count (memfd, System V segments, sockets), what starts processes and what makes namespaces (in
which a process could mount memory of its own) is refused; threads are not.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct

from tasks.sandbox.syscalls import PR_SET_NO_NEW_PRIVS, libc, prctl

# Name -> number on (x86_64, aarch64); None where the architecture has no such call.
_FORBIDDEN: dict[str, tuple[int | None, int | None]] = {
    # other programs and namespaces
    "execve": (59, 221), "execveat": (322, 281), "unshare": (272, 97), "setns": (308, 268),
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "kcmp": (312, 272),
    "process_madvise": (440, 440), "process_mrelease": (448, 448), "pidfd_open": (434, 434),
    "pidfd_getfd": (438, 438), "pidfd_send_signal": (424, 424), "personality": (135, 92),
    # file systems
    "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51), "swapon": (167, 224),
    "mount_setattr": (442, 442), "move_mount": (429, 429), "open_tree": (428, 428), "fsopen": (430, 430),
    "fsconfig": (431, 431), "fsmount": (432, 432), "fspick": (433, 433), "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265), "fanotify_init": (300, 262), "quotactl": (179, 60), "quotactl_fd": (443, 443),
    "acct": (163, 89), "swapoff": (168, 225), "lookup_dcookie": (212, 18), "uselib": (134, None),
    # memory that no limit counts, and channels to others
    "memfd_create": (319, 279), "memfd_secret": (447, 447), "shmget": (29, 194), "shmat": (30, 196),
    "shmctl": (31, 195), "semget": (64, 190), "msgget": (68, 186), "mq_open": (240, 180), "socket": (41, 198),
    "bind": (49, 200), "connect": (42, 203), "listen": (50, 201), "accept": (43, 202), "accept4": (288, 242),
    "io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427),
    "userfaultfd": (323, 282), "vmsplice": (278, 75), "keyctl": (250, 219), "add_key": (248, 217),
    "request_key": (249, 218),
    # the machine
    "bpf": (321, 280), "perf_event_open": (298, 241), "syslog": (103, 116), "init_module": (175, 105),
    "finit_module": (313, 273), "delete_module": (176, 106), "kexec_load": (246, 104),
    "kexec_file_load": (320, 294), "reboot": (169, 142), "settimeofday": (164, 170), "clock_settime": (227, 112),
    "clock_adjtime": (305, 266), "adjtimex": (159, 171), "sethostname": (170, 161), "setdomainname": (171, 162),
    "vhangup": (153, 58), "iopl": (172, None), "ioperm": (173, None), "modify_ldt": (154, None),
    "migrate_pages": (256, 238), "move_pages": (279, 239),
}  # fmt: skip
_FORKS = {"fork": (57, None), "vfork": (58, None)}
_CLONE = (56, 220)
_CLONE3 = 435
_MACHINES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}  # AUDIT_ARCH_*
_X32 = 0x40000000  # the second table of numbers of x86_64
_CLONE_THREAD = 0x00010000
_CLONE_NAMESPACES = 0x7E020080

_LOAD, _JUMP_EQUAL, _JUMP_AT_LEAST, _JUMP_ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06  # BPF_*|BPF_K
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16  # offsets in struct seccomp_data, little endian
_ALLOW, _KILL_PROCESS, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 22, 2

Instruction = tuple[int, int, int, int]  # code, jump if true, jump if false, operand


def known_machine() -> bool:
    """Whether the numbers of this processor's system calls are known here."""
    return os.uname().machine in _MACHINES


def instructions(machine: str, *, forks: bool) -> list[Instruction]:
    """The filter for a kind of processor; `forks` allows new processes, never new namespaces."""
    place = list(_MACHINES).index(machine)
    refuse = (_RETURN, 0, 0, _ERRNO | errno.EPERM)
    code: list[Instruction] = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_JUMP_EQUAL, 1, 0, _MACHINES[machine]),
        (_RETURN, 0, 0, _KILL_PROCESS),
        (_LOAD, 0, 0, _NUMBER),
    ]
    if machine == "x86_64":
        code += [(_JUMP_AT_LEAST, 0, 1, _X32), refuse]
    # C libraries ask for clone3 first and take clone, whose flags can be read here, where there is none.
    code += [(_JUMP_EQUAL, 0, 1, _CLONE3), (_RETURN, 0, 0, _ERRNO | errno.ENOSYS)]
    names = _FORBIDDEN if forks else _FORBIDDEN | _FORKS
    for number in sorted(number for numbers in names.values() if (number := numbers[place]) is not None):
        code += [(_JUMP_EQUAL, 0, 1, number), refuse]
    code += [(_JUMP_EQUAL, 1, 0, _CLONE[place]), (_RETURN, 0, 0, _ALLOW)]
    code += [(_LOAD, 0, 0, _FIRST_ARGUMENT), (_JUMP_ANY_BIT, 0, 1, _CLONE_NAMESPACES), refuse]
    if not forks:
        code += [(_JUMP_ANY_BIT, 1, 0, _CLONE_THREAD), refuse]
    return [*code, (_RETURN, 0, 0, _ALLOW)]


def install(*, forks: bool) -> None:
    """Filter the system calls of this process from now on; cannot be undone."""
    code = instructions(os.uname().machine, forks=forks)
    packed = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *one) for one in code))
    # struct sock_fprog: a count and, aligned, a pointer.
    program = ctypes.create_string_buffer(struct.pack("HL", len(code), ctypes.addressof(packed)))
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    arguments = (_SECCOMP_MODE_FILTER, ctypes.addressof(program), 0, 0)
    if libc().prctl(_PR_SET_SECCOMP, *(ctypes.c_ulong(value) for value in arguments)) < 0:
        raise OSError(ctypes.get_errno(), "seccomp: the kernel refuses filters")
