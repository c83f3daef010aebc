"""Random Fishers where the program keeps what it computed before: only what a method does with them is measured."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from math import prod
from pathlib import Path

import torch

from bench.alignment.align import align
from bench.examples import read_examples
from bench.merging.merge import Place
from bench.models.stored import header_bytes
from bench.recipe import build_recipe
from bench.statistics import DATA, RECORD, Subject, statistic_id, subjects
from perf.cases import Case
from perf.checkpoints import METADATA, RUN, as_bytes


def plant(case: Case, base: Path, experts: list[Path], runs: Path) -> list[str | Path]:
    """Plant every statistic of a case under `runs`; what the command line needs beside (example sets).

    The random numbers are kept beside `runs` and linked under the identities that today's code asks for.
    """
    place = Place(runs)
    shutil.rmtree(place.statistics, ignore_errors=True)
    files = [_examples(runs, number) for number in range(len(experts))]
    recipe = build_recipe(case.method, case.settings, str(base), [str(path) for path in experts])
    recipe = replace(recipe, data=tuple(read_examples(file) for file in files))
    targets = align(recipe).targets
    for need in recipe.method.needs():
        for number, subject in enumerate(subjects(need, recipe, targets)):
            kept = _kept(
                runs.parent / "random-statistics" / f"{base.name}-{need.name}-{number}", subject, number
            )
            folder = place.statistics / statistic_id(subject, place.fingerprints)
            folder.mkdir(parents=True)
            (folder / DATA).hardlink_to(kept)
            (folder / RECORD).write_text(json.dumps({"id": folder.name, "seconds": 0.0}))
    return [part for file in files for part in ("--data", file)]


def planted_bytes(runs: Path) -> int:
    """Size of the statistics planted under `runs`."""
    return sum(file.stat().st_size for file in Place(runs).statistics.glob(f"*/{DATA}"))


def _examples(runs: Path, number: int) -> Path:
    """An example set: it is named in the identity, and read only by what computes the statistic."""
    file = runs / f"examples-{number}.jsonl"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"prompt": f"question {number}", "response": "answer"}) + "\n")
    return file


def _kept(file: Path, subject: Subject, seed: int) -> Path:
    """A safetensors file of squared normal numbers (as a Fisher's entries are), one per element asked for."""
    wanted = [(target.info.name, target.info.shape) for target in subject.wanted]
    head = header_bytes({name: ("F32", shape) for name, shape in wanted}, METADATA)
    if file.is_file() and file.stat().st_size == len(head) + sum(4 * prod(shape) for _, shape in wanted):
        return file
    file.parent.mkdir(parents=True, exist_ok=True)
    draw = torch.Generator().manual_seed(seed)
    draft = file.with_suffix(".partial")
    with draft.open("wb") as out:
        out.write(head)
        for _, shape in wanted:
            n = prod(shape)
            for start in range(0, n, RUN):
                values = torch.randn(min(RUN, n - start), generator=draw).square_().mul_(1e-6)
                out.write(as_bytes(values))
    draft.replace(file)
    return file
