"""The executor on real checkpoints: what it writes, what it reuses, what a killed or crowded run leaves."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open

from bench.errors import BadInput
from bench.merging.merge import MergeResult, Place, merge
from bench.merging.writer import MANIFEST, CheckpointWriter
from bench.recipe import build_recipe
from tests.helpers.checkpoints import (
    Tensors,
    checkpoints_under,
    pair,
    qwen2_tensors,
    tensors_of,
    write_checkpoint,
)
from tests.helpers.disks import mounted
from tests.helpers.models import gpt2, open_model, qwen2, save

ROOT = Path(__file__).resolve().parents[2]
HALF: dict[str, Any] = {"lambda_": 0.5}


def _merge(
    folder: Path, out: str = "out", *, method: str = "task_arithmetic", **settings: Any
) -> MergeResult:
    """Merge `base` and `expert` of a folder."""
    public = {key.rstrip("_"): value for key, value in settings.items()}
    recipe = build_recipe(method, public, str(folder / "base"), [str(folder / "expert")])
    return merge(recipe, folder / out, Place(folder / "runs"))


# --- what is written -------------------------------------------------------------------------------------


def _between(base: Tensors, expert: Tensors) -> Tensors:
    return {name: base[name] + 0.5 * (expert[name] - base[name]) for name in base}


@pytest.mark.parametrize("kind", ["qwen2", "qwen2 tied", "gpt2"])
def test_the_result_opens_with_transformers_and_holds_the_expected_weights(kind: str, tmp_path: Path) -> None:
    models = [gpt2(s) if kind == "gpt2" else qwen2(s, tied=kind == "qwen2 tied") for s in (0, 1)]
    for model, name in zip(models, ("base", "expert"), strict=True):
        save(model, tmp_path / name)
    merged = open_model(_merge(tmp_path, lambda_=0.5).path)
    expected = _between(*(dict(model.named_parameters()) for model in models))
    found = dict(merged.named_parameters())
    assert set(found) == set(expected)
    for name, values in expected.items():
        torch.testing.assert_close(found[name], values.detach(), atol=1e-6, rtol=0)
    tied = merged.get_input_embeddings().weight is merged.get_output_embeddings().weight
    assert tied == (kind != "qwen2")
    assert merged.config.tie_word_embeddings == tied


def test_fim_ties_runs_end_to_end_and_reports_its_layers(tmp_path: Path) -> None:
    save(qwen2(0), tmp_path / "base")
    save(qwen2(1), tmp_path / "expert")
    result = _merge(tmp_path, method="fim_ties", length=8)
    open_model(result.path)
    alphas = sorted(value for _, metric, value in result.manifest["layers"] if metric == "alpha")
    assert alphas == pytest.approx([0.5, 0.731059], abs=1e-6)
    assert len(result.manifest["statistics"]["fisher"]) == 1


def test_manifest_and_card_say_what_was_done(tmp_path: Path) -> None:
    pair(tmp_path)
    result = _merge(tmp_path, lambda_=0.5)
    stored = json.loads((result.path / MANIFEST).read_text())
    assert stored == result.manifest
    assert (stored["method"], stored["label"]) == ("task_arithmetic", "task_arithmetic lambda=0.5")
    assert stored["parameters"]["lambda"] == 0.5 and stored["tensors"] == {"merge": 27}
    assert stored["base"]["fingerprint"] != stored["experts"][0]["fingerprint"]
    assert stored["seconds"] > 0 and stored["peak_bytes"] > 1e6
    card = (result.path / "README.md").read_text()
    assert "bench merge --method task_arithmetic" in card and "--set lambda=0.5" in card


@pytest.mark.parametrize("shard_bytes", [1, 700, 2000])
def test_shards_hold_the_same_tensors_and_the_index_finds_them(
    shard_bytes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair(tmp_path)
    whole = tensors_of(_merge(tmp_path, lambda_=0.5).path)
    monkeypatch.setattr(
        "bench.merging.merge.CheckpointWriter", partial(CheckpointWriter, shard_bytes=shard_bytes)
    )
    out = _merge(tmp_path, "sharded", lambda_=0.5).path
    index = json.loads((out / "model.safetensors.index.json").read_text())
    files = sorted(path.name for path in out.glob("*.safetensors"))
    assert len(files) > 2 and set(index["weight_map"].values()) == set(files)
    assert index["metadata"]["total_size"] == sum(t.numel() * 4 for t in whole.values())
    for name, file in index["weight_map"].items():
        with safe_open(out / file, "pt") as opened:
            assert torch.equal(opened.get_tensor(name), whole[name])
    assert set(index["weight_map"]) == set(whole)
    torch.testing.assert_close(dict(open_model(out).named_parameters()), whole)
    shutil.copytree(out, tmp_path / "again" / "base")
    shutil.copytree(out, tmp_path / "again" / "expert")
    again = _merge(tmp_path / "again", lambda_=0.5)
    assert all(torch.equal(values, whole[name]) for name, values in tensors_of(again.path).items())


def test_a_shard_is_no_larger_than_asked_unless_one_tensor_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair(tmp_path)
    monkeypatch.setattr("bench.merging.merge.CheckpointWriter", partial(CheckpointWriter, shard_bytes=700))
    for file in _merge(tmp_path).path.glob("*.safetensors"):
        tensors = list(tensors_of_file(file).values())
        assert len(tensors) == 1 or sum(t.numel() * 4 for t in tensors) <= 700


def tensors_of_file(file: Path) -> Tensors:
    """Tensors of one shard."""
    with safe_open(file, "pt") as opened:
        return {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118


# --- options that every method shares --------------------------------------------------------------------


@pytest.mark.parametrize("base_tied", [True, False])
@pytest.mark.parametrize("option", ["untie", "follow_base"])
def test_tied_and_untied_heads(base_tied: bool, option: str, tmp_path: Path) -> None:
    base, expert = qwen2(0, tied=base_tied), qwen2(1, tied=not base_tied)
    save(base, tmp_path / "base")
    save(expert, tmp_path / "expert")
    result = _merge(tmp_path, lambda_=0.5, tied_mismatch=option)
    merged = open_model(result.path)
    tied = option == "follow_base" and base_tied
    assert merged.config.tie_word_embeddings == tied == result.manifest["tied"]
    assert any("tied heads differ" in note and option in note for note in result.manifest["notes"])
    heads = [model.get_output_embeddings().weight for model in (base, expert)]
    embeddings = [model.get_input_embeddings().weight for model in (base, expert)]
    torch.testing.assert_close(merged.get_input_embeddings().weight, sum(embeddings) / 2)
    expected = sum(embeddings) / 2 if tied else sum(heads) / 2
    torch.testing.assert_close(merged.get_output_embeddings().weight, expected)
    assert ("lm_head.weight" in tensors_of(result.path)) is not tied


EMBEDDINGS = ("model.embed_tokens.weight", "lm_head.weight")


@pytest.mark.parametrize(("option", "source"), [("base", "base"), ("expert:0", "expert")])
def test_embeddings_can_be_taken_from_one_model(option: str, source: str, tmp_path: Path) -> None:
    folders = dict(zip(("base", "expert"), map(tensors_of, pair(tmp_path)), strict=True))
    merged = tensors_of(_merge(tmp_path, lambda_=0.5, embeddings=option).path)
    expected = _between(folders["base"], folders["expert"])
    expected.update({name: folders[source][name] for name in EMBEDDINGS})
    for name, values in expected.items():
        torch.testing.assert_close(merged[name], values, atol=1e-6, rtol=0)


@pytest.mark.parametrize("option", ["same", "base", "mean"])
def test_norms_and_biases_follow_their_option(option: str, tmp_path: Path) -> None:
    base = tensors_of(pair(tmp_path)[0])
    expert = tensors_of(tmp_path / "expert")
    merged = tensors_of(_merge(tmp_path, lambda_=0.5, norms=option).path)
    expected = {"same": _between(base, expert), "base": base, "mean": expert}[option]
    named = [name for name in base if "norm" in name or name.endswith("bias")]
    assert len(named) == 11
    for name, values in _between(base, expert).items():
        values = expected[name] if name in named else values
        torch.testing.assert_close(merged[name], values, atol=1e-6, rtol=0)


@pytest.mark.parametrize("option", ["base", "float32", "bfloat16", "float16"])
def test_out_dtype_is_the_files_dtype_and_the_one_it_opens_in(option: str, tmp_path: Path) -> None:
    for seed, name in enumerate(("base", "expert")):
        save(qwen2(seed).bfloat16(), tmp_path / name)
    result = _merge(tmp_path, lambda_=0.3, out_dtype=option)
    dtype = torch.bfloat16 if option == "base" else getattr(torch, option)
    base, expert = ({n: t.float() for n, t in tensors_of(tmp_path / m).items()} for m in ("base", "expert"))
    exact = {name: base[name] + 0.3 * (expert[name] - base[name]) for name in base}
    stored, opened = tensors_of(result.path), dict(open_model(result.path).named_parameters())
    for name, values in exact.items():
        assert stored[name].dtype == opened[name].dtype == dtype
        assert torch.equal(stored[name], values.to(dtype)) and torch.equal(stored[name], opened[name])


@pytest.mark.parametrize(("option", "source"), [("base", "base"), ("expert:0", "expert")])
def test_config_and_tokenizer_come_from_the_asked_model(option: str, source: str, tmp_path: Path) -> None:
    pair(tmp_path)
    for name in ("base", "expert"):
        write_checkpoint(tmp_path / name, tensors_of(tmp_path / name), initializer_range=len(name) / 8)
        (tmp_path / name / "tokenizer.json").write_text(f'"{name}"')
        (tmp_path / name / "generation_config.json").write_text(f'{{"from": "{name}"}}')
        (tmp_path / name / "notes.txt").write_text("not a companion")
    result = _merge(tmp_path, files_from=option)
    assert json.loads((result.path / "config.json").read_text())["initializer_range"] == len(source) / 8
    assert (result.path / "tokenizer.json").read_text() == f'"{source}"'
    assert json.loads((result.path / "generation_config.json").read_text()) == {"from": source}
    assert not (result.path / "notes.txt").exists()


def test_buffers_are_the_bases_whatever_their_type(tmp_path: Path) -> None:
    """Old GPT-2 checkpoints store the causal mask as `attn.bias`."""
    for seed, name in enumerate(("base", "expert")):
        folder = save(gpt2(seed), tmp_path / name)
        tensors = {
            **tensors_of(folder),
            "transformer.h.0.attn.bias": torch.ones(1, 1, 32, 32, dtype=torch.uint8).tril() + seed,
            "transformer.h.0.attn.masked_bias": torch.tensor(-1e4 + seed),
        }  # fmt: skip
        write_checkpoint(folder, tensors, **json.loads((folder / "config.json").read_text()))
    merged = tensors_of(_merge(tmp_path, out_dtype="bfloat16").path)
    base = tensors_of(tmp_path / "base")
    for name in ("transformer.h.0.attn.bias", "transformer.h.0.attn.masked_bias"):
        assert torch.equal(merged[name], base[name]) and merged[name].dtype == base[name].dtype
    assert merged["transformer.h.0.attn.c_attn.bias"].dtype == torch.bfloat16


# --- doing nothing twice, and nothing to others' folders -------------------------------------------------


def test_the_same_merge_is_reused_and_another_is_refused(tmp_path: Path) -> None:
    pair(tmp_path)
    first = _merge(tmp_path, **HALF)
    written = (first.path / "model.safetensors").stat().st_mtime_ns
    second = _merge(tmp_path, **HALF)
    assert (first.reused, second.reused) == (False, True) and second.manifest == first.manifest
    assert (first.path / "model.safetensors").stat().st_mtime_ns == written
    with pytest.raises(BadInput, match=r"holds another merge \(task_arithmetic lambda=0.5\)"):
        _merge(tmp_path, lambda_=0.6)
    write_checkpoint(tmp_path / "expert", qwen2_tensors(9))
    with pytest.raises(BadInput, match="holds another merge"):
        _merge(tmp_path, **HALF)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_result_that_was_changed_afterwards_is_not_reused(name: str, tmp_path: Path) -> None:
    pair(tmp_path)
    file = _merge(tmp_path).path / name
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    with pytest.raises(BadInput, match="out was changed after it was merged"):
        _merge(tmp_path)
    file.unlink()
    with pytest.raises(BadInput, match="out was changed after it was merged"):
        _merge(tmp_path)


@pytest.mark.parametrize("foreign", ["file", "folder", "checkpoint", "damaged manifest"])
def test_what_is_not_ours_is_never_replaced(foreign: str, tmp_path: Path) -> None:
    pair(tmp_path)
    out = tmp_path / "out"
    if foreign == "checkpoint":
        shutil.copytree(tmp_path / "base", out)
    elif foreign == "file":
        out.write_text("mine")
    else:
        out.mkdir()
        (out / (MANIFEST if foreign == "damaged manifest" else "thesis.txt")).write_text("[1]")
    before = out.read_text() if out.is_file() else sorted(p.name for p in out.iterdir())
    with pytest.raises(
        BadInput, match="is damaged" if "damaged" in foreign else "is not a merge of this tool"
    ):
        _merge(tmp_path)
    assert before == (out.read_text() if out.is_file() else sorted(p.name for p in out.iterdir()))


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    pair(tmp_path)
    (tmp_path / "out").mkdir()
    assert not _merge(tmp_path).reused


# --- killed, crowded, full -------------------------------------------------------------------------------

CHILD = """
import sys, time
from pathlib import Path
import torch
torch.set_num_threads(1)
from bench.merging.merge import Place, merge
from bench.recipe import build_recipe

