"""One merge under way, as the executor and the units that it reads see it."""

from __future__ import annotations

from dataclasses import dataclass, field

from bench.alignment.align import Alignment, Target
from bench.recipe import Recipe
from bench.statistics import Statistic

BLOCK = 1 << 18  # elements of a run: a few of them, in float32, stay in a processor's own cache
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

    @property
    def merged_targets(self) -> list[Target]:
        """Targets that the method decides."""
        return [target for target in self.alignment.targets if target.action == "merge"]
