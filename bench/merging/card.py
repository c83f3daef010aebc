"""The model card of a merged checkpoint: the recipe, the parents, and how to make it again."""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from methods.common.contract import Card

HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


def model_card(manifest: Mapping[str, Any], card: Card, scores: Sequence[Mapping[str, Any]] = ()) -> str:
    """README.md with front matter for the Hub. `scores` are rows of the table `scores` of this checkpoint."""
    reconstructed = f"\nReconstructed: {card.reconstructed}.\n" if card.reconstructed else ""
    rows = "\n".join(f"| `{key}` | `{value}` |" for key, value in manifest["parameters"].items())
    experts = "\n".join(
        f"- expert `{e['name']}` (weight {e['weight']:g}, fingerprint `{e['fingerprint']}`)"
        for e in manifest["experts"]
    )
    data = "".join(
        f"- data `{d['name']}`: {d['examples']} examples (digest `{d['digest']}`)\n"
        for d in manifest.get("data", ())
    )
    notes = "".join(f"- {note}\n" for note in manifest.get("notes", ()))
    return f"""{_front(manifest)}
# {card.title} of {manifest["base"]["name"]}

A merge without training: {card.summary}. Source: {card.source}.
{reconstructed}
- base `{manifest["base"]["name"]}` (fingerprint `{manifest["base"]["fingerprint"]}`)
{experts}
{data}
    {command(manifest)}

| parameter | value |
|---|---|
{rows}

Merge id `{manifest["merge_id"]}`; {manifest["seconds"]:.1f} s, statistics {manifest["statistics_seconds"]:.1f} s,
peak memory {manifest["peak_bytes"] / 1e9:.2f} GB.

{notes}{_scores(scores)}"""


def shareable(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """A manifest without the folders of the machine that merged: of a local parent only the folder's name is kept,
    where it is named and where notes speak of it."""
    named = (manifest["base"], *manifest["experts"], *manifest.get("data", ()))
    shown = {entry["name"]: _shown(entry["name"]) for entry in named}

    def of(entry: Mapping[str, Any]) -> dict[str, Any]:
        return {**entry, "name": shown[entry["name"]]}

    found = {**manifest, "base": of(manifest["base"]), "experts": [of(e) for e in manifest["experts"]]}
    if "data" in manifest:
        found["data"] = [of(entry) for entry in manifest["data"]]
    if "notes" in manifest:
        found["notes"] = [_renamed(note, shown) for note in manifest["notes"]]
    return found


def _renamed(text: str, names: Mapping[str, str]) -> str:
    """`text` with every name replaced that is a word or the beginning of a path there, and no part of another."""
    longest_first = sorted(names, key=len, reverse=True)
    choices = "|".join(re.escape(name) + (r"(?!\.)" if name.endswith(".") else "") for name in longest_first)
    alone = rf"(?<![\w./~-])(?:{choices})(?![\w-]|\.\w)"
    return re.sub(alone, lambda found: names[found.group()], text)


def _shown(name: str) -> str:
    """A Hub id or zoo name as it is; of a folder or file its own name (of a link the link's)."""
    path = Path(name).expanduser()
    local = path.exists() or name.startswith((".", "/", "~"))
    return os.path.basename(os.path.abspath(path)) if local else name


def _front(manifest: Mapping[str, Any]) -> str:
    """Front matter. Only ids of the Hub may stand under base_model there."""
    names = [parent["name"] for parent in (manifest["base"], *manifest["experts"])]
    on_hub = [name for name in names if HUB_ID.fullmatch(name) and not Path(name).is_dir()]
    lines = ["---", "library_name: transformers", "tags: [merge, mergeboard]"]
    lines += ["base_model:", *(f"  - {json.dumps(name)}" for name in on_hub)] if on_hub else []
    return "\n".join([*lines, "---"])


def _scores(scores: Sequence[Mapping[str, Any]]) -> str:
    if not scores:
        return ""
    lines = [
        f"| {s['benchmark']} | {s['split']} | {s['draw']} | {s['metric']} | {_value(s)} | {s['n']} of "
        f"{s['expected_n']} | {s['engine']}, {s['dtype']} |"
        for s in scores
    ]
    head = "| benchmark | split | draw | metric | value ± standard error | n | engine |"
    return "\n## Scores\n\n" + "\n".join([head, "|" + "---|" * 7, *lines]) + "\n"


def _value(score: Mapping[str, Any]) -> str:
    if score["value"] is None:
        return "missing"
    error = "" if score["stderr"] is None else f" ± {score['stderr']:.4f}"
    return f"{score['value']:.4f}{error}"


def command(manifest: Mapping[str, Any]) -> str:
    """The command line that makes this merge again."""
    words = ["bench", "merge", "--method", manifest["method"], "--base", manifest["base"]["name"]]
    for expert in manifest["experts"]:
        words += ["--expert", expert["name"] + ("" if expert["weight"] == 1 else f":{expert['weight']!r}")]
    for key, value in manifest["parameters"].items():
        words += ["--set", f"{key}={value}"]
    for data in manifest.get("data", ()):
        # A suite's own examples are in no file: their name and digest stand in the list above.
        words += ["--data", data["name"] if Path(data["name"]).suffix else "EXAMPLES.jsonl"]
    return shlex.join([*words, "--out", "DIR"])
