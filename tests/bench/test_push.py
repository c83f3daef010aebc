"""Publishing on a Hub of our own: what arrives there, what is refused before anything is done, no token in sight."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import load

from bench.errors import BadInput
from bench.merging.card import model_card, shareable
from bench.merging.push import check_push
from bench.recipe import method_class
from results.spool import Spool
from results.store import Store
from tests.bench.command import bench
from tests.helpers.checkpoints import pair, tensors_of
from tests.helpers.hub import Hub, hub

TOKEN = "hf_thisIsTheSecretOfThisTest"


def _words(method: str = "task_arithmetic") -> tuple[str, ...]:
    return ("merge", "--method", method, "--base", "base", "--expert", "./expert", "--out", "out",
            "--push-to-hub", "me/merged")  # fmt: skip


def _environment(server: Hub, folder: Path, token: str = TOKEN) -> dict[str, str]:
    return {"HF_ENDPOINT": server.endpoint, "HF_HOME": str(folder / "home"), "HF_TOKEN": token,
            "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1"}  # fmt: skip


def test_a_push_brings_everything_that_belongs_to_the_model(tmp_path: Path) -> None:
    pair(tmp_path)
    (tmp_path / "base" / "tokenizer.json").write_text("{}")
    with hub() as server:
        server.token = TOKEN
        done = bench(*_words(), "--private", "--json", cwd=tmp_path, **_environment(server, tmp_path))
    said = json.loads(done.stdout)
    assert said["pushed"] == f"{server.endpoint}/me/merged"
    assert server.created["me/merged"]["visibility"] == "private"
    on_disk = {file.name for file in (tmp_path / "out").iterdir()}
    assert set(server.files) == on_disk and {"config.json", "tokenizer.json", "mergeboard.json"} <= on_disk
    for name, values in load(server.files["model.safetensors"]).items():
        assert torch.equal(values, tensors_of(tmp_path / "out")[name])
    assert server.files["config.json"] == (tmp_path / "out" / "config.json").read_bytes()
    card = server.files["README.md"].decode()
    assert card.startswith("---\nlibrary_name: transformers\ntags: [merge, mergeboard]\n---\n")
    assert "bench merge --method task_arithmetic --base base --expert expert" in card
    everything = b"".join(server.files.values()) + done.stdout.encode() + done.stderr.encode()
    assert TOKEN.encode() not in everything
    assert str(tmp_path).encode() not in b"".join(server.files.values())


def test_pushing_again_reuses_the_merge_and_adds_scores(tmp_path: Path) -> None:
    """Scores of the test split, of this checkpoint only; a missing value is missing, not 0."""
    pair(tmp_path)
    made = json.loads(bench(*_words()[:-2], "--json", cwd=tmp_path).stdout)
    score = {
        "checkpoint": made["fingerprint"], "model_set": "m", "base": "b", "suite": "s", "domain": "d",
        "benchmark": "sums", "benchmark_version": "1", "split": "test", "draw": "greedy", "metric": "accuracy",
        "value": 0.625, "stderr": 0.05, "n": 80, "expected_n": 100, "document_set": "x", "grader": "g@1",
        "prompt_mode": "p", "engine": "hf", "dtype": "float32",
    }  # fmt: skip
    runs = tmp_path / "runs"
    with Spool(runs / "spool", "r1") as spool:
        spool.append_many("scores", [score, {**score, "metric": "length_mean", "value": None, "stderr": None},
                                     {**score, "split": "validation", "metric": "hidden_one"},
                                     {**score, "checkpoint": "other", "metric": "hidden_two"}])  # fmt: skip
    Store(runs / "leaderboard.duckdb").ingest(runs / "spool")
    with hub() as server:
        server.token = TOKEN
        done = bench(*_words(), cwd=tmp_path, **_environment(server, tmp_path))
    assert "Already there" in done.stdout and f"Pushed to {server.endpoint}/me/merged" in done.stdout
    card = server.files["README.md"].decode()
    assert "| sums | test | greedy | accuracy | 0.6250 ± 0.0500 | 80 of 100 | hf, float32 |" in card
    assert "| sums | test | greedy | length_mean | missing | 80 of 100 | hf, float32 |" in card
    assert "hidden" not in card


def test_the_card_says_when_a_method_is_reconstructed_and_names_hub_parents(tmp_path: Path) -> None:
    pair(tmp_path)
    made = json.loads(bench("merge", "--method", "fim_ties", "--base", "base", "--expert", "expert", "--set",
                            "length=8", "--out", "out", "--json", cwd=tmp_path).stdout)  # fmt: skip
    made["base"]["name"] = "org/base"
    card = method_class("fim_ties").card
    assert card.reconstructed
    text = model_card(made, card)
    assert f"Reconstructed: {card.reconstructed}." in text
    assert text.startswith(
        '---\nlibrary_name: transformers\ntags: [merge, mergeboard]\nbase_model:\n  - "org/base"\n---'
    )
    local = {
        **made,
        "base": {**made["base"], "name": "/home/me/models/base"},
        "notes": ["/home/me/models/base tied"],
    }
    assert shareable(local)["base"]["name"] == "base" and shareable(local)["notes"] == ["base tied"]


def test_models_may_be_named_from_where_one_stands(tmp_path: Path) -> None:
    """`--base .`: the card and the manifest name the folder, and nothing else that has a dot in it."""
    base, _ = pair(tmp_path)
    words = ("merge", "--method", "task_arithmetic", "--base", ".", "--expert", "../expert/", "--out",
             "../out")  # fmt: skip
    with hub() as server:
        server.token = TOKEN
        bench(*words, "--push-to-hub", "me/merged", cwd=base, **_environment(server, tmp_path))
    manifest = json.loads(server.files["mergeboard.json"])
    assert (manifest["base"]["name"], manifest["experts"][0]["name"]) == ("base", "expert")
    local = json.loads((tmp_path / "out" / "mergeboard.json").read_text())
    assert local["base"]["name"] == "." and manifest["layers"] == local["layers"]
    assert "--base base --expert expert" in server.files["README.md"].decode()


def test_what_cannot_be_pushed_is_refused_before_the_merge(tmp_path: Path) -> None:
    pair(tmp_path)
    with hub() as server:
        done = bench(*_words(), cwd=tmp_path, code=2, **_environment(server, tmp_path, token=""))
        assert not server.requests
    assert "--push-to-hub needs a token that may write" in done.stderr and not (tmp_path / "out").exists()
    for repo in ("not a repo", "a/b/c", "../x"):
        with pytest.raises(BadInput, match=re.escape(f"{repo!r} is no repository id")):
            check_push(repo)


def test_offline_is_refused_before_the_merge() -> None:
    """The suite itself runs with HF_HUB_OFFLINE=1."""
    with pytest.raises(BadInput, match="HF_HUB_OFFLINE is set"):
        check_push("me/merged")


def test_a_token_that_the_hub_does_not_know(tmp_path: Path) -> None:
    pair(tmp_path)
    with hub() as server:
        server.token = "hf_another"
        done = bench(*_words(), cwd=tmp_path, code=2, **_environment(server, tmp_path))
    assert "the Hub refused me/merged (401): the token is not valid" in done.stderr
    assert TOKEN not in done.stderr + done.stdout and "Traceback" not in done.stderr
    assert (tmp_path / "out" / "config.json").exists(), "the merge is kept"


def test_a_hub_that_is_not_there(tmp_path: Path) -> None:
    pair(tmp_path)
    with hub() as server:
        gone = _environment(server, tmp_path)
    done = bench(*_words(), cwd=tmp_path, code=2, **gone)
    assert re.search(r"the Hub could not be reached \(\w+\)\. The merge is kept", done.stderr)
    assert TOKEN not in done.stderr and "Traceback" not in done.stderr
