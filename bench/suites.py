"""What is asked: a suite or benchmark by name, and the options of an evaluation, checked before any work."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.errors import BadInput, unknown
from tasks.catalogue import resolve
from tasks.contract import Suite
from tasks.errors import UnknownName


@dataclass(frozen=True)
class EvalOptions:
    """How to evaluate: which samples, which engine, which overrides. None means the benchmark's own choice."""

    suite: str
    split: str = "test"
    limit: int | None = None
    engine: str = "hf"
    dtype: str | None = None
    batch_size: int | None = None
    threads: int | None = None
    max_new_tokens: int | None = None
    data_dir: Path | None = None
    prompt_mode: str | None = None
    samples: int | None = None
    tensor_parallel: int | None = None
    gpu_memory: float | None = None
    server_url: str | None = None
    served_model: str | None = None
    concurrency: int | None = None
    fixed_tokenizer: str | None = None
    judge: str | None = None
    judge_engine: str | None = None
    judge_url: str | None = None
    no_judge: bool = False
    run_code: bool | None = None

    def engine_options(self) -> dict[str, Any]:
        """What of these concerns the engine, as `bench.engines` takes it."""
        names = (
            "dtype", "batch_size", "threads", "tensor_parallel", "gpu_memory", "server_url", "served_model",
            "concurrency",
        )  # fmt: skip
        return {name: getattr(self, name) for name in names}


def chosen_suite(options: EvalOptions) -> Suite:
    """The suite, after checking split, prompt mode and engine against it."""
    from bench.engines import check_engine
    from bench.engines.hf import DTYPES

    try:
        suite = resolve(options.suite)
    except UnknownName as error:
        raise unknown("suite or benchmark", error.name, error.known) from error
    labels = any(benchmark.labels for benchmark in suite.benchmarks)
    check_engine(options.engine, labels=labels, **options.engine_options())
    for benchmark in suite.benchmarks:
        if options.split not in benchmark.splits:
            raise unknown(f"split of {benchmark.name}", options.split, benchmark.splits)
        if options.prompt_mode is not None and options.prompt_mode not in benchmark.prompts:
            raise unknown(f"prompt mode of {benchmark.name}", options.prompt_mode, benchmark.prompts)
    for task in suite.lm_eval:
        if options.split != "test" and not task.beside:
            raise unknown(
                f"split of {task.name} (what lm-eval scores is its test split here)", options.split, ["test"]
            )
    if options.dtype is not None and options.dtype not in DTYPES:
        raise unknown("dtype", options.dtype, DTYPES)
    if options.data_dir is not None and not options.data_dir.is_dir():
        raise BadInput(f"--data-dir {options.data_dir}: no such folder")
    return suite
