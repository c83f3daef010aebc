"""Opens the DuckDB file for the moment of a query or a transaction.

DuckDB lets one process write or many read, never both. Nobody may therefore keep a connection: every opening
here is short, and one that meets another process waits for its turn.
"""

from __future__ import annotations

import json
import random
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb

from results.errors import StoreError

Query = Callable[..., list[dict[str, Any]]]

_BUSY = ("Could not set lock", "different configuration")  # another process; another thread of this one
_DAMAGE = (duckdb.IOException, duckdb.SerializationException, duckdb.InternalException, duckdb.FatalException)


@contextmanager
def opened(path: Path, *, read_only: bool, wait_seconds: float) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection that is closed at the end of the block.

    Raises StoreError when others hold the file for longer than `wait_seconds`, when the file is no DuckDB
    database, and when it turns out to be damaged or unreadable while it is used.
    """
    connection = _connect(path, read_only=read_only, wait_seconds=wait_seconds)
    try:
        yield connection
    except _DAMAGE as error:
        raise StoreError(
            f"{path} cannot be used: {error}. Rows not yet ingested are safe in the spool."
        ) from error
    finally:
        connection.close()


def fetch(
    connection: duckdb.DuckDBPyConnection, sql: str, params: Sequence[Any] | dict[str, Any] = ()
) -> list[dict[str, Any]]:
    """The rows of a query as dicts; JSON columns are decoded."""
    cursor = connection.execute(sql, params)
    description = cursor.description or []
    names = [column[0] for column in description]
    encoded = [i for i, column in enumerate(description) if str(column[1]) == "JSON"]
    if not encoded:
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    rows = [list(row) for row in cursor.fetchall()]
    for row in rows:
        for i in encoded:
            row[i] = None if row[i] is None else json.loads(row[i])
    return [dict(zip(names, row, strict=True)) for row in rows]


def _connect(path: Path, *, read_only: bool, wait_seconds: float) -> duckdb.DuckDBPyConnection:
    deadline = time.monotonic() + wait_seconds
    pause = 0.01
    while True:
        try:
            return duckdb.connect(str(path), read_only=read_only)
        except duckdb.Error as error:
            if not any(sign in str(error) for sign in _BUSY):
                raise StoreError(_explain(path, error)) from error
            if time.monotonic() + pause > deadline:
                use = "reading" if read_only else "writing"
                raise StoreError(
                    f"{path} could not be opened for {use} within {wait_seconds:g} s: {_holder(error)} has "
                    "it open. Close it (a notebook or a DuckDB shell?) and try again; nothing is lost."
                ) from error
        time.sleep(pause * random.uniform(0.5, 1.0))  # so that two waiting processes do not keep meeting
        pause = min(pause * 1.5, 0.25)


def _explain(path: Path, error: duckdb.Error) -> str:
    if "not a valid DuckDB database" in str(error):
        return f"{path} is not a DuckDB database. Choose another file with --db, or move this one away."
    return f"{path} cannot be opened: {error}"


def _holder(error: duckdb.Error) -> str:
    """Who holds the file, from DuckDB's message and, where the system tells, the command line."""
    found = re.search(r"\(PID (\d+)\)", str(error))
    if not found:
        return "another part of this process"
    try:
        words = Path(f"/proc/{found[1]}/cmdline").read_bytes().split(b"\0")
    except OSError:
        words = []
    command = b" ".join(words).decode(errors="replace").strip()
    return f"process {found[1]}" + (f" ({command:.120})" if command else "")
