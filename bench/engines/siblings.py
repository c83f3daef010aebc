"""Requests that can be drawn as one: samples of one prompt, under one sampling, with seeds that follow each other."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from bench.engines.texts import Job


def families(jobs: Iterable[Job]) -> list[list[Job]]:
    """`jobs` in runs of the same prompt and sampling whose seeds are s, s + 1, s + 2, ...; greedy ones stay alone.

    vLLM gives the k-th of n children the seed s + k, so that a run can be asked as one request of n children and
    every child keeps the seed of its own.
    """
    alike: dict[Any, list[Job]] = {}
    for job in jobs:
        request = job.request
        alone = request.id if request.sampling.temperature == 0 else None
        alike.setdefault((tuple(job.prompt), request.sampling, alone), []).append(job)
    return [run for same in alike.values() for run in _runs(same)]


def _runs(same: Sequence[Job]) -> list[list[Job]]:
    runs: list[list[Job]] = []
    for job in sorted(same, key=lambda job: job.request.seed):
        if runs and runs[-1][-1].request.seed + 1 == job.request.seed:
            runs[-1].append(job)
        else:
            runs.append([job])
    return runs
