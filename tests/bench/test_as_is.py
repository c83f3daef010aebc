"""Models evaluated as they are: who they are taken for, and what is refused before anything is generated."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from bench.as_is import evaluate_models
from bench.errors import BadInput
from bench.merging.merge import quiet
from bench.models.checkpoint import locate
from bench.run import run
from bench.suites import EvalOptions
from results.board import Board
from results.errors import StoreError
from results.store import Store

OPTIONS = EvalOptions(suite="mini_gsm", limit=3)


def copy(name: str, to: Path) -> Path:
    shutil.copytree(locate(f"zoo:{name}"), to)
    return to


def as_is(tmp_path: Path, *models: Path | str, member_of: str | None = None) -> Board:
    runs = tmp_path / "runs"
    return evaluate_models(
        [str(model) for model in models], OPTIONS, models=member_of, rescore=False, runs=runs,
        db=runs / "leaderboard.duckdb", say=quiet,
    ).board  # fmt: skip


def merged(tmp_path: Path, base: Path | str = "zoo:l2s-base", expert: Path | str = "zoo:l2s-expert") -> Board:
    runs = tmp_path / "runs"
    return run(
        ["task_arithmetic"], OPTIONS, models=None, base=str(base), experts=[str(expert)], settings=["lambda=0.2"],
        runs=runs, db=runs / "leaderboard.duckdb", say=quiet,
    ).board  # fmt: skip


def test_a_stranger_does_not_become_the_base_of_a_set(tmp_path: Path) -> None:
    stranger = copy("l2s-expert", tmp_path / "copy")
    with pytest.raises(BadInput, match="is not in the model set mini_l2s"):
        as_is(tmp_path, stranger, member_of="mini_l2s")
    (row,) = as_is(tmp_path, stranger).rows
    assert row.model_set.startswith("copy@") and row.kind == "base"


def test_members_of_a_set_are_known_by_name(tmp_path: Path) -> None:
    board = as_is(tmp_path, "zoo:l2s-base", "zoo:l2s-expert")
    assert {(row.model_set, row.name) for row in board.rows} == {
        ("mini_l2s", "base"),
        ("mini_l2s", "expert:long"),
    }


def test_a_changed_merge_is_not_taken_for_the_merge(tmp_path: Path) -> None:
    merged(tmp_path)
    (folder,) = (tmp_path / "runs" / "merges").iterdir()
    weights = load_file(folder / "model.safetensors")
    weights["model.norm.weight"] = weights["model.norm.weight"] * 0
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(BadInput, match="was changed after it was merged"):
        as_is(tmp_path, folder)


def test_pairs_with_the_same_folder_names_stay_apart(tmp_path: Path) -> None:
    names = set()
    for place, base in (("one", "l2s-base"), ("two", "l2s-expert")):
        pair = copy(base, tmp_path / place / "base"), copy("l2s-expert", tmp_path / place / "expert")
        names.add(merged(tmp_path, *pair).rows[0].model_set)
    assert len(names) == 2 and all(name.startswith("base+expert@") for name in names)
    stored = Store(tmp_path / "runs" / "leaderboard.duckdb").rows(
        "SELECT DISTINCT model_set FROM checkpoints"
    )
    assert {row["model_set"] for row in stored} == names


def test_an_incomplete_checkpoint_is_not_completed_at_random(tmp_path: Path) -> None:
    folder = copy("l2s-expert", tmp_path / "holes")
    weights = load_file(folder / "model.safetensors")
    kept = {name: tensor for name, tensor in weights.items() if "up_proj" not in name}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(BadInput, match="lacks 4 of the tensors"):
        as_is(tmp_path, folder)
    assert not Store(tmp_path / "runs" / "leaderboard.duckdb").rows("SELECT * FROM scores")


def test_a_folder_without_tokenizer_is_refused(tmp_path: Path) -> None:
    folder = copy("l2s-base", tmp_path / "mute")
    (folder / "tokenizer.json").unlink()
    with pytest.raises(BadInput, match="has no tokenizer"):
        merged(tmp_path, folder)
    assert not list((tmp_path / "runs").glob("merges/*"))


def test_a_config_that_contradicts_its_weights_is_refused(tmp_path: Path) -> None:
    folder = copy("l2s-base", tmp_path / "lying")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "vocab_size": config["vocab_size"] + 1}))
    with pytest.raises(BadInput, match="its config says"):
        merged(tmp_path, folder)


@pytest.mark.parametrize("content", [b"not a database", b"\0" * 9000])
def test_a_file_that_is_no_database_is_refused_before_merging(content: bytes, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    runs.mkdir()
    (runs / "leaderboard.duckdb").write_bytes(content)
    with pytest.raises(StoreError):
        merged(tmp_path)
    assert [path.name for path in runs.iterdir()] == ["leaderboard.duckdb"]


def test_the_newest_of_a_name_is_recorded_again(tmp_path: Path) -> None:
    """Going back to earlier weights of a set shows them again."""
    runs, pair = tmp_path / "runs", ("zoo:l2s-base", "zoo:l2s-expert")
    first = merged(tmp_path, *pair).rows[0]
    store = Store(runs / "leaderboard.duckdb")
    from results.spool import Spool

    with Spool(store.spool_dir, "other") as spool:
        spool.append("checkpoints", {"checkpoint": "f" * 16, "model_set": first.model_set, "name": "base",
                                     "kind": "base", "path": "elsewhere", "n_parameters": 1})  # fmt: skip
    store.ingest()
    again = merged(tmp_path, *pair)
    assert [row.checkpoint for row in again.rows if row.kind == "base"] == [first.checkpoint]


def test_too_little_disk_for_all_merges_is_said_before_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = tmp_path / "runs"
    roomy = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(
        shutil, "disk_usage", lambda path: roomy._replace(free=18_500_000)
    )  # for one, not for two
    with pytest.raises(BadInput, match="writing 2 merge.s. needs"):
        run(
            ["task_arithmetic", "ties"], OPTIONS, models="mini_l2s", base=None, experts=[], settings=[], runs=runs,
            db=runs / "leaderboard.duckdb", say=quiet,
        )  # fmt: skip
    assert not list(runs.glob("merges/*"))
