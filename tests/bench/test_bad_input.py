"""What is asked wrongly is refused before any work, with a sentence that names it and offers what is near."""

from __future__ import annotations

import json
import pickle
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.alignment.align import SHOWN
from bench.errors import BadInput
from bench.merging.merge import Place, merge
from bench.merging.plan import plan
from bench.models.checkpoint import Checkpoint
from bench.models.stored import read_header
from bench.recipe import build_method, build_recipe, parse_expert, parse_settings
from tests.helpers.checkpoints import pair, qwen2_tensors, tensors_of, write_checkpoint

UP = "model.layers.0.mlp.up_proj.weight"
Damage = Callable[[Path], None]


@pytest.mark.parametrize(
    ("method", "settings", "says"),
    [
        ("tise", {}, "unknown method 'tise'. Did you mean 'ties'?"),
        ("common", {}, "unknown method 'common'"),
        ("ties", {"kep": "0.2"}, "unknown parameter of ties 'kep'. Did you mean 'keep'?"),
        ("ties", {"lambda_": "1"}, "unknown parameter of ties 'lambda_'. Did you mean 'lambda'?"),
        ("ties", {"k": "0.2"}, "ties calls 'k' 'keep': use --set keep=..."),
        ("ties", {"density": "0.2"}, "ties calls 'density' 'keep'"),
        ("task_arithmetic", {"alpha": "1"}, "task_arithmetic calls 'alpha' 'lambda'"),
        ("fim_ties", {"r": "0.2"}, "fim_ties calls 'r' 'keep'"),
        ("ties", {"keep": "0"}, "parameter keep='0' is not allowed: Input should be greater than 0"),
        (
            "ties",
            {"keep": "1.01"},
            "parameter keep='1.01' is not allowed: Input should be less than or equal to 1",
        ),
        ("ties", {"keep": "nan"}, "parameter keep='nan' is not allowed"),
        (
            "ties",
            {"keep": "a fifth"},
            "parameter keep='a fifth' is not allowed: Input should be a valid number",
        ),
        ("ties", {"lambda": "11"}, "parameter lambda='11' is not allowed"),
        ("ties", {"scope": "layer"}, "Input should be 'tensor', 'block' or 'model'"),
        ("ties", {"embeddings": "expert"}, "parameter embeddings='expert' is not allowed"),
        ("ties", {"files_from": "expert:-1"}, "parameter files_from='expert:-1' is not allowed"),
        ("ties", {"out_dtype": "int8"}, "parameter out_dtype='int8' is not allowed"),
        ("fim_ties", {"samples": "0"}, "parameter samples='0' is not allowed"),
        ("fim_ties", {"length": "1"}, "parameter length='1' is not allowed"),
        ("fim_ties", {"sharpness": "nan"}, "parameter sharpness='nan' is not allowed"),
        ("fim_ties", {"sharpness": "-1"}, "parameter sharpness='-1' is not allowed"),
        ("fim_ties", {"outside": "inf"}, "parameter outside='inf' is not allowed"),
        ("fim_ties", {"gate": "1.5"}, "(default 0.7)"),
    ],
)
def test_methods_and_parameters(method: str, settings: dict[str, str], says: str) -> None:
    with pytest.raises(BadInput, match=re.escape(says)):
        build_method(method, settings)


def test_text_from_a_command_line_is_read_as_the_parameter_means_it() -> None:
    method = build_method(
        "fim_ties", {"keep": "0.4", "sharpness": "0.3", "outside": "mean_alpha", "samples": "4"}
    )
    found = method.model_dump()
    assert [found[k] for k in ("keep", "sharpness", "outside", "samples")] == [0.4, 0.3, "mean_alpha", 4]
    assert build_method("task_arithmetic", {"normalize": "true"}).model_dump()["normalize"] is True


@pytest.mark.parametrize("pairs", [["keep"], ["=1"], ["keep=1", "keep=2"]])
def test_settings_that_are_not_pairs(pairs: list[str]) -> None:
    with pytest.raises(BadInput):
        parse_settings(pairs)
    assert parse_settings(["a = b=c "]) == {"a": "b=c"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [("dir", ("dir", 1.0)), ("dir:0.5", ("dir", 0.5)), ("dir:-2", ("dir", -2.0)),
     ("zoo:base", ("zoo:base", 1.0)), ("zoo:base:0.3", ("zoo:base", 0.3)),
     ("org/name:2e-1", ("org/name", 0.2))],
)  # fmt: skip
def test_experts_and_their_weights(text: str, expected: tuple[str, float]) -> None:
    assert parse_expert(text) == expected
    with pytest.raises(BadInput, match="not a finite number"):
        parse_expert(f"{expected[0]}:nan")


