"""Evaluate models as they are, without merging: any checkpoint, a merge of ours, or everything stored."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bench.choice import set_of, set_with, specs_of
from bench.config import model_set
from bench.errors import BadInput
from bench.road import Road, RunReport, Say, board_of, opened
from bench.suites import EvalOptions, chosen_suite

if TYPE_CHECKING:
    from bench.checkpoint import Checkpoint
    from bench.evaluate import EvalTarget


def evaluate_models(
    specs: list[str],
    options: EvalOptions,
    *,
    models: str | None,
    rescore: bool,
    runs: Path,
    db: Path,
    say: Say,
) -> RunReport:
    """Evaluate models as they are; with `rescore`, grade stored responses again (of all models if none is named)."""
    from bench.lineage import stored_targets
    from bench.questions import pools

    suite = chosen_suite(options)
    if not specs and not models and not rescore:
        raise BadInput("name what to evaluate: --model FOLDER, --model zoo:NAME, or --models SET")
    named = specs or (specs_of(model_set(models)) if models and not rescore else [])
    checkpoints = [_open(spec) for spec in named]
    asked = pools(suite, options)
    with opened(runs, db, options, say) as road:
        targets = [_identified(road, checkpoint, models) for checkpoint in checkpoints]
        if not named:
            targets = stored_targets(road.store, [b.name for b in suite.benchmarks], models)
            if not targets:
                raise BadInput(f"nothing is stored for {suite.name}: there is nothing to grade again")
        for target in targets:
            road.evaluate(target, asked, options, rescore=rescore)
    sets = {target.model_set for target in targets}
    board = board_of(db, options.suite, split=options.split, model_set=sets.pop() if len(sets) == 1 else None)
    return RunReport(board, road.summary)


def _open(spec: str) -> Checkpoint:
    from bench.checkpoint import Checkpoint, locate

    return Checkpoint(locate(spec), spec)


def _identified(road: Road, model: Checkpoint, models: str | None) -> EvalTarget:
    """Record what a model is (a merge of ours, a member of a configured set, or a stranger) and return it."""
    from bench.identity import fingerprint
    from bench.lineage import base_row, expert_row, merged_row, target
    from bench.writer import read_manifest

    mark = fingerprint(model.path, road.place.fingerprints)
    manifest = read_manifest(model.path)
    if manifest is not None:
        parents = [expert["name"] for expert in manifest["experts"]]
        name = models or set_with(manifest["base"]["name"], parents)
        row = merged_row(model, {**manifest, "fingerprint": mark}, name)
        base, expert = row["base"], row["experts"][0]
    else:
        found = model_set(models) if models else set_of(model.name)
        name = found.name if found else model.path.name
        base = fingerprint(_open(found.base).path, road.place.fingerprints) if found else mark
        others = list(found.experts.items()) if found else []
        expert = fingerprint(_open(others[0][1]).path, road.place.fingerprints) if others else None
        label = next((domain for domain, spec in others if spec == model.name), None)
        row = expert_row(label, model, mark, base, name) if label else base_row(model, mark, name)
    road.record("checkpoints", [row])
    return target(row, base=base, expert=expert)
