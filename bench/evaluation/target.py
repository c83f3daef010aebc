"""A checkpoint to evaluate, and what its scores are compared with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bench.errors import BadInput
from bench.evaluation.experts import Expert, expert_of
from tasks.contract import Benchmark


@dataclass(frozen=True)
class EvalTarget:
    """A checkpoint to evaluate, and the set of models it is compared in: the base's fingerprint and name (folder,
    Hub id or zoo:NAME), and its experts by domain."""

    path: Path
    fingerprint: str
    name: str
    model_set: str
    base: str | None = None
    experts: Mapping[str, Expert] = field(default_factory=dict)
    base_name: str | None = None

    @property
    def reader(self) -> Path:
        """The folder whose tokenizer reads what is asked: its own, or the base's where it has none."""
        from bench.models.checkpoint import locate
        from bench.models.loading import has_tokenizer, reader_folder

        if self.base_name is None or has_tokenizer(self.path):
            return self.path
        return reader_folder(self.path, locate(self.base_name))

    def head(self, benchmark: Benchmark) -> Expert | None:
        """The model whose task head chooses the labels of a benchmark; None where the model writes.

        Zero-shot, the base's texts are the head. A model that belongs to no set answers with its own.
        """
        if not benchmark.labels:
            return None
        if benchmark.templates and self.base is not None:
            return Expert(self.base, self.base_name or self.base)
        if not self.experts:
            return Expert(self.fingerprint, str(self.path))
        found = expert_of(self.experts, benchmark.domain)
        if found is None:
            raise BadInput(
                f"{benchmark.name} is answered with the task head of the expert of domain {benchmark.domain!r}, and "
                f"{self.model_set} has experts for: {', '.join(self.experts)}"
            )
        return found
