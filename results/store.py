"""The results database: takes in the spools of runs, exactly once, and answers questions."""

from __future__ import annotations

import fcntl
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import duckdb
import filelock

from results import migrations
from results.database import Query, fetch, opened
from results.errors import StoreError
from results.schema import SCHEMA_VERSION, TABLES
from results.spool import SUFFIX

CHUNK_BYTES = 8 << 20  # of one transaction: a fraction of a second, so that readers get their turn


@dataclass
class Ingested:
    """What one call of `Store.ingest` did: new rows per table, and the spools that it found and removed."""

    rows: Counter[str] = field(default_factory=Counter)
    spools: int = 0
    removed: int = 0


class Store:
    """The database file at `path`; it need not exist yet. Holds no connection between two calls.

    `wait_seconds` is how long a call waits for other processes that use the file.
    """

    def __init__(self, path: Path | str, *, wait_seconds: float = 20.0) -> None:
        self.path = Path(path)
        self.wait_seconds = wait_seconds

    @property
    def spool_dir(self) -> Path:
        """Where runs that report to this database spool: a spool belongs to one database."""
        name = "spool" if self.path.name == "leaderboard.duckdb" else f"{self.path.stem}.spool"
        return self.path.parent / name

    def ingest(self, spool_dir: Path | str | None = None) -> Ingested:
        """Move the complete new rows of all spools into the database; remove the spools of ended runs.

        May be called at any time and from any number of processes: one works, the others wait. A row counts
        exactly once, whenever this process dies. A response whose id is known is the same work: ignored.
        Raises StoreError when the database cannot be written and, after the other spools, for a damaged one.
        """
        report, problems = Ingested(), []
        paths = sorted(Path(spool_dir or self.spool_dir).glob(f"*{SUFFIX}"))
        if not paths:
            return report
        with self._ingester():
            for path in paths:
                try:
                    self._ingest_spool(path, report)
                except FileNotFoundError:
                    continue  # another ingester finished it while this one waited
                except _DamagedSpool as error:
                    problems.append(str(error))
        if problems:
            raise StoreError("; ".join(problems))
        return report

    def rows(self, sql: str, params: Sequence[Any] | dict[str, Any] = ()) -> list[dict[str, Any]]:
        """The rows of one read-only query; JSON columns are decoded. No database yet: no rows."""
        with self.reading() as query:
            return query(sql, params)

    @contextmanager
    def reading(self) -> Iterator[Query]:
        """Several queries on one state of the database: yields a function with the arguments of `rows`."""
        if not self._has_file():
            yield lambda sql, params=(): []
            return
        with opened(self.path, read_only=True, wait_seconds=self.wait_seconds) as connection:
            version = self._version(connection)
            if version == SCHEMA_VERSION:
                yield lambda sql, params=(): fetch(connection, sql, params)
                return
        if version == 0:
            yield lambda sql, params=(): []
            return
        with self._ingester(), self._writing():
            pass  # opening it for writing brings it up to date
        with opened(self.path, read_only=True, wait_seconds=self.wait_seconds) as connection:
            yield lambda sql, params=(): fetch(connection, sql, params)

    def fetch(self, table: str, ids: Iterable[str], **equal: Any) -> list[dict[str, Any]]:
        """The current rows of `table` whose first key column is one of `ids`, and that equal `equal`.

        Superseded rows are left out. Example: `fetch("verdicts", ids, grader="boxed", grader_version="1")`.
        """
        # Choosing the ids before the newest rows is what makes this fast in a large table.
        return self._select("*", migrations.newest_rows(TABLES[table], _among(table)), table, ids, equal)

    def known(self, table: str, ids: Iterable[str], **equal: Any) -> set[str]:
        """Those of `ids` that the first key column of `table` holds: what need not be done again.

        Only the database is asked: call `ingest` first.
        """
        key = TABLES[table].key[0]
        source = f"SELECT * FROM {table} WHERE {_among(table)}"
        return {row[key] for row in self._select(f'DISTINCT "{key}"', source, table, ids, equal)}

    def stamp(self) -> tuple[int, ...]:
        """Changes whenever the database changes: a key for caches."""
        stamp: list[int] = []
        for path in (self.path, self.path.with_name(self.path.name + ".wal")):
            if path.exists():
                stat = path.stat()
                stamp += (stat.st_mtime_ns, stat.st_size)
        return tuple(stamp)

    def _select(
        self, what: str, source: str, table: str, ids: Iterable[str], equal: dict[str, Any]
    ) -> list[dict[str, Any]]:
        names = {field.name for field in TABLES[table].fields}
        unknown = [name for name in equal if name not in names]
        if unknown:
            raise StoreError(
                f"table {table} has no column {unknown[0]!r}. It has: {', '.join(sorted(names))}."
            )
        conditions = "".join(f' AND "{name}" IS NOT DISTINCT FROM ?' for name in equal)
        sql = f"SELECT {what} FROM ({source}) WHERE true{conditions}"
        return self.rows(sql, [json.dumps(list(ids)), *equal.values()])

    def _has_file(self) -> bool:
        return self.path.exists() and self.path.stat().st_size > 0

    @contextmanager
    def _ingester(self) -> Iterator[None]:
        """The right to write: one process at a time, the others queue."""
        lock = filelock.FileLock(f"{self.path}.lock")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            lock.acquire(timeout=max(60.0, self.wait_seconds))
        except filelock.Timeout as error:
            raise StoreError(
                f"another process keeps writing {self.path} (it holds {lock.lock_file})"
            ) from error
        except OSError as error:
            raise StoreError(f"{self.path} cannot be written: {error}") from error
        try:
            yield
        finally:
            lock.release()

    @contextmanager
    def _writing(self) -> Iterator[duckdb.DuckDBPyConnection]:
        if self.path.exists() and not self._has_file():
            self.path.unlink()  # an empty file, as `mktemp` makes it, is a database that does not exist yet
        with opened(self.path, read_only=False, wait_seconds=self.wait_seconds) as connection:
            self._version(connection)
            migrations.migrate(connection)
            yield connection

    def _version(self, connection: duckdb.DuckDBPyConnection) -> int:
        try:
            version = migrations.version_of(connection)
        except StoreError as error:
            raise StoreError(f"{self.path} is a database of something else: {error}") from error
        migrations.check_version(version, self.path)
        return version

    def _ingest_spool(self, path: Path, report: Ingested) -> None:
        with path.open("rb") as file:
            # First the lock, then the reading: whoever gets it knows that nothing will be added.
            ended = _try_lock(file)
            header = _header(path, file.readline())
            if header is not None:
                report.spools += 1
                while self._ingest_chunk(path, file, header, report):
                    pass
            if ended:
                path.unlink()
                report.removed += header is not None

    def _ingest_chunk(self, path: Path, file: BinaryIO, header: dict[str, Any], report: Ingested) -> bool:
        """One transaction: rows, and how far they reach in the spool. True when there may be more to read."""
        with self._writing() as connection:
            row = connection.execute(
                "SELECT ingested_bytes FROM spools WHERE spool = ?", [header["spool"]]
            ).fetchone()
            start = row[0] if row else header["bytes"]
            file.seek(start)
            chunk = _complete_lines(file)
            if not chunk:
                return False
            added: Counter[str] = Counter()
            connection.begin()
            for table, rows in _by_table(path, start, chunk).items():
                added[table] += _insert(connection, table, rows)
            connection.execute(
                "INSERT INTO spools VALUES (?, ?, ?, now() AT TIME ZONE 'UTC') ON CONFLICT (spool) "
                "DO UPDATE SET ingested_bytes = excluded.ingested_bytes, updated_at = excluded.updated_at",
                [header["spool"], header["run_id"], start + len(chunk)],
            )
            connection.commit()
        report.rows += added
        return len(chunk) >= CHUNK_BYTES


