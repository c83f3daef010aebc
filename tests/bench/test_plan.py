"""What a plan says, and that it reads nothing else: headers here, ranges of headers on the Hub."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from bench.alignment.align import align
from bench.alignment.reading import fill
from bench.merging.plan import plan
from bench.models.checkpoint import Checkpoint
from bench.recipe import build_recipe
from tests.bench.command import bench, environment
from tests.helpers.checkpoints import pair, qwen2_tensors, tensors_of, write_checkpoint
from tests.helpers.hub import hub

UP = "model.layers.0.mlp.up_proj.weight"


def _without_data(folder: Path) -> None:
    """Make every weight unreadable without a word: holes where the data were."""
    file = folder / "model.safetensors"
    size, length = file.stat().st_size, struct.unpack("<Q", file.read_bytes()[:8])[0]
    head = file.read_bytes()[: 8 + length]
    with file.open("wb") as handle:
        handle.write(head)
        handle.truncate(size)


def test_a_plan_counts_what_is_merged_left_and_copied(tmp_path: Path) -> None:
    base, expert = pair(tmp_path)
    recipe = build_recipe("ties", {"embeddings": "base", "norms": "mean"}, str(base), [f"{expert}:0.5"])
    made = plan(recipe)
    tensors = tensors_of(base)
    found = {(g["role"], g["action"]): (g["tensors"], g["elements"], g["bytes"]) for g in made.groups}
    sizes = {name: values.numel() for name, values in tensors.items()}

    def total(names: list[str]) -> tuple[int, int, int]:
        n = sum(sizes[name] for name in names)
        return len(names), n, 4 * n

    linear = [n for n in tensors if n.endswith("proj.weight")]
    biases = [n for n in tensors if n.endswith("bias")]
    norms = [n for n in tensors if "norm" in n]
    assert found == {
        ("lm_head", "base"): total(["lm_head.weight"]),
        ("embed", "base"): total(["model.embed_tokens.weight"]),
        ("linear", "merge"): total(linear),
        ("bias", "mean"): total(biases),
        ("norm", "mean"): total(norms),
    }
    assert (made.weights, made.mismatches, made.skipped) == ([0.5], [], 0)
    assert {t.name: t.shape for t in made.tensors} == {n: list(v.shape) for n, v in tensors.items()}


def test_a_plan_costs_what_the_merge_will_write_and_grows_with_its_inputs(tmp_path: Path) -> None:
    base, expert = pair(tmp_path, vocab_size=4000, hidden_size=64)
    one, three = (build_recipe("ties", {"scope": "tensor"}, str(base), [str(expert)] * n) for n in (1, 3))
    assert (
        plan(one).cost.write_bytes
        == align(one).nbytes
        == sum(t.numel() * 4 for t in tensors_of(base).values())
    )
    assert plan(three).cost.read_bytes == 2 * plan(one).cost.read_bytes
    assert plan(three).cost.memory_bytes > plan(one).cost.memory_bytes
    assert plan(three).cost.seconds > plan(one).cost.seconds
    whole = build_recipe("ties", {"scope": "model"}, str(base), [str(expert)])
    assert plan(whole).cost.read_bytes > plan(one).cost.read_bytes
    fisher = plan(build_recipe("fim_ties", {"samples": 4}, str(base), [str(expert)]))
    more = plan(build_recipe("fim_ties", {"samples": 8}, str(base), [str(expert)]))
    assert more.cost.statistics_seconds == pytest.approx(2 * fisher.cost.statistics_seconds) != 0
    assert fisher.needs == ["Fisher on random tokens of the base"] and fisher.cost.statistics_bytes > 0


def test_the_command_lists_every_mismatch_and_says_refused(tmp_path: Path) -> None:
    base, _ = pair(tmp_path)
    write_checkpoint(tmp_path / "expert", {"model.norm.weight": torch.zeros(8)})
    words = ("plan", "--method", "ties", "--base", "base", "--expert", "expert")
    done = bench(*words, "--tensors", cwd=tmp_path, code=1)
    for name in set(tensors_of(base)) - {"model.norm.weight"}:
        assert f"{name} is missing from expert" in done.stdout
    assert done.stdout.count(UP) == 2, "in the list of tensors, and in that of mismatches"
    assert "26: the merge is refused" in done.stdout and "do not match in 26 places" in done.stderr
    found = json.loads(bench(*words, "--json", cwd=tmp_path, code=1).stdout)
    assert len(found["mismatches"]) == 26
    skipped = bench(*words, "--set", "on_mismatch=skip", cwd=tmp_path)
    assert "on_mismatch=skip: 26 tensors skipped" in " ".join(skipped.stdout.split())


def test_nothing_of_the_weights_is_needed(tmp_path: Path) -> None:
    words = ("plan", "--method", "task_arithmetic", "--base", "base", "--expert", "expert", "--json")
    folders = pair(tmp_path)
    before = bench(*words, cwd=tmp_path).stdout
    for folder in folders:
        _without_data(folder)
    assert bench(*words, cwd=tmp_path).stdout == before


@pytest.mark.parametrize("method", ["ties", "fim_ties", "fisher", "regmean"])
def test_no_weight_is_read(method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Holes read as zeros without a word: here the first read of anything behind a header fails."""

    def fail(*_: object, **__: object) -> None:
        raise AssertionError("a weight was read")

    base, expert = pair(tmp_path)
    recipe = build_recipe(method, {}, str(base), [str(expert)] * 2)
    for way in ("os.pread", "os.preadv", "bench.models.checkpoint.read_stored"):
        monkeypatch.setattr(way, fail)
    monkeypatch.setattr(Checkpoint, "opened", fail)
    made, target = plan(recipe), align(recipe).targets[0]
    assert len(made.tensors) == len(recipe.base.tensors)
    with pytest.raises(AssertionError, match="a weight was read"):
        recipe.base.read(UP)
    with pytest.raises(AssertionError, match="a weight was read"):
        fill(torch.empty(1), (recipe.base, *recipe.experts), target, 0, 0, 1)


