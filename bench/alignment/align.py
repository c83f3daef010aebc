"""Line up base and experts tensor by tensor: what is merged, what is copied, and everything that does not match."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from typing import Any

from bench.alignment.heads import Heads, choose_heads
from bench.alignment.matching import (
    VOCABULARY,
    Matched,
    config_notes,
    match,
    own_problems,
    rows_of,
    tensor_problems,
    unusable,
)
from bench.alignment.rows import RowMap, Source
from bench.alignment.vocabulary import Vocabulary, choose_rows, files_model
from bench.errors import BadInput
from bench.models.context import context_notes, context_problems, saved_context
from bench.models.roles import Architecture, architecture, block_of
from bench.models.stored import DTYPE_BYTES, Stored
from bench.recipe import Recipe
from methods.common.contract import Method, Need, Role, TensorInfo

DTYPES = {"float32": "F32", "bfloat16": "BF16", "float16": "F16"}
SHOWN = 8


@dataclass(frozen=True)
class Target:
    """One tensor of the result. `sources` says where it lies in the base and in each expert.

    `action` is "merge" (the method decides), "mean" (of the experts), "base", or "expert:<i>" (copied).
    """

    info: TensorInfo
    action: str
    dtype: str
    sources: tuple[Source, ...]

    @property
    def nbytes(self) -> int:
        """Bytes in the result."""
        return prod(self.info.shape) * DTYPE_BYTES[self.dtype]


@dataclass(frozen=True)
class Alignment:
    """Every tensor of the result, in the base's file order, and what a reader should know about the match.

    `config` holds what the saved config must say, whatever the model says that it is copied from. `problems`
    are the mismatches that forbid the merge; `skipped` counts tensors that on_mismatch=skip leaves alone.
    """

    targets: tuple[Target, ...]
    tied: bool
    notes: tuple[str, ...]
    config: Mapping[str, Any] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    skipped: int = 0

    @cached_property
    def actions(self) -> Counter[str]:
        """How many tensors get each action."""
        return Counter(target.action for target in self.targets)

    @property
    def nbytes(self) -> int:
        """Bytes of the result's tensors."""
        return sum(target.nbytes for target in self.targets)


def align(recipe: Recipe) -> Alignment:
    """Match all tensors by name, role and shape; every mismatch is collected into one BadInput."""
    found = examine(recipe)
    if found.problems:
        more = f" and {len(found.problems) - SHOWN} more" if len(found.problems) > SHOWN else ""
        listed = "\n  ".join(found.problems[:SHOWN])
        raise BadInput(f"base and experts do not match:\n  {listed}{more}")
    return found


def examine(recipe: Recipe) -> Alignment:
    """The same with its problems listed instead of raised: for a plan, which shows them beside the rest."""
    models, method = (recipe.base, *recipe.experts), recipe.method
    arch = architecture(recipe.base.model_type)
    if problems := unusable(models, arch):
        return Alignment((), recipe.base.tied, (), problems=tuple(problems))
    heads = choose_heads(models, method, arch)
    matched = match(models, heads, arch)
    rows = choose_rows(models, [rows_of(matched, m) for m in range(len(models))], method)
    mismatched = tensor_problems(models, matched, heads)
    kept = _kept(mismatched, matched)
    targets = tuple(
        _target(name, order, matched, recipe, arch, None if name in kept else rows, keep=name in kept)
        for order, name in enumerate(matched.base)
    )
    config, saved = _saved_config(recipe, heads, targets)
    skip = method.on_mismatch == "skip"
    problems = [*context_problems(models, recipe.context), *own_problems(models, matched, heads)]
    problems += rows.problems if rows else ()
    problems += [] if skip else [text for texts in mismatched.values() for text in texts]
    problems += _statistic_problems(recipe, targets)
    notes = [*config_notes(models), *heads.notes, *matched.notes, *(rows.notes if rows else ()), *saved]
    notes += [*context_notes(models, recipe.context), *_treatment_notes(method, targets)]
    notes += [_skip_note(mismatched)] if skip and mismatched else []
    skipped = len(mismatched) if skip else 0
    return Alignment(targets, heads.result == "tied", tuple(notes), config, tuple(problems), skipped)


def _kept(mismatched: Mapping[str, Sequence[str]], matched: Matched) -> set[str]:
    """Tensors that stay the base's because an expert's do not fit; embedding and head keep their rows together."""
    vocabulary = {name for name, role in matched.roles.items() if role in VOCABULARY}
    return set(mismatched) | (vocabulary if vocabulary & set(mismatched) else set())


