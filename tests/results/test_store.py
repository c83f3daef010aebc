"""The store with real files and real processes: nothing lost, nothing twice, clear errors."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import pytest

import results.store
from results import migrations
from results.errors import StoreError
from results.schema import SCHEMA_VERSION, TABLES
from results.spool import Spool
from results.store import Store
from tests.results.factory import checkpoint, response, verdict, write

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "leaderboard.duckdb", wait_seconds=10)


def count(store: Store, table: str = "responses") -> int:
    return sum(row["n"] for row in store.rows(f"SELECT count(*) AS n FROM {table}"))


def python(code: str, *args: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", code, *map(str, args)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdout=pipe, stdin=pipe, text=True, cwd=ROOT)


def wait_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_no_database_is_no_rows(store: Store) -> None:
    assert store.rows("SELECT * FROM responses") == []
    assert store.known("responses", ["a"]) == set()
    assert store.fetch("verdicts", ["a"]) == []
    assert store.ingest().spools == 0
    assert not store.path.exists() and store.stamp() == ()


def test_every_type_comes_back_as_it_went_in(store: Store) -> None:
    odd = "a\x00b\r\n\u2028\u0085é😀'\"\\ {}"
    rows = [
        ("responses", response("base", "b", 1, text=odd, temperature=0.1, target=None)),
        ("checkpoints", checkpoint("ties", "merged", parameters={"λ": [0.1, None, True], "s": "x"})),
        ("verdicts", verdict(response("base", "b", 1), False, extracted=None)),
    ]
    write(store, rows)
    (row,) = store.rows("SELECT * FROM responses")
    assert (row["text"], row["seed"], row["temperature"], row["target"]) == (odd, 2**64 - 1, 0.1, None)
    (row,) = store.rows("SELECT * FROM checkpoints")
    assert row["parameters"] == {"λ": [0.1, None, True], "s": "x"} and row["experts"] == ["expert"]
    assert row["created_at"].isoformat() == "2026-01-01T00:00:00"
    (row,) = store.rows("SELECT * FROM verdicts")
    assert row["correct"] is False and row["extracted"] is None


def test_a_live_spool_is_ingested_again_and_again_and_removed_when_closed(store: Store) -> None:
    with Spool(store.spool_dir, "run") as spool:
        for i in range(3):
            spool.append("responses", response("base", "b", i))
            report = store.ingest()
            assert (report.rows["responses"], report.spools, report.removed) == (1, 1, 0)
        assert store.ingest().rows.total() == 0
        assert spool.path.exists()
    report = store.ingest()
    assert (report.rows.total(), report.removed) == (0, 1)
    assert not spool.path.exists() and count(store) == 3


def test_a_run_id_used_again_starts_a_new_spool(store: Store) -> None:
    write(store, [("responses", response("base", "b", i)) for i in range(5)])
    write(store, [("responses", response("base", "b", 9))])
    assert count(store) == 6


def test_the_same_response_is_stored_once_also_within_a_transaction(store: Store) -> None:
    first = response("base", "b", 1, text="first")
    write(store, [("responses", first), ("responses", first | {"text": "second"})], "a")
    write(store, [("responses", first | {"text": "third"}), ("responses", response("base", "b", 2))], "b")
    assert [row["text"] for row in store.rows("SELECT text FROM responses WHERE sample_id = 'b-1'")] == [
        "first"
    ]
    assert count(store) == 2


def test_a_partial_last_line_waits_and_is_dropped_when_its_writer_is_dead(store: Store) -> None:
    with Spool(store.spool_dir, "run") as spool:
        spool.append("responses", response("base", "b", 1))
        whole = spool.path.read_bytes()
        with spool.path.open("ab") as file:
            file.write(b'{"table":"responses","row":{"response_id":"half')
        assert store.ingest().rows["responses"] == 1
        assert spool.path.read_bytes().startswith(whole)
    assert store.ingest().removed == 1
    assert count(store) == 1


def test_a_spool_without_a_whole_first_line_is_empty(store: Store) -> None:
    store.spool_dir.mkdir()
    (store.spool_dir / "run.jsonl").write_bytes(b'{"spool":"12')
    assert store.ingest().rows.total() == 0
    assert list(store.spool_dir.iterdir()) == []


def test_a_damaged_spool_is_named_and_does_not_hold_up_the_others(store: Store) -> None:
    with Spool(store.spool_dir, "a") as bad:
        bad.append("responses", response("base", "b", 1))
    with bad.path.open("ab") as file:
        file.write(b'{"table":"responses","row"\n')
    with pytest.raises(StoreError, match=r"a\.jsonl has a line that is no row.*Delete that line"):
        write(store, [("responses", response("base", "b", 2))], "b")
    assert [row["sample_id"] for row in store.rows("SELECT sample_id FROM responses")] == ["b-2"]
    assert bad.path.exists()


def test_many_chunks(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results.store, "CHUNK_BYTES", 2000)
    long = "x" * 5000  # a line longer than a chunk
    write(
        store, [("responses", response("base", "b", i, text=long if i % 7 == 0 else "y")) for i in range(60)]
    )
    assert count(store) == 60


def test_dying_between_commit_and_removal_counts_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    with Spool(store.spool_dir, "run") as spool:
        spool.append_many("verdicts", [verdict(response("base", "b", i), True) for i in range(10)])

    def die(self: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", die)
        with pytest.raises(KeyboardInterrupt):
            store.ingest()
    assert spool.path.exists() and count(store, "verdicts") == 10
    report = store.ingest()
    assert (report.rows.total(), report.removed, count(store, "verdicts")) == (0, 1, 10)


KILLED = """
import os, signal, sys
import results.store
from results.store import Store
results.store.CHUNK_BYTES = 20_000
kill_at, n = int(sys.argv[2]), 0
real = results.store._insert
def insert(*args):
    global n
    n += 1
    done = real(*args)
    if n == kill_at:
        os.kill(os.getpid(), signal.SIGKILL)
    return done
