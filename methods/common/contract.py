"""What a merge method is: declared parameters, stated needs, ordered passes, and pure arithmetic on tensors.

A method is one file of `methods/` that defines one subclass of `Method` called `METHOD`. It never opens a file:
the executor hands it `Unit`s (float32 pieces of the base and of every expert, with the statistics it asked
for) and writes what `merge` returns. Everything larger than a unit is learnt in a `Pass`, which returns small
things (numbers per layer or tensor), never a model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

Scope = Literal["tensor", "block", "model"]


class Role(StrEnum):
    """What a tensor is in its architecture."""

    EMBED = "embed"
    POS_EMBED = "pos_embed"
    LINEAR = "linear"
    BIAS = "bias"
    NORM = "norm"
    LM_HEAD = "lm_head"
    TASK_HEAD = "task_head"
    BUFFER = "buffer"


@dataclass(frozen=True)
class TensorInfo:
    """A tensor's place in the model: `order` counts tensors in file order, `block` is its transformer block.

    `input_axis` is the axis of a matrix that its input runs along: 1 for `nn.Linear`, 0 for GPT-2's Conv1D.
    """

    name: str
    shape: tuple[int, ...]
    role: Role
    block: int | None
    order: int
    input_axis: int = 1

    @property
    def n(self) -> int:
        """Number of elements."""
        return int(torch.Size(self.shape).numel())

    @property
    def features(self) -> int:
        """Channels of the owning module's input, for a matrix (or of a norm, for its scale)."""
        return self.shape[self.input_axis] if len(self.shape) == 2 else self.n

    @property
    def module(self) -> str:
        """Name of the module that owns the tensor: the name without its last part."""
        return self.name.rsplit(".", 1)[0]

    def key(self, scope: Scope) -> str:
        """Name of the group that the tensor belongs to at a scope; outside blocks a module is its own group."""
        if scope == "model":
            return "model"
        if scope == "tensor":
            return self.name
        return self.module if self.block is None else f"block {self.block}"


class Piece:
    """A tensor, or the run of its elements that starts at flat offset `start`, in float32. Nothing changes it.

    A tensor without dimensions has the shape [1] here.

    `experts` [M, *shape] holds the same elements of every expert, in the order given by the user; `statistics`
    maps the name of a `Need` to one tensor per subject (one for the base, or one per expert). `ids` names each
    expert by its content, the same wherever it stands in the list: random draws are keyed by it.

    Base and experts may be given in bfloat16: float32 is made of what is asked for, and of nothing else.
    """

    def __init__(
        self,
        info: TensorInfo,
        base: Tensor,
        experts: Tensor,
        weights: tuple[float, ...],
        start: int = 0,
        statistics: Mapping[str, tuple[Tensor, ...]] | None = None,
        ids: tuple[str, ...] = (),
    ) -> None:
        self.info = info
        self.weights = weights
        self.start = start
        self.statistics = statistics or {}
        self.ids = ids
        self._base, self._experts = base, experts

    @property
    def shape(self) -> torch.Size:
        """Shape of the base, of each expert and of each task vector."""
        return self._base.shape

    @cached_property
    def base(self) -> Tensor:
        """The base's elements, [*shape]."""
        return self._base.float()

    @cached_property
    def experts(self) -> Tensor:
        """The experts' elements, [M, *shape]."""
        return self._experts.float()

    @cached_property
    def deltas(self) -> Tensor:
        """Task vectors tau_m = theta_m - theta_0 of all experts, [M, *shape]."""
        return self._differences(slice(None))

    def delta(self, expert: int) -> Tensor:
        """Task vector of one expert; made anew where not all of them are at hand: it then is still in the cache."""
        if "deltas" in self.__dict__:
            return self.deltas[expert]
        return self._differences(slice(expert, expert + 1))[0]

    def combined(self, weights: Sequence[float]) -> Tensor:
        """sum_m w_m tau_m, [*shape] float32; the task vectors are not kept."""
        if self._base.dtype != torch.bfloat16:
            total = torch.zeros_like(self.base)
            for delta, weight in zip(self.deltas, weights, strict=True):
                total.add_(weight * delta)
            return total
        from methods.common import kernels

        total = torch.empty(self.shape)
        factors = np.array(weights, dtype=np.float32)
        base, experts = self._base.flatten(), self._experts.flatten(1)
        kernels.weighted_differences(_bits(base), _bits(experts), factors, total.flatten().numpy())
        return total

    def moved(self, step: Tensor, scale: float) -> Tensor:
        """base + scale * step, [*shape] float32; `step` is float32 of the same shape."""
        if self._base.dtype != torch.bfloat16:
            return self.base + scale * step
        from methods.common import kernels

        place = torch.empty(self.shape)
        kernels.moved(_bits(self._base.flatten()), step.flatten().numpy(), scale, place.flatten().numpy())
        return place

    def _differences(self, which: slice) -> Tensor:
        if self._base.dtype != torch.bfloat16:
            return self.experts[which] - self.base
        from methods.common import kernels

        experts = self._experts[which]
        found = torch.empty(experts.shape)
        kernels.differences(_bits(self._base.flatten()), _bits(experts.flatten(1)), found.flatten(1).numpy())
        return found


