"""``python -m bench.zoo``: retrain the embedded zoo from its seeds.

``--only FAMILY`` takes one family; ``--out DIR`` writes elsewhere than into ``bench/zoo/models``; ``--quick`` is
a smoke test of a few steps; ``--cards`` trains nothing: it scores the stored models and writes their cards again.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from bench.zoo import clip, glue, l2s, mergebench, skills
from bench.zoo.card import write_card
from bench.zoo.facts import facts
from bench.zoo.training import Recipe, Report, save, train

MODELS = Path(__file__).parent / "models"
RECIPES = {
    recipe.family: recipe
    for recipe in (l2s.RECIPE, skills.RECIPE, glue.RECIPE, mergebench.RECIPE, clip.RECIPE)
}


def progress_report(progress: Progress) -> Report:
    """A training callback that drives one progress bar per stage."""
    tasks: dict[str, TaskID] = {}

    def report(stage: str, done: int, total: int, loss: float) -> None:
        if stage not in tasks:
            tasks[stage] = progress.add_task(stage, total=total, loss=loss)
        progress.update(tasks[stage], completed=done, loss=loss)

    return report


def train_family(recipe: Recipe, out: Path, report: Report) -> dict[str, float]:
    """Train and store every model of a family; returns the seconds of training by model."""
    tokenizer, seconds = recipe.tokenizer(), {}
    base = out / recipe.base.name
    for stage in recipe.stages:
        fresh = stage is recipe.base
        model = recipe.new_model(tokenizer, stage.seed) if fresh else recipe.begin(base, stage)
        folder = out / stage.name
        seconds[stage.name] = train(model, tokenizer, recipe, stage, folder / "train_log.jsonl", report)
        (recipe.save or save)(model, tokenizer, folder)
    return seconds


def main(out: Path = MODELS, *, only: str | None = None, quick: bool = False) -> None:
    """Train the chosen families (default: all) into ``out`` and write the cards of what was stored."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total} loss {task.fields[loss]:.4f}"),
        TimeRemainingColumn(),
    )
    for family in [only] if only else list(RECIPES):
        recipe = RECIPES[family].quick() if quick else RECIPES[family]
        torch.set_num_threads(recipe.threads)
        with Progress(*columns) as progress:
            seconds = train_family(recipe, out, progress_report(progress))
            for stage in recipe.stages:
                card = facts(out / stage.name, recipe, stage, seconds[stage.name], 2 if quick else None)
                write_card(out / stage.name, card)
                progress.console.print_json(data={stage.name: card["test_scores"]})


def rewrite_cards(out: Path = MODELS, *, only: str | None = None) -> None:
    """Score the stored models and write their cards again; the training time stays that of the old card."""
    for family in [only] if only else list(RECIPES):
        recipe = RECIPES[family]
        for stage in recipe.stages:
            folder = out / stage.name
            write_card(folder, facts(folder, recipe, stage, _stored_card(folder)["training"]["seconds"]))


def _stored_card(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "card.json").read_text(encoding="utf-8")))


def _parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Command-line options."""
    parser = argparse.ArgumentParser(prog="python -m bench.zoo", description="Retrain the embedded zoo.")
    parser.add_argument("--out", type=Path, default=MODELS, help="where to write the models")
    parser.add_argument("--only", choices=list(RECIPES), help="one family instead of all")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--quick", action="store_true", help="smoke test: a few tiny steps")
    how.add_argument("--cards", action="store_true", help="train nothing, write the cards of what is there")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    options = _parse()
    if options.cards:
        rewrite_cards(options.out, only=options.only)
    else:
        main(options.out, only=options.only, quick=options.quick)
