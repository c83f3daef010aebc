"""Files written in any order: the bytes, the hash, and what the disk answers."""

from __future__ import annotations

import errno
import os
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import xxhash
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench import hashes
from bench.hashes import hash_file
from bench.merging import sink as sinks
from bench.merging.sink import Disk, Sink
from tests.helpers.disks import mounted

CHUNK = 8192  # two pages: what is written past the page cache has whole pages


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    _chunks_of(CHUNK, monkeypatch)


def _chunks_of(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashes, "HASHED", size)
    monkeypatch.setattr(sinks, "HASHED", size)


def _bytes(size: int) -> bytes:
    return random.Random(size).randbytes(size)


def _written(path: Path, data: bytes, cuts: list[int], order: list[int], threads: int = 1) -> str:
    """Write the runs between `cuts` in an order of theirs; the hash that the sink gives."""
    places = [0, *cuts, len(data)]
    runs = [(places[i], places[i + 1]) for i in order]
    disk = Disk()
    sink = Sink(path, len(data), disk)
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda run: sink.write(np.frombuffer(data[slice(*run)], np.uint8), run[0]), runs))
    disk.finish()
    return sink.close()


def _by_hand(data: bytes, chunk: int) -> str:
    """The definition: the hash of the chunks' hashes, or that of the only chunk."""
    if len(data) <= chunk:
        return xxhash.xxh3_128_hexdigest(data)
    parts = [xxhash.xxh3_128_digest(data[i : i + chunk]) for i in range(0, len(data), chunk)]
    return xxhash.xxh3_128_hexdigest(b"".join(parts))


@given(draw=st.data(), size=st.integers(1, 6 * CHUNK + 5), threads=st.sampled_from([1, 3]))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_order_of_any_runs_gives_the_bytes_and_their_hash(
    draw: st.DataObject, size: int, threads: int, tmp_path: Path, small_chunks: None
) -> None:
    data = _bytes(size)
    cuts = sorted(draw.draw(st.sets(st.integers(1, max(1, size - 1)), max_size=12)) - {size})
    order = draw.draw(st.permutations(range(len(cuts) + 1)))
    mark = _written(tmp_path / "file", data, cuts, order, threads)
    assert (tmp_path / "file").read_bytes() == data
    assert mark == _by_hand(data, CHUNK) == hash_file(tmp_path / "file")


def test_chunks_that_wait_too_long_are_written_as_they_are(
    tmp_path: Path, small_chunks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first half of every chunk, then the second half of every chunk: more chunks are open than may be."""
    monkeypatch.setattr(sinks, "OPEN_CHUNKS", 3)
    data = _bytes(20 * CHUNK)
    halves = len(data) // (CHUNK // 2)
    cuts = [i * CHUNK // 2 for i in range(1, halves)]
    mark = _written(tmp_path / "file", data, cuts, [*range(0, halves, 2), *range(1, halves, 2)])
    assert (tmp_path / "file").read_bytes() == data
    assert mark == _by_hand(data, CHUNK)


def test_a_file_system_that_must_use_its_cache_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of no whole number of blocks, declared whole: the kernel refuses them past the page cache."""
    _chunks_of(1000, monkeypatch)
    monkeypatch.setattr(sinks, "PAGE", 1)
    data = _bytes(10_500)
    mark = _written(tmp_path / "file", data, [], [0])
    assert (tmp_path / "file").read_bytes() == data
    assert mark == _by_hand(data, 1000)


def test_without_a_way_past_the_cache_all_is_the_same(
    tmp_path: Path, small_chunks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "O_DIRECT")
    data = _bytes(5 * CHUNK + 1)
    assert _written(tmp_path / "file", data, [100], [1, 0]) == _by_hand(data, CHUNK)
    assert (tmp_path / "file").read_bytes() == data


def test_a_disk_that_fills_up_is_said_by_a_write_or_at_the_end(tmp_path: Path, small_chunks: None) -> None:
    data = np.frombuffer(_bytes(64 * CHUNK), np.uint8)
    with mounted(tmp_path / "small", f"size={16 * CHUNK}") as real:
        if not real:
            pytest.skip("this process may mount nothing")
        before = set(threading.enumerate())
        disk = Disk()
        sink = Sink(tmp_path / "small" / "file", len(data), disk)
        with pytest.raises(OSError) as found:
            for place in range(0, len(data), CHUNK // 2):
                sink.write(data[place : place + CHUNK // 2], place)
            disk.finish()
        assert found.value.errno == errno.ENOSPC
        with pytest.raises(OSError):
            disk.finish()
        sink.abandon()
    assert set(threading.enumerate()) <= before, "its threads have ended"
