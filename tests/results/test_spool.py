"""The spool: what it accepts, what survives a killed writer."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from results.errors import StoreError
from results.schema import SCHEMA_VERSION, TABLES
from results.spool import Spool, check_row
from tests.results.factory import response


def lines(spool: Spool) -> list[dict]:
    return [json.loads(line) for line in spool.path.read_bytes().splitlines()]


def test_a_row_is_in_the_file_when_append_returns(tmp_path: Path) -> None:
    with Spool(tmp_path, "run") as spool:
        spool.append("responses", response("base", "mini_gsm", 1))
        header, entry = lines(spool)
    assert header["run_id"] == "run" and header["schema_version"] == SCHEMA_VERSION
    assert entry["table"] == "responses"
    assert entry["row"]["run_id"] == "run" and "created_at" in entry["row"]


def test_rows_are_flushed_to_the_disk_within_two_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed = threading.Event()
    real = os.fsync
    with Spool(tmp_path, "run") as spool:
        time.sleep(1.5)  # the header is flushed by now
        monkeypatch.setattr(os, "fsync", lambda file: (real(file), flushed.set()))
        spool.append("responses", response("base", "mini_gsm", 1))
        assert flushed.wait(2)


@pytest.mark.parametrize(
    ("table", "row", "message"),
    [
        ("answers", {}, "unknown table 'answers'"),
        ("responses", {"response_id": "a", "txt": "x"}, "no column 'txt'"),
        ("responses", {"text": "x"}, "needs 'response_id'"),
        ("responses", {"response_id": "a", "text": 7}, "responses.text takes VARCHAR"),
        ("responses", {"response_id": "a", "sample_index": 2**31}, "sample_index takes INTEGER"),
        ("responses", {"response_id": "a", "sample_index": True}, "sample_index takes INTEGER"),
        ("responses", {"response_id": "a", "seed": -1}, "seed takes UBIGINT"),
        ("verdicts", {"response_id": "a", "correct": 1}, "correct takes BOOLEAN"),
        ("scores", {"checkpoint": "a", "value": float("inf")}, "value takes DOUBLE"),
        ("runs", {"run_id": "a", "packages": '{"torch": "2"}'}, "a dict or list"),
        ("runs", {"run_id": "a", "packages": {"x": float("nan")}}, "JSON cannot"),
        ("runs", {"run_id": "a", "created_at": datetime(2026, 1, 1)}, "with its time zone"),
    ],
)
def test_a_row_that_does_not_fit_is_refused_and_not_written(
    tmp_path: Path, table: str, row: dict, message: str
) -> None:
    with Spool(tmp_path, "run") as spool:
        with pytest.raises(StoreError, match=message):
            spool.append_many(table, [row])
        assert len(lines(spool)) == 1


def test_values_are_stored_as_what_they_mean() -> None:
    row = check_row(
        "scores",
        {
            "checkpoint": "a",
            "value": np.float32(0.5),
            "stderr": float("nan"),
            "n": np.int64(3),
            "expert": None,
        },
    )
    assert row == {"checkpoint": "a", "value": 0.5, "n": 3}
    moment = datetime.fromisoformat("2026-01-01T02:00:00+02:00")
    assert check_row("runs", {"run_id": "a", "created_at": moment})["created_at"] == "2026-01-01T00:00:00"


def test_every_field_is_documented_and_every_key_exists() -> None:
    for table in TABLES.values():
        assert table.doc and all(field.doc for field in table.fields)
        assert set(table.key) <= {field.name for field in table.fields}
        assert {"run_id", "created_at"} <= {field.name for field in table.fields}


def test_a_run_id_has_one_writer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("results.spool._open_locked.__defaults__", (0.1,))
    with Spool(tmp_path, "run"), pytest.raises(StoreError, match="another process is writing"):
        Spool(tmp_path, "run")
    with pytest.raises(StoreError, match="run id"):
        Spool(tmp_path, "../run")


def test_a_folder_that_cannot_be_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="cannot write the spool"):
        Spool(tmp_path / "file" / "spool", "run")


def test_a_closed_spool_takes_no_rows(tmp_path: Path) -> None:
    spool = Spool(tmp_path, "run")
    spool.close()
    spool.close()
    with pytest.raises(StoreError, match="closed"):
        spool.append("responses", response("base", "mini_gsm", 1))


def test_opening_again_cuts_off_a_partial_line_and_continues(tmp_path: Path) -> None:
    with Spool(tmp_path, "run") as spool:
        spool.append("responses", response("base", "mini_gsm", 1))
    with spool.path.open("ab") as file:
        file.write(b'{"table":"responses","row":{"resp')
    with Spool(tmp_path, "run") as again:
        again.append("responses", response("base", "mini_gsm", 2))
        assert [entry["row"]["sample_id"] for entry in lines(again)[1:]] == ["mini_gsm-1", "mini_gsm-2"]


def test_text_that_is_not_text_is_stored_readably(tmp_path: Path) -> None:
    with Spool(tmp_path, "run") as spool:
        spool.append("responses", response("base", "b", 1, text="a\ud800b\x00c\n\u2028é😀"))
        assert lines(spool)[1]["row"]["text"] == "a?b\x00c\n\u2028é😀"


def test_threads_write_whole_lines(tmp_path: Path) -> None:
    with Spool(tmp_path, "run") as spool:
        threads = [
            threading.Thread(
                target=lambda t=t: [
                    spool.append("responses", response("base", f"b{t}", i)) for i in range(100)
                ]
            )
            for t in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len({entry["row"]["response_id"] for entry in lines(spool)[1:]}) == 400


WRITER = """
import sys
from results.spool import Spool
from tests.results.factory import response
spool = Spool(sys.argv[1], "killed")
for i in range(10**9):
    spool.append("responses", response("base", "mini_gsm", i))
    print(i, flush=True)
"""


def test_what_a_killed_writer_has_appended_is_there(tmp_path: Path) -> None:
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout is not None
    last = -1
    for line in writer.stdout:
        last = int(line)
        if last >= 200:
            break
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    content = (tmp_path / "killed.jsonl").read_bytes()
    whole = [json.loads(line) for line in content[: content.rfind(b"\n") + 1].splitlines()[1:]]
    assert [entry["row"]["sample_id"] for entry in whole[: last + 1]] == [
        f"mini_gsm-{i}" for i in range(last + 1)
    ]


def test_created_at_is_now(tmp_path: Path) -> None:
    before = datetime.now(UTC).replace(tzinfo=None)
    with Spool(tmp_path, "run") as spool:
        spool.append("runs", {"run_id": "other"})
        row = lines(spool)[1]["row"]
    assert row["run_id"] == "other"
    assert before <= datetime.fromisoformat(row["created_at"]) <= datetime.now(UTC).replace(tzinfo=None)
