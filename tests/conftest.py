"""What every test stands on: no network, no writing outside the test's own folder, no silent skip in CI."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
NO_SKIP = "MERGEBOARD_NO_SKIP"
CHROMIUM = "MERGEBOARD_CHROMIUM"
DATA = "MERGEBOARD_TEST_DATA"
KEPT = (NO_SKIP, CHROMIUM, DATA)  # settings of the test session itself
APART = {"vllm": "vLLM (make test-vllm)", "sweep": "parameter sweeps (make test-sweeps)"}  # by marker
_skipped: list[str] = []
_left_out: dict[str, int] = {}  # how many tests did not run, by what they need


def pytest_configure(config: pytest.Config) -> None:
    """The Hub is never asked, and a person's own settings do not reach the tests."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # beside other work, as `bench.waiting` chooses
    for name in [name for name in os.environ if name.startswith("MERGEBOARD_") and name not in KEPT]:
        del os.environ[name]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests with a make target of their own run when asked for, those marked `l2s_data` where the data lies; else
    they are left out, and counted."""
    for marker, need in APART.items():
        if marker not in str(config.getoption("-m")):
            _leave_out(config, items, marker, need)
    if any(item.get_closest_marker("l2s_data") for item in items):
        _leave_out_l2s(config, items)


def _leave_out_l2s(config: pytest.Config, items: list[pytest.Item]) -> None:
    from tests.helpers import l2s

    if not l2s.HERE:
        _leave_out(
            config, items, "l2s_data", f"the real Long-to-Short data ({DATA}=FOLDER; none in {l2s.REAL})"
        )


def _leave_out(config: pytest.Config, items: list[pytest.Item], marker: str, need: str) -> None:
    left_out = [item for item in items if item.get_closest_marker(marker)]
    if left_out:
        items[:] = [item for item in items if item not in left_out]
        config.hook.pytest_deselected(items=left_out)
        _left_out[need] = len(left_out)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Remember skipped tests; an expected failure is not one."""
    if report.skipped and not hasattr(report, "wasxfail"):
        _skipped.append(f"{report.nodeid}: {_reason(report.longrepr)}")


def pytest_collectreport(report: pytest.CollectReport) -> None:
    """Remember modules that skip themselves as a whole."""
    if report.skipped:
        _skipped.append(f"{report.nodeid}: {_reason(report.longrepr)}")


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """What a worker of pytest-xdist left out, as all of them did: each collects every test."""
    _left_out.update(getattr(node, "workeroutput", {}).get("left_out", {}))


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Fail a session with skipped tests where none may skip (`.ci/run`)."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["left_out"] = dict(_left_out)
    if os.environ.get(NO_SKIP) == "1" and _skipped and exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name what was skipped, loudly; in CI as the reason of the failure."""
    for need, n in _left_out.items():
        terminalreporter.section(f"left out: {n} tests of {need}", yellow=True)
    if not _skipped:
        return
    if os.environ.get(NO_SKIP) == "1":
        title, style = f"no test may skip ({NO_SKIP}=1): {len(_skipped)} did", {"red": True, "bold": True}
    else:
        title, style = f"NOT TESTED on this machine: {len(_skipped)}", {"yellow": True, "bold": True}
    terminalreporter.section(title, **style)
    for line in _skipped:
        terminalreporter.line(line, **style)


def _reason(longrepr: object) -> str:
    """The text of a skip report: pytest stores (file, line, reason)."""
    return str(longrepr[2]) if isinstance(longrepr, tuple) else str(longrepr)


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of an installed Chromium; the test skips without one."""
    asked = os.environ.get(CHROMIUM)
    found = asked or next(filter(None, map(shutil.which, BROWSERS)), None)
    if not found:
        pytest.skip(f"none of {', '.join(BROWSERS)} is installed (Debian: apt-get install chromium)")
    return found


@pytest.fixture(autouse=True)
def _runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that is not told where to write writes into the test's own folder."""
    monkeypatch.setenv("MERGEBOARD_RUNS", str(tmp_path / "runs"))
