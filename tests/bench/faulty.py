"""Runs a module of `methods/` with a fault in it, in place of the real one.

Loops that numba compiles run as plain Python when they are at fault.
"""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from types import CodeType

ROOT = Path(__file__).parents[2]
COMPILED = tuple(
    f"methods.common.{file.stem}"
    for file in sorted((ROOT / "methods" / "common").glob("*.py"))
    if "@kernel" in file.read_text()
)
KEPT = ("methods.common.contract", *COMPILED)  # shared with the program, or slow to load and without fault
DECORATOR = 'kernel: Any = njit(nogil=True, cache=True, error_model="numpy")'
BORROWED = re.compile(r"(from methods\.common\.kernels import .*)\bkernel\b")
PLAIN = "kernel = lambda function: function"


@dataclass(frozen=True)
class Fault:
    """`old` becomes `new` in `methods/<file>.py`: what went wrong, in words."""

    what: str
    file: str
    old: str
    new: str

    @property
    def module(self) -> str:
        """Dotted name of the file."""
        return f"methods.{self.file.replace('/', '.')}"

    @property
    def path(self) -> Path:
        """The file."""
        return ROOT / "methods" / f"{self.file}.py"

    @property
    def source(self) -> str:
        """The file's text with the fault in it."""
        text = self.path.read_text()
        found = text.count(self.old)
        assert found == 1, f"{self.what}: {self.old!r} is {found} times in {self.path}: update the fault"
        return uncompiled(text.replace(self.old, self.new))


def uncompiled(text: str) -> str:
    """A source whose kernels are plain functions."""
    text, borrowed = BORROWED.subn(r"\1kernel as _compiled", text)
    text = text.replace(DECORATOR, PLAIN)
    return text.replace("@kernel\n", "") if borrowed else text


class _Loader(SourceFileLoader):
    """Loads a given text in place of the file's."""

    def __init__(self, name: str, path: str, text: str) -> None:
        super().__init__(name, path)
        self.text = text

    def get_code(self, fullname: str) -> CodeType:
        return compile(self.text, self.path, "exec")


class _Finder:
    """Finds one module."""

    def __init__(self, name: str, path: Path, text: str) -> None:
        self.name, self.path, self.text = name, path, text
        self.used = False

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if fullname != self.name:
            return None
        self.used = True
        loader = _Loader(fullname, str(self.path), self.text)
        return importlib.util.spec_from_file_location(fullname, self.path, loader=loader)


@contextmanager
def loaded(module: str, path: Path, text: str) -> Iterator[_Finder]:
    """Import `text` as `module` for as long as this is open, and afresh whatever may stand on it."""
    ours = [name for name in sys.modules if name.split(".")[0] == "methods"]
    before = {name: sys.modules[name] for name in ours}
    for name in ours:
        if name == module or name not in KEPT:
            del sys.modules[name]
    finder = _Finder(module, path, text)
    sys.meta_path.insert(0, finder)  # type: ignore[arg-type]
    try:
        yield finder
    finally:
        sys.meta_path.remove(finder)  # type: ignore[arg-type]
        for name in [name for name in sys.modules if name.split(".")[0] == "methods"]:
            del sys.modules[name]
        sys.modules.update(before)
