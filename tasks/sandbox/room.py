"""What a program sees of the file system: this interpreter, its library, numpy, and the system's shared libraries.

All of it read-only. Everything else (home folders, the project, /etc, /proc, /sys, other people's /tmp) is not there.
The only folder that can be written is `SCRATCH`, memory with a size limit that goes away with the program.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

SCRATCH = "/tmp"
SITE = "/site"  # where numpy is
CODE = "/sandbox"  # where the sandbox's own code is, for a backend that starts an interpreter inside
DEVICES = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom")
# What an interpreter inside is told. Fixed hashes: the order of a set is the same in every run.
ENVIRONMENT = {
    "HOME": SCRATCH,
    "TMPDIR": SCRATCH,
    "PATH": "/usr/bin",
    "LANG": "C.UTF-8",
    "PYTHONHASHSEED": "0",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}
# No site-packages, no folder of the user's or of the caller's, no bytecode written.
PYTHON_OPTIONS = ("-s", "-S", "-P", "-B", "-X", "utf8")
_SYSTEM = ("/lib", "/lib64", "/usr/lib", "/usr/lib64")
_ANOTHER = "site-packages"


@dataclass(frozen=True)
class Room:
    """`binds` are (outside, inside) paths shown read-only; `links` are (inside, what it points to); `hidden` are
    folders inside binds that are shown empty; `path` is the interpreter's module search path inside."""

    interpreter: str
    binds: tuple[tuple[str, str], ...]
    links: tuple[tuple[str, str], ...]
    hidden: tuple[str, ...]
    path: tuple[str, ...]


def room() -> Room:
    """The room for programs of this interpreter; numpy is in it where it is installed."""
    import _ctypes

    library = os.path.dirname(os.path.realpath(os.__file__))
    interpreter = os.path.realpath(getattr(sys, "_base_executable", sys.executable))
    native = os.path.dirname(os.path.realpath(getattr(_ctypes, "__file__", library)))
    system = [path for path in _SYSTEM if os.path.isdir(path)]
    links = tuple((path, os.readlink(path)) for path in system if os.path.islink(path))
    folders = [path for path in system if not os.path.islink(path)]
    # What the interpreter's own extensions load lies beside its library (conda) or in the system's folders.
    folders += [os.path.dirname(library), native, interpreter]
    cache = ["/etc/ld.so.cache"] if os.path.exists("/etc/ld.so.cache") else []
    hidden = tuple(
        folder
        for folder in (os.path.join(library, name) for name in (_ANOTHER, "dist-packages"))
        if os.path.isdir(folder)
    )
    binds = tuple((path, path) for path in [*_outermost(folders), *cache])
    return Room(interpreter, binds + _numpy(), links, hidden, (library, native, SITE))


def _numpy() -> tuple[tuple[str, str], ...]:
    """numpy's folder and the libraries that its wheel brings."""
    spec = find_spec("numpy")
    if spec is None or not spec.origin:
        return ()
    package = Path(spec.origin).resolve().parent
    both = (package, package.parent / "numpy.libs")
    return tuple((str(folder), f"{SITE}/{folder.name}") for folder in both if folder.is_dir())


def _outermost(paths: list[str]) -> list[str]:
    """Without those that lie inside another, in order."""
    kept: list[str] = []
    for path in sorted(set(paths)):
        if not any(path.startswith(other.rstrip("/") + "/") for other in kept):
            kept.append(path)
    return kept
