"""Large files written in any order: gathered into chunks, hashed when full, and written past the page cache.

A merge reads its inputs from the page cache again and again. What it writes would push them out, and each page that
the cache gives to the result is cleared and copied into first; the disk must have the result in the end anyway.
"""

from __future__ import annotations

import errno
import mmap
import os
import queue
import threading
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.hashes import HASHED, hash_bytes, hash_chunk, hash_of_chunks

OPEN_CHUNKS = 24  # that wait for their last bytes; with one more, the oldest is written as it is
THREADS = 2  # one hashes while another waits for the disk
WAITING_CHUNKS = 8  # full ones on their way to the disk
PAGE = mmap.PAGESIZE
# How a file system says that it cannot write past the page cache: on opening, or with the first bytes.
UNABLE = (errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP)

Bytes = NDArray[np.uint8]


@dataclass
class _Chunk:
    """HASHED bytes of a file from `start` on, fewer at its end: memory of whole pages, and the runs it has."""

    start: int
    memory: Bytes
    size: int
    runs: list[tuple[int, int]] = field(default_factory=list)
    missing: int = field(init=False)

    def __post_init__(self) -> None:
        self.missing = self.size

    @property
    def data(self) -> Bytes:
        """The chunk's bytes."""
        return self.memory[: self.size]

    def put(self, part: Bytes, offset: int) -> None:
        """Take bytes that belong at `offset`."""
        self.memory[offset : offset + len(part)] = part
        self.runs.append((offset, offset + len(part)))
        self.missing -= len(part)


class Disk:
    """The threads that write full chunks of any sink, and the memory that chunks take turns in."""

    def __init__(self) -> None:
        self._full: queue.SimpleQueue[tuple[Sink, _Chunk] | None] = queue.SimpleQueue()
        self._room = threading.Semaphore(WAITING_CHUNKS)
        self._free: list[Bytes] = []
        self._failed: BaseException | None = None
        self._threads = [threading.Thread(target=self._run, name="disk", daemon=True) for _ in range(THREADS)]
        for thread in self._threads:
            thread.start()

    def memory(self) -> Bytes:
        """HASHED bytes that begin a page; give them back with `recycle`."""
        try:
            return self._free.pop()
        except IndexError:
            return np.frombuffer(mmap.mmap(-1, HASHED), np.uint8)

    def recycle(self, chunk: _Chunk) -> None:
        """Let another chunk have a chunk's memory."""
        self._free.append(chunk.memory)

    def submit(self, sink: Sink, chunk: _Chunk) -> None:
        """Write a full chunk soon. Waits while too many do; raises what an earlier one met."""
        self._check()
        self._room.acquire()
        self._full.put((sink, chunk))

    def finish(self) -> None:
        """Wait until all is written, and end the threads; raises what writing met. May be called again."""
        for _ in self._threads:
            self._full.put(None)
        for thread in self._threads:
            thread.join()
        self._check()

    def _check(self) -> None:
        if self._failed is not None:
            raise self._failed

    def _run(self) -> None:
        while (work := self._full.get()) is not None:
            sink, chunk = work
            try:
                if self._failed is None:
                    sink.write_full(chunk)
            except BaseException as error:  # a thread that has ended would let everyone wait for it
                self._failed = error
            self.recycle(chunk)
            self._room.release()


class Sink:
    """A new file of `size` bytes, each of which is written once, from any thread and in any order."""

    def __init__(self, path: Path, size: int, disk: Disk) -> None:
        self.path, self.size, self._disk = path, size, disk
        self._cached = path.open("w+b", buffering=0)
        self._direct = _open_direct(path)
        self._past_cache = True  # until the file system refuses
        self._chunks: dict[int, _Chunk] = {}
        self._loose: set[int] = set()  # numbers of chunks that were written before they were full
        self._hashes: dict[int, bytes] = {}
        self._gathering = threading.Lock()
        self._cached.truncate(size)

    def reserve(self) -> None:
        """Have the file's blocks set aside, so that a full disk says so now. OSError where it cannot be done."""
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(self._cached.fileno(), 0, self.size)

    def write(self, data: Bytes, place: int) -> None:
        """Write `data` at byte `place`."""
        while len(data):
            number, offset = divmod(place, HASHED)
            part = data[: HASHED - offset]
            full = self._gather(number, part, offset)
            if full is not None:
                self._disk.submit(self, full)
            data, place = data[len(part) :], place + len(part)

    def _gather(self, number: int, part: Bytes, offset: int) -> _Chunk | None:
        """Add bytes to their chunk; the chunk, if they were its last."""
        with self._gathering:
            if number in self._loose:
                _write_all(self._cached, part, number * HASHED + offset)
                return None
            chunk = self._chunks.get(number) or self._begin(number)
            chunk.put(part, offset)
            return None if chunk.missing else self._chunks.pop(number)

    def _begin(self, number: int) -> _Chunk:
        if len(self._chunks) == OPEN_CHUNKS:
            self._let_go(next(iter(self._chunks)))
        start = number * HASHED
        chunk = _Chunk(start, self._disk.memory(), min(HASHED, self.size - start))
        self._chunks[number] = chunk
        return chunk

    def _let_go(self, number: int) -> None:
        """Write what a chunk has; the rest will be written as it comes."""
        chunk = self._chunks.pop(number)
        for begin, end in chunk.runs:
            _write_all(self._cached, chunk.data[begin:end], chunk.start + begin)
        self._loose.add(number)
        self._disk.recycle(chunk)

    def write_full(self, chunk: _Chunk) -> None:
        """Hash a chunk and write it: past the page cache if it is whole pages and the file system can."""
        self._hashes[chunk.start] = hash_bytes(chunk.data)
        if self._direct is not None and self._past_cache and chunk.size % PAGE == 0:
            try:
                _write_all(self._direct, chunk.data, chunk.start)
                return
            except OSError as error:
                if error.errno not in UNABLE:
                    raise
                self._past_cache = False
        _write_all(self._cached, chunk.data, chunk.start)

    def close(self) -> str:
        """Write what is left and have the disk keep it all; returns the file's hash. The `Disk` has finished."""
        for number in list(self._chunks):
            self._let_go(number)
        descriptor = self._cached.fileno()
        os.fsync(descriptor)
        starts = range(0, self.size, HASHED)
        marks = [self._hashes.get(start) or hash_chunk(descriptor, start) for start in starts]
        self.abandon()
        return hash_of_chunks(marks)

    def abandon(self) -> None:
        """Close the file as it is."""
        self._cached.close()
        if self._direct is not None:
            self._direct.close()


def _open_direct(path: Path) -> FileIO | None:
    """The file opened to write past the page cache, None where the file system or the platform has no such way."""
    try:
        return FileIO(os.open(path, os.O_WRONLY | os.O_DIRECT | os.O_CLOEXEC), "wb")
    except (OSError, AttributeError):  # macOS has no O_DIRECT
        return None


def _write_all(file: FileIO, data: Bytes, place: int) -> None:
    while len(data):
        done = os.pwrite(file.fileno(), data.data, place)
        data, place = data[done:], place + done
