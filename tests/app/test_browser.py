"""The real server, opened in a real browser: the pages draw, and nothing leaves this machine."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import urlopen

import pytest

from results.store import Store
from tests.results.factory import world, write
from tests.results.wide import ASKED, wide

ROOT = Path(__file__).resolve().parents[2]
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
WHITE = "rgb(255, 255, 255)"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """Address of a leaderboard over a filled database, started as a person would."""
    store = Store(tmp_path / "leaderboard.duckdb")
    write(store, world(questions=30) + wide("wide"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    script = ROOT / "app" / "leaderboard.py"
    command = [sys.executable, "-m", "streamlit", "run", str(script), "--server.port", str(port)]
    log = (tmp_path / "server.log").open("w+")
    process = subprocess.Popen(
        [*command, "--", "--db", str(store.path)],
        cwd=tmp_path,  # the settings are found from everywhere
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=log,
        stderr=subprocess.STDOUT,
    )
    try:
        address = f"http://localhost:{port}"
        _wait(f"{address}/_stcore/health", process)
        yield address
    finally:
        process.terminate()
        process.wait(20)
        log.seek(0)
        print(log.read())  # shown by pytest when the test fails
        log.close()


def _wait(address: str, process: subprocess.Popen[bytes], seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        assert process.poll() is None, "the server ended"
        try:
            with urlopen(address, timeout=5):
                return
        except (URLError, TimeoutError):
            time.sleep(0.2)
    raise AssertionError(f"no answer from {address} within {seconds:g} s")


@pytest.fixture
def page(chromium: str) -> Iterator[Any]:
    """A browser tab that remembers in `asked` which addresses it asked, and in `problems` what went wrong."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        # A reader whose system is dark: the pages are light all the same.
        tab = browser.new_page(viewport={"width": 1400, "height": 900}, color_scheme="dark")
        tab.set_default_timeout(60_000)
        tab.asked, tab.problems = [], []
        tab.on("request", lambda request: tab.asked.append(request.url))
        tab.on("pageerror", lambda error: tab.problems.append(str(error)))
        yield tab
        browser.close()


def test_the_leaderboard_in_a_browser(server: str, page: Any, tmp_path: Path) -> None:
    page.goto(server)
    page.get_by_role("heading", name="Leaderboard").wait_for()
    grid = page.get_by_test_id("stDataFrame").first
    models = grid.locator("[role=gridcell][aria-colindex='1']")
    models.filter(has_text="fim_ties †").wait_for(state="attached")
    assert models.all_text_contents()[:2] == ["○ base", "● expert"]
    grid.click(position={"x": 190, "y": 52})  # the header of the mean accuracy: it sorts, as numbers
    accuracies = grid.locator("[role=gridcell][aria-colindex='3']")
    expected = sorted(accuracies.all_text_contents(), key=float)
    accuracies.nth(1).filter(has_text=expected[1]).wait_for(state="attached")
    assert accuracies.all_text_contents() == expected
    assert page.get_by_text("Deploy").count() == 0
    assert page.get_by_test_id("stApp").evaluate("e => getComputedStyle(e).backgroundColor") == WHITE
    page.screenshot(path=tmp_path / "leaderboard.png")

    page.get_by_role("link", name="Trade-off").click()
    page.get_by_role("heading", name="Accuracy against length").wait_for()
    chart = page.get_by_test_id("stVegaLiteChart")
    chart.locator("canvas, svg").first.wait_for()
    page.get_by_text("† fim_ties is a reconstruction").wait_for()
    page.screenshot(path=tmp_path / "tradeoff.png")

    page.get_by_role("link", name="Self-consistency").click()
    page.get_by_role("heading", name="Self-consistency").wait_for()
    page.get_by_test_id("stVegaLiteChart").locator("canvas, svg").first.wait_for()
    page.screenshot(path=tmp_path / "votes.png")

    page.get_by_role("link", name="Responses").click()
    page.get_by_role("heading", name="Responses").wait_for()
    page.get_by_text("What is 0 + 0?").wait_for()
    page.get_by_test_id("stMain").get_by_test_id("stSelectbox").first.click()
    page.get_by_role("option", name="fim_ties †").click()
    page.get_by_text("† fim_ties is a reconstruction").wait_for()
    page.get_by_role("radio", name="correct").click()
    page.get_by_text("the boxed answer equals the target").first.wait_for()
    page.screenshot(path=tmp_path / "responses.png")

    assert page.get_by_test_id("stException").count() == 0 and page.problems == []
    hosts = {urlsplit(url).hostname for url in page.asked if not url.startswith(("data:", "blob:"))}
    assert hosts == {"localhost"}


def test_what_is_retained_sorts_in_a_browser(server: str, page: Any, tmp_path: Path) -> None:
    page.goto(server)
    page.get_by_role("heading", name="Leaderboard").wait_for()
    page.get_by_test_id("stSidebar").get_by_test_id("stSelectbox").first.click()
    page.get_by_role("option", name="wide").click()
    page.get_by_role("heading", name="Performance retained of the experts").wait_for()
    rates = page.get_by_test_id("stDataFrame").first
    heads = rates.locator("[role=columnheader]")
    heads.filter(has_text="worst domain").wait_for(state="attached")
    assert heads.all_text_contents() == ["model", "mean", *ASKED, "without safety", "worst domain"]
    means = rates.locator("[role=gridcell][aria-colindex='2']")
    before = means.all_text_contents()
    assert len(before) == 9 and before[-1] == "", "of one row a language is missing, and so is its mean"
    rates.click(position={"x": 215, "y": 18})  # the header of the mean
    expected = ["", *sorted(before[:-1], key=float)]
    means.nth(1).filter(has_text=expected[1]).wait_for(state="attached")
    assert means.all_text_contents() == expected != before
    page.get_by_text("Above 110 %").wait_for()
    page.screenshot(path=tmp_path / "retained.png")
    assert page.get_by_test_id("stException").count() == 0 and page.problems == []


def test_the_server_listens_on_this_machine_only(server: str) -> None:
    # On Linux all of 127.0.0.0/8 is this machine: a server that listens everywhere would answer here too.
    with pytest.raises(OSError), socket.create_connection(("127.0.0.2", urlsplit(server).port), timeout=5):
        pass
