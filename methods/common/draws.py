"""Random numbers that belong to an element, not to the moment: keyed by seed, expert and tensor name.

The generator is counter-based (Philox 4x64, Salmon et al. 2011, as NumPy implements it): the numbers of any run
of a tensor are had without drawing those before it, so that neither order, threads nor block size matter.
"""

from __future__ import annotations

import hashlib

import numpy as np
import torch
from torch import Tensor

PER_COUNT = 8  # float32 numbers of one counter step: four 64-bit words, two numbers each


def uniforms(seed: int, expert: str, name: str, start: int, n: int) -> Tensor:
    """[n] float32 in [0, 1): elements `start` to `start + n` of tensor `name` of the expert called `expert`.

    `start` is a multiple of 8. Resolution 2^-24.
    """
    if start % PER_COUNT:
        raise ValueError(f"a run of draws starts at a multiple of {PER_COUNT}, not at {start}")
    key = int.from_bytes(hashlib.blake2b(f"{seed}|{expert}|{name}".encode(), digest_size=16).digest(), "big")
    generator = np.random.Generator(np.random.Philox(key=key, counter=start // PER_COUNT))
    return torch.from_numpy(generator.random(n, dtype=np.float32))
