"""Answers of a server as they come: so many requests under way at once, and never more."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
Client = TypeVar("Client")
Connect = Callable[[], AbstractAsyncContextManager[Client]]
Work = Callable[[Client, Item], Awaitable[Result]]


def as_finished(
    items: Sequence[Item], work: Work[Client, Item, Result], connect: Connect[Client], *, concurrency: int
) -> Iterator[list[Result]]:
    """Do `work` on every item, in their order, at most `concurrency` at once; yield what is finished, in groups.

    The event loop runs while the consumer waits. What was finished when an item failed is yielded before its error
    is raised; then, and when the consumer stops early, the others are cancelled.
    """
    with asyncio.Runner() as runner:
        done: asyncio.Queue[Result | BaseException] = asyncio.Queue()
        everything = runner.get_loop().create_task(_everything(items, work, connect, concurrency, done))
        left = len(items)
        while left:
            group = runner.run(_group(done))
            results = [found for found in group if not isinstance(found, BaseException)]
            left -= len(results)
            if results:
                yield results
            for found in group:
                if isinstance(found, BaseException):
                    raise found
        runner.run(asyncio.wait_for(everything, None))


async def _everything(
    items: Sequence[Item],
    work: Work[Client, Item, Result],
    connect: Connect[Client],
    concurrency: int,
    done: asyncio.Queue[Any],
) -> None:
    """Workers over one connection pool: each takes the next item when it has finished one."""
    pending = iter(items)

    async def worker(client: Client) -> None:
        for item in pending:
            done.put_nowait(await work(client, item))

    try:
        async with connect() as client:
            workers = [asyncio.create_task(worker(client)) for _ in range(min(concurrency, len(items)))]
            try:
                await asyncio.gather(*workers)
            finally:  # before the connections go: a request that lost its own would be tried again
                for one in workers:
                    one.cancel()
                await asyncio.gather(*workers, return_exceptions=True)
    except asyncio.CancelledError:
        raise
    except BaseException as error:  # an interruption too: a task would keep it to itself
        done.put_nowait(error)


async def _group(done: asyncio.Queue[Any]) -> list[Any]:
    """The next finished one, and all that are finished beside it."""
    group = [await done.get()]
    while not done.empty():
        group.append(done.get_nowait())
    return group