results.store._insert = insert
Store(sys.argv[1]).ingest()
"""


@pytest.mark.parametrize("kill_at", [1, 2, 5])
def test_an_ingester_killed_in_a_transaction_loses_and_repeats_nothing(store: Store, kill_at: int) -> None:
    with Spool(store.spool_dir, "run") as spool:
        spool.append_many("verdicts", [verdict(response("base", "b", i), True) for i in range(1000)])
    assert python(KILLED, store.path, kill_at).wait() == -signal.SIGKILL
    store.ingest()
    rows = store.rows("SELECT count(*) AS n, count(DISTINCT response_id) AS ids FROM verdicts")
    assert rows == [{"n": 1000, "ids": 1000}]


WRITER = """
import sys
from results.spool import Spool
from tests.results.factory import response, verdict
folder, name, number = sys.argv[1:]
with Spool(folder, name) as spool:
    for i in range(int(number)):
        row = response(name, "b", i)
        spool.append("responses", row)
        spool.append("verdicts", verdict(row, True))
        if i == 100:
            print("started", flush=True)
"""

INGESTER = """
import sys, time
from results.store import Store
store = Store(sys.argv[1])
until = time.monotonic() + float(sys.argv[2])
while time.monotonic() < until:
    store.ingest()
"""


def test_writers_ingesters_and_readers_at_once_lose_and_repeat_nothing(store: Store) -> None:
    writers = [python(WRITER, store.spool_dir, name, 3000) for name in ("one", "two")]
    assert all(wait_line(writer) == "started" for writer in writers)
    ingesters = [python(INGESTER, store.path, 4) for _ in range(2)]
    seen, until = [], time.monotonic() + 4
    while time.monotonic() < until:
        seen.append(count(store))
    assert [p.wait() for p in (*writers, *ingesters)] == [0, 0, 0, 0]
    store.ingest()
    for table in ("responses", "verdicts"):
        rows = store.rows(f"SELECT count(*) AS n, count(DISTINCT response_id) AS ids FROM {table}")
        assert rows == [{"n": 6000, "ids": 6000}]
    assert seen == sorted(seen) and len(set(seen)) > 1
    assert list(store.spool_dir.iterdir()) == []


def test_a_killed_run_is_ingested_by_the_next_one(store: Store) -> None:
    writer = python(WRITER, store.spool_dir, "killed", 10**6)
    wait_line(writer)
    writer.kill()
    writer.wait()
    store.ingest()
    found = count(store)
    assert found > 100 and list(store.spool_dir.iterdir()) == []
    ids = [response("killed", "b", i)["response_id"] for i in range(found + 1)]
    assert store.known("responses", ids) == set(ids[:found])


HOLDER = """
import duckdb, sys
connection = duckdb.connect(sys.argv[1], read_only=sys.argv[2] == "r")
print("open", flush=True)
sys.stdin.readline()
"""


def test_an_open_connection_elsewhere_is_waited_for_and_then_named(store: Store) -> None:
    write(store, [("responses", response("base", "b", 1))], "a")
    holder = python(HOLDER, store.path, "r")
    assert wait_line(holder) == "open"
    store.wait_seconds = 0.5
    assert count(store) == 1  # many may read
    with pytest.raises(
        StoreError, match=rf"(?s)for writing within 0.5 s: process {holder.pid} .*nothing is lost"
    ):
        write(store, [("responses", response("base", "b", 2))], "b")
    holder.communicate("\n")
    store.ingest()
    assert count(store) == 2

    holder = python(HOLDER, store.path, "w")
    assert wait_line(holder) == "open"
    with pytest.raises(StoreError, match="for reading"):
        count(store)
    store.wait_seconds = 10
    subprocess.Popen(["sh", "-c", f"sleep 1; kill {holder.pid}"])
    assert count(store) == 2  # it waited its turn
    holder.communicate()


def test_a_file_that_is_no_database_is_refused(store: Store) -> None:
    store.path.write_bytes(b"not a database" * 1000)
    with pytest.raises(StoreError, match="is not a DuckDB database"):
        store.rows("SELECT 1")
    with pytest.raises(StoreError, match="is not a DuckDB database"):
        write(store, [("responses", response("base", "b", 1))])
    assert len(list(store.spool_dir.iterdir())) == 1


def test_a_damaged_database_is_an_error_and_not_a_crash(store: Store) -> None:
    write(store, [("responses", response("base", "b", i, text=str(i) * 200)) for i in range(3000)])
    content = bytearray(store.path.read_bytes())
    content[20_000:] = b"\xff" * (len(content) - 20_000)
    store.path.write_bytes(content)
    with pytest.raises(StoreError, match="cannot be"):
        store.rows("SELECT max(text) FROM responses")


def test_an_empty_file_is_a_database_that_does_not_exist_yet(store: Store) -> None:
    store.path.touch()
    assert store.rows("SELECT * FROM responses") == []
    write(store, [("responses", response("base", "b", 1))])
    assert count(store) == 1


def test_a_database_of_something_else_is_refused(store: Store) -> None:
    with duckdb.connect(str(store.path)) as connection:
        connection.execute("CREATE TABLE sales (a INTEGER)")
    with pytest.raises(StoreError, match="database of something else.*sales"):
        store.rows("SELECT 1")
    with pytest.raises(StoreError, match="database of something else"):
        write(store, [("responses", response("base", "b", 1))])


def test_a_newer_database_or_spool_is_refused(store: Store) -> None:
    write(store, [("responses", response("base", "b", 1))])
    with Spool(store.spool_dir, "newer") as spool:
        header = json.loads(spool.path.read_bytes())
    spool.path.write_text(json.dumps(header | {"schema_version": 99}) + "\n")
    with pytest.raises(StoreError, match="schema version 99"):
        store.ingest()
    spool.path.unlink()
    with duckdb.connect(str(store.path)) as connection:
        connection.execute("INSERT INTO schema_versions VALUES (99, now() AT TIME ZONE 'UTC')")
    with pytest.raises(StoreError, match=r"schema version 99; this program knows versions up to 5\. Update"):
        store.rows("SELECT 1")


def test_the_newest_row_of_a_key_is_current_and_nulls_are_one_key(store: Store) -> None:
    answer = response("base", "b", 1)
    score = {"checkpoint": "base", "benchmark": "b", "metric": "length_mean", "grader": None}
    rows = [
        ("verdicts", verdict(answer, False)),
        ("verdicts", verdict(answer, True)),
        ("verdicts", verdict(answer, True, grader_version="2")),
        ("scores", score | {"value": 1.0}),
        ("scores", score | {"value": 2.0}),
    ]
    write(store, rows)
    found = store.fetch("verdicts", [answer["response_id"]], grader="boxed", grader_version="1")
    assert [row["correct"] for row in found] == [True]
    assert [row["value"] for row in store.rows("SELECT value FROM current_scores")] == [2.0]
    assert count(store, "verdicts") == 3
    assert store.known("verdicts", [answer["response_id"]], grader_version="3") == set()
    with pytest.raises(StoreError, match="no column 'graader'"):
        store.known("verdicts", ["a"], graader="boxed")


def test_an_older_database_is_brought_up_to_date(tmp_path: Path) -> None:
    path = str(tmp_path / "old.duckdb")
    one, two = SCHEMA_VERSION + 1, SCHEMA_VERSION + 2
    steps = {one: ('ALTER TABLE runs ADD COLUMN "host" VARCHAR',), two: ("UPDATE runs SET host = 'unknown'",)}
    with duckdb.connect(path) as connection:
        migrations.migrate(connection)
        connection.execute("INSERT INTO runs (run_id) VALUES ('a')")
        migrations.migrate(connection, newest=two, migrations=steps)
        assert connection.execute("SELECT host FROM current_runs").fetchall() == [("unknown",)]
        assert migrations.version_of(connection) == two
    with duckdb.connect(path) as connection:
        with pytest.raises(duckdb.Error):
            broken = {two + 1: ("DROP TABLE layers",), two + 2: ("nonsense",)}
            migrations.migrate(connection, newest=two + 2, migrations=broken)
        assert migrations.version_of(connection) == two
        connection.execute("SELECT * FROM layers")  # all of it or nothing


SINCE = {  # what each version added
    2: {"checkpoints": ["statistics_seconds"]},
    3: {
        "responses": [
            "n_reflections",
            "n_think_tokens",
            "ends_with_code_fence",
            "complete_box",
            "logprob_sum",
        ],
        "scores": ["low", "high", "first_grader"],
    },
    4: {"scores": ["samples"]},
    5: {"responses": ["reference", "sample_group"], "scores": ["constant"]},
}
NEW_TABLES = {3: "token_counts", 5: "composites"}


def make_older(store: Store, version: int) -> None:
    """Take from a database what later versions than `version` added."""
    with duckdb.connect(str(store.path)) as connection:
        for added in (SINCE[later] for later in SINCE if later > version):
            for table, columns in added.items():
                for column in columns:
                    connection.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
        for table in (name for since, name in NEW_TABLES.items() if since > version):
            connection.execute(f"DROP VIEW current_{table}")
            connection.execute(f"DROP TABLE {table}")
        connection.execute("UPDATE schema_versions SET version = ?", [version])


def test_a_database_of_version_2_gets_the_columns_of_answers_and_keeps_its_rows(store: Store) -> None:
    old = response("base", "gsm", 1)
    write(store, [("responses", old)])
    make_older(store, 2)
    new = response("base", "gsm", 2, n_reflections=3, complete_box=True)
    count = {"response_id": new["response_id"], "tokenizer": "one:1", "n_tokens": 7}
    write(store, [("responses", new), ("token_counts", count)], "run-2")
    rows = store.rows("SELECT n_reflections, complete_box, text FROM current_responses ORDER BY sample_id")
    assert [tuple(row.values()) for row in rows] == [(None, None, old["text"]), (3, True, new["text"])]
    assert store.rows("SELECT n_tokens FROM current_token_counts") == [{"n_tokens": 7}]
    write(store, [("responses", old | {"n_reflections": 9})], "run-3")  # never overwritten
    assert count_nulls(store) == 1


def test_a_database_of_version_3_gets_back_the_larger_pool_that_a_smaller_one_replaced(store: Store) -> None:
    """There both had one key, and the later one was current; what was replaced is still in the table."""
    measured = {"checkpoint": "base", "model_set": "pair", "benchmark": "aime24", "draw": "pool"}
    pools = {
        "run-1": {"maj@1": 0.5, "maj@32": 0.7, "accuracy": 0.5},
        "run-2": {"maj@1": 0.4, "accuracy": 0.4},
    }
    pools["run-2"] |= {"maj@8": 0.6}
    for run, metrics in pools.items():
        write(store, [("scores", {**measured, "metric": m, "value": v}) for m, v in metrics.items()], run)
    greedy = {**measured, "draw": "greedy@512", "metric": "accuracy", "value": 0.2}
    unknown = {**measured, "draw": "loglikelihood", "metric": "accuracy", "value": 0.3}
    write(store, [("scores", greedy), ("scores", unknown)], "run-3")
    make_older(store, 3)
    rows = store.rows("SELECT draw, metric, samples, value FROM current_scores ORDER BY ALL")
    assert [tuple(row.values()) for row in rows] == [
        ("greedy@512", "accuracy", 1, 0.2),
        ("loglikelihood", "accuracy", None, 0.3),
        ("pool", "accuracy", 8, 0.4),
        ("pool", "accuracy", 32, 0.5),
        ("pool", "maj@1", 8, 0.4),
        ("pool", "maj@1", 32, 0.5),
        ("pool", "maj@32", 32, 0.7),
        ("pool", "maj@8", 8, 0.6),
    ]


def count_nulls(store: Store) -> int:
    return int(store.rows("SELECT count(*) AS n FROM responses WHERE n_reflections IS NULL")[0]["n"])


def test_a_database_of_version_1_learns_what_statistics_cost(store: Store) -> None:
    write(store, [("checkpoints", checkpoint("old", "merged"))])
    make_older(store, 1)
    write(store, [("checkpoints", checkpoint("new", "merged", statistics_seconds=2.0))], "run-2")
    rows = store.rows("SELECT name, statistics_seconds FROM current_checkpoints ORDER BY name DESC")
    assert [tuple(row.values()) for row in rows] == [("old", None), ("new", 2.0)]


def test_a_database_of_version_4_gets_groups_references_and_composites(store: Store) -> None:
    write(store, [("responses", response("base", "gsm", 1))])
    make_older(store, 4)
    new = response("base", "xstest", 2, reference="plain request", sample_group="safe")
    made = {
        "suite": "s",
        "benchmark": "m_arc",
        "how": "mean",
        "parts": [{"benchmark": "arc_fr", "grader": None}],
    }
    write(store, [("responses", new), ("composites", made)], "run-2")
    rows = store.rows("SELECT reference, sample_group FROM current_responses ORDER BY benchmark")
    assert [tuple(row.values()) for row in rows] == [(None, None), ("plain request", "safe")]
    assert store.rows("SELECT how FROM current_composites") == [{"how": "mean"}]


def test_a_new_database_has_what_the_schema_says(store: Store) -> None:
    write(store, [("runs", {"run_id": "a"})])
    for table in TABLES.values():
        found = store.rows(f"SELECT column_name AS n, column_type AS t FROM (DESCRIBE {table.name})")
        assert [(row["n"], row["t"]) for row in found] == [(field.name, field.type) for field in table.fields]


def test_a_place_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with Spool(tmp_path / "spool", "run") as spool:
        spool.append("runs", {"run_id": "a"})
    with pytest.raises(StoreError, match="cannot be written"):
        Store(tmp_path / "file" / "leaderboard.duckdb").ingest(tmp_path / "spool")
    assert spool.path.exists()


def test_the_stamp_changes_with_the_database(store: Store) -> None:
    write(store, [("runs", {"run_id": "a"})], "a")
    before = store.stamp()
    assert store.rows("SELECT * FROM runs") and store.stamp() == before
    write(store, [("runs", {"run_id": "b"})], "b")
    assert store.stamp() != before


def test_databases_of_one_folder_have_their_own_spools(tmp_path: Path) -> None:
    folders = {Store(tmp_path / name).spool_dir.name for name in ("leaderboard.duckdb", "other.duckdb")}
    assert folders == {"spool", "other.spool"}
