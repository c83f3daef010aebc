"""What is not a transformer weight: vocabularies, heads, missing and extra tensors, each treated as the run says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models
from transformers import (
    AutoModelForCausalLM,
    CLIPVisionConfig,
    CLIPVisionModel,
    CLIPVisionModelWithProjection,
    GPT2Config,
    GPT2ForSequenceClassification,
    GPT2LMHeadModel,
    GPT2Model,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen2ForSequenceClassification,
    Qwen2Model,
)

from bench.alignment.align import align, examine
from bench.alignment.reading import fill
from bench.alignment.rows import RowMap
from bench.alignment.vocabulary import _places, _runs
from bench.errors import BadInput
from bench.merging.merge import MergeResult, Place, merge
from bench.models.checkpoint import Checkpoint
from bench.recipe import Recipe, build_recipe
from tests.helpers.checkpoints import Tensors, pair, qwen2_tensors, tensors_of, write_checkpoint
from tests.helpers.models import save

EMBED, HEAD = "model.embed_tokens.weight", "lm_head.weight"
UP = "model.layers.0.mlp.up_proj.weight"


def _recipe(folder: Path, experts: int = 1, **settings: Any) -> Recipe:
    """Task Arithmetic, lambda 0.5 unless said, of `base` and `expert` (or `expert0`, `expert1`, ...)."""
    names = ["expert"] if experts == 1 else [f"expert{i}" for i in range(experts)]
    chosen = {"lambda": 0.5, "embeddings": "merge"} | settings
    return build_recipe(
        "task_arithmetic", chosen, str(folder / "base"), [str(folder / name) for name in names]
    )


def _merge(folder: Path, experts: int = 1, **settings: Any) -> MergeResult:
    return merge(_recipe(folder, experts, **settings), folder / "out", Place(folder / "runs"))


def _resized(folder: Path, name: str, rows: int, seed: int, **config: Any) -> Tensors:
    """A tiny Qwen2 with `rows` tokens; apart from them close to any other of these."""
    tensors = qwen2_tensors(seed, vocab_size=rows, **config)
    write_checkpoint(folder / name, tensors, vocab_size=rows, **config)
    return tensors


def _opened(path: Path) -> PreTrainedModel:
    """The checkpoint as transformers opens it; nothing missing, nothing random."""
    model, report = AutoModelForCausalLM.from_pretrained(path, output_loading_info=True)
    assert not any(report[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    return model


# --- rows ------------------------------------------------------------------------------------------------


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
    base = _resized(tmp_path, "base", 17, 0, tie_word_embeddings=tied)
    expert = _resized(tmp_path, "expert", rows, 1, tie_word_embeddings=tied)
    result = _merge(tmp_path)
    merged = tensors_of(result.path)
    common = min(rows, 17)
    for name in (EMBED,) if tied else (EMBED, HEAD):
        expected = base[name].clone()
        expected[:common] += 0.5 * (expert[name][:common] - base[name][:common])
        torch.testing.assert_close(merged[name], expected)
        assert torch.equal(merged[name][common:], base[name][common:])
    opened = _opened(result.path)
    assert opened.config.vocab_size == 17 and opened.config.tie_word_embeddings == tied
    said = any("vocab=base_rows writes 17" in note for note in result.manifest["notes"])
    assert said == (rows != 17)


@pytest.mark.parametrize("files_from", ["base", "expert:0"])
@pytest.mark.parametrize("rows", [15, 20])
def test_common_rows_crops_and_changes_the_saved_config(rows: int, files_from: str, tmp_path: Path) -> None:
    base, expert = _resized(tmp_path, "base", 17, 0), _resized(tmp_path, "expert", rows, 1)
    result = _merge(tmp_path, vocab="common_rows", files_from=files_from)
    merged, common = tensors_of(result.path), min(rows, 17)
    for name in (EMBED, HEAD):
        torch.testing.assert_close(merged[name], (base[name][:common] + expert[name][:common]) / 2)
    assert _opened(result.path).config.vocab_size == common
    notes = " ".join(result.manifest["notes"])
    assert f"vocab=common_rows writes {common}" in notes
    changed = common != (17 if files_from == "base" else rows)
    assert (f"says vocab_size={common}" in notes) == changed


@pytest.mark.parametrize("embeddings", ["base", "expert:0"])
def test_embeddings_of_one_model_in_the_result_s_rows(embeddings: str, tmp_path: Path) -> None:
    base, expert = _resized(tmp_path, "base", 17, 0), _resized(tmp_path, "expert", 15, 1)
    merged = tensors_of(_merge(tmp_path, embeddings=embeddings).path)
    expected = base[EMBED].clone()
    if embeddings == "expert:0":
        expected[:15] = expert[EMBED]
    assert torch.equal(merged[EMBED], expected)


# --- rows by token ---------------------------------------------------------------------------------------


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
        found[name] = _resized(folder, name, len(tokens) + 2 * (name == "expert0"), seed)
        _tokenizer(folder / name, tokens[:-1], tokens[-1])
    return found


@pytest.mark.parametrize("files_from", ["base", "expert:0", "expert:1"])
def test_by_token_matches_rows_by_what_they_mean(files_from: str, tmp_path: Path) -> None:
    """Oracle: per token of the result, each model's own row; else the base's; else the mean of the owners'."""
    found = _by_token(tmp_path)
    files = {"base": "base", "expert:0": "expert0", "expert:1": "expert1"}[files_from]
    result = _merge(tmp_path, 2, vocab="by_token", files_from=files_from)
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
    opened = _opened(result.path)
    assert opened.config.vocab_size == len(found[files][EMBED])
    assert (result.path / "tokenizer.json").read_bytes() == (tmp_path / files / "tokenizer.json").read_bytes()
    if files == "expert0":
        assert f"{tmp_path / 'base'} lacks 3 of them (the mean of the experts that have them)" in notes
        assert f"{tmp_path / 'expert1'} lacks 4 of them (the base's rows)" in notes


