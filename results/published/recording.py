"""Printed numbers in the database: put there when somebody asks for them, and read from there by everyone.

Nothing is overwritten: a number that was corrected in the files is a newer row of the same key, and one that is no
longer in the file of its source is withdrawn by a row without a value.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from results.published import published_rows
from results.schema import PUBLISHED
from results.spool import Spool
from results.store import Store

Row = Mapping[str, Any]
Key = tuple[Any, ...]

# In the order in which the keys came, which is that of the papers, whatever was corrected since.
_CURRENT = f"""
SELECT * EXCLUDE (place) FROM (
    SELECT *, min(rowid) OVER same AS place FROM published
    WINDOW same AS (PARTITION BY {", ".join(PUBLISHED.key)})
    QUALIFY row_number() OVER (PARTITION BY {", ".join(PUBLISHED.key)} ORDER BY created_at DESC, rowid DESC) = 1
) ORDER BY place
"""


def recorded(store: Store) -> list[dict[str, Any]]:
    """`stored`, after the numbers of the files were put into the database where it does not have them.

    Raises StoreError when there is something to put and the database cannot be written.
    """
    store.ingest()
    new = _news(published_rows(), store.rows(_CURRENT))
    if new:
        run_id = f"published-{datetime.now(UTC):%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:8]}"
        with Spool(store.spool_dir, run_id) as spool:
            spool.append_many(PUBLISHED.name, new)
        store.ingest()
    return stored(store)


def stored(store: Store) -> list[dict[str, Any]]:
    """The printed numbers that the database has, in the order of the papers. Nothing is written."""
    return [row for row in store.rows(_CURRENT) if row["value"] is not None]


def _news(printed: Iterable[Row], known: Iterable[Row]) -> list[dict[str, Any]]:
    """Rows that say something else than the current ones: new numbers, corrections, withdrawals."""
    before = {_key(row): (row["value"], row["note"] or "") for row in known}
    now = {_key(row): {**row, "value": float(row["value"])} for row in printed}
    sources = {row["source"] for row in now.values()}
    gone = [
        key for key, said in before.items() if key not in now and key[0] in sources and said[0] is not None
    ]
    withdrawn = "withdrawn: no longer in the file of its source"
    return [
        *(row for key, row in now.items() if before.get(key) != (row["value"], row["note"])),
        *(dict(zip(PUBLISHED.key, key, strict=True)) | {"value": None, "note": withdrawn} for key in gone),
    ]


def _key(row: Row) -> Key:
    return tuple(row[name] for name in PUBLISHED.key)
