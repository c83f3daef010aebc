"""A run's own append-only file of rows: durable within about a second, never blocked by the database.

A spool is JSON lines. The first line says which spool it is, each other line is one row:

    {"spool": "5f0c...", "run_id": "...", "schema_version": 2}
    {"table": "responses", "row": {"response_id": "...", ...}}

The writer holds an advisory lock (flock) on the file while it lives; the system drops it when the process
ends, however it ends. That is how the ingester (`results/store.py`) knows that a spool is finished.
"""

from __future__ import annotations

import fcntl
import json
import math
import os
import re
import threading
import time
import uuid
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from results.errors import StoreError
from results.schema import SCHEMA_VERSION, TABLES, Field, Table

FLUSH_SECONDS = 1.0
SUFFIX = ".jsonl"

_INTEGERS = {"INTEGER": (-(2**31), 2**31 - 1), "BIGINT": (-(2**63), 2**63 - 1), "UBIGINT": (0, 2**64 - 1)}


class Spool:
    """Appends rows to `<spool_dir>/<run_id>.jsonl`. Use it as a context manager, or call `close()`.

    A row reaches the operating system before `append` returns, so that it survives the death of this process;
    it reaches the disk at most about a second later, so that it survives the death of the machine.
    Safe to use from several threads. `run_id` and `created_at` are filled in where a row lacks them.
    """

    def __init__(self, spool_dir: Path | str, run_id: str) -> None:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", run_id):
            raise StoreError(f"run id {run_id!r} must consist of letters, digits, '.', '_' and '-'")
        self.run_id = run_id
        self.path = Path(spool_dir) / f"{run_id}{SUFFIX}"
        self._lock = threading.Lock()
        self._dirty = threading.Event()
        self._closing = threading.Event()
        self._failure: OSError | None = None
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = _open_locked(self.path)
        except OSError as error:
            raise StoreError(f"cannot write the spool {self.path}: {error}") from error
        self._start()
        self._flusher = threading.Thread(target=self._flush_forever, name=f"spool {run_id}", daemon=True)
        self._flusher.start()

    def append(self, table: str, row: Mapping[str, Any]) -> None:
        """Append one row; columns left out are NULL. Raises StoreError for a row that does not fit."""
        self.append_many(table, [row])

    def append_many(self, table: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """Append rows with one write. All of them are checked first: none is written if one does not fit."""
        defaults = {"run_id": self.run_id, "created_at": datetime.now(UTC)}
        lines = [_line({"table": table, "row": check_row(table, {**defaults, **row})}) for row in rows]
        if lines:
            self._write(b"".join(lines))

    def close(self) -> None:
        """Put everything on the disk and mark the spool as finished. Closing twice is harmless."""
        with self._lock:
            if self._closing.is_set():
                return
            self._closing.set()
        self._dirty.set()
        self._flusher.join()
        try:
            os.fsync(self._file)
        finally:
            os.close(self._file)
        self._raise_failure()

    def __enter__(self) -> Spool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _start(self) -> None:
        """Cut off what a killed writer left unfinished, and write the first line of a new spool."""
        content = self.path.read_bytes()
        os.ftruncate(self._file, content.rfind(b"\n") + 1)
        if b"\n" not in content:
            header = {"spool": uuid.uuid4().hex, "run_id": self.run_id, "schema_version": SCHEMA_VERSION}
            self._write(_line(header))
            _sync_directory(self.path.parent)

    def _write(self, data: bytes) -> None:
        with self._lock:
            if self._closing.is_set():
                raise StoreError(f"the spool {self.path} is closed")
            self._raise_failure()
            start = os.fstat(self._file).st_size
            try:
                written = 0
                while written < len(data):
                    written += os.write(self._file, data[written:])
            except OSError as error:
                os.ftruncate(self._file, start)  # half a row would spoil the one after it
                raise StoreError(f"cannot write to {self.path}: {error}. Is the disk full?") from error
        self._dirty.set()

    def _flush_forever(self) -> None:
        while not self._closing.is_set():
            self._dirty.wait()
            self._closing.wait(FLUSH_SECONDS / 2)
            self._dirty.clear()
            try:
                os.fsync(self._file)
            except OSError as error:
                self._failure = error
                return

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise StoreError(f"cannot flush {self.path} to the disk: {self._failure}") from self._failure


def check_row(table_name: str, row: Mapping[str, Any]) -> dict[str, Any]:
    """The row as JSON values in the order of the schema, NULLs left out.

    Raises StoreError for an unknown table or column, a value of the wrong type, or a row without its subject
    (the first column of the key). NaN becomes NULL: it is a number that could not be computed.
    """
    table = TABLES.get(table_name)
    if table is None:
        raise StoreError(f"unknown table {table_name!r}. Known: {', '.join(TABLES)}.")
    names = {field.name for field in table.fields}
    unknown = [name for name in row if name not in names]
    if unknown:
        raise StoreError(
            f"table {table.name} has no column {unknown[0]!r}. It has: {', '.join(sorted(names))}."
        )
    values = {f.name: value for f in table.fields if (value := _value(table, f, row.get(f.name))) is not None}
    if table.key[0] not in values:
        raise StoreError(f"a row of {table.name} needs {table.key[0]!r}; this one has {sorted(values)}")
    return values


def _value(table: Table, field: Field, value: Any) -> Any:
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        value = value.item()  # a NumPy number
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    fits = False
    if field.type == "VARCHAR":
        fits = isinstance(value, str)
    elif field.type == "BOOLEAN":
        fits = isinstance(value, bool)
    elif field.type == "DOUBLE":
        fits = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    elif field.type in _INTEGERS:
        low, high = _INTEGERS[field.type]
        fits = isinstance(value, int) and not isinstance(value, bool) and low <= value <= high
    elif field.type == "JSON":
        fits = isinstance(value, dict | list | tuple)  # text would be ambiguous: JSON, or a string?
    elif field.type == "TIMESTAMP":
        fits = isinstance(value, datetime) and value.tzinfo is not None
        value = value.astimezone(UTC).replace(tzinfo=None).isoformat() if fits else value
    if not fits:
        hint = {"JSON": " (a dict or list)", "TIMESTAMP": " (a datetime with its time zone)"}.get(
            field.type, ""
        )
        raise StoreError(f"{table.name}.{field.name} takes {field.type}{hint}, not {value!r:.80}")
    return value


def _line(content: Mapping[str, Any]) -> bytes:
    """One JSON line. Lone surrogates, which are not text, become '?'."""
    try:
        text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError) as error:
        raise StoreError(f"a row holds a value that JSON cannot: {error}") from error
    return text.encode("utf-8", errors="replace") + b"\n"


def _open_locked(path: Path, wait_seconds: float = 10.0) -> int:
    """Open the spool for appending and lock it. An ingester may hold it a moment, and remove the file."""
    deadline = time.monotonic() + wait_seconds
    while True:
        file = os.open(path, os.O_CREAT | os.O_APPEND | os.O_RDWR, 0o644)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.exists() and os.path.samestat(os.fstat(file), path.stat()):
                return file
        except BlockingIOError:
            if time.monotonic() > deadline:
                os.close(file)
                raise StoreError(f"another process is writing {path}: a run id belongs to one run") from None
        os.close(file)
        time.sleep(0.02)


def _sync_directory(folder: Path) -> None:
    """Make the name of a new file durable, not only its content."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
