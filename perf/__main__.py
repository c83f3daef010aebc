"""`python -m perf`: merge random checkpoints with this project and with mergekit, in turn, and print ratios."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from perf import checkpoints, peer, report
from perf.cases import Case, chosen
from perf.checkpoints import Shape, models_of
from perf.measure import RunFailed, Usage, measured, read_seconds, write_seconds
from perf.statistics import plant, planted_bytes

BENCH = Path(sys.executable).with_name("bench")


def options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="perf", description=__doc__)
    add = parser.add_argument
    add("--data", type=Path, default=Path(__file__).parent / "data", help="folder of checkpoints and results")
    add("--only", help="merges to run, comma-separated (those that they are compared with run too)")
    add("--rounds", type=int, default=1, help="runs of each merge; the fastest counts")
    add("--no-peer", action="store_true", help="only this project: nothing is installed")
    add("--no-ours", action="store_true", help="only mergekit")
    add("--peer-dtype", default="bfloat16", help="dtype in which mergekit computes (ours: float32)")
    add("--quick", action="store_true", help="tiny shapes: does everything run?")
    return parser.parse_args()


class Benchmark:
    """What is measured so far, and the folder where it happens."""

    def __init__(self, asked: argparse.Namespace) -> None:
        self.asked = asked
        self.data: Path = asked.data.resolve()
        self.data.mkdir(parents=True, exist_ok=True)
        self.lock = FileLock(self.data / ".lock")
        try:
            self.lock.acquire(timeout=0)
        except Timeout:
            raise SystemExit(f"another run measures in {self.data}: wait for it") from None
        self.work = self.data / "work"
        shutil.rmtree(self.work, ignore_errors=True)
        self.work.mkdir()

    def shape(self, case: Case) -> Shape:
        """The architecture of a case."""
        if self.asked.quick:
            return checkpoints.QUICK if case.shape == "large" else checkpoints.QUICK_SMALL
        return checkpoints.LARGE if case.shape == "large" else checkpoints.SMALL

    def run(self, case: Case) -> report.Row:
        """All rounds of a case: ours and the peer's, in turn; the fastest of each counts."""
        shape = self.shape(case)
        base, *experts = models_of(shape, case.experts, self.data)
        self._check_disk(shape)
        row = report.Row(case, shape.name, (1 + case.experts) * shape.nbytes)
        weights = [path / "model.safetensors" for path in (base, *experts)]
        for _ in range(self.asked.rounds):
            row.read = min(row.read, read_seconds(weights))
            plain, flushed = write_seconds(shape.nbytes, self.work / "bytes")
            row.write, row.flush = min(row.write, plain), min(row.flush, flushed)
            if not self.asked.no_ours:
                usage, merging = self._ours(case, base, experts, row)
                row.add_ours(usage, merging)
            if case.peer and not self.asked.no_peer:
                read_seconds(weights)  # both find the same page cache
                row.add_peer(self._peer(case, base, experts))
        return row

    def _check_disk(self, shape: Shape) -> None:
        free = shutil.disk_usage(self.work).free
        if free < shape.nbytes + (1 << 30):
            raise SystemExit(
                f"{self.work} has {free / 1e9:.1f} GB free; a merge writes {shape.nbytes / 1e9:.1f} GB: give "
                "another folder with --data"
            )

    def _ours(self, case: Case, base: Path, experts: list[Path], row: report.Row) -> tuple[Usage, float]:
        """Usage of the whole process, and the seconds of merging alone (from its manifest)."""
        out, runs = self.work / "ours", self.work / "runs"
        command: list[str | Path] = [BENCH, "merge", "--method", case.method, "--base", base, "--out", out]
        for path in experts:
            command += ["--expert", path]
        for key, value in case.settings.items():
            command += ["--set", f"{key}={value}"]
        if case.planted:
            runs = self.data / "planted"
            command += plant(case, base, experts, runs)
            row.nbytes = (1 + case.experts) * self.shape(case).nbytes + planted_bytes(runs)
        usage = measured([*command, "--runs", runs, "--json"], self.work / "ours.log", HF_HUB_OFFLINE="1")
        merging = float(json.loads((out / "mergeboard.json").read_text())["seconds"])
        shutil.rmtree(out)
        if not case.planted:
            shutil.rmtree(runs)  # each run fingerprints its inputs itself and computes its own statistics
        os.sync()
        return usage, merging

    def _peer(self, case: Case, base: Path, experts: list[Path]) -> Usage:
        assert case.peer
        method, parameters, per_model = case.peer
        peer.ready()
        file, out = self.work / "peer.yml", self.work / "peer"
        file.write_text(peer.config(method, base, experts, parameters, per_model, self.asked.peer_dtype))
        usage = measured(peer.command(file, out), self.work / "peer.log", HF_HUB_OFFLINE="1")
        shutil.rmtree(out)
        os.sync()
        return usage


def main() -> int:
    """Run the cases one after another; 1 if one of them failed to run, else 0, met or not."""
    asked = options()
    benchmark = Benchmark(asked)
    rows: dict[str, report.Row] = {}
    failed = 0
    for case in chosen(asked.only):
        print(f"{case.name} ...", flush=True)
        try:
            rows[case.name] = benchmark.run(case)
        except RunFailed as error:
            failed = 1
            print(f"{case.name} FAILED: {error}", flush=True)
    print(report.text(rows, requirements=not asked.quick))
    _save(benchmark.data / "results.json", asked, rows)
    shutil.rmtree(benchmark.work, ignore_errors=True)
    return failed


def _save(file: Path, asked: argparse.Namespace, rows: dict[str, report.Row]) -> None:
    """The figures as JSON, with what they were asked with."""
    from bench.machine import machine, package_versions

    found: dict[str, Any] = {
        "machine": machine(),
        "packages": package_versions(),
        "options": {key: str(value) for key, value in vars(asked).items()},
        "rows": {
            name: {**asdict(row), "checks": [asdict(c) for c in report.checks(row, rows)]}
            for name, row in rows.items()
        },
    }
    file.write_text(json.dumps(found, indent=2, default=str))
    print(f"figures: {file}")


if __name__ == "__main__":
    sys.exit(main())
