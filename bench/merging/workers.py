"""A few threads that do independent tasks while results are taken in order."""

from __future__ import annotations

import ctypes
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import TypeVar

T = TypeVar("T")
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of malloc.h
MAPPED = 32 << 20
MOST = 8  # more threads than this wait for memory, not for each other


def default_threads() -> int:
    """As many as there are processors for this process, at most MOST."""
    return min(len(os.sched_getaffinity(0)), MOST)


def keep_freed_memory() -> None:
    """Ask the C library (glibc) to use freed blocks of up to MAPPED bytes again instead of returning them.

    Every run allocates and frees the same few megabytes. Returned and mapped anew, each page costs a fault and is
    cleared: more than the arithmetic done on it.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(M_MMAP_THRESHOLD, MAPPED)
        libc.mallopt(M_TRIM_THRESHOLD, 2 * MAPPED)


class Workers:
    """Threads that each compute single-threaded: a result must not depend on how many there are.

    While it is open, torch itself uses one thread a task.
    """

    def __init__(self, threads: int | None = None) -> None:
        self.threads = threads or default_threads()

    def __enter__(self) -> Workers:
        import torch

        keep_freed_memory()
        self._before = torch.get_num_threads()
        torch.set_num_threads(1)
        self._pool = ThreadPoolExecutor(
            self.threads, "merge", initializer=torch.set_num_threads, initargs=(1,)
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        import torch

        self._pool.shutdown(wait=True, cancel_futures=True)
        torch.set_num_threads(self._before)

    def ordered(self, tasks: Sequence[Callable[[], T]]) -> Iterator[T]:
        """Results in the order of `tasks`; only a few are ahead of the one that is taken, so memory is bounded."""
        if self.threads == 1:
            yield from (task() for task in tasks)
            return
        running: deque[Future[T]] = deque()
        try:
            for task in tasks:
                if len(running) == 2 * self.threads:
                    yield running.popleft().result()
                running.append(self._pool.submit(task))
            while running:
                yield running.popleft().result()
        finally:
            for future in running:
                future.cancel()
