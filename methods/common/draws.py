"""Random numbers that belong to an element, not to the moment: keyed by seed, expert and tensor name.

The generator is counter-based (`methods/common/kernels.py: drop`): the number of any element is had without drawing
those before it, so that neither order, threads nor block size matter.
"""

from __future__ import annotations

import hashlib

import numpy as np

DRAWS = 1 << 32  # draws are 0 to DRAWS - 1, each as likely


def stream_key(seed: int, expert: str, name: str) -> np.uint64:
    """Key of the draws of tensor `name` of the expert called `expert`."""
    return np.uint64(
        int.from_bytes(hashlib.blake2b(f"{seed}|{expert}|{name}".encode(), digest_size=8).digest(), "big")
    )
