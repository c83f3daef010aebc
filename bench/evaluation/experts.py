"""Which expert is meant to be good at a benchmark, and whose task head chooses its labels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from bench.errors import BadInput

if TYPE_CHECKING:
    from bench.models.checkpoint import Checkpoint
    from bench.models.stored import Stored
    from tasks.contract import Benchmark

T = TypeVar("T")


@dataclass(frozen=True)
class Expert:
    """An expert of a model set: its fingerprint, and its name (folder, Hub id or zoo:NAME); it may be gone."""

    fingerprint: str
    name: str

    @property
    def path(self) -> Path:
        """Its folder. Raises BadInput when it is not there."""
        from bench.models.checkpoint import locate

        return locate(self.name)


def expert_of(experts: Mapping[str, T], domain: str) -> T | None:
    """The expert called like the domain; the only one of a set, whatever it is called; otherwise none."""
    if domain in experts:
        return experts[domain]
    return next(iter(experts.values())) if len(experts) == 1 else None


def check_heads(
    benchmarks: Iterable[Benchmark], experts: Mapping[str, Checkpoint], base: Checkpoint | None = None
) -> None:
    """Refuse benchmarks with labels for which `experts` (by domain) have no task head that fits, and zero-shot ones
    whose head `base` cannot make.

    Base and merges have no head of their own that could be meant: they answer under the expert's.
    """
    for benchmark in benchmarks:
        if not benchmark.labels:
            continue
        if benchmark.templates and base is not None:
            check_head(benchmark, base)
            continue
        expert = expert_of(experts, benchmark.domain)
        if expert is None:
            raise BadInput(
                f"{benchmark.name} is answered with the task head of the expert of domain {benchmark.domain!r}, "
                f"and the models have experts for: {', '.join(experts) or 'nothing'}. "
                "Name a model set that has it (`bench models`)."
            )
        check_head(benchmark, expert)


def check_head(benchmark: Benchmark, model: Checkpoint) -> None:
    """Refuse a model without a task head of one output per label, or that names its outputs in another order; for a
    zero-shot benchmark, one without a text tower."""
    if benchmark.templates:
        from bench.models.checkpoint import Checkpoint
        from bench.models.zero_shot import check_whole

        return check_whole(Checkpoint(model.path, model.name))  # a merge sees its vision tower alone
    head = head_tensors(model)
    if not head:
        raise BadInput(
            f"{benchmark.name} asks for a label and {model.name} has no task head: it is not a classifier"
        )
    outputs = {stored.shape[0] for stored in head.values()}
    if outputs != {len(benchmark.labels)}:
        raise BadInput(
            f"{benchmark.name} has {len(benchmark.labels)} labels ({', '.join(benchmark.labels)}) and the task "
            f"head of {model.name} has {', '.join(map(str, sorted(outputs)))} outputs"
        )
    said = model.config.get("id2label") or {}
    names = [str(said[key]).casefold() for key in sorted(said, key=int)]
    labels = [label.casefold() for label in benchmark.labels]
    if names != labels and sorted(names) == sorted(labels):
        raise BadInput(
            f"{benchmark.name} has the labels {', '.join(labels)} in this order, and {model.name} "
            f"(id2label of config.json) has {', '.join(names)}"
        )


def head_tensors(model: Checkpoint) -> dict[str, Stored]:
    """The tensors of a checkpoint's task head, by name; empty when it has none."""
    from bench.models.roles import architecture, role_of
    from methods.common.contract import Role

    arch = architecture(model.model_type)
    return {name: stored for name, stored in model.tensors.items() if role_of(name, arch) is Role.TASK_HEAD}