def _bits(stored: Tensor) -> NDArray[np.uint16]:
    """Bit patterns of bfloat16."""
    bits: NDArray[np.uint16] = stored.view(torch.uint16).numpy()
    return bits


@dataclass(frozen=True)
class Unit:
    """What a method works on at once: pieces of one module by their last name part (`weight`, `bias`).

    A method of unit "element" or "tensor" gets one piece a unit (a run of elements, or the whole tensor); one
    of unit "module" gets the module's whole tensors together.
    """

    name: str
    pieces: Mapping[str, Piece]


@dataclass(frozen=True)
class Merged:
    """The merged pieces of a unit, and numbers worth keeping about it (`notes`: metric to value)."""

    pieces: Mapping[str, Tensor]
    notes: Mapping[str, float] = field(default_factory=dict)


class Seen:
    """Small things known so far: results of the passes and statistics of groups, by name and group."""

    def __init__(self) -> None:
        self._results: dict[str, tuple[Scope, dict[str, Any]]] = {}

    def give(self, name: str, scope: Scope, results: Mapping[str, Any]) -> None:
        """Store a statistic of groups under its need's name: group key to one tensor per subject."""
        self._results[name] = (scope, dict(results))

    def put(self, pass_: Pass, key: str, result: Any) -> None:
        """Store the result of one group."""
        self._results.setdefault(pass_.name, (pass_.scope, {}))[1][key] = result

    def of(self, pass_name: str, info: TensorInfo) -> Any:
        """Result of the group that `info` belongs to."""
        scope, results = self._results[pass_name]
        return results[info.key(scope)]

    def find(self, pass_name: str, info: TensorInfo) -> Any:
        """The same, or None where nothing was observed."""
        scope, results = self._results.get(pass_name, ("model", {}))
        return results.get(info.key(scope))

    def group(self, pass_name: str, key: str) -> Any:
        """Result of one group by its key."""
        return self._results[pass_name][1][key]

    def all(self, pass_name: str) -> dict[str, Any]:
        """Results of every group of a pass (empty when nothing was observed)."""
        return self._results.get(pass_name, ("model", {}))[1]


@dataclass(frozen=True)
class Pass:
    """One look at the model before merging.

    `observe(unit, seen)` returns something small or None; `combine` is associative and called in file order;
    `finish(total, seen, key)` turns the total of group `key` into its result. Passes run in the order that the method
    lists them; each sees the results of those before it. A pass of scope "tensor" is shown one tensor at a time.
    `observe` may run on several units at once. `needed(seen, info, experts)` spares reading a tensor that the
    pass has no use for, given the number of experts.
    """

    name: str
    scope: Scope
    observe: Callable[[Unit, Seen], Any]
    combine: Callable[[Any, Any], Any]
    finish: Callable[[Any, Seen, str], Any]
    needed: Callable[[Seen, TensorInfo, int], bool] = lambda seen, info, experts: True


