"""The model card of a merged checkpoint: the recipe, the parents, and how to make it again."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Any

from methods.common.contract import Card


def model_card(manifest: Mapping[str, Any], card: Card) -> str:
    """README.md with front matter for the Hub."""
    parents = [manifest["base"], *manifest["experts"]]
    front = ["---", "library_name: transformers", "tags: [merge, mergeboard]", "base_model:"]
    front += [f"  - {json.dumps(parent['name'])}" for parent in parents]
    reconstructed = f"\nReconstructed: {card.reconstructed}.\n" if card.reconstructed else ""
    rows = "\n".join(f"| `{key}` | `{value}` |" for key, value in manifest["parameters"].items())
    experts = "\n".join(
        f"- expert `{e['name']}` (weight {e['weight']:g}, fingerprint `{e['fingerprint']}`)"
        for e in manifest["experts"]
    )
    return (
        "\n".join(front)
        + f"""
---
# {card.title} of {manifest["base"]["name"]}

A merge without training: {card.summary}. Source: {card.source}.
{reconstructed}
- base `{manifest["base"]["name"]}` (fingerprint `{manifest["base"]["fingerprint"]}`)
{experts}

    {command(manifest)}

| parameter | value |
|---|---|
{rows}

Merge id `{manifest["merge_id"]}`; {manifest["seconds"]:.1f} s, statistics {manifest["statistics_seconds"]:.1f} s,
peak memory {manifest["peak_bytes"] / 1e9:.2f} GB.
"""
    )


def command(manifest: Mapping[str, Any]) -> str:
    """The command line that makes this merge again."""
    words = ["bench", "merge", "--method", manifest["method"], "--base", manifest["base"]["name"]]
    for expert in manifest["experts"]:
        words += ["--expert", expert["name"] + ("" if expert["weight"] == 1 else f":{expert['weight']:g}")]
    for key, value in manifest["parameters"].items():
        words += ["--set", f"{key}={value}"]
    return shlex.join([*words, "--out", "DIR"])
