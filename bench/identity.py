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
import threading
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.hashes import hash_file
from bench.models.checkpoint import COMPANIONS

if TYPE_CHECKING:
    from tasks.contract import Sample, Sampling

ROOT = Path(__file__).parent.parent
PACKAGES = ("bench", "methods", "tasks", "results")
MOST_READERS = 8
FINGERPRINTED = ("config.json", "model.safetensors.index.json", *COMPANIONS)


def digest(value: Any, size: int = 10) -> str:
    """Short hex hash of any JSON-like value, independent of key order."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.blake2b(text.encode(), digest_size=size).hexdigest()


def text_hash(text: str) -> str:
    """xxh3-64 of a text, hex."""
    import xxhash

    return xxhash.xxh3_64_hexdigest(text.encode())


def document_hash(question: str, target: str, *more: str | None) -> str:
    """Identity of a sample's content; `more` is what only some samples have: a reference, the digest of an image."""
    return text_hash("\x00".join([question, target, *(part for part in more if part is not None)]))


def hash_of(sample: Sample) -> str:
    """Identity of a sample's content: what is asked, and what decides the verdict on an answer."""
    image = sample.image.digest if sample.image else None
    return document_hash(sample.question, sample.target, sample.reference, image)


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
            **({} if sampling.strip else {"strip": False}),
        }
    )


def fingerprint(path: Path, memory: Path, *, renamed: Mapping[str, str] | None = None) -> str:
    """xxh3 of a checkpoint's weights, config and tokenizer, remembered in `memory` by path, size and time.

    The order of files is their name's; a model card or a training log does not change it. `renamed` gives the
    final names of files that still have another one.
    """
    files = _covered(path, renamed or {})
    known = _hashes(files.values(), memory)
    return text_hash("\n".join(f"{name}:{known[_place(file)]}" for name, file in sorted(files.items())))


def learn_fingerprints(paths: Iterable[Path], memory: Path) -> None:
    """Hash the files of several checkpoints at the same time, so that `fingerprint` knows each."""
    _hashes([file for path in paths for file in _covered(path, {}).values()], memory)


def remember_hashes(hashes: Mapping[Path, str], memory: Path) -> None:
    """Keep the hashes of files that were just written, so that `fingerprint` does not read them."""
    _remember(memory, {**_recall(memory), **{_place(file): mark for file, mark in hashes.items()}})


def remember_rename(old: Path, new: Path, memory: Path) -> None:
    """What is known of the files of folder `old` holds for `new`, which it has become."""
    known = _recall(memory)
    for file in _covered(new, {}).values():
        state = file.stat()
        before = _place_of(old.resolve() / file.name, state)
        if before in known:
            known[_place_of(file.resolve(), state)] = known[before]
    _remember(memory, known)


def _covered(path: Path, renamed: Mapping[str, str]) -> dict[str, Path]:
    """The files that a checkpoint's fingerprint covers, by name."""
    names = {renamed.get(file.name, file.name): file for file in path.iterdir()}
    return {n: file for n, file in names.items() if file.suffix == ".safetensors" or n in FINGERPRINTED}


def _place(file: Path) -> str:
    return _place_of(file.resolve(), file.stat())


def _place_of(file: Path, state: os.stat_result) -> str:
    return f"{file}|{state.st_size}|{state.st_mtime_ns}"


def _hashes(files: Iterable[Path], memory: Path) -> dict[str, str]:
    """Hash of every file by its place, several at the same time; what is new is remembered."""
    from concurrent.futures import ThreadPoolExecutor

    known = _recall(memory)
    new = {place: file for file in files if (place := _place(file)) not in known}
    if new:
        with ThreadPoolExecutor(min(len(os.sched_getaffinity(0)), MOST_READERS)) as pool:
            known.update(zip(new, pool.map(hash_file, new.values()), strict=True))
        _remember(memory, known)
    return known


def _recall(memory: Path) -> dict[str, str]:
    try:
        return dict(json.loads(memory.read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError, TypeError):
        return {}


def _remember(memory: Path, known: Mapping[str, str]) -> None:
    there = {place: mark for place, mark in known.items() if Path(place.split("|")[0]).exists()}
    memory.parent.mkdir(parents=True, exist_ok=True)
    draft = memory.with_name(f"{memory.name}.{os.getpid()}.{threading.get_ident()}")
    draft.write_text(json.dumps(there, indent=0), encoding="utf-8")
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
