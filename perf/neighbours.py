"""`python -m perf.neighbours`: how many texts are the same when a question is answered alone and in a batch.

The same questions of GSM8K, with the same seeds, once each alone and once all at once; greedy and sampled. What
differs does so by rounding: the logits of a row are summed in another order beside other rows.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from bench import engines
from bench.engines.contract import Engine, Request
from bench.evaluation.questions import pools
from bench.models.checkpoint import locate
from bench.suites import EvalOptions
from tasks.catalogue import resolve
from tasks.contract import Sampling

DRAWS = {"greedy": Sampling(0), "temperature 0.3": Sampling(0, temperature=0.3)}


def options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="perf.neighbours", description=__doc__)
    add = parser.add_argument
    add("--model", required=True, help="folder of a model, or zoo:NAME")
    add(
        "--data-dir",
        type=Path,
        default=os.environ.get("MERGEBOARD_DATA"),
        help="folder with gsm8k/test.jsonl",
    )
    add("--engine", default="hf", choices=("hf", "vllm"))
    add("--dtype", default="float32")
    add("--questions", type=int, default=16, help="how many questions, which is the batch")
    add("--budget", type=int, default=64, help="most new tokens of an answer")
    add("--threads", type=int, help="compute threads")
    return parser.parse_args()


def requests(asked: argparse.Namespace, sampling: Sampling) -> list[Request]:
    """The first questions as the suite asks them, each with the seed of its first sample."""
    chosen = EvalOptions(
        suite="gsm8k", limit=asked.questions, data_dir=asked.data_dir, max_new_tokens=asked.budget
    )
    [pool] = pools(resolve("gsm8k"), chosen)
    drawn = Sampling(asked.budget, sampling.temperature, sampling.top_p, pool.draw.sampling.stop)
    return [Request(ask.sample.id, ask.prompt, drawn, ask.seed) for ask in pool.asks]


def texts(engine: Engine, asked: Sequence[Request]) -> dict[str, str]:
    """Answers by question."""
    return {one.request.id: one.text for group in engine.generate(asked) for one in group}


def said(alone: dict[str, str], together: dict[str, str]) -> str:
    """How many texts are the same, and how far the others are."""
    apart = [id for id in alone if alone[id] != together[id]]
    shared = [len(os.path.commonprefix((alone[id], together[id]))) / len(together[id] or "-") for id in apart]
    parts = ", ".join(f"{100 * share:.0f} %" for share in shared)
    others = f"; the others share their first {parts}" if apart else ""
    return f"{len(alone) - len(apart)} of {len(alone)} texts the same{others}"


def main() -> None:
    """Print one line a draw."""
    asked = options()
    engine = engines.load(
        asked.engine,
        locate(asked.model),
        dtype=asked.dtype,
        batch_size=asked.questions,
        threads=asked.threads,
    )
    with closing(engine):
        for name, sampling in DRAWS.items():
            started = time.perf_counter()
            wanted = requests(asked, sampling)
            together = texts(engine, wanted)
            alone: dict[str, str] = {}
            for request in wanted:
                alone |= texts(engine, [request])
            took = time.perf_counter() - started
            print(f"{asked.engine} {asked.dtype} {name}: {said(alone, together)} ({took:.0f} s)", flush=True)


if __name__ == "__main__":
    main()
