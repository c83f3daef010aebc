"""Line up base and experts tensor by tensor: what is merged, what is copied, and everything that does not match."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from math import prod

from bench.checkpoint import DTYPE_BYTES, FLOAT_DTYPES, Checkpoint
from bench.errors import BadInput
from bench.recipe import Recipe
from bench.roles import LM_HEAD, Architecture, architecture, block_of, role_of
from bench.rows import Source
from methods.common.contract import Method, Role, TensorInfo

# What a shape does not show. Compared where both configs say it: older ones leave defaults out.
HEADS = (
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
    """Every tensor of the result, in the base's file order, and what a reader should know about the match."""

    targets: tuple[Target, ...]
    tied: bool
    notes: tuple[str, ...]

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
    models = (recipe.base, *recipe.experts)
    arch = architecture(recipe.base.model_type)
    notes = _compare_configs(models)
    tied, tie_note = _tied(recipe)
    named = [_names(model, arch, tied=tied) for model in models]
    _check(models, named, arch)
    targets = tuple(
        _target(name, order, [names[name] for names in named if name in names], recipe, arch)
        for order, name in enumerate(named[0])
    )
    return Alignment(targets, tied, (*notes, *tie_note))


def _tied(recipe: Recipe) -> tuple[bool, list[str]]:
    """Whether the result is tied, and a note where the models disagree."""
    states = [model.tied for model in (recipe.base, *recipe.experts)]
    if len(set(states)) == 1:
        return states[0], []
    follow = recipe.method.tied_mismatch == "follow_base"
    tied = recipe.base.tied if follow else False
    who = ", ".join(f"{m.name} {'tied' if m.tied else 'untied'}" for m in (recipe.base, *recipe.experts))
    return tied, [
        f"tied heads differ ({who}): tied_mismatch={recipe.method.tied_mismatch} saves an "
        f"{'embedding that is also the head' if tied else 'explicit head'}"
    ]


def _names(model: Checkpoint, arch: Architecture, *, tied: bool) -> dict[str, str]:
    """Tensor name in the result to tensor name in `model`. A tied model lends its embedding as its head."""
    names = {
        name: name
        for name in model.tensors
        if not (role_of(name, arch) is Role.LM_HEAD and (tied or model.tied))
    }
    if not tied and model.tied:
        embedding = [name for name in names if role_of(name, arch) is Role.EMBED]
        if embedding:
            names[LM_HEAD] = embedding[0]
    return names


def _compare_configs(models: tuple[Checkpoint, ...]) -> list[str]:
    base = models[0]
    notes = []
    for expert in models[1:]:
        for key in ("model_type", *HEADS):
            said = key in base.config and key in expert.config
            if said and base.config[key] != expert.config[key]:
                raise BadInput(
                    f"base and expert do not match: {key} is {base.config.get(key)!r} in {base.name} and "
                    f"{expert.config.get(key)!r} in {expert.name}"
                )
        keys = sorted((base.config.keys() | expert.config.keys()) - set(IGNORED))
        different = [key for key in keys if base.config.get(key) != expert.config.get(key)]
        notes += [
            f"config {key}: {base.config.get(key)!r} in the base, {expert.config.get(key)!r} in {expert.name}"
            for key in different
        ]
    return notes


def _check(models: tuple[Checkpoint, ...], named: list[dict[str, str]], arch: Architecture) -> None:
    base, names = models[0], named[0]
    problems = []
    for model, found in zip(models[1:], named[1:], strict=True):
        required = [name for name in names if role_of(name, arch) not in (Role.BUFFER, Role.TASK_HEAD)]
        problems += [f"{name} is missing from {model.name}" for name in required if name not in found]
        extra = [name for name in found if name not in names]
        problems += [
            f"{name} is in {model.name} but not in the base"
            for name in extra
            if role_of(name, arch) not in (Role.BUFFER, Role.TASK_HEAD)
        ]
        for name in required:
            if name in found and base.tensors[names[name]].shape != model.tensors[found[name]].shape:
                problems.append(
                    f"{name} is {list(base.tensors[names[name]].shape)} in the base and "
                    f"{list(model.tensors[found[name]].shape)} in {model.name}"
                )
    for model, found in zip(models, named, strict=True):
        problems += [
            f"{name} has integer dtype {model.tensors[source].dtype} in {model.name}"
            for name, source in found.items()
            if model.tensors[source].dtype not in FLOAT_DTYPES and role_of(name, arch) is not Role.BUFFER
        ]
        problems += _size_problems(model, arch)
    if problems:
        more = f" and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
        raise BadInput("base and experts do not match:\n  " + "\n  ".join(problems[:SHOWN]) + more)


def _size_problems(model: Checkpoint, arch: Architecture) -> list[str]:
    """Embeddings whose shape is not what the model's own config says."""
    said = (model.config.get("vocab_size"), model.config.get("hidden_size", model.config.get("n_embd")))
    return [
        f"{stored.name} of {model.name} is {list(stored.shape)}, its config says {list(said)}"
        for stored in model.tensors.values()
        if role_of(stored.name, arch) is Role.EMBED
        and any(n is not None and n != size for n, size in zip(said, stored.shape, strict=False))
    ]


def _target(name: str, order: int, sources: list[str], recipe: Recipe, arch: Architecture) -> Target:
    role = role_of(name, arch)
    stored = recipe.base.tensors[sources[0]]
    info = TensorInfo(name, stored.shape, role, block_of(name, arch), order, arch.input_axis)
    action = _action(info, recipe.method)
    keeps = role is Role.BUFFER or recipe.method.out_dtype == "base"
    dtype = stored.dtype if keeps else DTYPES[recipe.method.out_dtype]
    return Target(info, action, dtype, tuple(map(Source, sources)))


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
