"""Identities: what changes a result changes its id, and nothing else does."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from bench import identity
from bench.hashes import hash_file
from bench.identity import code_digest, digest, document_hash, fingerprint, response_id, seed_of
from bench.merging.merge import Place, merge
from bench.recipe import build_recipe
from tasks.contract import Sampling
from tests.helpers.checkpoints import pair

SOURCE = '''"""A file."""
from methods.other import scale


def merge(x):
    """Doc."""
    return scale(x)
'''
OTHER = "def scale(x):\n    return 2 * x\n"


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small program: methods/one.py imports methods/other.py."""
    monkeypatch.setattr(identity, "ROOT", tmp_path)
    (tmp_path / "methods").mkdir()
    (tmp_path / "methods" / "one.py").write_text(SOURCE)
    (tmp_path / "methods" / "other.py").write_text(OTHER)
    (tmp_path / "methods" / "unrelated.py").write_text("x = 1\n")
    return tmp_path / "methods"


@pytest.mark.parametrize(
    ("file", "old", "new", "same"),
    [
        ("one.py", "    return", "    # a comment\n    return", True),
        ("one.py", '"""Doc."""', '"""Another docstring."""', True),
        ("one.py", '"""A file."""', '"""A better description."""', True),
        ("one.py", "return scale(x)", "return (scale( x ))", True),
        ("one.py", "return scale(x)", "return -scale(x)", False),
        ("other.py", "2 * x", "2 * x  # twice", True),
        ("other.py", "2 * x", "3 * x", False),
        ("unrelated.py", "1", "2", True),
    ],
)
def test_code_counts_and_comments_do_not(tree: Path, file: str, old: str, new: str, same: bool) -> None:
    before = code_digest([tree / "one.py"])
    source = (tree / file).read_text()
    assert old in source
    (tree / file).write_text(source.replace(old, new))
    assert (code_digest([tree / "one.py"]) == before) is same


def test_methods_have_codes_of_their_own() -> None:
    methods = identity.ROOT / "methods"
    found = {code_digest([methods / f"{name}.py"]) for name in ("ties", "fim_ties", "task_arithmetic")}
    assert len(found) == 3


def test_a_fingerprint_follows_the_bytes_and_not_the_card(tmp_path: Path) -> None:
    base, expert = pair(tmp_path)
    memory = tmp_path / "fingerprints.json"
    first = fingerprint(base, memory)
    (base / "README.md").write_text("a card")
    (base / "training.log").write_text("a log")
    assert fingerprint(base, memory) == first != fingerprint(expert, memory)
    weights = base / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    assert fingerprint(base, memory) not in (first, fingerprint(expert, memory))
    data[-1] ^= 1
    weights.write_bytes(data)
    assert fingerprint(base, memory) == first


@pytest.mark.parametrize(
    "name", ["config.json", "generation_config.json", "tokenizer.json", "model.safetensors.index.json"]
)
def test_a_fingerprint_follows_what_changes_a_text(name: str, tmp_path: Path) -> None:
    base, _ = pair(tmp_path)
    first = fingerprint(base, tmp_path / "memory.json")
    (base / name).write_text('{"model_type": "qwen2", "new": 1}')
    assert fingerprint(base, tmp_path / "memory.json") != first


def test_a_fingerprint_is_remembered_by_path_size_and_time(tmp_path: Path) -> None:
    base, _ = pair(tmp_path)
    memory = tmp_path / "memory.json"
    first = fingerprint(base, memory)
    weights = base / "model.safetensors"
    state = weights.stat()
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    os.utime(weights, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert fingerprint(base, memory) == first, "same path, size and time: not read again"
    memory.write_text("{ damaged")
    assert fingerprint(base, memory) != first


def test_a_merge_knows_the_hash_of_what_it_wrote(tmp_path: Path) -> None:
    """Under the name that the folder has in the end, and equal to what reading it gives."""
    base, expert = pair(tmp_path)
    recipe = build_recipe("average", {}, str(base), [str(expert)])
    result = merge(recipe, tmp_path / "out", Place(tmp_path / "runs"))
    weights = tmp_path / "out" / "model.safetensors"
    known = json.loads(Place(tmp_path / "runs").fingerprints.read_text())
    assert [mark for place, mark in known.items() if place.startswith(f"{weights}|")] == [hash_file(weights)]
    assert result.manifest["fingerprint"] == fingerprint(tmp_path / "out", tmp_path / "nothing.json")
    assert not [place for place in known if ".partial" in place]


RESPONSE: dict[str, Any] = {
    "checkpoint": "c", "benchmark": "b", "benchmark_version": "1", "document_hash": "d", "prompt_hash": "p",
    "sampling": Sampling(64, 0.3, 0.95, ("\n",)), "sample_index": 0, "engine": "hf", "dtype": "float32",
}  # fmt: skip


@pytest.mark.parametrize(
    "change",
    [
        {"checkpoint": "c2"}, {"benchmark": "b2"}, {"benchmark_version": "2"}, {"document_hash": "d2"},
        {"prompt_hash": "p2"}, {"sample_index": 1}, {"engine": "vllm"}, {"dtype": "bfloat16"},
        {"sampling": Sampling(65, 0.3, 0.95, ("\n",))}, {"sampling": Sampling(64, 0.4, 0.95, ("\n",))},
        {"sampling": Sampling(64, 0.3, 0.9, ("\n",))}, {"sampling": Sampling(64, 0.3, 0.95, ())},
    ],
    ids=str,
)  # fmt: skip
def test_everything_that_changes_a_text_changes_its_response_id(change: dict[str, Any]) -> None:
    assert response_id(**RESPONSE) == response_id(**dict(RESPONSE))
    assert response_id(**{**RESPONSE, **change}) != response_id(**RESPONSE)


def test_raising_n_adds_seeds_and_changes_none() -> None:
    document = document_hash("1 + 1", "2")
    sixteen = [seed_of(document, i) for i in range(16)]
    assert [seed_of(document, i) for i in range(32)][:16] == sixteen
    assert len(set(sixteen)) == 16
    assert all(0 <= seed < 1 << 63 for seed in sixteen)
    assert seed_of(document, 3) == seed_of(document, 0) + 3
    assert seed_of(document_hash("1 + 2", "2"), 0) not in sixteen


def test_a_digest_ignores_the_order_of_keys_and_nothing_else() -> None:
    assert digest({"a": 1, "b": [1, 2]}) == digest({"b": [1, 2], "a": 1})
    assert (
        len({digest(v) for v in ({"a": 1}, {"a": "1"}, {"a": 1.5}, {"a": [1]}, {"a": None}, {"b": 1})}) == 6
    )


def test_question_and_target_do_not_run_together() -> None:
    assert document_hash("ab", "c") != document_hash("a", "bc")
