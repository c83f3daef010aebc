"""The rules of the house, checked from the source itself: who imports whom, who opens files, what loads when.

Each rule is also shown a planted violation, so that a rule that stopped working is noticed.
"""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# Our packages and which of them each may import (itself always).
ALLOWED = {
    "bench": {"methods", "tasks", "results"},
    "app": {"results"},
    "methods": set(),
    "tasks": set(),
    "results": set(),
}
# What a package must not import at all, not even inside a function.
FILES = {"glob", "io", "mmap", "os", "pathlib", "shutil", "subprocess", "tempfile"}
FORBIDDEN = {
    "methods": FILES | {"datasets", "duckdb", "huggingface_hub", "safetensors", "transformers"},
    "tasks": {"duckdb", "safetensors", "torch", "transformers"},
    "results": {"torch", "transformers"},
    "app": {"torch", "transformers"},
}
# Calls by which a method would touch a file: `open(...)`, `path.read_text()`, `torch.load(...)`.
FILE_CALLS = {
    "fromfile", "load", "load_file", "memmap", "open", "read_bytes", "read_text", "safe_open",
    "save", "save_file", "tofile", "write_bytes", "write_text",
}  # fmt: skip
# What importing bench.cli must not load: each costs more than `bench --help` may take.
HEAVY = {
    "datasets", "duckdb", "latex2sympy2_extended", "lm_eval", "math_verify", "pandas", "pyarrow",
    "ray", "scipy", "streamlit", "sympy", "torch", "transformers", "vllm",
}  # fmt: skip
LONGEST_FUNCTION = 70


