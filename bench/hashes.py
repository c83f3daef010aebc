"""The hash of a file: xxh3-128 of the xxh3-128 of its chunks, so that chunks can be hashed in any order.

A file of one chunk has that chunk's hash.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

HASHED = 1 << 22  # bytes of a chunk: a power of two, so that it begins a page and a block of any disk
READ = 1 << 18  # bytes read at once, into one buffer again and again: a larger one costs page faults


def hash_bytes(data: Any) -> bytes:
    """xxh3-128 of a bytes-like object."""
    import xxhash

    return xxhash.xxh3_128_digest(data)


def hash_of_chunks(chunks: Iterable[bytes]) -> str:
    """Hash of a file, hex, from the hashes of its chunks in order."""
    parts = list(chunks)
    return (parts[0] if len(parts) == 1 else hash_bytes(b"".join(parts))).hex()


def hash_file(file: Path) -> str:
    """Hash of a file's bytes, read once."""
    descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    try:
        size = os.fstat(descriptor).st_size
        return hash_of_chunks(hash_chunk(descriptor, start) for start in range(0, size, HASHED))
    finally:
        os.close(descriptor)


def hash_chunk(descriptor: int, start: int) -> bytes:
    """Hash of the chunk of an open file that begins at byte `start`, or of what the file has of it."""
    import xxhash

    hasher, done = xxhash.xxh3_128(), 0
    buffer = memoryview(bytearray(READ))
    while count := os.preadv(descriptor, [buffer[: HASHED - done]], start + done):
        hasher.update(buffer[:count])
        done += count
    return hasher.digest()