# --- models on the Hub -----------------------------------------------------------------------------------


@pytest.mark.parametrize("ranges", [True, False])
def test_a_plan_of_hub_models_fetches_headers_only(ranges: bool, tmp_path: Path) -> None:
    """The same plan as of the local folders; the weights stay where they are, and the cache stays empty."""
    base, expert = pair(tmp_path, vocab_size=30_000, hidden_size=64)
    size = (base / "model.safetensors").stat().st_size
    assert size > 10 * 2**20
    words = ("plan", "--method", "ties", "--json")
    with hub(org__base=base, org__expert=expert) as server:
        server.ranges = ranges
        done = bench(*words, "--base", "org/base", "--expert", "org/expert:0.5", cwd=tmp_path, HF_HUB_OFFLINE="0",
                     HF_ENDPOINT=server.endpoint, HF_HOME=str(tmp_path / "home"), HF_TOKEN="")  # fmt: skip
    local = bench(*words, "--base", str(base), "--expert", f"{expert}:0.5", cwd=tmp_path)
    said = done.stdout.replace("org/base", str(base)).replace("org/expert", str(expert))
    assert json.loads(said) == json.loads(local.stdout)
    asked = [path.rsplit("/", 1)[1] for _, path, _ in server.requests if "/resolve/" in path]
    assert sorted(asked) == ["config.json"] * 2 + ["model.safetensors"] * 2
    if ranges:  # one request of the first 128 kB each; a server without ranges is hung up on
        assert server.sent("model.safetensors") == 2 * (1 << 17)
    assert not list((tmp_path / "home").rglob("*.safetensors")) and not (tmp_path / "home" / "hub").exists()


