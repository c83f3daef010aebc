"""What a card gives away and what it is good for: no local folders, and a command that makes the same merge."""

from __future__ import annotations

import copy
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

from bench.cli import app
from bench.merging.card import command, shareable
from bench.recipe import build_method, parse_expert, parse_settings


def _manifest(base: str, *experts: str, notes: tuple[str, ...] = (), **more: Any) -> dict[str, Any]:
    return {
        "method": "task_arithmetic",
        "base": {"name": base, "fingerprint": "f"},
        "experts": [{"name": name, "weight": 1.0, "fingerprint": "f"} for name in experts],
        "notes": list(notes),
        "seconds": 1.5,
        **more,
    }


def _names(manifest: dict[str, Any]) -> list[str]:
    return [model["name"] for model in (manifest["base"], *manifest["experts"])]


@pytest.mark.parametrize(
    ("given", "shown", "note", "said"),
    [
        (
            (".", "./expert"),
            ["here", "expert"],
            "config x: 0.5 in the base, 1.5 in ./expert; 4 tensors stay with .: a.b, c, ... (. tied)",
            "config x: 0.5 in the base, 1.5 in expert; 4 tensors stay with here: a.b, c, ... (here tied)",
        ),
        (("..", "../e"), ["above", "e"], "a, b, ... of ..; ../e tied", "a, b, ... of above; e tied"),
        (
            ("models/", "models/expert", "models"),
            ["models", "expert", "models"],
            "models/ tied, models/expert untied, models tied.",
            "models tied, expert untied, models tied.",
        ),
        (
            ("/x/base", "/x/base-long", "/x/base.v2"),
            ["base", "base-long", "base.v2"],
            "rows differ (/x/base 4, /x/base-long 5, /x/base.v2 6), of /x/base.",
            "rows differ (base 4, base-long 5, base.v2 6), of base.",
        ),
        (
            ("./base", "org/base", "zoo:base"),
            ["base", "org/base", "zoo:base"],
            "./base, org/base, zoo:base, x./base, ./base/model.safetensors",
            "base, org/base, zoo:base, x./base, base/model.safetensors",
        ),
    ],
)
def test_only_names_are_shortened_and_every_one_of_them(
    given: tuple[str, ...], shown: list[str], note: str, said: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    here = tmp_path / "above" / "here"
    (here / "models" / "expert").mkdir(parents=True)
    monkeypatch.chdir(here)
    manifest = _manifest(*given, notes=(note, "it's fine."))
    before = copy.deepcopy(manifest)
    found = shareable(manifest)
    assert _names(found) == shown
    assert found["notes"] == [said, "it's fine."]
    assert manifest == before
    assert {**found, "base": 0, "experts": 0, "notes": 0} == {**manifest, "base": 0, "experts": 0, "notes": 0}


def test_the_command_says_everything_that_decides_the_merge() -> None:
    """Read back by the command line itself: weights to the last bit, parameters, and the data in their order."""
    weights = [0.1 + 0.2, 1 / 3, 1.0, 1e-7]
    names = ["a", "org/b", "zoo:c", "my models/d"]
    method = build_method("task_arithmetic", {"lambda": 0.1 + 0.2, "embeddings": "base"})
    manifest = _manifest("the base", *names, data=[{"name": "x y.jsonl"}, {"name": "z.jsonl"}])
    manifest["parameters"] = method.model_dump(by_alias=True)
    for expert, weight in zip(manifest["experts"], weights, strict=True):
        expert["weight"] = weight
    program, name, *words = shlex.split(command(manifest))
    assert (program, name) == ("bench", "merge")
    group: Any = typer.main.get_command(app)
    given = group.commands[name].make_context(name, words).params
    assert (given["method"], given["base"]) == ("task_arithmetic", "the base")
    assert [parse_expert(text) for text in given["expert"]] == list(zip(names, weights, strict=True))
    assert build_method("task_arithmetic", parse_settings(given["set_"])) == method
    assert [str(file) for file in given["data"]] == ["x y.jsonl", "z.jsonl"]
    assert "--data EXAMPLES.jsonl" in command({**manifest, "data": [{"name": "mini_gsm train"}]}), "no file"
    assert "--data" not in command({**manifest, "data": []})
