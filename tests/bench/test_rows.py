"""Vocabularies of different sizes: which rows of embedding and head are merged, and what the result has."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bench.alignment.align import align
from bench.alignment.rows import RowMap
from bench.alignment.vocabulary import _places, _runs
from bench.errors import BadInput
from bench.recipe import build_recipe
from tests.bench.treated import EMBED, HEAD, merged_in, resized
from tests.helpers.checkpoints import tensors_of
from tests.helpers.models import open_model


@given(st.integers(1, 4), st.lists(st.integers(-1, 6), min_size=1, max_size=12), st.data())
def test_row_maps_find_every_element(width: int, places: list[int], data: st.DataObject) -> None:
    """Against the definition: element e of the result is element e % width of row places[e // width]."""
    rows = RowMap(width, _runs(places))
    start = data.draw(st.integers(0, len(places) * width - 1))
    stop = data.draw(st.integers(start + 1, len(places) * width))
    found: list[int | None] = []
    at = start
    for low, high, there in rows.pieces(start, stop):
        assert low == at < high
        found += [None] * (high - low) if there is None else range(there, there + high - low)
        at = high
    expected = [
        None if places[e // width] < 0 else places[e // width] * width + e % width for e in range(start, stop)
    ]
    assert (found, at) == (expected, stop)


def test_rows_are_matched_by_token_and_padding_by_place() -> None:
    names = {0: "a", 1: "b", 2: "c"}  # rows 3 and 4 are padding
    assert _places(names, 5, {"c": 0, "a": 1, "d": 3}, 5) == [1, -1, 0, -1, 4]
    assert _places(names, 5, {"c": 0, "a": 1, "b": 2}, 2) == [1, -1, 0, -1, -1]


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("rows", [15, 17, 20])
def test_base_rows_keeps_the_bases_vocabulary(rows: int, tied: bool, tmp_path: Path) -> None:
    base = resized(tmp_path, "base", 17, 0, tie_word_embeddings=tied)
    expert = resized(tmp_path, "expert", rows, 1, tie_word_embeddings=tied)
    result = merged_in(tmp_path)
    merged = tensors_of(result.path)
    common = min(rows, 17)
    for name in (EMBED,) if tied else (EMBED, HEAD):
        expected = base[name].clone()
        expected[:common] += 0.5 * (expert[name][:common] - base[name][:common])
        torch.testing.assert_close(merged[name], expected)
        assert torch.equal(merged[name][common:], base[name][common:])
    opened = open_model(result.path)
    assert opened.config.vocab_size == 17 and opened.config.tie_word_embeddings == tied
    said = any("vocab=base_rows writes 17" in note for note in result.manifest["notes"])
    assert said == (rows != 17)


@pytest.mark.parametrize("files_from", ["base", "expert:0"])
@pytest.mark.parametrize("rows", [15, 20])
def test_common_rows_crops_and_changes_the_saved_config(rows: int, files_from: str, tmp_path: Path) -> None:
    base, expert = resized(tmp_path, "base", 17, 0), resized(tmp_path, "expert", rows, 1)
    result = merged_in(tmp_path, vocab="common_rows", files_from=files_from)
    merged, common = tensors_of(result.path), min(rows, 17)
    for name in (EMBED, HEAD):
        torch.testing.assert_close(merged[name], (base[name][:common] + expert[name][:common]) / 2)
    assert open_model(result.path).config.vocab_size == common
    notes = " ".join(result.manifest["notes"])
    assert f"vocab=common_rows writes {common}" in notes
    changed = common != (17 if files_from == "base" else rows)
    assert (f"says vocab_size={common}" in notes) == changed


@pytest.mark.parametrize("embeddings", ["base", "expert:0"])
def test_embeddings_of_one_model_in_the_result_s_rows(embeddings: str, tmp_path: Path) -> None:
    base, expert = resized(tmp_path, "base", 17, 0), resized(tmp_path, "expert", 15, 1)
    merged = tensors_of(merged_in(tmp_path, embeddings=embeddings).path)
    expected = base[EMBED].clone()
    if embeddings == "expert:0":
        expected[:15] = expert[EMBED]
    assert torch.equal(merged[EMBED], expected)


@pytest.mark.parametrize("method", ["fisher", "drift_median"])
def test_a_fisher_of_other_rows_is_refused_with_what_helps(method: str, tmp_path: Path) -> None:
    resized(tmp_path, "base", 17, 0)
    experts = [str(tmp_path / f"expert{i}") for i in range(2)]
    for i in range(2):
        resized(tmp_path, f"expert{i}", 15 + 2 * i, i + 1)
    with pytest.raises(BadInput, match="whose rows in .*expert0 are not the result's: set embeddings=base"):
        align(build_recipe(method, {"embeddings": "merge"}, str(tmp_path / "base"), experts))
    align(build_recipe(method, {"embeddings": "base"}, str(tmp_path / "base"), experts))