def imports(tree: ast.AST, package: str) -> Iterator[tuple[int, str]]:
    """(line, dotted module) of every import in `tree`, a file in the dotted `package`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, name.name) for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            parent = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            module = ".".join([*parent, *([node.module] if node.module else [])])
            yield node.lineno, module
            yield from ((node.lineno, f"{module}.{name.name}") for name in node.names)
        elif isinstance(node, ast.Call) and _called(node) in {"import_module", "__import__"} and node.args:
            yield from ((node.lineno, text) for text in [_leading_text(node.args[0])] if text)


def module_level(tree: ast.Module) -> ast.Module:
    """The statements that run when the module is imported: no function bodies, no `if TYPE_CHECKING:`."""
    body: list[ast.stmt] = []
    stack: list[ast.stmt] = list(tree.body)
    while stack:
        node = stack.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            stack += node.orelse
            continue
        inner = [child for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt)]
        inner += [s for h in getattr(node, "handlers", []) for s in h.body]
        stack += inner
        if not inner:
            body.append(node)
    return ast.Module(body, [])


def violations(root: Path) -> list[str]:
    """Every broken rule in the tree at `root`, as `file:line: what is wrong`."""
    found: list[str] = []
    for package in ALLOWED:
        for file in sorted((root / package).rglob("*.py")):
            tree = ast.parse(file.read_text())
            where = str(file.relative_to(root))
            parent = ".".join(file.relative_to(root).parent.parts)
            found += _import_rules(tree, package, parent, where)
            found += _shape_rules(tree, where)
            if package == "methods":
                found += _file_rules(tree, where)
    return [*found, *_start_rules(root)]


def _import_rules(tree: ast.Module, package: str, parent: str, where: str) -> Iterator[str]:
    for line, module in imports(tree, parent):
        top = module.split(".")[0]
        if top in ALLOWED and top != package and top not in ALLOWED[package]:
            may = ", ".join(sorted(ALLOWED[package])) or "none of our packages but itself"
            yield f"{where}:{line}: {package} imports {module}; it may import {may}"
        if top in FORBIDDEN.get(package, ()):
            yield f"{where}:{line}: {package} must not import {top}"


def _file_rules(tree: ast.Module, where: str) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _called(node) in FILE_CALLS:
            yield f"{where}:{node.lineno}: methods never opens a file, but calls {_called(node)}()"


def _shape_rules(tree: ast.Module, where: str) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler) and node.type is None:
            yield f"{where}:{node.lineno}: bare except: name the exception"
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > LONGEST_FUNCTION:
                yield f"{where}:{node.lineno}: {node.name} has {lines} lines; {LONGEST_FUNCTION} are allowed"


def _start_rules(root: Path) -> Iterator[str]:
    """Walk from bench/cli.py over what is imported at module level; nothing heavy may be met."""
    waiting, seen = ["bench.cli"], set()
    while waiting:
        name = waiting.pop()
        file = _file_of(root, name)
        if name in seen or file is None:
            continue
        seen.add(name)
        waiting += [".".join(name.split(".")[:i]) for i in range(1, name.count(".") + 1)]
        parent = name if file.name == "__init__.py" else name.rpartition(".")[0]
        for line, module in imports(module_level(ast.parse(file.read_text())), parent):
            waiting.append(module)
            if module in HEAVY or module.split(".")[0] in HEAVY:
                where = f"{file.relative_to(root)}:{line}"
                yield f"{where}: `bench --help` would load {module}: import it where it is used"


def _file_of(root: Path, module: str) -> Path | None:
    path = root.joinpath(*module.split("."))
    return next((p for p in (path.with_suffix(".py"), path / "__init__.py") if p.is_file()), None)


def _called(node: ast.Call) -> str:
    """The last name of what is called: `open` for both `open()` and `path.open()`."""
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def _leading_text(node: ast.expr) -> str:
    """The text that a string or the beginning of an f-string gives for sure."""
    if isinstance(node, ast.JoinedStr) and node.values:
        node = node.values[0]
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def test_the_house_keeps_its_rules() -> None:
    assert violations(ROOT) == []


LEGAL = {
    "bench/cli.py": "import typer\nfrom . import errors\n\ndef main() -> None:\n    import torch\n",
    "bench/errors.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import torch\n",
    "bench/merge.py": "import tasks, torch\nfrom methods import ties\nfrom results.store import Store\n",
    "methods/ties.py": "import torch\nfrom methods.common import selection\n",
    "results/store.py": "import duckdb\n",
    "app/main.py": "import streamlit\nfrom results.store import Store\n",
}
# What is wrong: file, source, and what the checker must say.
PLANTED = {
    "methods imports bench": ("methods/x.py", "from bench import merge", "methods imports bench"),
    "inside a function": ("results/x.py", "def f():\n    import tasks.l2s", "results imports tasks"),
    "tasks imports results": ("tasks/a/x.py", "from results.store import Store", "tasks imports results"),
    "app imports bench": ("app/x.py", "import bench.identity", "app imports bench"),
    "bench imports app": ("bench/x.py", "import app", "bench imports app"),
    "by name": ("tasks/x.py", "import_module(f'methods.{name}')", "tasks imports methods"),
    "results imports torch": ("results/x.py", "import torch.nn", "results must not import torch"),
    "for types only": ("app/x.py", "if TYPE_CHECKING:\n    import torch", "app must not import torch"),
    "tasks opens a checkpoint": ("tasks/x.py", "from safetensors import safe_open", "import safetensors"),
    "methods uses pathlib": ("methods/x.py", "from pathlib import Path", "methods must not import pathlib"),
    "methods opens": ("methods/x.py", "def f():\n    return open('w')", "methods never opens a file"),
    "methods reads": ("methods/x.py", "def f(p):\n    return p.read_bytes()", "calls read_bytes()"),
    "methods loads": ("methods/x.py", "import torch\nw = torch.load('w')", "calls load()"),
    "cli loads torch": ("bench/cli.py", "import torch", "bench --help` would load torch"),
    "in a try": ("bench/cli.py", "try:\n    import vllm\nexcept ImportError:\n    pass", "would load vllm"),
    "two steps away": ("bench/errors.py", "from results.store import Store", "results/store.py:1: `bench"),
    "a relative import": ("bench/cli.py", "from .merge import run", "bench/merge.py:1: `bench --help`"),
    "bare except": ("bench/x.py", "try:\n    pass\nexcept:\n    pass", "bare except"),
    "a long function": ("bench/x.py", "def f():\n" + "    pass\n" * 70, "f has 71 lines"),
}


def _plant(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_a_legal_tree_has_no_violation(tmp_path: Path) -> None:
    assert violations(_plant(tmp_path, LEGAL)) == []


@pytest.mark.parametrize("case", PLANTED)
def test_a_planted_violation_is_found(case: str, tmp_path: Path) -> None:
    file, source, message = PLANTED[case]
    found = violations(_plant(tmp_path, {**LEGAL, file: source}))
    assert any(message in line for line in found), found


REPORT_MODULES = """
import atexit, json, sys
atexit.register(lambda: print(json.dumps(sorted(sys.modules)), file=sys.stderr))
"""


def _loaded_by(code: str) -> tuple[subprocess.CompletedProcess[str], set[str]]:
    """Run `code` in a fresh interpreter; what it printed, and the top-level modules it loaded."""
    command = [sys.executable, "-c", REPORT_MODULES + code]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=120, check=False)
    names = json.loads(done.stderr.splitlines()[-1])
    return done, {name.split(".")[0] for name in names}


def test_importing_the_command_line_loads_nothing_heavy() -> None:
    done, loaded = _loaded_by("import bench.cli")
    assert done.returncode == 0, done.stderr
    assert loaded & HEAVY == set()


def test_bench_help_answers_and_loads_nothing_heavy() -> None:
    done, loaded = _loaded_by("from bench.cli import main\nsys.argv = ['bench', '--help']\nmain()")
    assert done.returncode == 0, done.stderr
    for command in (
        "run",
        "merge",
        "eval",
        "table",
        "methods",
        "suites",
        "models",
        "plan",
        "regress",
        "doctor",
    ):
        assert command in done.stdout
    assert loaded & HEAVY == set()