def test_runs_of_any_length_read_the_same(tmp_path: Path) -> None:
    _by_token(tmp_path)
    recipe = _recipe(tmp_path, 2, vocab="by_token", files_from="expert:0")
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
        align(_recipe(tmp_path, vocab="by_token"))
    (tmp_path / "base" / "tokenizer.json").write_text('{"model": 1}')
    with pytest.raises(BadInput, match="tokenizer of .*base cannot be read"):
        align(_recipe(tmp_path, vocab="by_token"))


def test_by_token_reads_vocabularies_of_every_kind(tmp_path: Path) -> None:
    """A byte-pair vocab.json with added tokens, and a Unigram list: both in the base's order but for two rows."""
    for name in ("base", "expert"):
        _resized(tmp_path, name, 4, len(name))
    (tmp_path / "base" / "vocab.json").write_text('{"a": 0, "b": 1, "c": 2}')
    (tmp_path / "base" / "added_tokens.json").write_text('{"<x>": 3}')
    unigram = {
        "model": {"vocab": [["b", -1.0], ["a", -2.0], ["c", -3.0]]},
        "added_tokens": [{"id": 3, "content": "<x>"}],
    }
    (tmp_path / "expert" / "tokenizer.json").write_text(json.dumps(unigram))
    found = align(_recipe(tmp_path, vocab="by_token"))
    rows = {target.info.name: target.sources[1].rows for target in found.targets}
    assert rows[EMBED] == RowMap(8, ((0, 1, 1), (1, 0, 1), (2, 2, 2)))
    assert rows[UP] is None


def test_the_same_size_in_another_order_is_said(tmp_path: Path) -> None:
    pair(tmp_path, vocab_size=3)
    _tokenizer(tmp_path / "base", "ab", "c")
    _tokenizer(tmp_path / "expert", "ba", "c")
    notes = " ".join(align(_recipe(tmp_path)).notes)
    assert "2 of the base's 3 tokens have another row or none in" in notes
    _tokenizer(tmp_path / "expert", "ab", "c")
    assert "another row" not in " ".join(align(_recipe(tmp_path)).notes)


def test_a_tokenizer_with_tokens_beyond_the_result_is_refused(tmp_path: Path) -> None:
    for name, tokens in (("base", "abc"), ("expert", "abcd")):
        _resized(tmp_path, name, len(tokens), len(name))
        _tokenizer(tmp_path / name, tokens)
    align(_recipe(tmp_path))
    with pytest.raises(
        BadInput, match=r"expert has 1 tokens beyond the result's 3 rows .*'d', 3.*files_from"
    ):
        align(_recipe(tmp_path, files_from="expert:0"))


@pytest.mark.parametrize("method", ["fisher", "drift_median"])
def test_a_fisher_of_other_rows_is_refused_with_what_helps(method: str, tmp_path: Path) -> None:
    _resized(tmp_path, "base", 17, 0)
    experts = [str(tmp_path / f"expert{i}") for i in range(2)]
    for i in range(2):
        _resized(tmp_path, f"expert{i}", 15 + 2 * i, i + 1)
    with pytest.raises(BadInput, match="whose rows in .*expert0 are not the result's: set embeddings=base"):
        align(build_recipe(method, {"embeddings": "merge"}, str(tmp_path / "base"), experts))
    align(build_recipe(method, {"embeddings": "base"}, str(tmp_path / "base"), experts))


