"""`python -m perf.eval`: tokens per second of our engines, of vLLM alone and of lm-eval's own `hf` model.

Everybody answers the same GSM8K questions with the same model, greedily, under one budget and in one dtype, each in
a fresh process, in turn; loading is not counted, and every tool is warm. Tokens are those of the texts, counted
alike. Required: `hf` at least 1.3 times lm-eval at its best batch size, `vllm` at least 0.95 times vLLM alone.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from perf import environments
from perf.measure import RunFailed, measured

HF_RATIO, VLLM_RATIO = 1.3, 0.95
CHILD = Path(__file__).with_name("eval_child.py")
LM_EVAL_BATCHES = (1, 16, 32, 64, 128)


@dataclass(frozen=True)
class Figure:
    """What one contender did; `texts` are its answers, in order."""

    name: str
    batch: int
    tokens: int
    seconds: float
    loading: float
    texts: list[str]

    @property
    def speed(self) -> float:
        """Tokens per second."""
        return self.tokens / self.seconds


def options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="perf.eval", description=__doc__)
    add = parser.add_argument
    add("--model", help="folder of a model, or zoo:NAME [zoo:l2s-expert with --quick]")
    add("--data", type=Path, default=os.environ.get("MERGEBOARD_DATA"), help="folder with gsm8k/test.jsonl")
    add("--questions", type=int, default=256, help="how many questions")
    add("--budget", type=int, default=256, help="most new tokens of an answer")
    add("--dtype", help="dtype of everybody [the checkpoint's own]")
    add("--only", help="contenders, comma-separated: hf, vllm, vllm alone, lm-eval")
    add(
        "--lm-eval-batches", default=",".join(map(str, LM_EVAL_BATCHES)), help="batch sizes of lm-eval to try"
    )
    add("--rounds", type=int, default=1, help="runs of each; the fastest counts")
    add("--out", type=Path, default=Path(__file__).parent / "data" / "eval.json", help="figures as JSON")
    add("--quick", action="store_true", help="a few short answers: does everything run?")
    asked = parser.parse_args()
    if asked.quick:
        asked.model, asked.lm_eval_batches = asked.model or "zoo:l2s-expert", "1,4"
        asked.questions, asked.budget = 6, 16
    if not asked.model:
        parser.error("--model FOLDER says with which model (make perf-eval MODEL=FOLDER)")
    return asked


def questions(asked: argparse.Namespace, model: Path) -> list[str]:
    """Prompts of GSM8K in its first mode, or of mini_gsm where no data is given in a quick run."""
    from bench.evaluation.questions import pools, rendered
    from bench.suites import EvalOptions
    from tasks.catalogue import resolve

    name = "mini_gsm" if asked.quick and asked.data is None else "gsm8k"
    found = pools(resolve(name), EvalOptions(suite=name, limit=asked.questions, data_dir=asked.data))
    return [ask.prompt for ask in rendered(found[:1], model)[0].asks]


def contenders(asked: argparse.Namespace) -> list[tuple[str, int | None]]:
    """(kind, batch size) of everybody who runs, each tool beside its rival."""
    from bench.engines.vllm import installed

    everybody: list[tuple[str, int | None]] = [("hf", None)]
    everybody += [("lm-eval", int(size)) for size in asked.lm_eval_batches.split(",")]
    if installed():
        everybody += [("vllm", None), ("vllm alone", None)]
    else:
        print("vLLM is not installed (`make vllm`): not measured", flush=True)
    wanted = {part.strip() for part in asked.only.split(",")} if asked.only else None
    return [one for one in everybody if wanted is None or one[0] in wanted]


def run(kind: str, batch: int | None, asked: dict[str, Any], work: Path) -> Figure:
    """One contender in a fresh process."""
    source, sink, log = (work / name for name in ("asked.json", "found.json", "child.log"))
    sink.unlink(missing_ok=True)
    source.write_text(json.dumps({**asked, "batch_size": batch}))
    python = environments.ready("lm-eval") / "python" if kind == "lm-eval" else Path(sys.executable)
    # Both uses of vLLM get one size of cache; alone it would take most of the memory of a machine without a GPU.
    cache = {"VLLM_CPU_KVCACHE_SPACE": os.environ.get("VLLM_CPU_KVCACHE_SPACE", "4")}
    # -P: this folder is not to be searched, or perf/statistics.py would stand for Python's own.
    command = [python, "-P", CHILD, kind, source, sink]
    measured(command, log, HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false", **cache)
    found = json.loads(sink.read_text())
    return Figure(kind, found["batch"], found["tokens"], found["seconds"], found["loading"], found["texts"])


def table(figures: list[Figure]) -> str:
    """Everybody's figures, and the ratios that are required."""
    lines = [f"{'':12} {'batch':>6} {'tokens':>8} {'seconds':>9} {'tokens/s':>9} {'loading s':>10}"]
    lines += [
        f"{f.name:12} {f.batch:>6} {f.tokens:>8,} {f.seconds:>9.1f} {f.speed:>9.1f} {f.loading:>10.1f}"
        for f in figures
    ]
    best = {
        name: max((f for f in figures if f.name == name), key=lambda f: f.speed)
        for name in {f.name for f in figures}
    }
    for one, other, wanted in (("hf", "lm-eval", HF_RATIO), ("vllm", "vllm alone", VLLM_RATIO)):
        if one in best and other in best:
            ratio = best[one].speed / best[other].speed
            same = sum(a == b.strip() for a, b in zip(best[one].texts, best[other].texts, strict=True))
            lines.append(
                f"{one} / {other} at batch {best[other].batch}: {ratio:.2f} (wanted: {wanted}, "
                f"{'met' if ratio >= wanted else 'NOT met'}); {same} of {len(best[one].texts)} texts the same"
            )
    return "\n".join(lines)


def main() -> int:
    """Run everybody in turn; 1 if one of them failed to run, else 0, met or not."""
    from bench.engines.hf import stored_dtype
    from bench.machine import machine, package_versions
    from bench.models.checkpoint import locate

    asked = options()
    model = locate(asked.model)
    dtype = asked.dtype or stored_dtype(model)
    work = asked.out.parent
    work.mkdir(parents=True, exist_ok=True)
    prompts = questions(asked, model)
    told = {"model": str(model), "dtype": dtype, "prompts": prompts, "budget": asked.budget}
    fastest: dict[tuple[str, int | None], Figure] = {}
    failed = 0
    for _ in range(asked.rounds):
        for kind, batch in contenders(asked):
            print(f"{kind}{f' batch {batch}' if batch else ''} ...", flush=True)
            try:
                figure = run(kind, batch, told, work)
            except RunFailed as error:
                failed = 1
                print(f"{kind} FAILED: {error}", flush=True)
                continue
            rest = fastest.get((kind, batch))
            fastest[kind, batch] = figure if rest is None or figure.speed > rest.speed else rest
    figures = list(fastest.values())
    print(f"{machine()}\n{len(prompts)} questions, at most {asked.budget} new tokens, {dtype}")
    print(table(figures))
    rows = [{**vars(f), "speed": f.speed} for f in figures]
    found = {"machine": machine(), "packages": package_versions(), "asked": told, "rows": rows}
    asked.out.write_text(json.dumps(found, indent=2))
    return failed


if __name__ == "__main__":
    sys.exit(main())
