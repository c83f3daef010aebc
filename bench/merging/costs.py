"""What a merge and its statistics will cost: seconds, memory, disk. Rough: minutes or hours, fits or does not.

The rates were measured on two cores of a cloud machine with its files in the page cache; this is the only place
that holds them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from bench.alignment.align import Alignment, Target
from bench.merging.job import BLOCK
from bench.merging.workers import default_threads
from bench.models.stored import DTYPE_BYTES
from bench.recipe import Recipe
from bench.statistics import disk_of, options_of, wanted
from methods.common.contract import Need

SWEEP_BYTES_PER_SECOND = 3.5e9  # read, convert and look at, or merge, one input byte
WRITE_BYTES_PER_SECOND = 1.5e9
START_SECONDS = 2.0
FLOP_PER_SECOND = 8.0e10  # a transformer forwards and backwards
PROCESS_BYTES = 0.4e9  # Python, torch and compiled kernels before the first tensor
COPIES = 3  # of a unit's float32 pieces at once: as read, task vectors, work of the method
TEXT_TOKENS = 256  # of an example of data, whose true length only its reading shows
FORWARD_ONLY = {"inputs_random_tokens", "gram_data", "channels_data", "information_data", "distance_data"}


@dataclass(frozen=True)
class Cost:
    """Bytes and seconds of a merge; `statistics_*` come first and are paid once for all parameters."""

    read_bytes: int
    write_bytes: int
    statistics_bytes: int
    memory_bytes: int
    seconds: float
    statistics_memory_bytes: int
    statistics_seconds: float


def cost_of(recipe: Recipe, alignment: Alignment) -> Cost:
    """The cost of a recipe whose models are lined up."""
    models = (recipe.base, *recipe.experts)
    passes = recipe.method.passes()
    inputs = sum(model.nbytes for model in models)
    # What a pass over a tensor or block has read, the next one finds in the page cache.
    read = inputs * (1 + sum(p.scope == "model" for p in passes))
    needs = recipe.method.needs()
    fraction = _merged_bytes(alignment.targets) / max(1, alignment.nbytes)
    return Cost(
        read_bytes=read,
        write_bytes=alignment.nbytes,
        statistics_bytes=disk_of(recipe, alignment.targets),
        memory_bytes=int(PROCESS_BYTES + _unit_bytes(recipe, alignment.targets)),
        seconds=START_SECONDS
        + inputs * (1 + len(passes)) * fraction / SWEEP_BYTES_PER_SECOND
        + alignment.nbytes / WRITE_BYTES_PER_SECOND,
        statistics_memory_bytes=max((_memory_of(n, recipe, alignment.targets) for n in needs), default=0),
        statistics_seconds=sum(_seconds_of(need, recipe) for need in needs),
    )


def _merged_bytes(targets: Sequence[Target]) -> int:
    return sum(target.nbytes for target in targets if target.action in ("merge", "mean"))


def _unit_bytes(recipe: Recipe, targets: Sequence[Target]) -> int:
    """Float32 pieces that all threads hold at once."""
    infos = [target.info for target in targets if target.action == "merge"]
    largest = max((info.n if recipe.method.whole(info) else min(BLOCK, info.n) for info in infos), default=0)
    statistics = sum(len(recipe.experts) if need.per_expert else 1 for need in recipe.method.needs())
    return default_threads() * largest * 4 * (COPIES * (1 + len(recipe.experts)) + statistics)


def _memory_of(need: Need, recipe: Recipe, targets: tuple[Target, ...]) -> int:
    """Peak of one statistic: the model, its float32 result, and the logits of one text with their gradients."""
    options = options_of(need)
    model = max((recipe.base, *recipe.experts), key=lambda m: m.n_parameters)
    loaded = sum(prod(t.shape) * _pass_bytes(t.dtype, options.get("dtype")) for t in model.tensors.values())
    rows = int(model.config.get("vocab_size") or 0)
    result = disk_of(recipe, targets) // max(1, len(recipe.experts) if need.per_expert else 1)
    tokens = int(options.get("length", TEXT_TOKENS))
    return (
        int(PROCESS_BYTES) + loaded + min(result, 4 * _elements(need, targets) or result) + 12 * tokens * rows
    )


def _pass_bytes(stored: str, dtype: object) -> int:
    return {"float32": 4, "bfloat16": 2}.get(str(dtype), DTYPE_BYTES[stored])


def _elements(need: Need, targets: tuple[Target, ...]) -> int:
    return sum(target.info.n for target in wanted(need, targets))


def _seconds_of(need: Need, recipe: Recipe) -> float:
    """Two floating-point operations a parameter and token forwards, four backwards."""
    options = options_of(need)
    subjects = len(recipe.experts) if need.per_expert else 1
    if need.kind == "optimised":
        texts = float(options["steps"]) * float(options["batch"]) * len(recipe.experts)
    else:
        texts = float(options.get("samples", options.get("examples", 1)))
    tokens = float(options.get("length", min(TEXT_TOKENS, options.get("max_length", TEXT_TOKENS))))
    operations = 2.0 if need.kind in FORWARD_ONLY else 6.0
    return subjects * texts * tokens * operations * recipe.base.n_parameters / FLOP_PER_SECOND