# --- missing, extra, of another shape --------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["missing", "extra", "shape", "embedding"])
def test_mismatches_are_errors_or_skipped_and_counted(fault: str, tmp_path: Path) -> None:
    base, expert = (tensors_of(folder) for folder in pair(tmp_path))
    name = {"extra": "model.layers.0.self_attn.q_norm.weight", "embedding": EMBED}.get(fault, UP)
    changed = {key: value for key, value in expert.items() if key != name}
    if fault != "missing":
        changed[name] = torch.zeros({"extra": (4,), "shape": (13, 8), "embedding": (17, 9)}[fault])
    write_checkpoint(tmp_path / "expert", changed, **({"hidden_size": None} if fault == "embedding" else {}))
    says = {
        "missing": f"{name} is missing from",
        "extra": f"{name} is in {tmp_path / 'expert'} but not in the base",
        "shape": r"\[12, 8\] in the base and \[13, 8\] in",
        "embedding": r"\[17, 8\] in the base and \[17, 9\] in",
    }
    with pytest.raises(BadInput, match=says[fault]):
        align(_recipe(tmp_path))
    result = _merge(tmp_path, on_mismatch="skip")
    assert result.manifest["skipped"] == 1
    assert any("on_mismatch=skip: 1 tensors skipped" in note for note in result.manifest["notes"])
    merged = tensors_of(result.path)
    kept = {name, HEAD} if fault == "embedding" else {name}
    assert set(merged) == set(base)
    for key, values in base.items():
        expected = values if key in kept else (values + changed[key]) / 2
        torch.testing.assert_close(merged[key], expected)


def test_all_problems_are_listed_not_only_the_first(tmp_path: Path) -> None:
    pair(tmp_path)
    write_checkpoint(tmp_path / "expert", {"model.norm.weight": torch.zeros(8)})
    assert len(examine(_recipe(tmp_path)).problems) == 26
    with pytest.raises(BadInput, match="and 18 more"):
        align(_recipe(tmp_path))


# --- heads and bodies ------------------------------------------------------------------------------------

GPT2: dict[str, Any] = {
    "vocab_size": 17, "n_embd": 8, "n_layer": 2, "n_head": 2, "n_positions": 16, "bos_token_id": 0,
    "eos_token_id": 0, "pad_token_id": 0,
}  # fmt: skip
QWEN2: dict[str, Any] = {
    "vocab_size": 17, "hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 2,
    "num_attention_heads": 2, "num_key_value_heads": 1, "pad_token_id": 0,
}  # fmt: skip


def _random(model: PreTrainedModel, seed: int) -> PreTrainedModel:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
    return model.eval()


def _body(model: PreTrainedModel) -> Tensors:
    return {name: values.detach() for name, values in model.base_model.named_parameters()}