StatisticKind = Literal[
    "fisher_random_tokens",
    "inputs_random_tokens",
    "fisher_data",
    "gram_data",
    "channels_data",
    "information_data",
    "sensitivity_data",
    "distance_data",
    "optimised",
]


@dataclass(frozen=True)
class Need:
    """A statistic that the executor must provide before the first pass, cached under its identity.

    `of` says at whose weights: the base's, each expert's, or each expert's sign-aligned virtual weights
    theta_0 + tau_m where sign(tau_m) is the sign of the summed task vectors (DRIFT-MEDIAN, step A). `data` says
    on which examples: none, each expert's own, or those of all experts together. There is one tensor set (a
    subject) per expert if `of` or `data` is per expert, else one. `options` belong to its identity.

    With `scope` None there is one tensor per parameter that is merged and has one of `roles`
    (`Piece.statistics`); with a scope there is one small tensor per group, read through `Seen.of(name, info)`.

    Options in brackets; what is left out takes the default of `bench/statistics/kinds.py`, an unknown one is an
    error. `dtype` is that of the forward and backward pass (`checkpoint`, `float32`, `bfloat16`); sums are float32.
    Kinds on data take the first `examples` of an order drawn with `seed`, cut off behind `max_length` tokens.

    * `fisher_random_tokens`: mean squared gradient of the next-token loss on random tokens, parameter's shape
      [samples, length, seed, vocabulary, dtype]
    * `inputs_random_tokens`: inputs of linear modules on the same tokens, [tokens, features] per weight
      [the same]
    * `fisher_data`: mean over examples of the squared gradient of one example, parameter's shape
      [examples, estimator (empirical, exact, sampled, argmax, batch_sqrt), token_reduction (sum, mean), max_length,
      chat_template (auto, never), dtype, seed, zero_sign (zero, positive, majority: for `aligned`)]
    * `gram_data`: X^T X / tokens of a linear module's inputs, [in, in] per weight
      [examples, max_length, chat_template, batch, padding (exclude, include), accumulate (float32, float64), dtype,
      seed]
    * `channels_data`: sum over text blocks of the mean over tokens of |x_j|, [channels] per weight (linear, norm,
      head: by `roles`) [examples, block, max_length (longer texts are skipped), dtype, seed]
    * `information_data` (scope block, of experts): mutual information between the base's and an expert's output,
      scalar, for every block and for the LM head, key `lm_head` (classifiers have none)
      [examples, max_length, chat_template, estimator (gaussian, histogram), bins, head (hidden, logits), dtype, seed]
    * `sensitivity_data` (scope block): sum over the group of |theta * dL/dtheta|, mean over examples, scalar
      [examples, max_length, chat_template, token_reduction, product (theta, tau), dtype, seed]
    * `distance_data` (scope model, of experts, data all): mean over tokens of || logits_m - logits_j ||_2 on data
      of j, [M] over j, 0 for itself [examples, max_length, chat_template, dtype, seed]
    * `optimised` (scope tensor or model, data all): coefficients [M] that minimise `objective` of the merged
      classifiers' logits [batch, classes] (a scalar), summed over the tasks
      [initial, learning_rate, beta1, beta2, steps, batch, clamp, max_length, seed]
    """

    name: str
    kind: StatisticKind
    of: Literal["base", "experts", "aligned"]
    options: Mapping[str, Any]
    data: Literal["none", "own", "all"] = "none"
    roles: tuple[Role, ...] = (Role.LINEAR,)
    scope: Scope | None = None
    objective: Callable[[Tensor], Tensor] | None = None

    @property
    def per_expert(self) -> bool:
        """Whether there is one subject per expert."""
        return self.kind != "optimised" and (self.of != "base" or self.data == "own")


@dataclass(frozen=True)
class Card:
    """What a reader must know about a method. `reconstructed` says what its sources leave open, if anything."""

    title: str
    source: str
    summary: str
    aliases: Mapping[str, str] = field(default_factory=dict)
    reconstructed: str | None = None


