"""What `bench doctor` looks at: whether this machine can do a run, and what to do where it cannot."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from bench.errors import BadInput
from bench.machine import available_memory
from bench.models.checkpoint import ZOO

ROOT = Path(__file__).resolve().parents[1]
CONSTRAINTS = ROOT / "constraints.txt"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
PACKAGE = "mergeboard"
MIN_MEMORY = 3 * 2**30
MIN_DISK = 2 * 2**30
HUB_SECONDS = 3.0
PROBE_SECONDS = 10


@dataclass(frozen=True)
class Check:
    """One thing looked at. A failed check that is `required` makes `bench doctor` exit with 1.

    `value` is what was found, in words; `advice` is what to do, empty when `ok`.
    """

    name: str
    ok: bool
    value: str
    advice: str = ""
    required: bool = True


def report(*, runs: Path = Path("runs"), db: Path | None = None) -> list[Check]:
    """Every check, in the order in which a person would fix them. Reads only; takes a few seconds.

    `runs` is the folder of merges and spools; `db` the database, by default `runs/leaderboard.duckdb`.
    """
    return [
        _python(),
        *_packages(),
        _processor(),
        _memory(),
        _disk(runs),
        _database(db or runs / "leaderboard.duckdb"),
        *_zoo(ZOO),
        _hub(),
        _gpu(),
        _sandbox(),
        _browser(),
    ]


def _python() -> Check:
    ok = sys.version_info[:2] == (3, 11)
    advice = "" if ok else "The pinned packages are tested with 3.11: make setup PYTHON=python3.11"
    return Check("python", ok, sys.version.split()[0], advice, required=False)


def _packages(constraints: Path = CONSTRAINTS) -> Iterator[Check]:
    """Whether everything that `bench` needs is installed (required), and in the pinned versions."""
    needed = _core_requirements()
    installed = {name: found for name in needed if (found := _version(name)) is not None}
    missing = sorted(set(needed) - set(installed))
    value = f"missing: {', '.join(missing)}" if missing else f"{len(installed)} of {len(needed)} installed"
    yield Check("packages", not missing, value, "Run `make setup`." if missing else "")
    if not constraints.is_file():
        yield Check(
            "pins", False, "no constraints.txt beside the code", "Install from a clone.", required=False
        )
        return
    other = [
        f"{name} {found} (pinned {pin})"
        for name, pin in sorted(pins(constraints.read_text(encoding="utf-8")).items())
        if (found := _version(name)) is not None and found.split("+")[0] != pin
    ]
    advice = "Numbers may differ from those in docs/measured.md. Run `make setup` to get the pinned versions."
    value = "; ".join(other) or "every installed package is at its pinned version"
    yield Check("pins", not other, value, advice if other else "", required=False)


def pins(text: str) -> dict[str, str]:
    """Normalised package name -> version, from the `name==version` lines of a constraints file."""
    found = re.findall(r"^([A-Za-z0-9._-]+)==([^\s;#]+)", text, re.MULTILINE)
    return {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in found}


def _core_requirements() -> list[str]:
    """Names of the packages that `bench` needs without any extra."""
    try:
        requirements = metadata.requires(PACKAGE) or []
    except metadata.PackageNotFoundError as error:
        raise BadInput(f"{PACKAGE} itself is not installed: run `make setup`, or pip install -e .") from error
    return [re.split(r"[^A-Za-z0-9._-]", line)[0] for line in requirements if "extra ==" not in line]


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _processor() -> Check:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    asked = os.environ.get("OMP_NUM_THREADS", "")
    ok = not asked.isdigit() or int(asked) <= cores
    threads = f", OMP_NUM_THREADS={asked}" if asked else ", torch uses them all"
    advice = (
        "" if ok else f"More threads than cores makes torch several times slower: OMP_NUM_THREADS={cores}"
    )
    return Check("processor", ok, f"{cores} cores{threads}", advice, required=False)


def _memory() -> Check:
    free = available_memory()
    if free is None:
        return Check("memory", True, "unknown on this system", required=False)
    ok = free >= MIN_MEMORY
    advice = "" if ok else f"A mini suite needs {MIN_MEMORY / 2**30:.0f} GiB: close other programs."
    return Check("memory", ok, f"{free / 2**30:.1f} GiB available", advice, required=False)


def _disk(runs: Path) -> Check:
    place = next(folder for folder in (runs.absolute(), *runs.absolute().parents) if folder.is_dir())
    free = shutil.disk_usage(place).free
    if not os.access(place, os.W_OK):
        return Check("disk", False, f"{place} cannot be written", "Choose another folder for runs.")
    ok = free >= MIN_DISK
    advice = (
        "" if ok else f"Free some space: {MIN_DISK / 2**30:.0f} GiB are the least, a merge needs its size."
    )
    return Check("disk", ok, f"{free / 2**30:.1f} GiB free for {runs}", advice)


def _database(path: Path) -> Check:
    from results.errors import StoreError
    from results.schema import SCHEMA_VERSION
    from results.store import Store

    if not path.exists():
        return Check("database", True, f"{path} does not exist yet; the first run makes it")
    try:
        rows = Store(path, wait_seconds=2.0).rows("SELECT max(version) AS version FROM schema_versions")
    except StoreError as error:
        return Check("database", False, f"{path} cannot be read", str(error))
    version = rows[0]["version"] if rows else None
    if version != SCHEMA_VERSION:
        return Check(
            "database", True, f"{path}: schema version {version}; the next run makes it {SCHEMA_VERSION}"
        )
    return Check("database", True, f"{path}: schema version {version}")


def _zoo(folder: Path) -> Iterator[Check]:
    """Whether the embedded models are the ones that their cards describe."""
    cards = sorted(folder.glob("*/card.json"))
    if not cards:
        yield Check(
            "zoo", False, f"no model in {folder}", "Restore bench/zoo/models (git checkout), or `make zoo`."
        )
    for card in cards:
        wrong = _wrong_files(card)
        value = "; ".join(wrong) or "weights are the ones of the card"
        advice = "Restore them (git checkout bench/zoo/models), or retrain with `make zoo`." if wrong else ""
        yield Check(f"zoo {card.parent.name}", not wrong, value, advice)


def _wrong_files(card: Path) -> list[str]:
    """What is wrong with the files that a model card lists, each with its checksum."""
    try:
        files = json.loads(card.read_text(encoding="utf-8"))["files"].items()
    except (ValueError, KeyError, AttributeError):
        return ["card.json cannot be read"]
    wrong = []
    for name, facts in files:
        file = card.parent / name
        if not file.is_file():
            wrong.append(f"{name} is missing")
        elif hashlib.sha256(file.read_bytes()).hexdigest() != facts["sha256"]:
            wrong.append(f"{name} has another checksum than its card")
    return wrong or ([] if files else ["card.json lists no files"])


def _hub() -> Check:
    """Whether models and data can be read from the Hub; nothing in the mini suites needs it."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return Check("hub", True, "off: HF_HUB_OFFLINE is set", required=False)
    answers: list[bool] = []
    asking = threading.Thread(target=lambda: answers.append(_answers(constants.ENDPOINT)), daemon=True)
    asking.start()
    asking.join(HUB_SECONDS)  # a name server that does not answer would hold up the connection's own limit
    ok = answers == [True]
    advice = "" if ok else "Only local folders can be used as models and data. The mini suites need no more."
    return Check("hub", ok, "reachable" if ok else "not reachable", advice, required=False)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=HUB_SECONDS):
            return True
    except urllib.error.HTTPError:
        return True  # an answer, if not a friendly one
    except (OSError, ValueError):
        return False


def _gpu() -> Check:
    program = shutil.which("nvidia-smi")
    found = _output([program, "--query-gpu=name,memory.total", "--format=csv,noheader"]) if program else ""
    value = "; ".join(found.splitlines()) or "none: models run on the CPU"
    return Check("gpu", True, value, required=False)


def _sandbox() -> Check:
    """Whether programs that models write can be run: it is tried, with one that looks for ways out."""
    from tasks.sandbox.pool import SandboxUnavailable, choose

    try:
        return Check("sandbox", True, f"programs of models can be run ({choose()})", required=False)
    except SandboxUnavailable as error:
        advice = f"Benchmarks that execute programs are refused with --run-code: {error}."
        return Check("sandbox", False, "programs of models cannot be run", advice, required=False)


def _browser() -> Check:
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        advice = "The leaderboard's browser tests skip. Debian: apt-get install chromium"
        return Check("chromium", False, "not installed", advice, required=False)
    return Check("chromium", True, _output([found, "--version"]).strip() or found, required=False)


def _output(command: list[str]) -> str:
    """What a program prints; empty when it fails or takes too long."""
    try:
        return subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=PROBE_SECONDS,
            check=True,
            stdin=subprocess.DEVNULL,
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return ""
