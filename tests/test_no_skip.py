"""In CI no test may skip: the rule in tests/conftest.py, shown a session that skips."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SKIPS = "import pytest\n\ndef test_needs_a_gpu():\n    pytest.skip('no GPU')\n\ndef test_runs():\n    pass\n"
EXPECTED = "import pytest\n\n@pytest.mark.xfail\ndef test_known():\n    assert False\n"


@pytest.mark.parametrize(
    ("source", "no_skip", "code", "says"),
    [
        (SKIPS, "1", 1, "test_needs_a_gpu: Skipped: no GPU"),
        (SKIPS, "0", 0, "NOT TESTED on this machine: 1"),
        (EXPECTED, "1", 0, "1 xfailed"),
    ],
)
def test_a_skip_fails_where_none_may(tmp_path: Path, source: str, no_skip: str, code: int, says: str) -> None:
    shutil.copy(Path(__file__).with_name("conftest.py"), tmp_path)
    (tmp_path / "test_it.py").write_text(source)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        "--rootdir",
        str(tmp_path),
        str(tmp_path),
    ]
    environment = {**os.environ, "MERGEBOARD_NO_SKIP": no_skip}
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    assert says in done.stdout