def parameter(default: Any, meaning: str, source: str, **rules: Any) -> Any:
    """Declare a parameter: default, meaning, where the default comes from, and rules (gt, ge, lt, le, alias)."""
    return Field(default, description=meaning, json_schema_extra={"source": source}, **rules)


class Method(BaseModel):
    """Base class of all methods: the treatment of special tensors that every method shares, and the contract."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=False, validate_by_alias=True, allow_inf_nan=False
    )

    card: ClassVar[Card]
    unit: ClassVar[Literal["element", "tensor", "module"]] = "element"
    min_experts: ClassVar[int] = 1
    max_experts: ClassVar[int | None] = None
    weights: ClassVar[Literal["none", "positive", "signed"]] = "positive"

    embeddings: str = parameter(
        "merge",
        "token embeddings and LM head: `merge`, `base`, or `expert:<i>` (i from 0)",
        "our choice; the Long-to-Short study merges every tensor",
        pattern=r"^(merge|base|expert:\d+)$",
    )
    vocab: Literal["base_rows", "common_rows", "by_token"] = parameter(
        "base_rows",
        "vocabularies of different size: the base's rows (what an expert lacks does not move), the rows common to "
        "all, or rows matched by token",
        "our choice; mergekit's task-vector methods crop to the base's rows",
    )
    on_mismatch: Literal["error", "skip"] = parameter(
        "error",
        "a tensor missing from an expert or of another shape: refuse, or keep the base's and count it",
        "our choice; mergekit skips with a warning",
    )
    nonfinite: Literal["refuse", "allow"] = parameter(
        "refuse", "NaN or infinity in a model: name the tensor and stop, or go on", "our choice"
    )
    norms: Literal["same", "base", "mean"] = parameter(
        "same", "norms and biases: the method's own rule, the base's, or the experts' mean", "our choice"
    )
    tied_mismatch: Literal["untie", "follow_base"] = parameter(
        "untie",
        "when base and experts disagree on tied heads: give each its own head, or follow the base",
        "our choice",
    )
    files_from: str = parameter(
        "base",
        "config, tokenizer and generation config of the result: `base` or `expert:<i>`",
        "our choice",
        pattern=r"^(base|expert:\d+)$",
    )
    out_dtype: Literal["base", "float32", "bfloat16", "float16"] = parameter(
        "base", "dtype of the written weights; arithmetic is float32", "our choice"
    )

    def wraps(self) -> tuple[str, ...]:
        """Names of other methods whose arithmetic this one uses, given these parameters."""
        return ()

    def leaves(self, role: Role, block: int | None) -> bool:
        """Whether tensors of this role (inside a block, or outside for None) stay the base's by definition."""
        return False

    def whole(self, info: TensorInfo) -> bool:
        """Whether a merged tensor must be had whole; the others come in runs of elements (a unit of `module`
        wants all of its tensors whole)."""
        return self.unit != "element"

    def needs(self) -> tuple[Need, ...]:
        """Statistics to provide, given these parameters."""
        return ()

    def passes(self) -> tuple[Pass, ...]:
        """Ordered looks at the model that must come before merging."""
        return ()

    def merge(self, unit: Unit, seen: Seen) -> Merged:
        """Merge one unit. The default merges its pieces one by one with `merge_piece`."""
        return Merged({part: self.merge_piece(piece, seen) for part, piece in unit.pieces.items()})

    def merge_piece(self, piece: Piece, seen: Seen) -> Tensor:
        """Merge one piece: same shape as `piece.base`, float32."""
        raise TypeError(f"{type(self).__name__} defines neither merge nor merge_piece")

    def layers(self, seen: Seen) -> list[tuple[str, str, float]]:
        """Diagnostics learnt in the passes: (layer, metric, value)."""
        return []


def expert_of(choice: str) -> int | None:
    """The i of `expert:<i>`, counted from 0; None for any other choice."""
    return int(choice.removeprefix("expert:")) if choice.startswith("expert:") else None
