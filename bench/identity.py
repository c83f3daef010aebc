"""The ids of work: same id, same work, never done twice. Each is computable before the work and from its record.

* merge: code of the method and the executor, resolved parameters, fingerprints of inputs and statistics
* response: checkpoint, document, prompt, sampling, index, engine family and dtype (what changes the text)
* verdict: response and grader version (a key of the verdicts table, nothing to hash)
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.models.checkpoint import COMPANIONS

if TYPE_CHECKING:
    from tasks.contract import Sampling

ROOT = Path(__file__).parent.parent
PACKAGES = ("bench", "methods", "tasks", "results")
CHUNK = 1 << 24
FINGERPRINTED = ("config.json", "model.safetensors.index.json", *COMPANIONS)


def digest(value: Any, size: int = 10) -> str:
    """Short hex hash of any JSON-like value, independent of key order."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.blake2b(text.encode(), digest_size=size).hexdigest()


def text_hash(text: str) -> str:
    """xxh3-64 of a text, hex."""
    import xxhash

    return xxhash.xxh3_64_hexdigest(text.encode())


def document_hash(question: str, target: str) -> str:
    """Identity of a sample's content."""
    return text_hash(question + "\x00" + target)


def seed_of(document: str, index: int) -> int:
    """Seed of the `index`-th response to a document: raising n adds responses and changes none."""
    return (int(document, 16) + index) % (1 << 63)


def response_id(
    *,
    checkpoint: str,
    benchmark: str,
    benchmark_version: str,
    document_hash: str,
    prompt_hash: str,
    sampling: Sampling,
    sample_index: int,
    engine: str,
    dtype: str,
    head: str | None = None,
) -> str:
    """Identity of one response: everything that changes its text, and nothing else.

    `head` is the fingerprint of the classifier whose task head chose the label, where one did.
    """
    return digest(
        {
            "checkpoint": checkpoint,
            "benchmark": benchmark,
            "version": benchmark_version,
            "document": document_hash,
            "prompt": prompt_hash,
            "max_new_tokens": sampling.max_new_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "stop": list(sampling.stop),
            "index": sample_index,
            "engine": engine,
            "dtype": dtype,
            **({"head": head} if head else {}),
        }
    )


def fingerprint(path: Path, memory: Path, *, renamed: Mapping[str, str] | None = None) -> str:
    """xxh3 of a checkpoint's weights, config and tokenizer, remembered in `memory` by path, size and time.

    The order of files is their name's; a model card or a training log does not change it. `renamed` gives the
    final names of files that still have another one.
    """
    names = {file: (renamed or {}).get(file.name, file.name) for file in path.iterdir()}
    files = {name: f for f, name in names.items() if f.suffix == ".safetensors" or name in FINGERPRINTED}
    known = _recall(memory)
    before = len(known)
    parts = []
    for name, file in sorted(files.items()):
        state = file.stat()
        place = f"{file.resolve()}|{state.st_size}|{state.st_mtime_ns}"
        if place not in known:
            known[place] = _hash_file(file)
        parts.append(f"{name}:{known[place]}")
    if len(known) > before:
        _remember(
            memory, {place: mark for place, mark in known.items() if Path(place.split("|")[0]).exists()}
        )
    return text_hash("\n".join(parts))


def _hash_file(file: Path) -> str:
    import xxhash

    hasher = xxhash.xxh3_128()
    with file.open("rb") as handle:
        while chunk := handle.read(CHUNK):
            hasher.update(chunk)
    return hasher.hexdigest()


def _recall(memory: Path) -> dict[str, str]:
    try:
        return dict(json.loads(memory.read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError, TypeError):
        return {}


def _remember(memory: Path, known: Mapping[str, str]) -> None:
    memory.parent.mkdir(parents=True, exist_ok=True)
    draft = memory.with_name(f"{memory.name}.{os.getpid()}")
    draft.write_text(json.dumps(known, indent=0), encoding="utf-8")
    draft.replace(memory)


def code_digest(files: Iterable[Path]) -> str:
    """Hash of the syntax trees of `files` and of all of ours that they import: comments and docstrings do not
    count."""
    trees: dict[str, str] = {}
    waiting = [file.resolve() for file in files]
    while waiting:
        file = waiting.pop()
        name = file.relative_to(ROOT).as_posix()
        if name not in trees:
            state = file.stat()
            trees[name], imported = _parsed(file, state.st_mtime_ns, state.st_size)
            waiting += imported
    return digest(trees)


@cache
def _parsed(file: Path, changed: int, size: int) -> tuple[str, tuple[Path, ...]]:
    """Digest of a file's syntax tree without docstrings, and the files of ours that it imports; read again when
    changed."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    imported = tuple(found for module in _imports(tree) if (found := _module_file(module)) is not None)
    return digest(ast.dump(_without_docstrings(tree))), imported


def _imports(tree: ast.AST) -> list[str]:
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return [name for name in found if name.split(".")[0] in PACKAGES]


def _module_file(module: str) -> Path | None:
    path = ROOT.joinpath(*module.split("."))
    for file in (path.with_suffix(".py"), path / "__init__.py"):
        if file.is_file():
            return file
    return None


def _without_docstrings(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                node.body = node.body[1:]
    return tree
