"""`bench eval --rescore`: the stored responses of the models named, or of all, graded again without any model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import BadInput, unknown
from bench.programs import allowed, check_programs, decided
from bench.road import Road, RunReport, Say, board_of, check_stored_set, opened
from bench.suites import EvalOptions, chosen_suite

if TYPE_CHECKING:
    from bench.evaluation.target import EvalTarget
    from tasks.contract import Suite

GRADED_BY_LM_EVAL = (
    "graded by lm-eval: the command without --rescore grades what is stored, and asks only what is not"
)
SHORTEST_FINGERPRINT = 6  # characters of a fingerprint that may stand for it


def rescore_models(
    specs: Sequence[str], options: EvalOptions, *, models: str | None, runs: Path, db: Path, say: Say
) -> RunReport:
    """Grade again what is stored of `specs` (folder, Hub id, zoo:NAME, recorded name, fingerprint), or of all.

    A model with nothing stored does not stop the others: the report's `failed` has the reason by its name,
    as for one of which a benchmark could not be read.
    Raises BadInput where nothing at all was graded.
    """
    from bench.evaluation.questions import check_numbers
    from bench.lineage import stored_targets

    suite = chosen_suite(options)
    options = decided(suite, options, specs)
    notes = check_programs(suite, options)
    suite = allowed(suite, options)
    check_numbers(options)
    through = [task.name for task in suite.lm_eval if not task.beside]
    if through and not suite.benchmarks:
        raise BadInput(f"{', '.join(through)}: {GRADED_BY_LM_EVAL}")
    failed: dict[str, str] = {}
    model_sets = set()
    with opened(runs, db, say) as road:
        check_stored_set(road.store, models)
        road.note_all(notes)
        if through:
            road.note(f"{', '.join(through)}: {GRADED_BY_LM_EVAL}")
        road.record_columns(suite)
        stored = stored_targets(road.store, [b.name for b in suite.benchmarks], models)
        if not stored:
            raise BadInput(f"nothing is stored for suite {options.suite}: there is nothing to grade again")
        graded: set[str] = set()
        for title, target in _asked(road, specs, stored, options, failed):
            if _one(road, title, target, suite, options, graded, failed):
                model_sets.add(target.model_set)
        if not model_sets:
            raise BadInput("; ".join(failed.values()))
    alone = model_sets.pop() if len(model_sets) == 1 else None
    board = board_of(
        db, options.suite, split=options.split, model_set=alone, prompt_mode=options.prompt_mode,
        max_new_tokens=options.max_new_tokens,
    )  # fmt: skip
    return RunReport(board, road.summary, failed=failed)


def _asked(
    road: Road,
    specs: Sequence[str],
    stored: Sequence[EvalTarget],
    options: EvalOptions,
    failed: dict[str, str],
) -> Iterator[tuple[str, EvalTarget]]:
    """The models to grade, each with what it was asked as; those that nothing is stored for go into `failed`."""
    if not specs:
        yield from ((target.name, target) for target in stored)
    for spec in dict.fromkeys(specs):
        try:
            yield from ((spec, target) for target in _called(road, spec, stored, options))
        except BadInput as error:
            failed[spec] = str(error)
            road.note(str(error))


def _called(road: Road, spec: str, stored: Sequence[EvalTarget], options: EvalOptions) -> list[EvalTarget]:
    """The stored models that `spec` means: by the weights in its folder where that is here, else by what is
    recorded."""
    from bench.identity import fingerprint

    folder = _folder(spec)
    by_name = [target for target in stored if _is_called(target, spec)]
    if folder is None:
        if by_name:
            return by_name
        known = {str(target.path) for target in stored}
        raise BadInput(
            f"nothing is stored for {spec} on suite {options.suite}: "
            f"{unknown('model with stored responses', spec, known)}"
        )
    mark = fingerprint(folder, road.place.fingerprints)
    if found := [target for target in stored if target.fingerprint == mark]:
        return found
    others = ", ".join(dict.fromkeys(target.fingerprint for target in by_name))
    advice = (
        f"; other weights were evaluated under this name, take them with --model {others}" if others else ""
    )
    raise BadInput(
        f"nothing is stored for {spec} (fingerprint {mark}) on suite {options.suite}: evaluate it first, without "
        f"--rescore{advice}"
    )


def _folder(spec: str) -> Path | None:
    """The folder of a model whose weights are here. Nothing is fetched."""
    from bench.models.checkpoint import local_folder

    try:
        folder = local_folder(spec)
    except BadInput:  # no such folder: the database may know the name
        return None
    return folder if folder is not None and any(folder.glob("*.safetensors")) else None


def _is_called(target: EvalTarget, spec: str) -> bool:
    """Whether a recorded model has this path, name or fingerprint."""
    if len(spec) >= SHORTEST_FINGERPRINT and target.fingerprint.startswith(spec):
        return True
    same_place = Path(spec).expanduser().resolve() == target.path.expanduser().resolve()
    return same_place or spec == target.name


def _one(
    road: Road, title: str, target: EvalTarget, suite: Suite, options: EvalOptions, graded: set[str],
    failed: dict[str, str],
) -> bool:  # fmt: skip
    """Grade and score one model, say what was done and what not; whether anything was.

    `graded` has the fingerprints of models that have new verdicts: one in several sets is graded once.
    """
    from bench.evaluation.rescoring import rescore

    try:
        done = rescore(
            target, suite.benchmarks, options, store=road.store, spool=road.spool, suite=suite.name,
            again=target.fingerprint not in graded,
        )  # fmt: skip
    except BadInput as error:
        failed[title] = str(error)
        road.note(str(error))
        return False
    graded.add(target.fingerprint)
    road.note_all(remark for remark in done.remarks if remark not in road.summary)
    road.note_all(done.sentences)
    road.note_all(f"{done.name}: {note}" for note in (*done.absent, *done.unread))
    if done.unread or not done.stored:
        why = "; ".join(done.unread or done.absent)
        failed[title] = f"graded again but for {why}" if done.stored else why
    return bool(done.stored)
