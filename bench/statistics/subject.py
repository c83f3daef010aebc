"""One subject of a need: whose statistic it is, what it may read, and the identity that follows from that."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property, partial
from importlib import metadata
from pathlib import Path
from typing import Any

from bench.alignment.align import Target
from bench.examples import ExampleSet
from bench.identity import code_digest, digest, fingerprint
from bench.models.checkpoint import Checkpoint
from bench.models.clip import is_tower
from bench.models.roles import TASK_HEAD
from bench.recipe import Recipe
from bench.statistics.kinds import KINDS, options_of
from methods.common.contract import Need

HERE = Path(__file__).parent
# Statistics of a module's inputs belong to its matrix (or its norm's scale), not to its bias.
OF_MATRICES = {"inputs_random_tokens", "gram_data"}
OF_WEIGHTS = {*OF_MATRICES, "channels_data"}
OF_ALL_MODELS = {"distance_data", "optimised"}


@dataclass(frozen=True)
class Subject:
    """What one tensor set of a need is computed from.

    `expert` is the expert that it belongs to (counted from 0), None for the only one of a need that is not per
    expert. `data` holds the expert's own examples, or those of all experts, or none.
    """

    need: Need
    expert: int | None
    base: Checkpoint
    experts: tuple[Checkpoint, ...]
    targets: tuple[Target, ...]
    data: tuple[ExampleSet, ...] = ()

    @cached_property
    def options(self) -> dict[str, Any]:
        """Every option with its value."""
        return options_of(self.need)

    @property
    def models(self) -> tuple[Checkpoint, ...]:
        """Base and experts, in the order of a target's sources."""
        return (self.base, *self.experts)

    @cached_property
    def source(self) -> int:
        """Place in `models` of the model whose file is loaded: a classifier keeps its own head even at the base."""
        if self.expert is None or (self.need.of == "base" and not is_classifier(self.experts[self.expert])):
            return 0
        return self.expert + 1

    @property
    def model(self) -> Checkpoint:
        """The model whose file is loaded."""
        return self.models[self.source]

    @property
    def moved(self) -> bool:
        """Whether the loaded weights are replaced by others (the base's, or virtual ones)."""
        return self.need.of == "aligned" or (self.need.of == "base" and self.source > 0)

    @cached_property
    def wanted(self) -> tuple[Target, ...]:
        """Parameters that the need asks for: merged, of its roles, and present in the model."""
        return tuple(
            target
            for target in wanted(self.need, self.targets)
            if self.moved or target.sources[self.source].name is not None
        )

    def data_of(self, model: Checkpoint) -> ExampleSet:
        """The examples that belong to an expert, or the only ones."""
        if len(self.data) == 1:
            return self.data[0]
        return self.data[next(i for i, expert in enumerate(self.experts) if expert is model)]

    @property
    def title(self) -> str:
        """What is computed of whom, for a person."""
        whom = "all models" if self.need.kind in OF_ALL_MODELS else self.model.name
        where = {"aligned": " at its sign-aligned weights", "base": "", "experts": ""}[self.need.of]
        if self.need.of == "base" and self.expert is not None:
            where = f" on {self.data[0].name}" if self.source == 0 else " at the base's weights"
        return f"{self.need.kind} of {whom}{where}"

    @property
    def reads(self) -> tuple[Checkpoint, ...]:
        """Models whose weights decide the numbers."""
        if self.need.of == "aligned" or self.need.kind in OF_ALL_MODELS:
            return self.models
        # A vision tower is read through its base's projection, under a head of its base's texts.
        both = self.need.kind == "information_data" or self.options.get("product") == "tau" or self.moved
        both = both or is_tower(self.model)
        return (self.base, self.model) if both else (self.model,)


def is_classifier(model: Checkpoint) -> bool:
    """Whether a checkpoint is a classifier: its config names one of sequences, or it stores a task head, or it is a
    vision tower, whose head is made of texts."""
    classes = model.config.get("architectures") or ()
    named = any(str(name).endswith("ForSequenceClassification") for name in classes)
    return named or bool(_head_names(model)) or is_tower(model)


def classes_of(model: Checkpoint) -> int | None:
    """Number of classes that a classifier's stored task head tells apart; None where it stores none."""
    return min((model.tensors[name].shape[0] for name in _head_names(model)), default=None)


def _head_names(model: Checkpoint) -> list[str]:
    return [name for name in model.tensors if re.fullmatch(TASK_HEAD, name)]


def wanted(need: Need, targets: tuple[Target, ...]) -> tuple[Target, ...]:
    """Targets that a need asks for: merged, and of its roles (coefficients are optimised for every merged tensor)."""
    return tuple(
        target
        for target in targets
        if target.action == "merge"
        and (target.info.role in need.roles or need.kind == "optimised")
        and (need.kind not in OF_WEIGHTS or target.info.name.endswith(".weight"))
        and (need.kind not in OF_MATRICES or len(target.info.shape) == 2)
    )


def subjects(need: Need, recipe: Recipe, targets: tuple[Target, ...]) -> tuple[Subject, ...]:
    """The subjects of a need in order: one per expert, or one."""
    make = partial(Subject, need, base=recipe.base, experts=recipe.experts, targets=targets)
    shared = recipe.data if need.data == "all" else ()
    if not need.per_expert:
        return (make(expert=None, data=shared),)
    return tuple(
        make(expert=m, data=(recipe.data[m],) if need.data == "own" else shared)
        for m in range(len(recipe.experts))
    )


def statistic_id(subject: Subject, memory: Path) -> str:
    """Identity: what is computed, with which code and libraries, at which weights, on which examples.

    `memory` is the file of remembered fingerprints.
    """
    need = subject.need
    return digest(
        {
            "code": code_digest([HERE / f"{KINDS[need.kind].module}.py"]),
            "kind": need.kind,
            "of": need.of,
            "expert": subject.expert if _depends_on_place(need) else None,
            "data": [examples.digest for examples in subject.data],
            "scope": need.scope,
            "options": subject.options,
            "objective": _code_of(need.objective) if need.objective else None,
            "tensors": _tensors(subject),
            "models": [fingerprint(model.path, memory) for model in subject.reads],
            "torch": _version("torch"),
            "transformers": _version("transformers"),
        }
    )


def _depends_on_place(need: Need) -> bool:
    """Whether experts' statistics differ although all of them read the same models, and may share their examples."""
    return need.kind == "distance_data" or need.of == "aligned"


@cache
def _version(package: str) -> str:
    """Parsing a package's metadata takes longer than everything else here."""
    return metadata.version(package)


def _tensors(subject: Subject) -> list[Any]:
    """Which tensors are asked for and where they lie; virtual weights depend on the treatment of every tensor."""
    if subject.need.of == "aligned" or subject.need.kind == "optimised":
        roles = sorted(subject.need.roles)
        return [roles, [(t.info.name, t.action, t.info.role, repr(t.sources)) for t in subject.targets]]
    if subject.need.kind in ("information_data", "distance_data"):
        return []
    place = subject.source
    return [
        (t.info.name, repr(t.sources[place]), t.info.key(subject.need.scope or "tensor"))
        for t in subject.wanted
    ]


def _code_of(function: Callable[..., Any]) -> list[Any]:
    """A function by its module's code, its name, and what is bound to it."""
    if isinstance(function, partial):
        return [_code_of(function.func), repr(function.args), repr(function.keywords)]
    file = inspect.getsourcefile(inspect.unwrap(function))
    assert file is not None
    return [code_digest([Path(file)]), getattr(function, "__qualname__", "")]
