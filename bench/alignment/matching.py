"""Which tensor of each model is which of the result, by the name that its role has without the body's prefix."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bench.alignment.heads import Heads, names_in
from bench.errors import BadInput
from bench.models.checkpoint import Checkpoint
from bench.models.roles import LM_HEAD, Architecture, plain_name, role_of
from bench.models.stored import FLOAT_DTYPES, Stored
from methods.common.contract import Role

# What a shape does not show. Compared where both configs say it: older ones leave defaults out.
SHAPELESS = (
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "hidden_act",
    "n_head",
    "activation_function",
)
IGNORED = (
    "_name_or_path",
    "transformers_version",
    "dtype",
    "torch_dtype",
    "tie_word_embeddings",
    "architectures",
    "use_cache",
)
VOCABULARY = (Role.EMBED, Role.LM_HEAD)
OWN = (Role.BUFFER, Role.TASK_HEAD)  # a model may have or lack these as it likes


@dataclass(frozen=True)
class Matched:
    """`base` holds the result's names in the base's file order, `roles` their roles; `found` maps each model's
    tensors by those names. `extra` lists, by expert, what the result has no place for."""

    base: tuple[str, ...]
    roles: Mapping[str, Role]
    found: tuple[Mapping[str, Stored], ...]
    extra: tuple[tuple[tuple[str, Role], ...], ...]
    problems: tuple[str, ...]
    notes: tuple[str, ...]


def match(models: tuple[Checkpoint, ...], heads: Heads, arch: Architecture) -> Matched:
    """Tensors of all models under the result's names."""
    by_plain, problems = [], []
    for model, head in zip(models, heads.models, strict=True):
        plain: dict[str, tuple[str, Stored]] = {}
        for name, own in names_in(model, head, heads.result, arch).items():
            key = plain_name(name, arch)
            if key in plain:
                problems.append(f"{model.name} has both {plain[key][0]!r} and {name!r}")
            plain[key] = (name, model.tensors[own])
        by_plain.append(plain)
    names = {key: name for key, (name, _) in by_plain[0].items()}
    found = tuple(
        {names[key]: stored for key, (_, stored) in plain.items() if key in names} for plain in by_plain
    )
    roles = {name: role_of(name, arch) for name in names.values()}
    extra = tuple(
        tuple((name, role_of(name, arch)) for key, (name, _) in plain.items() if key not in names)
        for plain in by_plain[1:]
    )
    notes = [*_prefix_notes(models, by_plain, names), *_left_out(models, extra, heads)]
    return Matched(tuple(names.values()), roles, found, extra, tuple(problems), tuple(notes))


def _prefix_notes(
    models: tuple[Checkpoint, ...], by_plain: list[dict[str, tuple[str, Stored]]], names: Mapping[str, str]
) -> list[str]:
    notes = []
    for model, plain in zip(models[1:], by_plain[1:], strict=True):
        other = [
            (name, names[key]) for key, (name, _) in plain.items() if key in names and names[key] != name
        ]
        if other:
            notes.append(
                f"{len(other)} tensors of {model.name} are matched without the body's prefix "
                f"({other[0][0]} is {other[0][1]})"
            )
    return notes


def _left_out(
    models: tuple[Checkpoint, ...], extra: tuple[tuple[tuple[str, Role], ...], ...], heads: Heads
) -> list[str]:
    """Task heads and buffers of experts, and LM heads where the base has none: they stay theirs."""
    notes = []
    for model, names in zip(models[1:], extra, strict=True):
        theirs = [name for name, role in names if _may_stay_out(role, heads.result)]
        if theirs:
            notes.append(f"{len(theirs)} tensors stay with {model.name}: {', '.join(theirs[:3])}"
                         + (", ..." if len(theirs) > 3 else ""))  # fmt: skip
    return notes


def _may_stay_out(role: Role, result_head: str) -> bool:
    return role in OWN or (role is Role.LM_HEAD and result_head == "none")


def rows_of(matched: Matched, model: int) -> int | None:
    """Rows of a model's vocabulary: of its embedding, else of its head."""
    for role in VOCABULARY:
        for name, stored in matched.found[model].items():
            if matched.roles[name] is role and stored.shape:
                return stored.shape[0]
    return None