@pytest.mark.parametrize(
    ("base_class", "expert_class", "config"),
    [
        (GPT2Model, GPT2ForSequenceClassification, GPT2Config(**GPT2)),
        (GPT2LMHeadModel, GPT2ForSequenceClassification, GPT2Config(**GPT2)),
        (GPT2ForSequenceClassification, GPT2Model, GPT2Config(**GPT2)),
        (Qwen2Model, Qwen2ForSequenceClassification, Qwen2Config(**QWEN2)),
        (Qwen2ForCausalLM, Qwen2ForSequenceClassification, Qwen2Config(**QWEN2)),
        (Qwen2Model, Qwen2ForCausalLM, Qwen2Config(**QWEN2)),
    ],
)
def test_bodies_meet_under_any_head(base_class: Any, expert_class: Any, config: Any, tmp_path: Path) -> None:
    """A bare body's names have no prefix; heads of the experts stay theirs, the base's head stays its own."""
    base, expert = _random(base_class(config), 0), _random(expert_class(config), 1)
    save(base, tmp_path / "base")
    save(expert, tmp_path / "expert")
    result = _merge(tmp_path)
    merged, report = base_class.from_pretrained(result.path, output_loading_info=True)
    assert not any(report[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    for name, values in _body(base).items():
        torch.testing.assert_close(_body(merged)[name], (values + _body(expert)[name]) / 2)
    for name, values in base.named_parameters():
        if name.startswith(("score", "lm_head")):
            assert torch.equal(dict(merged.named_parameters())[name], values)
    body, ready = Checkpoint(tmp_path / "base"), expert_class.from_pretrained(result.path)
    assert set(tensors_of(result.path)) == set(body.tensors)
    torch.testing.assert_close(_body(ready), _body(merged))
    notes = " ".join(result.manifest["notes"])
    heads = [name for name in Checkpoint(tmp_path / "expert").tensors if name.startswith(("score", "lm_"))]
    assert all(f"1 tensors stay with {tmp_path / 'expert'}: {name}" in notes for name in heads)
    bare = (base_class in (GPT2Model, Qwen2Model)) != (expert_class in (GPT2Model, Qwen2Model))
    assert ("matched without the body's prefix" in notes) == bare


def test_each_expert_may_have_a_head_of_its_own_shape(tmp_path: Path) -> None:
    save(_random(GPT2Model(GPT2Config(**GPT2)), 0), tmp_path / "base")
    for i, labels in enumerate((2, 3)):
        config = GPT2Config(**GPT2, num_labels=labels)
        save(_random(GPT2ForSequenceClassification(config), i + 1), tmp_path / f"expert{i}")
    result = _merge(tmp_path, 2)
    assert "score.weight" not in tensors_of(result.path)
    opened = GPT2Model.from_pretrained(result.path)
    parts = [_body(GPT2Model.from_pretrained(tmp_path / name)) for name in ("base", "expert0", "expert1")]
    for name, values in _body(opened).items():
        expected = parts[0][name] + 0.5 * (parts[1][name] + parts[2][name] - 2 * parts[0][name])
        torch.testing.assert_close(values, expected, atol=1e-6, rtol=0)


def test_files_of_a_classifier_do_not_make_the_result_one(tmp_path: Path) -> None:
    """Its config would have transformers invent a random head."""
    save(_random(GPT2Model(GPT2Config(**GPT2)), 0), tmp_path / "base")
    save(_random(GPT2ForSequenceClassification(GPT2Config(**GPT2)), 1), tmp_path / "expert")
    result = _merge(tmp_path, files_from="expert:0")
    assert json.loads((result.path / "config.json").read_text())["architectures"] == ["GPT2Model"]
    assert any("says architectures=['GPT2Model'] instead of" in note for note in result.manifest["notes"])


def test_an_untied_model_without_its_head_is_refused(tmp_path: Path) -> None:
    folders = pair(tmp_path)
    for folder, says in zip(
        folders, ("is in .*expert but not in the base", "base has no lm_head.weight"), strict=True
    ):
        write_checkpoint(folder, {name: t for name, t in tensors_of(folder).items() if name != HEAD})
        with pytest.raises(BadInput, match=says):
            align(_recipe(tmp_path))


def test_clip_vision_towers_merge_and_keep_their_projection(tmp_path: Path) -> None:
    config = CLIPVisionConfig(
        hidden_size=8, intermediate_size=12, projection_dim=6, num_hidden_layers=2, num_attention_heads=2,
        image_size=16, patch_size=8,
    )  # fmt: skip
    base, expert = _random(CLIPVisionModelWithProjection(config), 0), _random(CLIPVisionModel(config), 1)
    save(base, tmp_path / "base")
    save(expert, tmp_path / "expert")
    merged = CLIPVisionModelWithProjection.from_pretrained(_merge(tmp_path).path)
    theirs = {f"vision_model.{name}": values for name, values in expert.named_parameters()}
    for name, values in base.named_parameters():
        expected = (values + theirs[name]) / 2 if name in theirs else values
        torch.testing.assert_close(dict(merged.named_parameters())[name], expected)


def test_buffers_that_only_an_expert_has_stay_out(tmp_path: Path) -> None:
    _, expert = pair(tmp_path)
    write_checkpoint(expert, {**tensors_of(expert), "model.rotary_emb.inv_freq": torch.ones(2)})
    result = _merge(tmp_path)
    assert "model.rotary_emb.inv_freq" not in tensors_of(result.path)
    assert any("stay with" in note and "inv_freq" in note for note in result.manifest["notes"])


# --- saving again ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_saving_and_reloading_preserves_ties_vocabulary_and_dtype(
    tied: bool, dtype: str, tmp_path: Path
) -> None:
    for name, rows, seed in (("base", 17, 0), ("expert", 15, 1)):
        tensors = qwen2_tensors(seed, vocab_size=rows, tie_word_embeddings=tied)
        cast = {key: values.to(getattr(torch, dtype)) for key, values in tensors.items()}
        write_checkpoint(tmp_path / name, cast, vocab_size=rows, tie_word_embeddings=tied, dtype=dtype)
    path = _merge(tmp_path, vocab="common_rows").path
    first = _opened(path)
    first.save_pretrained(tmp_path / "again")
    second = _opened(tmp_path / "again")
    for model in (first, second):
        embedding, head = model.get_input_embeddings().weight, model.get_output_embeddings().weight
        assert (embedding is head) == tied == model.config.tie_word_embeddings
        assert embedding.shape == (15, 8) and model.config.vocab_size == 15
        assert {p.dtype for p in model.parameters()} == {getattr(torch, dtype)}
    assert {n: t.dtype for n, t in tensors_of(tmp_path / "again").items()} == {
        n: t.dtype for n, t in tensors_of(path).items()
    }
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
