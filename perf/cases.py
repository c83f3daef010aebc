"""The merges that are measured, and what is required of them.

Both tools do the same merge by definition: trim scope `tensor`, weights 1, the sign of zero `positive` and DARE's
rescaling `l1` on our side, which are mergekit's definitions. Only the random masks of DARE differ.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

GB = 10**9


@dataclass(frozen=True)
class Case:
    """One merge: ours as method and settings, and the peer's, if it has it.

    `faster` is the least required ratio of the peer's seconds to ours; `against` names another case of ours whose
    cost bounds this one by `at_most`: in seconds of the process, or, `per_byte`, in seconds of merging per byte read.
    `planted`: its statistics are put where the program keeps what it computed before, so that only merging is
    measured. `anonymous`, `resident` (bytes) and `seconds` are the most allowed; `memory_like` names a case of
    another size or number of experts that must need about as much memory, compared when both have run.
    """

    name: str
    method: str
    settings: Mapping[str, Any]
    shape: Literal["large", "small"] = "large"
    experts: int = 3
    peer: tuple[str, Mapping[str, Any], Mapping[str, Any]] | None = None
    faster: float | None = None
    against: str | None = None
    at_most: float | None = None
    per_byte: bool = False
    planted: bool = False
    anonymous: float | None = 1.5 * GB
    resident: float | None = None
    seconds: float | None = None
    memory_like: str | None = None


TIES = {"keep": 0.2, "zero_sign": "positive"}

CASES = (
    Case(
        "task_arithmetic",
        "task_arithmetic",
        {"lambda": 0.4},
        peer=("task_arithmetic", {"lambda": 0.4}, {"weight": 1.0}),
        faster=2.5,
    ),
    Case(
        "dare_ties",
        "dare_ties",
        {"drop_rate": 0.5, "scope": "tensor", "aggregate": "sum", "rescale": "l1", "zero_sign": "positive"},
        peer=("dare_ties", {}, {"weight": 1.0, "density": 0.5}),
        faster=5.0,
    ),
    Case(
        "ties",
        "ties",
        {**TIES, "scope": "tensor"},
        peer=("ties", {"normalize": True}, {"weight": 1.0, "density": 0.2}),
        faster=12.0,
    ),
    Case("ties_model", "ties", {**TIES, "scope": "model"}, against="ties", at_most=1.5),
    Case("ties_three", "ties", {**TIES, "scope": "tensor"}, shape="small", memory_like="ties"),
    Case(
        "ties_small", "ties", {**TIES, "scope": "tensor"}, shape="small", experts=5, memory_like="ties_three"
    ),
    Case(
        "drift_median",
        "drift_median",
        {},
        shape="small",
        experts=5,
        against="ties_small",
        at_most=2.0,
        per_byte=True,
        planted=True,
    ),
    Case("fim_ties", "fim_ties", {}, experts=1, anonymous=None, resident=13 * GB, seconds=180.0),
)


def chosen(only: str | None) -> list[Case]:
    """The cases named in `only` (comma-separated) and those that they are compared with; all for None."""
    known = {case.name: case for case in CASES}
    names = [name.strip() for name in only.split(",")] if only else list(known)
    for name in names:
        if name not in known:
            raise SystemExit(f"--only {name}: no such merge; known: {', '.join(known)}")
    wanted = {*names, *(known[name].against for name in names)}
    return [case for case in CASES if case.name in wanted]
