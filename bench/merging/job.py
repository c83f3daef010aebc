"""One merge under way, as the executor and the units that it reads see it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bench.alignment.align import Alignment, Target
from bench.recipe import Recipe
from bench.statistics import Statistic

if TYPE_CHECKING:
    from torch import Tensor

BLOCK = 1 << 18  # elements of a run: a few of them, in float32, stay in a processor's own cache
KEPT_BYTES = 256 << 20  # a group of units no larger than this is read once for its passes and its merge
Place = tuple[int, int]  # of a run: the tensor's order and the first element
Note = tuple[str, str, float]  # unit, metric, value


@dataclass
class Job:
    """One merge under way: the recipe, its alignment, the experts' ids and the statistics by need name."""

    recipe: Recipe
    alignment: Alignment
    ids: tuple[str, ...] = ()
    statistics: dict[str, tuple[Statistic, ...]] = field(default_factory=dict)
    notes: list[Note] = field(default_factory=list)
    block: int = BLOCK
    checked: set[Place] = field(default_factory=set)  # runs known to be finite
    kept: dict[Place, Tensor] | None = None  # runs of the group at hand, while it is small enough to be kept

    def keeps(self, targets: Iterable[Target]) -> bool:
        """Whether these tensors, of base and experts, fit into KEPT_BYTES as float32."""
        models = 1 + len(self.recipe.experts)
        return models * sum(4 * target.info.n for target in targets) <= KEPT_BYTES

    @property
    def merged_targets(self) -> list[Target]:
        """Targets that the method decides."""
        return [target for target in self.alignment.targets if target.action == "merge"]
