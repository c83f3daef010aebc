"""TOY-6: the fixture of the worked examples. Every entry is exact in bfloat16."""

from __future__ import annotations

import torch

from tests.methods.harness import matrix

THETA0 = torch.tensor([1, -2, 0.5, 0, 3, -1])
TAU = (
    torch.tensor([0.5, -0.25, 0.125, 0, -0.375, 0.0625]),
    torch.tensor([0.25, 0.75, -0.5, 0, 0.125, -0.0625]),
    torch.tensor([-0.125, 0.375, 0.25, 0, 0.5, 0.1875]),
)
BASE = matrix(THETA0)
TAUS = tuple(matrix(tau) for tau in TAU)
FISHER = (
    torch.tensor([1.0, 1, 2, 1, 1, 3]),
    torch.tensor([2.0, 1, 1, 1, 3, 1]),
    torch.tensor([4.0, 2, 1, 1, 1, 1]),
)
FISHERS = [matrix(fisher) for fisher in FISHER]