@pytest.mark.parametrize(
    ("method", "settings", "weights", "says"),
    [
        ("ties", {}, ["0"], "ties takes positive expert weights, but .* has weight 0"),
        ("fim_ties", {}, ["2"], "fim_ties takes no expert weights"),
        ("task_arithmetic", {"normalize": True}, ["1", "-1"], "weights sum to 0 and cannot be normalised"),
        ("task_arithmetic", {"normalize": True}, ["0.1", "0.2", "-0.3"], "weights sum to 0"),
        ("task_arithmetic", {"embeddings": "expert:1"}, ["1"], "embeddings=expert:1: there are 1 experts"),
        (
            "task_arithmetic",
            {"files_from": "expert:2"},
            ["1", "1"],
            "files_from=expert:2: there are 2 experts",
        ),
        ("ties", {}, [], "ties takes at least 1 expert, not 0"),
    ],
)
def test_experts_that_do_not_fit_the_method(
    method: str, settings: dict[str, Any], weights: list[str], says: str, tmp_path: Path
) -> None:
    base, expert = pair(tmp_path)
    with pytest.raises(BadInput, match=says):
        build_recipe(method, settings, str(base), [f"{expert}:{weight}" for weight in weights])


# --- models that do not match ----------------------------------------------------------------------------


def _refused(folder: Path) -> str:
    """What the merge of `base` and `expert` says; planning says the same, and neither leaves anything."""
    before = sorted(folder.rglob("*"))
    with pytest.raises(BadInput) as refused:
        recipe = build_recipe("task_arithmetic", {}, str(folder / "base"), [str(folder / "expert")])
        merge(recipe, folder / "out", Place(folder / "runs"))
    said = str(refused.value)
    try:
        recipe = build_recipe("task_arithmetic", {}, str(folder / "base"), [str(folder / "expert")])
        assert all(problem in said for problem in plan(recipe).mismatches[:SHOWN]) and plan(recipe).mismatches
    except BadInput as error:
        assert str(error) == said
    assert sorted(folder.rglob("*")) == before
    return said


def test_shapes_that_differ_are_all_named(tmp_path: Path) -> None:
    base, expert = pair(tmp_path)
    tensors = tensors_of(expert)
    tensors[UP] = torch.zeros(13, 8)
    tensors["model.norm.weight"] = torch.zeros(9)
    write_checkpoint(expert, tensors)
    said = _refused(tmp_path)
    assert f"{UP} is [12, 8] in the base and [13, 8] in {expert}" in said
    assert f"model.norm.weight is [8] in the base and [9] in {expert}" in said


def test_a_vocabulary_of_another_size_than_the_config_says_is_named(tmp_path: Path) -> None:
    _, expert = pair(tmp_path)
    write_checkpoint(expert, {**tensors_of(expert), "model.embed_tokens.weight": torch.zeros(19, 8)})
    assert "model.embed_tokens.weight of " in (said := _refused(tmp_path))
    assert "is [19, 8], its config says [17, 8]" in said


def test_missing_and_surplus_tensors_are_named_and_long_lists_are_cut(tmp_path: Path) -> None:
    base, expert = pair(tmp_path)
    tensors = tensors_of(expert)
    tensors.pop(UP)
    write_checkpoint(expert, {**tensors, "model.layers.2.mlp.up_proj.weight": torch.zeros(12, 8)})
    said = _refused(tmp_path)
    assert f"{UP} is missing from {expert}" in said
    assert f"model.layers.2.mlp.up_proj.weight is in {expert} but not in the base" in said
    write_checkpoint(expert, {"model.norm.weight": torch.zeros(8)})
    assert "and 18 more" in _refused(tmp_path)


def test_an_integer_weight_is_named(tmp_path: Path) -> None:
    base, expert = pair(tmp_path)
    write_checkpoint(expert, {**tensors_of(expert), UP: torch.zeros(12, 8, dtype=torch.int8)})
    assert f"{UP} has integer dtype I8 in {expert}" in _refused(tmp_path)


def test_a_tensor_without_a_role_is_named(tmp_path: Path) -> None:
    for folder in pair(tmp_path):
        write_checkpoint(folder, {**tensors_of(folder), "model.layers.0.adapter.weight": torch.zeros(2)})
    assert "'model.layers.0.adapter.weight' has no role" in _refused(tmp_path)


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"model_type": "llama"}, "model_type is 'qwen2' in .* and 'llama' in "),
        ({"num_attention_heads": 4}, "num_attention_heads is 2 in .* and 4 in "),
        ({"hidden_act": "gelu"}, "hidden_act is 'silu' in .* and 'gelu' in "),
    ],
)
def test_configs_that_cannot_be_merged(config: dict[str, Any], says: str, tmp_path: Path) -> None:
    _, expert = pair(tmp_path)
    write_checkpoint(expert, tensors_of(expert), **config)
    assert re.search(says, _refused(tmp_path))


