"""The doctor must notice what is broken: every check is shown its fault."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from bench import doctor

WEIGHTS = b"weights"


@pytest.fixture
def zoo(tmp_path: Path) -> Path:
    """A zoo of one model whose card tells the truth."""
    model = tmp_path / "zoo" / "tiny"
    model.mkdir(parents=True)
    (model / "model.safetensors").write_bytes(WEIGHTS)
    files = {"model.safetensors": {"sha256": hashlib.sha256(WEIGHTS).hexdigest()}}
    (model / "card.json").write_text(json.dumps({"files": files}))
    return tmp_path / "zoo"


def test_a_sound_zoo_passes(zoo: Path) -> None:
    assert [check.ok for check in doctor._zoo(zoo)] == [True]


@pytest.mark.parametrize(
    ("file", "content", "says"),
    [
        ("model.safetensors", b"other weights", "model.safetensors has another checksum"),
        ("model.safetensors", None, "model.safetensors is missing"),
        ("card.json", b"{", "card.json cannot be read"),
        ("card.json", b'{"files": {}}', "card.json lists no files"),
    ],
)
def test_a_damaged_zoo_is_found(zoo: Path, file: str, content: bytes | None, says: str) -> None:
    path = zoo / "tiny" / file
    path.write_bytes(content) if content is not None else path.unlink()
    (check,) = doctor._zoo(zoo)
    assert check.required and not check.ok and says in check.value and check.advice


def test_an_empty_zoo_is_found(tmp_path: Path) -> None:
    (check,) = doctor._zoo(tmp_path)
    assert not check.ok and check.required


def test_pins_are_read_from_every_line_that_has_one() -> None:
    assert doctor.pins("# a==1\nA_b.c==1.2.post3\ntorch==2.13.0 # why\n") == {
        "a-b-c": "1.2.post3",
        "torch": "2.13.0",
    }


def test_a_missing_package_and_another_version_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    constraints = tmp_path / "constraints.txt"
    constraints.write_text("pytest==0.0.1\nnot-installed-here==1\n")
    monkeypatch.setattr(doctor, "_core_requirements", lambda: ["pytest", "not-installed-here"])
    packages, pinned = doctor._packages(constraints)
    assert packages.required and not packages.ok and packages.value == "missing: not-installed-here"
    assert not pinned.ok and "(pinned 0.0.1)" in pinned.value


def test_a_local_build_label_is_no_other_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    constraints = tmp_path / "constraints.txt"
    constraints.write_text("torch==2.13.0\n")
    monkeypatch.setattr(doctor, "_version", lambda name: "2.13.0+cpu")
    assert all(check.ok for check in doctor._packages(constraints))


def test_a_missing_database_is_no_fault(tmp_path: Path) -> None:
    assert doctor._database(tmp_path / "none.duckdb").ok


def test_a_file_that_is_no_database_is_found(tmp_path: Path) -> None:
    path = tmp_path / "leaderboard.duckdb"
    path.write_bytes(b"not a database" * 500)
    check = doctor._database(path)
    assert check.required and not check.ok and check.advice


def test_a_full_disk_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda place: SimpleNamespace(free=2**20))
    check = doctor._disk(tmp_path / "not" / "yet" / "there")
    assert check.required and not check.ok and "0.0 GiB" in check.value


def test_more_threads_than_cores_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "4096")
    check = doctor._processor()
    assert not check.ok and not check.required and "OMP_NUM_THREADS=" in check.advice


def test_a_name_server_that_hangs_holds_nothing_up(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(doctor, "HUB_SECONDS", 0.05)
    monkeypatch.setattr(doctor, "_answers", lambda url: time.sleep(5) or True)
    start = time.monotonic()
    check = doctor._hub()
    assert not check.ok and not check.required and time.monotonic() - start < 4


def test_the_report_names_every_check_once(tmp_path: Path) -> None:
    names = [check.name for check in doctor.report(runs=tmp_path / "runs")]
    assert len(names) == len(set(names)) and {"python", "packages", "disk", "database", "hub", "gpu"} <= set(
        names
    )
    assert not (tmp_path / "runs").exists()  # looking changes nothing
