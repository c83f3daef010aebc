"""What changed between two results of a case, element by element, up to rounding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.regress.produce import Product, Written

if TYPE_CHECKING:
    from torch import Tensor

# Float sums differ between processors (vector width, fused multiply-add) by a few steps of float32 at the size of a
# weight: at most 3e-6 of a task vector here, measured with wide vectors against none. The smallest entry that a
# fault drops, keeps, or turns is some 1e-3 of one.
TOLERANCE = 3e-5
DIGITS = {"BF16": 8, "F16": 11}  # significant bits: there, one rounding may fall the other way


@dataclass(frozen=True)
class Change:
    """One tensor of a case that is not what it was: `what` in words, how many of its elements, and the largest
    difference as a multiple of the task vectors' root mean square. Without a tensor, `what` is about the case."""

    case: str
    tensor: str
    what: str
    changed: int = 0
    elements: int = 0
    largest: float | None = None


def compare(case: str, found: Product, golden: Product) -> tuple[list[Change], float]:
    """Every change, and the largest difference that was taken for rounding."""
    changes = []
    if found.models != golden.models:
        changes.append(Change(case, "", "the fixed models themselves are others"))
    for asked in sorted(set(found.needs) ^ set(golden.needs)):
        verb = "now asks for" if asked in found.needs else "no longer asks for"
        changes.append(Change(case, "", f"{verb} {asked}"))
    rounding = 0.0
    for name in sorted({*found.tensors, *golden.tensors}):
        if name not in found.tensors or name not in golden.tensors:
            changes.append(Change(case, name, "is new" if name in found.tensors else "is gone"))
            continue
        change, noise = _compare(case, name, found.tensors[name], golden.tensors[name], golden.scale)
        changes += [change] if change else []
        rounding = max(rounding, noise)
    return changes, rounding


def _compare(
    case: str, name: str, found: Written, golden: Written, scale: float
) -> tuple[Change | None, float]:
    if (found.dtype, found.shape) != (golden.dtype, golden.shape):
        what = f"{golden.dtype} {list(golden.shape)} became {found.dtype} {list(found.shape)}"
        return Change(case, name, what), 0.0
    now, then = found.values.double(), golden.values.double()
    differs = ~((now == then) | (now.isnan() & then.isnan()))
    size = (now - then).abs() / scale
    beyond = differs & ~(size <= _allowed(found.dtype, now, then, scale))
    noise = float(size[differs & ~beyond].max()) if bool((differs & ~beyond).any()) else 0.0
    if not bool(beyond.any()):
        return None, noise
    count, largest = int(beyond.sum()), size[beyond].nan_to_num(nan=float("inf")).max()
    return Change(case, name, f"{count} of {len(now)}", count, len(now), float(largest)), noise


def _allowed(dtype: str, now: Tensor, then: Tensor, scale: float) -> Tensor:
    """Differences that rounding explains, in the unit of task vectors; one step of a dtype of few bits."""
    import torch

    most = torch.full_like(now, TOLERANCE)
    if dtype not in DIGITS:
        return most
    _, exponent = torch.frexp(torch.maximum(now.abs(), then.abs()))
    return most.maximum(torch.ldexp(torch.ones_like(now), exponent - DIGITS[dtype]) / scale)