folder, pause, stop_at = Path(sys.argv[1]), float(sys.argv[2]), sys.argv[3]

def say(text):
    print(text, flush=True)
    time.sleep(60 if text.startswith(stop_at) else pause)

recipe = build_recipe("ties", {"keep": 0.5}, str(folder / "base"), [str(folder / "expert")])
result = merge(recipe, folder / "out", Place(folder / "runs"), say=say)
print("reused" if result.reused else "merged", flush=True)
"""


def _child(folder: Path, pause: float, stop_at: str = "never") -> subprocess.Popen[str]:
    """A merge that waits a little at everything it says, and long enough to be killed at `stop_at`."""
    command = [sys.executable, "-c", CHILD, str(folder), str(pause), stop_at]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("at", ["pass 2", "merged model.layers.0.mlp", "merged model.norm"])
def test_a_killed_merge_leaves_no_checkpoint_and_the_next_one_succeeds(at: str, tmp_path: Path) -> None:
    pair(tmp_path)
    child = _child(tmp_path, 0, at)
    assert child.stdout is not None
    for line in child.stdout:
        if line.startswith(at):
            break
    else:
        pytest.fail(f"the child never said {at!r}")
    child.send_signal(signal.SIGKILL)
    assert child.wait(60) == -signal.SIGKILL
    assert checkpoints_under(tmp_path) == [tmp_path / "base", tmp_path / "expert"]
    assert not (tmp_path / "out").exists()
    assert (tmp_path / ".out.partial").is_dir(), "killed while the draft was there"
    result = _merge(tmp_path, method="ties", keep=0.5)
    assert not result.reused and checkpoints_under(tmp_path) == [
        tmp_path / name for name in ("base", "expert", "out")
    ]
    assert not (tmp_path / ".out.partial").exists()
    open_model(result.path)


def test_two_processes_with_the_same_merge_do_it_once(tmp_path: Path) -> None:
    pair(tmp_path)
    children = [_child(tmp_path, 0.01) for _ in range(2)]
    said = [child.communicate(timeout=300)[0].splitlines()[-1] for child in children]
    assert [child.returncode for child in children] == [0, 0]
    assert sorted(said) == ["merged", "reused"]
    open_model(tmp_path / "out")


def test_an_interrupted_merge_cleans_up(tmp_path: Path) -> None:
    pair(tmp_path)

    def interrupt(text: str) -> None:
        if text.startswith("merged model.layers.1"):
            raise KeyboardInterrupt

    recipe = build_recipe("ties", {}, str(tmp_path / "base"), [str(tmp_path / "expert")])
    with pytest.raises(KeyboardInterrupt):
        merge(recipe, tmp_path / "out", Place(tmp_path / "runs"), say=interrupt)
    assert not list(tmp_path.glob("*out*partial")) and not (tmp_path / "out").exists()


def _no_room(*arguments: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_is_said_in_a_sentence_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair(tmp_path, vocab_size=8000)
    roomy = shutil.disk_usage(tmp_path)._replace(free=10**12)
    with mounted(tmp_path / "small", "size=256k") as real:
        if not real:  # the kernel's answer of a full disk
            monkeypatch.setattr(os, "posix_fallocate", _no_room)
        monkeypatch.setattr(shutil, "disk_usage", lambda path: roomy)
        with pytest.raises(BadInput, match="disk of .*small is full; nothing was left behind"):
            _merge(tmp_path, "small/out")
        assert not list((tmp_path / "small").iterdir())


@pytest.mark.parametrize("reserves", [True, False])
def test_a_disk_that_fills_up_in_the_middle(
    reserves: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The weights fit and the tokenizer does not; or nothing can be reserved and a block finds no room."""
    base, _ = pair(tmp_path, vocab_size=8000 if not reserves else 17)
    (base / "tokenizer.json").write_bytes(b" " * 400_000)
    roomy = shutil.disk_usage(tmp_path)._replace(free=10**12)
    with mounted(tmp_path / "small", "size=256k") as real:
        if not reserves:

            def unsupported(*arguments: Any) -> None:
                raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

            monkeypatch.setattr(os, "posix_fallocate", unsupported)
        if not real:
            monkeypatch.setattr(*((shutil, "copyfile") if reserves else (os, "pwrite")), _no_room)
        monkeypatch.setattr(shutil, "disk_usage", lambda path: roomy)
        with pytest.raises(BadInput, match="disk of .*small is full; nothing was left behind"):
            _merge(tmp_path, "small/out")
        assert not list((tmp_path / "small").iterdir())


