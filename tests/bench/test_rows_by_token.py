"""`vocab=by_token`: rows of embedding and head are matched by the tokens that they stand for."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models

from bench.alignment.align import align
from bench.alignment.reading import fill
from bench.alignment.rows import RowMap
from bench.errors import BadInput
from tests.bench.treated import EMBED, HEAD, UP, merged_in, resized, task_arithmetic
from tests.helpers.checkpoints import Tensors, pair, tensors_of
from tests.helpers.models import open_model


def _tokenizer(folder: Path, tokens: str, added: str = "") -> None:
    """One token per character of `tokens` in that order, then special tokens."""
    made = Tokenizer(models.WordLevel({token: i for i, token in enumerate(tokens)}, unk_token=tokens[0]))
    made.add_special_tokens(list(added))
    made.save(str(folder / "tokenizer.json"))


TOKENS = {"base": "abcdef", "expert0": "fedcbax", "expert1": "abcxyf"}


def _by_token(folder: Path) -> dict[str, Tensors]:
    """Three models of which each calls other rows by the same tokens; the first expert has two rows of padding."""
    found = {}
    for seed, (name, tokens) in enumerate(TOKENS.items()):
        found[name] = resized(folder, name, len(tokens) + 2 * (name == "expert0"), seed)
        _tokenizer(folder / name, tokens[:-1], tokens[-1])
    return found


@pytest.mark.parametrize("files_from", ["base", "expert:0", "expert:1"])
def test_by_token_matches_rows_by_what_they_mean(files_from: str, tmp_path: Path) -> None:
    """Oracle: per token of the result, each model's own row; else the base's; else the mean of the owners'."""
    found = _by_token(tmp_path)
    files = {"base": "base", "expert:0": "expert0", "expert:1": "expert1"}[files_from]
    result = merged_in(tmp_path, 2, vocab="by_token", files_from=files_from)
    merged = tensors_of(result.path)
    for name in (EMBED, HEAD):
        rows = {m: dict(zip(tokens, found[m][name].numpy(), strict=False)) for m, tokens in TOKENS.items()}
        assert len(merged[name]) == len(found[files][name])
        for row, token in enumerate(TOKENS[files]):
            owned = [rows[m][token] for m in ("expert0", "expert1") if token in rows[m]]
            base = rows["base"].get(token, np.mean(owned, axis=0) if owned else None)
            taus = [rows[m].get(token, base) - base for m in ("expert0", "expert1")]
            np.testing.assert_allclose(merged[name][row].numpy(), base + 0.5 * sum(taus), atol=1e-6)
    if files == "expert0":  # rows of padding: nobody else has them
        assert torch.equal(merged[EMBED][7:], found["expert0"][EMBED][7:])
    notes = " ".join(result.manifest["notes"])
    assert f"vocab=by_token: rows are those of {tmp_path / files}" in notes
    opened = open_model(result.path)
    assert opened.config.vocab_size == len(found[files][EMBED])
    assert (result.path / "tokenizer.json").read_bytes() == (tmp_path / files / "tokenizer.json").read_bytes()
    if files == "expert0":
        assert f"{tmp_path / 'base'} lacks 3 of them (the mean of the experts that have them)" in notes
        assert f"{tmp_path / 'expert1'} lacks 4 of them (the base's rows)" in notes


def test_runs_of_any_length_read_the_same(tmp_path: Path) -> None:
    _by_token(tmp_path)
    recipe = task_arithmetic(tmp_path, 2, vocab="by_token", files_from="expert:0")
    opened = (recipe.base, *recipe.experts)
    for target in align(recipe).targets:
        for m in range(3):
            whole, pieces = torch.empty(target.info.n), torch.empty(target.info.n)
            fill(whole, opened, target, m, 0, target.info.n)
            for start in range(0, target.info.n, 13):
                stop = min(target.info.n, start + 13)
                fill(pieces[start:stop], opened, target, m, start, stop)
            assert torch.equal(whole, pieces)


def test_by_token_needs_tokenizers(tmp_path: Path) -> None:
    pair(tmp_path)
    with pytest.raises(BadInput, match=r"base has no tokenizer.json \(nor vocab.json\).*vocab=base_rows"):
        align(task_arithmetic(tmp_path, vocab="by_token"))
    (tmp_path / "base" / "tokenizer.json").write_text('{"model": 1}')
    with pytest.raises(BadInput, match="tokenizer of .*base cannot be read"):
        align(task_arithmetic(tmp_path, vocab="by_token"))


def test_by_token_reads_vocabularies_of_every_kind(tmp_path: Path) -> None:
    """A byte-pair vocab.json with added tokens, and a Unigram list: both in the base's order but for two rows."""
    for name in ("base", "expert"):
        resized(tmp_path, name, 4, len(name))
    (tmp_path / "base" / "vocab.json").write_text('{"a": 0, "b": 1, "c": 2}')
    (tmp_path / "base" / "added_tokens.json").write_text('{"<x>": 3}')
    unigram = {
        "model": {"vocab": [["b", -1.0], ["a", -2.0], ["c", -3.0]]},
        "added_tokens": [{"id": 3, "content": "<x>"}],
    }
    (tmp_path / "expert" / "tokenizer.json").write_text(json.dumps(unigram))
    found = align(task_arithmetic(tmp_path, vocab="by_token"))
    rows = {target.info.name: target.sources[1].rows for target in found.targets}
    assert rows[EMBED] == RowMap(8, ((0, 1, 1), (1, 0, 1), (2, 2, 2)))
    assert rows[UP] is None


def test_the_same_size_in_another_order_is_said(tmp_path: Path) -> None:
    pair(tmp_path, vocab_size=3)
    _tokenizer(tmp_path / "base", "ab", "c")
    _tokenizer(tmp_path / "expert", "ba", "c")
    notes = " ".join(align(task_arithmetic(tmp_path)).notes)
    assert "2 of the base's 3 tokens have another row or none in" in notes
    _tokenizer(tmp_path / "expert", "ab", "c")
    assert "another row" not in " ".join(align(task_arithmetic(tmp_path)).notes)


def test_a_tokenizer_with_tokens_beyond_the_result_is_refused(tmp_path: Path) -> None:
    for name, tokens in (("base", "abc"), ("expert", "abcd")):
        resized(tmp_path, name, len(tokens), len(name))
        _tokenizer(tmp_path / name, tokens)
    align(task_arithmetic(tmp_path))
    with pytest.raises(
        BadInput, match=r"expert has 1 tokens beyond the result's 3 rows .*'d', 3.*files_from"
    ):
        align(task_arithmetic(tmp_path, files_from="expert:0"))
