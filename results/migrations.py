"""Makes the tables in a new database and brings an older one up to the current schema version.

`results/schema.py` describes the newest schema, and a new database is made from it directly. When a field is
added there, `SCHEMA_VERSION` goes up by one and `MIGRATIONS` gets the statements that turn the version before
into the new one; nothing else changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from results.errors import StoreError
from results.schema import BOOKKEEPING, SCHEMA_VERSION, TABLES, Table

if TYPE_CHECKING:
    import duckdb

# What the scores of one pool have in common, in a database that does not say how large the pool was.
_POOL = (
    "run_id", "checkpoint", "model_set", "benchmark", "benchmark_version", "split", "draw", "prompt_mode", "engine",
    "dtype", "document_set",
)  # fmt: skip
# A greedy draw has one response a question; a sampled pool was as large as the largest vote scored with it.
_SAMPLES = f"""
UPDATE scores SET samples = pool.samples FROM (
    SELECT {", ".join(_POOL)}, CASE WHEN draw = 'greedy' OR starts_with(draw, 'greedy@') THEN 1
        ELSE max(TRY_CAST(regexp_extract(metric, '^maj@([0-9]+)', 1) AS INTEGER)) FILTER (value IS NOT NULL)
        END AS samples
    FROM scores GROUP BY {", ".join(_POOL)}
) AS pool WHERE {" AND ".join(f"scores.{name} IS NOT DISTINCT FROM pool.{name}" for name in _POOL)}
"""

# version -> statements that lead there from the version before
MIGRATIONS: Mapping[int, tuple[str, ...]] = {
    2: ('ALTER TABLE checkpoints ADD COLUMN "statistics_seconds" DOUBLE',),
    3: (
        'ALTER TABLE responses ADD COLUMN "n_reflections" INTEGER',
        'ALTER TABLE responses ADD COLUMN "n_think_tokens" INTEGER',
        'ALTER TABLE responses ADD COLUMN "ends_with_code_fence" BOOLEAN',
        'ALTER TABLE responses ADD COLUMN "complete_box" BOOLEAN',
        'ALTER TABLE responses ADD COLUMN "logprob_sum" DOUBLE',
        'ALTER TABLE scores ADD COLUMN "low" DOUBLE',
        'ALTER TABLE scores ADD COLUMN "high" DOUBLE',
        'ALTER TABLE scores ADD COLUMN "first_grader" BOOLEAN',
        'CREATE TABLE token_counts ("response_id" VARCHAR, "tokenizer" VARCHAR, "n_tokens" INTEGER, '
        '"run_id" VARCHAR, "created_at" TIMESTAMP)',
    ),
    4: ('ALTER TABLE scores ADD COLUMN "samples" INTEGER', _SAMPLES),
    5: (
        'ALTER TABLE responses ADD COLUMN "reference" VARCHAR',
        'ALTER TABLE responses ADD COLUMN "sample_group" VARCHAR',
        'ALTER TABLE scores ADD COLUMN "constant" DOUBLE',
        'CREATE TABLE composites ("suite" VARCHAR, "benchmark" VARCHAR, "title" VARCHAR, "domain" VARCHAR, '
        '"how" VARCHAR, "parts" JSON, "run_id" VARCHAR, "created_at" TIMESTAMP)',
    ),
}


def create_table(table: Table) -> str:
    """The CREATE TABLE statement. Bookkeeping tables are keyed; the others only grow and have no index."""
    columns = [f'"{field.name}" {field.type}' for field in table.fields]
    if table.name in BOOKKEEPING:
        columns.append(f"PRIMARY KEY ({_names(table.key)})")
    return f"CREATE TABLE {table.name} ({', '.join(columns)})"


def create_view(table: Table) -> str:
    """The CREATE VIEW statement of `current_<table>`."""
    return f"CREATE OR REPLACE VIEW current_{table.name} AS {newest_rows(table)}"


def newest_rows(table: Table, where: str = "true") -> str:
    """A query for the newest row of each key among those that meet `where` (in a key, NULL equals NULL)."""
    return (
        f"SELECT * FROM {table.name} WHERE {where} QUALIFY row_number() OVER "
        f"(PARTITION BY {_names(table.key)} ORDER BY created_at DESC, rowid DESC) = 1"
    )


def version_of(connection: duckdb.DuckDBPyConnection) -> int:
    """The schema version of an open database; 0 when it has no tables at all.

    Raises StoreError for a database that is not ours: it has tables, but none that says a version.
    """
    names = {name for (name,) in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()}
    if "schema_versions" in names:
        row = connection.execute("SELECT max(version) FROM schema_versions").fetchone()
        return int(row[0]) if row and row[0] is not None else 0
    if names:
        raise StoreError(f"it has other tables ({', '.join(sorted(names)[:3])}) and is no results database")
    return 0


def check_version(version: int, path: Path, newest: int = SCHEMA_VERSION) -> None:
    """Refuse a database that a newer program has written."""
    if version > newest:
        raise StoreError(
            f"{path} has schema version {version}; this program knows versions up to {newest}. "
            "Update the program, or choose another database with --db."
        )


def migrate(
    connection: duckdb.DuckDBPyConnection,
    *,
    newest: int = SCHEMA_VERSION,
    migrations: Mapping[int, tuple[str, ...]] = MIGRATIONS,
) -> None:
    """Bring an open, writable database to version `newest`, in one transaction: all of it or nothing."""
    version = version_of(connection)
    if version == newest:
        return
    connection.begin()
    try:
        if version == 0:
            for table in (*BOOKKEEPING.values(), *TABLES.values()):
                connection.execute(create_table(table))
        else:
            for step in range(version + 1, newest + 1):
                for statement in migrations[step]:
                    connection.execute(statement)
        for table in TABLES.values():
            connection.execute(create_view(table))
        connection.execute("INSERT INTO schema_versions VALUES (?, now() AT TIME ZONE 'UTC')", [newest])
        connection.commit()
    except BaseException:
        connection.rollback()
        raise


def _names(columns: tuple[str, ...]) -> str:
    return ", ".join(f'"{name}"' for name in columns)