def _among(table: str) -> str:
    """The condition that the first key column is one of the ids in the first parameter, a JSON list."""
    return f"{TABLES[table].key[0]} IN (SELECT unnest(from_json_strict(?, '[\"VARCHAR\"]')))"


class _DamagedSpool(Exception):
    """A complete line that no spool writes."""


def _try_lock(file: BinaryIO) -> bool:
    """True when the writer has ended, by itself or not; the lock is then ours until the file is closed."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return os.fstat(file.fileno()).st_nlink > 0


def _header(path: Path, line: bytes) -> dict[str, Any] | None:
    """The first line of a spool, with its length; None when its writer has not finished it."""
    if not line.endswith(b"\n"):
        return None
    try:
        header = json.loads(line)
        version = int(header["schema_version"])
        header = {"spool": str(header["spool"]), "run_id": str(header["run_id"]), "bytes": len(line)}
    except (ValueError, KeyError, TypeError) as error:
        raise _DamagedSpool(f"{path} does not begin like a spool: {line[:80]!r}. Move it away.") from error
    if version > SCHEMA_VERSION:
        raise _DamagedSpool(
            f"{path} was written for schema version {version}; this program knows {SCHEMA_VERSION}"
        )
    return header


def _complete_lines(file: BinaryIO) -> bytes:
    """Up to CHUNK_BYTES, to the end of a line; at least one line if there is a complete one."""
    chunk = file.read(CHUNK_BYTES)
    if len(chunk) == CHUNK_BYTES:
        chunk += file.readline()
    return chunk[: chunk.rfind(b"\n") + 1]


def _by_table(path: Path, start: int, chunk: bytes) -> dict[str, list[dict[str, Any]]]:
    """The rows of some lines, completed with NULLs, by table."""
    tables: dict[str, list[dict[str, Any]]] = {}
    for line in chunk[:-1].split(b"\n"):
        try:
            entry = json.loads(line)
            table, row = TABLES[entry["table"]], entry["row"]
            tables.setdefault(table.name, []).append({f.name: row.get(f.name) for f in table.fields})
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise _DamagedSpool(
                f"{path} has a line that is no row, in the {len(chunk)} bytes from byte {start}: "
                f"{line[:80]!r}. Delete that line, or move the file away."
            ) from error
    return tables


def _insert(connection: duckdb.DuckDBPyConnection, table_name: str, rows: list[dict[str, Any]]) -> int:
    """Insert rows that `check_row` has let through; the number of those that are new."""
    table = TABLES[table_name]
    types = json.dumps([{field.name: field.type for field in table.fields}])
    columns = ", ".join(f'new."{field.name}"' for field in table.fields)
    # By name: in a database that was brought up to date the newest columns are the last.
    into = f"INSERT INTO {table.name} ({columns.replace('new.', '')})"
    source = f"(SELECT unnest(from_json_strict(?, '{types}'), recursive := true)) AS new"
    sql = f"{into} SELECT {columns} FROM {source}"
    if table_name == "responses":
        # The same id is the same work: the first one stays, also among the rows of this transaction.
        sql = (
            f"{into} SELECT DISTINCT ON (new.response_id) {columns} FROM {source} "
            "WHERE NOT EXISTS (FROM responses AS old WHERE old.response_id = new.response_id)"
        )
    count = connection.execute(sql, [json.dumps(rows, ensure_ascii=False)]).fetchone()
    return int(count[0]) if count else 0
