"""What the card of a zoo model states: measured scores, training facts and checksums, as plain data.

The scores come down the road that every model takes: engine, grader and statistics of `bench eval`.
"""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from safetensors import safe_open
from transformers import AutoConfig, PretrainedConfig

from bench.evaluation.evaluate import evaluate
from bench.evaluation.experts import Expert
from bench.evaluation.questions import Pool, pools
from bench.evaluation.target import EvalTarget
from bench.identity import fingerprint
from bench.suites import EvalOptions, chosen_suite
from bench.zoo.training import Recipe, Stage
from results.spool import Spool
from results.store import Store

# float32 on every machine: what the stored weights are on a processor.
DTYPE = "float32"
LENGTH = "mean_response_tokens"  # key of an entry; labels have none
Table = dict[str, list[dict[str, Any]]]
"""By benchmark: one entry per draw."""


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def parameters(weights: Path) -> int:
    """Number of stored parameters; tied embeddings are stored once."""
    with safe_open(weights, framework="pt") as file:
        return sum(math.prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118


def scores(folder: Path, recipe: Recipe, limit: int | None = None) -> Table:
    """Scores of the stored model on the test split, by benchmark and draw: what `bench eval` stores.

    A body chooses labels under the head of each benchmark's expert, a vision tower under that of the base's texts;
    both lie beside it.
    """
    options = EvalOptions(suite=recipe.suite, limit=limit, dtype=DTYPE, run_code=True)
    asked = pools(chosen_suite(options), options)
    with TemporaryDirectory() as scratch:
        cache = Path(scratch) / "fingerprints.json"
        mark = fingerprint(folder, cache)
        siblings = {
            stage.name.removeprefix(f"{recipe.family}-"): folder.with_name(stage.name)
            for stage in recipe.experts
        }
        experts = {domain: Expert(fingerprint(path, cache), str(path)) for domain, path in siblings.items()}
        base = folder.with_name(recipe.base.name)
        target = EvalTarget(
            path=folder, fingerprint=mark, name=folder.name, model_set=recipe.family, experts=experts,
            base=fingerprint(base, cache), base_name=str(base),
        )  # fmt: skip
        store = Store(Path(scratch) / "card.duckdb")
        with Spool(store.spool_dir, "card") as spool:
            evaluate(target, asked, options, store=store, spool=spool, progress=False)
        found: dict[tuple[str, str], dict[str, Mapping[str, Any]]] = defaultdict(dict)
        for row in store.fetch("scores", [mark]):
            if row["first_grader"] is not False:  # None: a metric without a grader
                found[row["benchmark"], row["draw"]][row["metric"]] = row
    table: Table = defaultdict(list)
    for pool in asked:
        table[pool.benchmark.name].append(_entry(pool, found[pool.benchmark.name, pool.draw.name]))
    return dict(table)


def _entry(pool: Pool, metrics: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """One draw of one benchmark in the score table."""

    def estimate(metric: str) -> dict[str, Any]:
        value, error = metrics[metric]["value"], metrics[metric]["stderr"]
        return {"value": round(value, 6), "standard_error": None if error is None else round(error, 6)}

    return {
        "draw": pool.draw.name,
        "temperature": pool.draw.sampling.temperature,
        "n": metrics["accuracy"]["n"],
        "samples": pool.draw.n,
        "accuracy": estimate("accuracy"),
        **({LENGTH: estimate("length_mean")} if "length_mean" in metrics else {}),
        **{f"maj@{n}": estimate(f"maj@{n}") for n in pool.draw.votes},
    }


def facts(
    folder: Path, recipe: Recipe, stage: Stage, seconds: float, limit: int | None = None
) -> dict[str, Any]:
    """Everything the card of a stored model states, as plain data. Scores the model; `limit` is for tests."""
    weights = folder / "model.safetensors"
    command = "python -m bench.zoo" + ("" if recipe.family == "l2s" else f" --only {recipe.family}")
    return {
        "name": stage.name,
        "purpose": stage.purpose,
        "fine_tuned_from": None if stage is recipe.base else recipe.base.name,
        "usage": recipe.usage,
        "architecture": _architecture(folder),
        "training": {
            **{key: value for key, value in asdict(stage).items() if key not in ("purpose", "notes")},
            "data": recipe.data,
            "examples": stage.steps * stage.batch,
            "seconds": round(seconds),
            "machine": "2 CPU cores",
            "threads": recipe.threads,
            "command": command,
        },
        "notes": list(stage.notes),
        "suite": recipe.suite,
        "test_scores": scores(folder, recipe, limit=limit),
        "files": {weights.name: {"sha256": sha256(weights)}},
    }


def _architecture(folder: Path) -> dict[str, Any]:
    """Shape and size of the stored model; of one with two towers those of the vision tower."""
    whole = AutoConfig.from_pretrained(folder)
    config = getattr(whole, "vision_config", whole)
    return {
        "type": whole.architectures[0],
        "parameters": parameters(folder / "model.safetensors"),
        "layers": config.num_hidden_layers,
        "hidden_size": config.hidden_size,
        "intermediate_size": getattr(config, "intermediate_size", 4 * config.hidden_size),
        "attention_heads": config.num_attention_heads,
        "tied_embeddings": getattr(config, "tie_word_embeddings", False),
        "dtype": "bfloat16",
        **({"labels": list(whole.id2label.values())} if _chooses(whole) else {}),
        **({"image_size": config.image_size, "patch_size": config.patch_size} if _sees(config) else {}),
    }


def _sees(config: PretrainedConfig) -> bool:
    """Whether the stored model is, or has, a vision tower."""
    return hasattr(config, "patch_size")


def _chooses(config: PretrainedConfig) -> bool:
    """Whether the stored model has a task head; every config names two labels, asked or not."""
    return str(config.architectures[0]).endswith("ForSequenceClassification")
