"""`make perf-grade`: how many ordinary verdicts a second each grader makes, and what hostile ones cost.

Answers are built from the golds of the real data (a folder of BENCHMARK/test.jsonl: `--data-dir` or
MERGEBOARD_DATA): half right as the gold writes it, a fifth right in another spelling, a quarter another problem's
gold, a few without a box; each behind reasoning of a usual length. Plain math-verify reads the same responses in
the same run, as its manual says and in this process: no memory limit, one core. Needs no model and no network.
"""

from __future__ import annotations

import argparse
import logging
import os
import random
import resource
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tasks.golds import L2S_BENCHMARKS
from tasks.qwen_compat.grader import QwenCompat
from tasks.strict.grader import Strict

GRADERS = {"qwen_compat": QwenCompat, "strict": Strict}
REFERENCE = "math-verify"
REFERENCE_PROBLEMS = 300  # of each benchmark: its limit is five seconds, and it is reached often
FLOOR = 300.0  # verdicts a second on two cores
REASONING = "Let us look at the next step: we substitute, so that $2x + 3 = 11$ and therefore $x = 4$. " * 25
HOSTILE = (
    "\\boxed{9^{9^{9^{9}}}}",
    "\\boxed{" + "{" * 10**6,
    "\\boxed{\\int_0^1 x^{x^{x}} dx}",
    "\\boxed{(10^6)!!}",
)
Pair = tuple[str, str]


def options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="perf.grading", description=__doc__)
    parser.add_argument(
        "--data-dir", type=Path, default=os.environ.get("MERGEBOARD_DATA"), help="data folder"
    )
    parser.add_argument("--limit", type=int, help="problems of each benchmark")
    parser.add_argument("--seed", type=int, default=0, help="of the mixture of answers")
    parser.add_argument(
        "--benchmark", action="append", choices=L2S_BENCHMARKS, help="only this one; repeatable"
    )
    parser.add_argument(
        "--grader", action="append", choices=sorted(GRADERS), help="only this one; repeatable"
    )
    return parser.parse_args()


def golds(benchmark: str, data: Path) -> list[str]:
    """The golds of a benchmark's test split, as its samples have them."""
    from tasks.catalogue import resolve

    [one] = resolve(benchmark).benchmarks
    samples, _ = one.load("test", data)
    return [sample.target for sample in samples]


def ordinary(targets: Sequence[str], rng: random.Random) -> list[Pair]:
    """One response to each gold: right, right in other words, wrong, or without a box."""
    pairs = []
    for target in targets:
        kind = rng.choices(("right", "spelling", "wrong", "no box"), (50, 20, 25, 5))[0]
        answer = rng.choice(targets) if kind == "wrong" else target
        if kind == "spelling":
            answer = (
                answer.replace("\\frac", "\\dfrac").replace(",", ", ").replace("+", " + ").lstrip("0") or "0"
            )
        end = f"The answer is ${answer}$." if kind == "no box" else f"So it is $\\boxed{{{answer}}}$."
        pairs.append((REASONING[: rng.randrange(500, len(REASONING))] + end, target))
    return pairs


def measured(grader: QwenCompat | Strict, pairs: Sequence[Pair]) -> tuple[float, float]:
    """Seconds, and processor seconds of this process and the workers, for all pairs; the workers have started."""
    grader.grade([("\\boxed{x+1}", "1+x"), *((f"\\boxed{{x+{n}}}", f"y-{n}") for n in range(40))])
    started, before = time.perf_counter(), _processor_seconds(grader)
    grader.grade(pairs)
    return time.perf_counter() - started, _processor_seconds(grader) - before


def _processor_seconds(grader: QwenCompat | Strict) -> float:
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)  # workers that a limit ended, and their starts
    total = time.process_time() + ended.ru_utime + ended.ru_stime
    for pid in grader.pool.pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return total


def show(grader: str, what: str, count: int, seconds: float, processor: float) -> None:
    """One line. The last figure is what two cores of one's own would give, whatever else runs now."""
    rates = f"{count / seconds:8.0f} / s {2 * count / processor:8.0f} / s of two cores"
    print(f"{grader:12} {what:14} {count:5} verdicts {rates}", flush=True)


def reference(pairs: Sequence[Pair]) -> tuple[float, float]:
    """Seconds and processor seconds of plain math-verify over all pairs: both sides parsed, then compared."""
    from math_verify import parse, verify

    logging.getLogger("math_verify").setLevel(logging.CRITICAL)  # it reports each limit that was reached
    verify(parse("$x+1$"), parse("\\boxed{1+x}"))  # imports and tables
    started, before = time.perf_counter(), time.process_time()
    for text, target in pairs:
        verify(parse(f"${target}$"), parse(text))
    return time.perf_counter() - started, time.process_time() - before


def rates(name: str, asked: argparse.Namespace) -> float:
    """Print the rate of one grader, or of the reference, on each benchmark and over all; return the last."""
    totals, count = [0.0, 0.0], 0
    for benchmark in asked.benchmark or L2S_BENCHMARKS:
        pairs = ordinary(golds(benchmark, asked.data_dir)[: asked.limit], random.Random(asked.seed))
        if name == REFERENCE:
            pairs = random.Random(asked.seed).sample(pairs, min(len(pairs), REFERENCE_PROBLEMS))
            spent = reference(pairs)
        else:
            grader = GRADERS[name](benchmark)
            spent = measured(grader, pairs)
            grader.close()
        totals, count = [a + b for a, b in zip(totals, spent, strict=True)], count + len(pairs)
        show(name, benchmark, len(pairs), *spent)
    show(name, "all", count, *totals)
    return 2 * count / totals[1]


def cost_of_hostile(name: str) -> None:
    """Print how long a grader is busy with answers made to keep it busy."""
    grader = GRADERS[name]("math500")
    started = time.perf_counter()
    grader.grade([(text, "3") for text in HOSTILE])
    print(f"{name:12} {len(HOSTILE)} hostile answers in {time.perf_counter() - started:.1f} s", flush=True)
    grader.close()


def main() -> int:
    """Print a line per grader and benchmark, the rate of each over all, and the cost of hostile answers."""
    asked = options()
    if asked.data_dir is None:
        raise SystemExit("give --data-dir FOLDER or MERGEBOARD_DATA: the real golds are what is graded")
    slow = 0
    for name in asked.grader or GRADERS:
        slow += rates(name, asked) < FLOOR
        cost_of_hostile(name)
    rates(REFERENCE, asked)
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main())