def test_headers_longer_than_the_first_request_and_shards(tmp_path: Path) -> None:
    """2,000 tensors in two shards: an index, two requests a shard, still no weight."""
    deep = {"num_hidden_layers": 160, "hidden_size": 4, "intermediate_size": 300, "vocab_size": 5}
    folder = write_checkpoint(tmp_path / "deep", qwen2_tensors(0, **deep), **deep)
    tensors = tensors_of(folder)
    names = sorted(tensors)
    (folder / "model.safetensors").unlink()
    weight_map = {}
    for number, part in enumerate((names[:1700], names[1700:]), 1):
        shard = (
            write_checkpoint(tmp_path / f"part{number}", {n: tensors[n] for n in part}) / "model.safetensors"
        )
        shard.rename(folder / f"model-{number:05d}-of-00002.safetensors")
        weight_map |= dict.fromkeys(part, f"model-{number:05d}-of-00002.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    weights = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    with hub(org__deep=folder) as server:
        done = bench("plan", "--method", "ties", "--base", "org/deep", "--expert", str(folder), "--json",
                     cwd=tmp_path, HF_HUB_OFFLINE="0", HF_ENDPOINT=server.endpoint,
                     HF_HOME=str(tmp_path / "home"), HF_TOKEN="")  # fmt: skip
    made = json.loads(done.stdout)
    assert (made["mismatches"], len(made["tensors"])) == ([], len(tensors))
    assert (1 << 17) < server.sent("model-00001-of-00002.safetensors") < weights / 2


def test_by_token_reads_the_tokenizers_too(tmp_path: Path) -> None:
    for folder in pair(tmp_path, vocab_size=3):
        (folder / "tokenizer.json").write_text('{"model": {"vocab": {"a": 0, "b": 1, "c": 2}}}')
    with hub(org__base=tmp_path / "base", org__expert=tmp_path / "expert") as server:
        done = bench("plan", "--method", "ties", "--base", "org/base", "--expert", "org/expert", "--json", "--set",
                     "vocab=by_token", cwd=tmp_path, HF_HUB_OFFLINE="0", HF_ENDPOINT=server.endpoint,
                     HF_TOKEN="")  # fmt: skip
    assert any(
        "vocab=by_token: rows are those of org/base" in note for note in json.loads(done.stdout)["notes"]
    )


OPEN_EACH = """
import json, sys
from bench.errors import BadInput
from bench.models.hub import open_headers

for spec in sys.argv[1:]:
    try:
        open_headers(spec)
        print("opened")
    except BadInput as error:
        print(json.dumps(str(error)))
"""


def test_what_the_hub_does_not_have_is_said(tmp_path: Path) -> None:
    faults = {
        "none": "",
        "noconfig": "config.json",
        "noweights": "model.safetensors",
        "short": "",
        "index": "",
    }
    for name, missing in faults.items():
        folder = write_checkpoint(tmp_path / name, {"model.norm.weight": torch.zeros(8)})
        if missing:
            (folder / missing).unlink()
    (tmp_path / "short" / "model.safetensors").write_bytes(b"\xff" * 40)
    (tmp_path / "index" / "model.safetensors.index.json").write_text(
        '{"weight_map": {"w": "../x.safetensors"}}'
    )
    with hub(**{f"org__{name}": tmp_path / name for name in faults}) as server:
        env = environment(HF_HUB_OFFLINE="0", HF_ENDPOINT=server.endpoint, HF_TOKEN="")
        command = [sys.executable, "-c", OPEN_EACH, *(f"org/{name}" for name in (*faults, "nothing"))]
        said = subprocess.run(
            command, env=env, capture_output=True, text=True, check=True
        ).stdout.splitlines()
    assert said[0] == "opened"
    for line, says in zip(
        said[1:],
        (
            "no checkpoint in org/noconfig on the Hub: config.json is missing",
            "no safetensors weights in org/noweights on the Hub",
            "org/short/model.safetensors is not a safetensors file, or is truncated",
            "model.safetensors.index.json points outside its folder: '../x.safetensors'",
            "no folder 'org/nothing' here, and the Hub gave no model of that id",
        ),
        strict=True,
    ):
        assert says in json.loads(line)


def test_a_file_too_large_to_hold_is_refused_and_not_cut(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "large", {"model.norm.weight": torch.zeros(8)})
    size = (folder / "config.json").stat().st_size
    said = []
    with hub(org__large=folder) as server:
        env = environment(HF_HUB_OFFLINE="0", HF_ENDPOINT=server.endpoint, HF_TOKEN="")
        for limit in (size, size - 1):
            script = f"import bench.models.hub as hub\nhub.MAX_FILE = {limit}\n{OPEN_EACH}"
            command = [sys.executable, "-c", script, "org/large"]
            said.append(
                subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout.strip()
            )
    assert said[0] == "opened"
    assert f"org/large/config.json on the Hub has {size:,} bytes, more than the {size - 1:,} that" in said[1]


def test_a_network_that_is_not_there_is_said(tmp_path: Path) -> None:
    _, expert = pair(tmp_path)
    done = bench("plan", "--method", "ties", "--base", "org/base", "--expert", str(expert), cwd=tmp_path, code=2,
                 HF_HUB_OFFLINE="0", HF_ENDPOINT="http://127.0.0.1:9", HF_TOKEN="")  # fmt: skip
    assert "the Hub gave no model of that id (ConnectError" in done.stderr and "Traceback" not in done.stderr
