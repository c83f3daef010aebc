"""``python -m bench.zoo``: retrain the embedded zoo from its seeds.

``--out DIR`` writes elsewhere than into ``bench/zoo/models``; ``--quick`` is a smoke test of a few steps;
``--cards`` trains nothing: it scores the stored models and writes their cards again.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from transformers import PreTrainedTokenizerBase, Qwen2ForCausalLM

from bench.zoo.card import facts, write_card
from bench.zoo.l2s import Recipe, Report, Stage, new_model, save, train
from bench.zoo.tokenizer import build_tokenizer

MODELS = Path(__file__).parent / "models"


def progress_report(progress: Progress) -> Report:
    """A training callback that drives one progress bar per stage."""
    tasks: dict[str, TaskID] = {}

    def report(stage: str, done: int, total: int, loss: float) -> None:
        if stage not in tasks:
            tasks[stage] = progress.add_task(stage, total=total, loss=loss)
        progress.update(tasks[stage], completed=done, loss=loss)

    return report


def build_stage(
    model: Qwen2ForCausalLM,
    tokenizer: PreTrainedTokenizerBase,
    recipe: Recipe,
    stage: Stage,
    out: Path,
    report: Report,
    limit: int | None,
) -> Qwen2ForCausalLM:
    """Train one stage, store the model and its card; returns the model as stored."""
    folder = out / stage.name
    seconds = train(model, tokenizer, recipe, stage, folder / "train_log.jsonl", report)
    stored = save(model, tokenizer, folder)
    write_card(folder, facts(folder, recipe, stage, seconds, limit))
    return stored


def main(out: Path = MODELS, *, quick: bool = False) -> None:
    """Train the base, then the expert from the stored base, into ``out``."""
    recipe = Recipe().quick() if quick else Recipe()
    torch.set_num_threads(recipe.threads)
    tokenizer = build_tokenizer()
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total} loss {task.fields[loss]:.4f}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns) as progress:
        report = progress_report(progress)
        model = new_model(recipe, tokenizer)
        for stage in (recipe.base, recipe.expert):
            model = build_stage(model, tokenizer, recipe, stage, out, report, 2 if quick else None)
            progress.console.print_json(data={stage.name: _stored_card(out / stage.name)["test_scores"]})


def rewrite_cards(out: Path = MODELS) -> None:
    """Score the stored models and write their cards again; the training time stays that of the old card."""
    recipe = Recipe()
    for stage in (recipe.base, recipe.expert):
        folder = out / stage.name
        write_card(folder, facts(folder, recipe, stage, _stored_card(folder)["training"]["seconds"]))


def _stored_card(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "card.json").read_text(encoding="utf-8")))


def _parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Command-line options."""
    parser = argparse.ArgumentParser(prog="python -m bench.zoo", description="Retrain the embedded zoo.")
    parser.add_argument("--out", type=Path, default=MODELS, help="where to write the models")
    only = parser.add_mutually_exclusive_group()
    only.add_argument("--quick", action="store_true", help="smoke test: a few tiny steps")
    only.add_argument("--cards", action="store_true", help="train nothing, write the cards of what is there")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    options = _parse()
    if options.cards:
        rewrite_cards(options.out)
    else:
        main(options.out, quick=options.quick)
