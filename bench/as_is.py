"""Evaluate models as they are, without merging: any checkpoint, a merge of ours, or everything stored."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bench.asked import asked_suite
from bench.choice import recorded_name, set_of, set_with, short, specs_of
from bench.config import ModelSet, model_set
from bench.engines.served import check_one_model
from bench.errors import BadInput
from bench.programs import check_programs, decided
from bench.road import Road, RunReport, Say, board_of, opened
from bench.suites import EvalOptions, chosen_suite

if TYPE_CHECKING:
    from bench.evaluation.target import EvalTarget
    from bench.models.checkpoint import Checkpoint
    from tasks.contract import Suite


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
    if rescore:
        from bench.rescore import rescore_models

        return rescore_models(specs, options, models=models, runs=runs, db=db, say=say)
    suite = chosen_suite(options)
    if not specs and not models:
        raise BadInput("name what to evaluate: --model FOLDER, --model zoo:NAME, or --models SET")
    found = model_set(models) if models else None
    named = specs or (specs_of(found) if found else [])
    options = decided(suite, options, named)
    notes = check_programs(suite, options)
    check_one_model(options.engine, len(named))
    checkpoints = [open_model(spec) for spec in named]
    asked = asked_suite(suite, options, [checkpoint.path for checkpoint in checkpoints])
    with opened(runs, db, say) as road:
        road.note_all([*notes, *asked.remarks])
        road.record_columns(suite)
        targets = [identified(road, checkpoint, found) for checkpoint in checkpoints]
        _check_heads(road, targets, suite)
        for target in targets:
            road.evaluate(target, asked, options)
    sets = {target.model_set for target in targets}
    board = board_of(
        db, options.suite, split=options.split, model_set=sets.pop() if len(sets) == 1 else None,
        prompt_mode=options.prompt_mode, max_new_tokens=options.max_new_tokens,
    )  # fmt: skip
    return RunReport(board, road.summary)


def open_model(spec: str) -> Checkpoint:
    """A model by folder, Hub id or zoo:NAME. Raises BadInput where there is none, or no tokenizer: its own or, for a
    member of a configured set, its base's."""
    from bench.models.checkpoint import Checkpoint, locate
    from bench.models.clip import as_tower
    from bench.models.loading import has_tokenizer, require_reader

    model = as_tower(Checkpoint(locate(spec), spec))
    members = None if has_tokenizer(model.path) else set_of(spec)
    require_reader(model, Checkpoint(locate(members.base)) if members else None)
    return model


def identified(road: Road, model: Checkpoint, asked: ModelSet | None) -> EvalTarget:
    """Record what a model is (a merge of ours, a member of a configured set, or a stranger) and return it."""
    from bench.evaluation.experts import Expert
    from bench.identity import fingerprint
    from bench.lineage import merged_row, target
    from bench.merging.writer import read_manifest

    mark = fingerprint(model.path, road.place.fingerprints)
    manifest = read_manifest(model.path)
    if manifest is None:
        return _unmerged(road, model, mark, asked)
    if manifest["fingerprint"] != mark:
        raise BadInput(
            f"{model.name} was changed after it was merged: remove its manifest to evaluate it as it is"
        )
    base, experts = manifest["base"], manifest["experts"]
    parents = set_with(base["name"], [expert["name"] for expert in experts])
    marks = [base["fingerprint"], *(expert["fingerprint"] for expert in experts)]
    name = recorded_name(parents, marks)
    if asked is not None and asked.name != name:
        raise BadInput(
            f"{model.name} is a merge of {name}, not of the model set {asked.name}: leave out --models"
        )
    row = merged_row(model, manifest, name)
    road.record("checkpoints", [row])
    known = [Expert(expert["fingerprint"], expert["name"]) for expert in experts]
    by_domain = dict(zip(parents.experts, known, strict=True))
    return target(row, base=marks[0], experts=by_domain, base_name=base["name"])


def _unmerged(road: Road, model: Checkpoint, mark: str, asked: ModelSet | None) -> EvalTarget:
    """A base or expert of a configured set; a stranger is the base of a set of its own."""
    from bench.evaluation.experts import Expert
    from bench.identity import fingerprint
    from bench.lineage import base_row, expert_row, target

    found = asked or set_of(model.name)
    if found is None:
        row = base_row(model, mark, f"{short(model.name)}@{mark[:6]}")
        road.record("checkpoints", [row])
        return target(row, base=mark, experts={}, base_name=model.name)
    if model.name not in specs_of(found):
        members = ", ".join(specs_of(found))
        raise BadInput(f"{model.name} is not in the model set {found.name} ({members}): leave out --models")
    base, *marks = [fingerprint(open_model(spec).path, road.place.fingerprints) for spec in specs_of(found)]
    label = next((domain for domain, spec in found.experts.items() if spec == model.name), None)
    row = expert_row(label, model, mark, base, found.name) if label else base_row(model, mark, found.name)
    road.record("checkpoints", [row])
    experts = map(Expert, marks, found.experts.values())
    by_domain = dict(zip(found.experts, experts, strict=True))
    return target(row, base=base, experts=by_domain, base_name=found.base)


def _check_heads(road: Road, targets: list[EvalTarget], suite: Suite) -> None:
    """Refuse labels that a head cannot give, and a head that is not the one that the records mean."""
    from bench.evaluation.experts import check_head
    from bench.identity import fingerprint
    from bench.models.checkpoint import Checkpoint

    for target in targets:
        for benchmark in suite.benchmarks:
            head = target.head(benchmark)
            if head is None:
                continue
            check_head(benchmark, Checkpoint(head.path, head.name))
            if fingerprint(head.path, road.place.fingerprints) != head.fingerprint:
                raise BadInput(
                    f"{head.name} was changed since {target.name} was merged: its task head is another one"
                )