def test_an_unknown_architecture_offers_the_known_ones(tmp_path: Path) -> None:
    for folder in pair(tmp_path):
        write_checkpoint(folder, tensors_of(folder), model_type="qwen22")
    assert "'qwen22'. Did you mean 'qwen2'?" in _refused(tmp_path)


def test_a_default_that_only_one_config_spells_out_is_no_mismatch(tmp_path: Path) -> None:
    """Newer transformers write `head_dim`; older checkpoints of the same shapes do not."""
    base, expert = pair(tmp_path)
    write_checkpoint(expert, tensors_of(expert), head_dim=4)
    recipe = build_recipe("task_arithmetic", {}, str(base), [str(expert)])
    assert any("config head_dim" in note for note in plan(recipe).notes)


# --- files that are not what they seem -------------------------------------------------------------------


def _header(file: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Rewrite a safetensors header and keep the data."""
    data = file.read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + length])
    text = json.dumps(change(header) or header).encode()
    file.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + length :])


def _shift(header: dict[str, Any]) -> None:
    header[UP]["data_offsets"] = [offset + 4 for offset in header[UP]["data_offsets"]]


def _overlap(header: dict[str, Any]) -> None:
    header[UP]["data_offsets"] = header["model.layers.1.mlp.up_proj.weight"]["data_offsets"]


def _weights(change: Callable[[dict[str, Any]], Any]) -> Damage:
    return lambda folder: _header(folder / "model.safetensors", change)


def _entry(**changes: Any) -> Damage:
    return _weights(lambda header: header[UP].update(changes))


def _bytes(change: Callable[[bytes], bytes]) -> Damage:
    def damage(folder: Path) -> None:
        file = folder / "model.safetensors"
        file.write_bytes(change(file.read_bytes()))

    return damage


def _writes(name: str, text: str) -> Damage:
    def damage(folder: Path) -> None:
        (folder / name).write_text(text)

    return damage


def _index(text: str) -> Damage:
    return _writes("model.safetensors.index.json", text)


def _map(file: str) -> str:
    return json.dumps({"weight_map": {"w": file}})


def _pickled(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps({"w": 1}))


def _without(name: str) -> Damage:
    return lambda folder: (folder / name).unlink()


def _config(text: str) -> Damage:
    return _writes("config.json", text)


BROKEN: dict[str, tuple[Damage, str]] = {
    "no config": (_without("config.json"), "config.json is missing"),
    "config is not JSON": (_config("{"), "config.json is not JSON"),
    "config is a list": (_config("[]"), "holds list, not an object"),
    "no weights": (_without("model.safetensors"), "no weights at .*expected model.safetensors"),
    "pickle only": (_pickled, r"pickled weights only \(pytorch_model.bin\).*can run code.*Convert them"),
    "truncated data": (_bytes(lambda b: b[:-100]), "is truncated: tensor"),
    "truncated header": (_bytes(lambda b: b[:50]), "not a safetensors file, or is truncated"),
    "empty": (_bytes(lambda b: b""), "not a safetensors file"),
    "huge header": (_bytes(lambda b: b"\xff" * 8 + b[8:]), "not a safetensors file"),
    "bytes behind the end": (_bytes(lambda b: b + b"more"), "the last tensor ends at byte"),
    "header is not JSON": (_bytes(lambda b: b[:8] + b"!" + b[9:]), "damaged safetensors header"),
    "header is a list": (_weights(lambda h: [1]), "damaged safetensors header: list"),
    "offset beyond the file": (_entry(data_offsets=[9**9, 9**9 + 384]), "is truncated"),
    "offsets shifted": (_weights(_shift), "begins at byte"),
    "offsets of another tensor": (_weights(_overlap), "begins at byte"),
    "negative offset": (_entry(data_offsets=[-384, 0]), "claims 384 bytes"),
    "size does not fit the shape": (_entry(shape=[12, 9]), "claims 384 bytes for F32"),
    "negative shape": (_entry(shape=[-12, -8]), "claims 384 bytes"),
    "entry without a dtype": (_weights(lambda h: h[UP].pop("dtype") and None), "is damaged"),
    "unknown dtype": (_entry(dtype="F8_E4M3"), "has dtype F8_E4M3"),
    "index outside its folder": (_index(_map("../base/model.safetensors")), "points outside its folder"),
    "index with an absolute path": (_index(_map("/etc/passwd")), "points outside its folder"),
    "index of a missing shard": (_index(_map("a.safetensors")), "shards that are not there"),
    "empty index": (_index('{"weight_map": {}}'), "none at all"),
    "index is not JSON": (_index("{"), "index.json is damaged"),
    "index without a map": (_index("{}"), "index.json is damaged"),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_checkpoint_is_refused(case: str, tmp_path: Path) -> None:
    damage, says = BROKEN[case]
    _, expert = pair(tmp_path)
    Checkpoint(expert)
    damage(expert)
    assert re.search(says, _refused(tmp_path))


def test_a_tensor_in_two_shards_is_refused(tmp_path: Path) -> None:
    base, _ = pair(tmp_path)
    for name in ("a.safetensors", "b.safetensors"):
        (base / name).write_bytes((base / "model.safetensors").read_bytes())
    _index('{"weight_map": {"x": "a.safetensors", "y": "b.safetensors"}}')(base)
    with pytest.raises(BadInput, match="is in both .*a.safetensors and .*b.safetensors"):
        Checkpoint(base)


def test_a_truncated_shard_is_named(tmp_path: Path) -> None:
    """One of two shards lost its end; the other, and the index, are whole."""
    _, expert = pair(tmp_path)
    tensors = tensors_of(expert)
    (expert / "model.safetensors").unlink()
    weight_map = {}
    for number, names in enumerate((sorted(tensors)[:13], sorted(tensors)[13:]), 1):
        part = write_checkpoint(tmp_path / f"part{number}", {name: tensors[name] for name in names})
        (part / "model.safetensors").rename(expert / f"model-{number:05d}-of-00002.safetensors")
        weight_map |= dict.fromkeys(names, f"model-{number:05d}-of-00002.safetensors")
    _index(json.dumps({"weight_map": weight_map}))(expert)
    assert len(Checkpoint(expert).tensors) == len(tensors)
    shard = expert / "model-00002-of-00002.safetensors"
    shard.write_bytes(shard.read_bytes()[:-4])
    assert f"{shard} is truncated: tensor" in _refused(tmp_path)


def test_a_file_that_shrinks_under_way_is_named_and_leaves_nothing(tmp_path: Path) -> None:
    """The headers were whole when the merge began."""
    base, expert = pair(tmp_path)
    recipe = build_recipe("task_arithmetic", {}, str(base), [str(expert)])
    file = expert / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-4])
    with pytest.raises(BadInput, match=f"{file} ended while tensor .* was read: the file is truncated"):
        merge(recipe, tmp_path / "out", Place(tmp_path / "runs"))
    assert not (tmp_path / "out").exists() and not list(tmp_path.glob(".*partial"))


@pytest.mark.parametrize("spec", ["./nothing-here", "nothing", "~/no-such-folder-here", "a/b/c"])
def test_a_path_without_a_checkpoint(spec: str, tmp_path: Path) -> None:
    _, expert = pair(tmp_path)
    with pytest.raises(BadInput, match=f"no checkpoint at '{re.escape(spec)}'"):
        build_recipe("ties", {}, spec, [str(expert)])


def test_a_hub_id_that_cannot_be_had(tmp_path: Path) -> None:
    _, expert = pair(tmp_path)
    with pytest.raises(
        BadInput, match="no folder 'no-such-org/no-such-model' here, and the Hub gave no model"
    ):
        build_recipe("ties", {}, "no-such-org/no-such-model", [str(expert)])


def test_an_unknown_zoo_model(tmp_path: Path) -> None:
    _, expert = pair(tmp_path)
    with pytest.raises(BadInput, match="unknown zoo model 'no-such'"):
        build_recipe("ties", {}, "zoo:no-such", [str(expert)])


def test_what_safetensors_writes_is_read_back(tmp_path: Path) -> None:
    """Guards the refusals above: every dtype and a scalar and an empty tensor pass."""
    names = ("float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool")
    tensors = {name: torch.tensor([[1, 0, 1]]).to(getattr(torch, name)) for name in names}
    tensors |= {"scalar": torch.tensor(2.5), "empty": torch.zeros(0, 4)}
    folder = write_checkpoint(tmp_path / "all", tensors)
    model = Checkpoint(folder)
    assert len(read_header(folder / "model.safetensors")) == len(tensors)
    for name, values in tensors.items():
        assert model.tensors[name].shape == tuple(values.shape)
        assert torch.equal(model.read(name), values.flatten()), name
    assert torch.equal(model.read("bfloat16", 1, 3), tensors["bfloat16"].flatten()[1:3])
    assert len(qwen2_tensors(0)) == 27