@pytest.mark.parametrize("place", ["mount", "behind a file"])
def test_an_output_that_cannot_be_written_is_said(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root may write through any permission, but not to a read-only file system and not behind a file."""
    pair(tmp_path)
    if place == "behind a file":
        (tmp_path / "small").write_text("mine")
        with pytest.raises(BadInput, match=r"cannot write to .*small \(.*choose another --out"):
            _merge(tmp_path, "small/out")
        assert (tmp_path / "small").read_text() == "mine"
        return
    with mounted(tmp_path / "small", "ro,size=64m") as real:
        if not real:
            (tmp_path / "small").rmdir()
            (tmp_path / "small").symlink_to("/proc/fs")  # nobody makes folders there
        with pytest.raises(BadInput, match=r"cannot write to .*small \(.*choose another --out"):
            _merge(tmp_path, "small/out")


def test_too_little_disk_is_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(100, 90, 10**7))
    with pytest.raises(BadInput, match=r"needs \d\.\d kB at .*, where 10\.0 MB are free"):
        _merge(tmp_path)
    assert not (tmp_path / "out").exists() and not (tmp_path / ".out.partial").exists()


def test_the_leftovers_of_a_killed_merge_count_as_free_space(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair(tmp_path)
    draft = tmp_path / ".out.partial"
    draft.mkdir()
    monkeypatch.setattr(
        shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(1, 1, 0 if draft.exists() else 10**9)
    )
    assert not _merge(tmp_path).reused


def test_a_file_that_shrinks_while_it_is_read_is_reported(tmp_path: Path) -> None:
    pair(tmp_path)
    recipe = build_recipe("task_arithmetic", {}, str(tmp_path / "base"), [str(tmp_path / "expert")])
    os.truncate(tmp_path / "expert" / "model.safetensors", 4000)
    with pytest.raises(BadInput, match=r"expert.model.safetensors ended while tensor .* was read"):
        merge(recipe, tmp_path / "out", Place(tmp_path / "runs"))
    assert checkpoints_under(tmp_path) == [tmp_path / "base", tmp_path / "expert"]


def test_every_tensor_of_many_blocks_is_merged(tmp_path: Path) -> None:
    pair(tmp_path, num_hidden_layers=80)
    merged = tensors_of(_merge(tmp_path, lambda_=1.0).path)
    expert = tensors_of(tmp_path / "expert")
    assert len(merged) == 963
    for name, values in expert.items():
        torch.testing.assert_close(merged[name], values, atol=1e-6, rtol=0)
