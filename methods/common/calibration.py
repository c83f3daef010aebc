"""Output-norm calibration of FIM-TIES: a merged matrix must not amplify what the base's did not.

Source: FIM-Merging, Algorithm 1 step 5; the probes, the norm statistic and what is rescaled are not printed
there.
"""

from __future__ import annotations

import hashlib
from typing import Literal

import torch
from torch import Tensor

NormStatistic = Literal["l2", "rms", "frobenius"]


def normal_probes(*, count: int, features: int, seed: int, name: str) -> Tensor:
    """[count, features] standard-normal inputs: a CPU generator of its own per (seed, tensor name)."""
    digest = hashlib.blake2b(f"{seed}:{name}".encode(), digest_size=8).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest, "big") >> 1)
    return torch.randn((count, features), generator=generator)


def output_norm(
    weight: Tensor, bias: Tensor | None, probes: Tensor, *, statistic: NormStatistic, input_axis: int = 1
) -> float:
    """Size of W x + b over the probes: mean L2 norm, root mean square norm, or its infinite-probe limit."""
    if statistic == "frobenius":
        squares = float(weight.square().sum(dtype=torch.float64))
        return (squares + (float(bias.square().sum(dtype=torch.float64)) if bias is not None else 0.0)) ** 0.5
    out = probes @ (weight.T if input_axis == 1 else weight)
    norms = (out if bias is None else out + bias).norm(dim=1).double()
    return float(norms.mean() if statistic == "l2" else norms.square().mean().sqrt())