def _target(
    name: str,
    order: int,
    matched: Matched,
    recipe: Recipe,
    arch: Architecture,
    rows: Vocabulary | None,
    *,
    keep: bool,
) -> Target:
    """One tensor of the result; `keep` leaves it the base's whatever its role."""
    stored, role = matched.found[0][name], matched.roles[name]
    by_row = rows is not None and role in VOCABULARY and not keep
    shape = (rows.rows, *stored.shape[1:]) if by_row and rows else stored.shape
    axis = arch.input_axis if role is Role.LINEAR else 1  # Conv1D is a matter of blocks: heads are nn.Linear
    info = TensorInfo(name, shape, role, block_of(name, arch), order, axis)
    sources = tuple(
        _source(found.get(name), rows.runs[m] if by_row and rows else None)
        for m, found in enumerate(matched.found)
    )
    lonely = all(source.name is None for source in sources[1:])
    action = "base" if keep or lonely else _action(info, recipe.method)
    as_base = role is Role.BUFFER or recipe.method.out_dtype == "base"
    return Target(info, action, stored.dtype if as_base else DTYPES[recipe.method.out_dtype], sources)


def _source(stored: Stored | None, runs: tuple[tuple[int, int, int], ...] | None) -> Source:
    if stored is None:
        return Source(None)
    return Source(stored.name, None if runs is None else RowMap(prod(stored.shape[1:]), runs))


def _action(info: TensorInfo, method: Method) -> str:
    """What happens to a tensor of this role."""
    role = info.role
    if role in (Role.BUFFER, Role.TASK_HEAD) or method.leaves(role, info.block):
        return "base"
    if role in (Role.EMBED, Role.POS_EMBED, Role.LM_HEAD):
        return method.embeddings
    if role in (Role.NORM, Role.BIAS):
        return {"same": "merge", "base": "base", "mean": "mean"}[method.norms]
    return "merge"


def _statistic_problems(recipe: Recipe, targets: Sequence[Target]) -> list[str]:
    """Statistics have the shapes of the model that they are of: other rows cannot be asked of them."""
    models, needs = (recipe.base, *recipe.experts), recipe.method.needs()
    return [
        f"{recipe.name} needs {need.kind} of {target.info.name}, whose rows in {models[m].name} are not the "
        "result's: set embeddings=base"
        for target in targets
        if target.action == "merge"
        for need in needs
        if need.scope is None and target.info.role in need.roles
        for m in _subjects(need, len(models))
        if target.sources[m].rows is not None or target.sources[m].name is None
    ]


def _subjects(need: Need, models: int) -> range:
    return range(1) if need.of == "base" else range(1, models)


def _saved_config(
    recipe: Recipe, heads: Heads, targets: Sequence[Target]
) -> tuple[dict[str, Any], list[str]]:
    """What the saved config must say of the written tensors, and a note for each line that this changes."""
    models = (recipe.base, *recipe.experts)
    source = files_model(models, recipe.method)
    config = saved_context(models, recipe.context, source)
    if heads.result != "none":
        config["tie_word_embeddings"] = heads.result == "tied"
    for target in targets:
        if target.info.role is Role.EMBED:
            config["vocab_size"] = target.info.shape[0]
    if "architectures" in recipe.base.config:
        config["architectures"] = recipe.base.config["architectures"]
    said = {**source.config, "tie_word_embeddings": source.tied}
    notes = [
        f"the saved config, copied from {source.name}, says {key}={value!r} instead of {said[key]!r}"
        for key, value in config.items()
        if key in said and said[key] != value
    ]
    return config, notes


def _treatment_notes(method: Method, targets: Sequence[Target]) -> list[str]:
    """How many tensors of each special role got which treatment."""
    counted = Counter(
        (target.info.role, target.action) for target in targets if target.info.role is not Role.LINEAR
    )
    parts = [f"{n} {role.value} {action}" for (role, action), n in counted.items()]
    options = f"embeddings={method.embeddings}, norms={method.norms}"
    return [f"not linear ({options}): {', '.join(parts)}"] if parts else []


def _skip_note(mismatched: Mapping[str, Sequence[str]]) -> str:
    texts = [text for texts in mismatched.values() for text in texts]
    more = f" and {len(texts) - SHOWN} more" if len(texts) > SHOWN else ""
    return f"on_mismatch=skip: {len(mismatched)} tensors skipped ({'; '.join(texts[:SHOWN])}{more})"