def unusable(models: tuple[Checkpoint, ...], arch: Architecture) -> list[str]:
    """What forbids to compare tensors at all: other architectures, and tensors without a role."""
    problems = []
    base = models[0]
    for expert in models[1:]:
        for key in ("model_type", *SHAPELESS):
            said = key in base.config and key in expert.config
            if said and base.config[key] != expert.config[key]:
                problems.append(
                    f"{key} is {base.config[key]!r} in {base.name} and {expert.config[key]!r} in {expert.name}"
                )
    for model in models:
        if model.model_type == base.model_type:
            problems += [f"{text} ({model.name})" for name in model.tensors if (text := _no_role(name, arch))]
    return problems


def _no_role(name: str, arch: Architecture) -> str | None:
    try:
        role_of(name, arch)
    except BadInput as error:
        return str(error)
    return None


def config_notes(models: tuple[Checkpoint, ...]) -> list[str]:
    """Lines in which the configs differ, beyond those that forbid a merge."""
    base, notes = models[0], []
    for expert in models[1:]:
        keys = sorted((base.config.keys() | expert.config.keys()) - set(IGNORED))
        notes += [
            f"config {key}: {base.config.get(key)!r} in the base, {expert.config.get(key)!r} in {expert.name}"
            for key in keys
            if base.config.get(key) != expert.config.get(key)
        ]
    return notes


def tensor_problems(models: tuple[Checkpoint, ...], matched: Matched, heads: Heads) -> dict[str, list[str]]:
    """Every tensor that an expert lacks, has in another shape, or has and the base does not, in words."""
    problems: dict[str, list[str]] = {}
    base = matched.found[0]
    for m, model in enumerate(models[1:], 1):
        found = matched.found[m]
        for name in matched.base:
            role = matched.roles[name]
            if role in OWN or (role is Role.LM_HEAD and heads.models[m] == "none"):
                continue
            if name not in found:
                problems.setdefault(name, []).append(f"{name} is missing from {model.name}")
            elif _comparable(base[name], role) != _comparable(found[name], role):
                problems.setdefault(name, []).append(
                    f"{name} is {list(base[name].shape)} in the base and {list(found[name].shape)} in {model.name}"
                )
        for name, role in matched.extra[m - 1]:
            if not _may_stay_out(role, heads.result):
                problems.setdefault(name, []).append(f"{name} is in {model.name} but not in the base")
    return problems


def _comparable(stored: Stored, role: Role) -> tuple[int, ...]:
    """What must agree: of a vocabulary's matrix the width, its rows are a choice."""
    return stored.shape[1:] if role in VOCABULARY and stored.shape else stored.shape


def own_problems(models: tuple[Checkpoint, ...], matched: Matched, heads: Heads) -> list[str]:
    """What is wrong within one model: integer weights, sizes that its own config does not have, a lost head."""
    problems = list(matched.problems)
    if heads.models[0] == "own" and Role.LM_HEAD not in matched.roles.values():
        problems.append(f"{models[0].name} has no {LM_HEAD}, and its config ties no embedding in its place")
    for m, model in enumerate(models):
        for name, stored in matched.found[m].items():
            if stored.dtype not in FLOAT_DTYPES and matched.roles[name] is not Role.BUFFER:
                problems.append(f"{stored.name} has integer dtype {stored.dtype} in {model.name}")
            if matched.roles[name] in VOCABULARY:
                problems += _size_problem(model, stored, rows_of(matched, m))
    return problems


def _size_problem(model: Checkpoint, stored: Stored, rows: int | None) -> list[str]:
    """A vocabulary's matrix whose shape is not what the model's config, or its embedding, says."""
    width = model.config.get("hidden_size", model.config.get("n_embd"))
    said = (model.config.get("vocab_size", rows), width)
    wrong = any(n is not None and n != size for n, size in zip(said, stored.shape, strict=False))
    return (
        [f"{stored.name} of {model.name} is {list(stored.shape)}, its config says {list(said)}"]
        if wrong
        else []
    )
