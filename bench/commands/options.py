"""Options that several commands have, each declared once: alone, or as a group that a command takes as one value."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from functools import wraps
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from bench.suites import EvalOptions

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Base = Annotated[str | None, typer.Option("--base", help="Base model: folder, Hub id or zoo:NAME.")]
Experts = Annotated[
    list[str] | None, typer.Option("--expert", help="Expert, optionally :weight. Repeatable.")
]
Settings = Annotated[
    list[str] | None, typer.Option("--set", help="Method parameter, name=value. Repeatable.")
]
MODEL = typer.Option("--model", help="Model: folder, Hub id, zoo:NAME. Repeatable.")
Models = Annotated[str | None, typer.Option("--models", help="Model set of configs/models.")]
Suite = Annotated[str, typer.Option("--suite", help="Suite, or one benchmark.")]
AnySuite = Annotated[
    str | None, typer.Option("--suite", help="Suite, or one benchmark [the experiment's, mini_l2s].")
]
ExperimentName = Annotated[
    str | None,
    typer.Option("--experiment", help="Experiment of configs/experiments: methods, models, suite."),
]
AcceptanceName = Annotated[
    str | None,
    typer.Option(
        "--acceptance",
        help="Published experiment of configs/acceptance, or a file: run, compare, pass or fail.",
    ),
]
Limit = Annotated[
    int | None, typer.Option("--limit", min=1, help="Only the first N samples of each benchmark.")
]
Split = Annotated[str, typer.Option("--split", help="train, validation or test.")]
Budget = Annotated[
    int | None, typer.Option("--max-new-tokens", min=1, help="Overrides the benchmarks' budget.")
]
ContextLength = Annotated[
    int | None,
    typer.Option(
        "--context-length", min=1, help="The merge's context where the models' limits differ, in tokens."
    ),
]
RopeFrom = Annotated[
    str | None,
    typer.Option(
        "--rope-from", help="Whose rotary settings the merge has where they differ: base or expert:<i>."
    ),
]
Mergekit = Annotated[
    Path | None, typer.Option("--mergekit", help="mergekit YAML, instead of --method, --base and --expert.")
]


@dataclass(frozen=True)
class EngineGroup:
    """Which engine answers, and with what of the machine."""

    engine: Annotated[
        str,
        typer.Option(
            "--engine", help="hf, vllm, server, or auto: vllm where installed and the model is large."
        ),
    ] = "auto"
    dtype: Annotated[
        str | None, typer.Option("--dtype", help="Compute dtype [float32 on CPU, stored dtype on GPU].")
    ] = None
    batch_size: Annotated[
        int | None, typer.Option("--batch-size", min=1, help="Most sequences decoded together.")
    ] = None
    threads: Annotated[int | None, typer.Option("--threads", min=1, help="Compute threads.")] = None
    tensor_parallel: Annotated[
        int | None, typer.Option("--tensor-parallel", min=1, help="GPUs that share one model (vllm) [1].")
    ] = None
    gpu_memory: Annotated[
        float | None,
        typer.Option(
            "--gpu-memory", min=0.01, max=1.0, help="Fraction of a GPU's memory (vllm) [vLLM's own]."
        ),
    ] = None
    server_url: Annotated[
        str | None,
        typer.Option("--server-url", help="OpenAI-compatible server, up to and with /v1 (engine server)."),
    ] = None
    served_model: Annotated[
        str | None,
        typer.Option("--served-model", help="The model's name there [the only one] (engine server)."),
    ] = None
    concurrency: Annotated[
        int | None,
        typer.Option("--concurrency", min=1, help="Most requests under way at once (engine server)."),
    ] = None


@dataclass(frozen=True)
class AskingGroup:
    """How a suite is asked, and what is counted of its answers."""

    fixed_tokenizer: Annotated[
        str | None,
        typer.Option("--fixed-tokenizer", help="Count lengths under this tokenizer too: folder or Hub id."),
    ] = None
    max_new_tokens: Budget = None
    data_dir: Annotated[
        Path | None,
        typer.Option(
            "--data-dir",
            envvar="MERGEBOARD_DATA",
            help="Local folder of benchmark data (BENCHMARK/SPLIT.jsonl).",
        ),
    ] = None
    prompt_mode: Annotated[
        str | None, typer.Option("--prompt-mode", help="Prompt format [the benchmark's first].")
    ] = None
    samples: Annotated[
        int | None,
        typer.Option("--samples", min=0, help="Sampled responses a question, for votes; 0 leaves them out."),
    ] = None
    run_code: Annotated[
        bool | None,
        typer.Option(
            "--run-code/--no-run-code",
            help="Run programs that models write, in a sandbox [the suite's choice, no].",
        ),
    ] = None


@dataclass(frozen=True)
class JudgeGroup:
    """Which model judges answers that a rule cannot grade."""

    judge: Annotated[
        str | None, typer.Option("--judge", help="Judge: folder, Hub id, zoo:NAME [the benchmark's own].")
    ] = None
    judge_engine: Annotated[
        str | None, typer.Option("--judge-engine", help="Engine that the judge answers on [auto].")
    ] = None
    judge_url: Annotated[
        str | None,
        typer.Option("--judge-url", help="OpenAI-compatible server of the judge, up to and with /v1."),
    ] = None
    no_judge: Annotated[
        bool, typer.Option("--no-judge", help="Store answers that need a judge; judge and score them later.")
    ] = False


@dataclass(frozen=True)
class PlaceGroup:
    """Where merges, statistics and results are kept."""

    runs: Annotated[
        Path, typer.Option("--runs", envvar="MERGEBOARD_RUNS", help="Folder for merges, statistics, results.")
    ] = Path("runs")
    db: Annotated[
        Path | None, typer.Option("--db", envvar="MERGEBOARD_DB", help="Database [RUNS/leaderboard.duckdb].")
    ] = None

    @property
    def database(self) -> Path:
        """The database, said or the folder's own."""
        return self.db or self.runs / "leaderboard.duckdb"


def eval_options(
    suite: str, *, split: str, limit: int | None, engine: EngineGroup, asking: AskingGroup,
    judging: JudgeGroup = JudgeGroup(),  # noqa: B008
) -> EvalOptions:  # fmt: skip
    """The options of an evaluation, whose fields the groups' are."""
    from bench.suites import EvalOptions

    groups = {**asdict(engine), **asdict(asking), **asdict(judging)}
    return EvalOptions(suite=suite, split=split, limit=limit, **groups)


GROUPS: tuple[type[Any], ...] = (EngineGroup, AskingGroup, JudgeGroup, PlaceGroup)


def flat(command: Callable[..., None]) -> Callable[..., None]:
    """`command` as typer reads it: in the place of each group stand the group's own options."""
    parameters = signature(command, eval_str=True).parameters.values()
    groups = {one.name: one.annotation for one in parameters if one.annotation in GROUPS}

    @wraps(command)
    def called(**given: Any) -> None:
        for name, group in groups.items():
            given[name] = group(**{field.name: given.pop(field.name) for field in fields(group)})
        command(**given)

    own = [inner for one in parameters for inner in _options(one)]
    called.__signature__ = Signature(own)  # type: ignore[attr-defined]
    return called


def _options(parameter: Parameter) -> list[Parameter]:
    if parameter.annotation not in GROUPS:
        return [parameter]
    found = signature(parameter.annotation, eval_str=True).parameters.values()
    return [one.replace(kind=Parameter.KEYWORD_ONLY) for one in found]
