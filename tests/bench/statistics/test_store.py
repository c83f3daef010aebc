"""What is kept on disk: whole or not at all, read by safetensors itself, one computation for two askers."""

from __future__ import annotations

import errno
import json
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from bench.errors import BadInput
from bench.recipe import Recipe
from bench.statistics import DATA, RECORD, Computed, load, save, size_of
from bench.statistics import store as store_module
from methods.common.contract import Role
from tests.bench.statistics.small import computed, family, need, of


def statistics_of(folder: Path) -> list[str]:
    """What lies in the folder of statistics beside locks."""
    return [path.name for path in (folder / "statistics").iterdir() if path.suffix != ".lock"]


def test_safetensors_reads_what_was_written(tmp_path: Path) -> None:
    values = {
        "b": torch.randn(3, 5),
        "a": torch.tensor(2.5),
        "c": torch.randn(4, 2).T,
        "d": torch.zeros(0, 3),
    }
    expected = {name: value.clone() for name, value in values.items()}
    save(tmp_path / "it", Computed(values, {"z": "b"}), {"seconds": 1.5})
    found = load_file(tmp_path / "it" / DATA)
    assert set(found) == set(expected) and all(torch.equal(found[n], expected[n]) for n in expected)
    statistic = load(tmp_path / "it", "it", reused=True)
    assert statistic is not None and statistic.seconds == 1.5
    assert torch.equal(statistic.read("z"), expected["b"]) and statistic.read("a").shape == ()
    assert not values  # given up as they were written: never held twice


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    return family(tmp_path, "qwen2", 1)


class Stopped(BaseException):
    """A signal in the middle."""


@pytest.mark.parametrize("example", [1, 3])
def test_an_interruption_while_computing_leaves_nothing(example: int, recipe: Recipe, tmp_path: Path) -> None:
    def say(text: str) -> None:
        if f"example {example} of 4" in text:
            raise Stopped

    with pytest.raises(Stopped):
        computed(tmp_path, recipe, need("fisher_data"), say)
    assert statistics_of(tmp_path) == []
    assert not computed(tmp_path, recipe, need("fisher_data"))[0].reused


def test_an_interruption_or_a_full_disk_while_writing_leaves_nothing(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = store_module._write

    def fail(error: BaseException) -> Any:
        def half(file: Path, tensors: dict[str, Any]) -> None:
            write(file, dict(list(tensors.items())[:3]))
            raise error

        return half

    monkeypatch.setattr(store_module, "_write", fail(Stopped()))
    with pytest.raises(Stopped):
        computed(tmp_path, recipe, need("fisher_data"))
    assert statistics_of(tmp_path) == []
    monkeypatch.setattr(store_module, "_write", fail(OSError(errno.ENOSPC, "No space left on device")))
    with pytest.raises(BadInput, match="could not be written to .*statistics: .*No space left"):
        computed(tmp_path, recipe, need("fisher_data"))
    assert statistics_of(tmp_path) == []


@pytest.mark.parametrize("damage", ["truncated", "no record", "half a record"])
def test_a_damaged_statistic_is_made_again(damage: str, recipe: Recipe, tmp_path: Path) -> None:
    (first,) = computed(tmp_path, recipe, need("fisher_data"))
    folder = tmp_path / "statistics" / first.id
    if damage == "truncated":
        (folder / DATA).write_bytes((folder / DATA).read_bytes()[:-1])
    elif damage == "no record":
        (folder / RECORD).unlink()
    else:
        (folder / RECORD).write_text((folder / RECORD).read_text()[:40])
    (second,) = computed(tmp_path, recipe, need("fisher_data"))
    assert not second.reused and second.id == first.id
    assert computed(tmp_path, recipe, need("fisher_data"))[0].reused


def test_two_that_ask_at_once_compute_once(recipe: Recipe, tmp_path: Path) -> None:
    found: list[bool] = []
    asked = [
        threading.Thread(
            target=lambda: found.append(computed(tmp_path, recipe, need("fisher_data"))[0].reused)
        )
        for _ in range(2)
    ]
    for thread in asked:
        thread.start()
    for thread in asked:
        thread.join()
    assert sorted(found) == [False, True]


def test_the_record_says_what_was_computed_of_whom(recipe: Recipe, tmp_path: Path) -> None:
    (found,) = computed(tmp_path, recipe, need("fisher_data", examples=2))
    record = json.loads((tmp_path / "statistics" / found.id / RECORD).read_text())
    assert record["kind"] == "fisher_data" and record["options"]["examples"] == 2
    assert record["data"] == [{"name": "set 0", "digest": recipe.data[0].digest, "examples": 4}]
    assert record["models"] == [recipe.experts[0].name] and record["counts"]["examples"] == 2


@pytest.mark.parametrize(
    "wanted",
    [
        need("fisher_data"),
        need("channels_data", "base", data="all", roles=(Role.LINEAR, Role.NORM, Role.LM_HEAD)),
    ],
    ids=lambda n: n.kind,
)
def test_the_size_is_known_before(wanted: Any, recipe: Recipe, tmp_path: Path) -> None:
    (subject,) = of(recipe, wanted)
    (found,) = computed(tmp_path, recipe, wanted)
    assert size_of(wanted, list(subject.wanted)) == sum(stored.nbytes for stored in found.tensors.values())


def test_the_size_of_grams_is_at_most_what_is_foreseen(recipe: Recipe, tmp_path: Path) -> None:
    wanted = need("gram_data", roles=(Role.LINEAR,))
    (subject,) = of(recipe, wanted)
    (found,) = computed(tmp_path, recipe, wanted)
    stored = {(s.begin, s.end) for s in found.tensors.values()}
    assert sum(end - begin for begin, end in stored) < size_of(wanted, list(subject.wanted))


def test_numbers_that_are_none_are_refused_by_name(recipe: Recipe, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    file = recipe.experts[0].path / "model.safetensors"
    values = load_file(file)
    values["model.layers.1.mlp.down_proj.weight"][0, 0] = float("inf")
    save_file(values, file, metadata={"format": "pt"})
    with pytest.raises(BadInput, match="fisher_data of .* has NaN or infinity at model."):
        computed(tmp_path, recipe, need("fisher_data"))
    assert statistics_of(tmp_path) == []
