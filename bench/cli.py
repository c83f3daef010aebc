"""The command line. Commands are thin: they parse, call the road, and print; heavy imports happen inside.

Exit codes: 0 done, 1 a check failed, 2 bad input, 130 interrupted.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench.errors import BadInput, CheckFailed
from results.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.experiments import Wanted
    from bench.merging.plan import Plan
    from bench.models.checkpoint import Checkpoint
    from bench.models.context import Context
    from bench.recipe import Recipe
    from bench.suites import EvalOptions

app = typer.Typer(
    help="Merge models, evaluate them, and see which merge is better, on what, by how much, and how sure.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Runs = Annotated[
    Path, typer.Option("--runs", envvar="MERGEBOARD_RUNS", help="Folder for merges, statistics, results.")
]
Db = Annotated[
    Path | None, typer.Option("--db", envvar="MERGEBOARD_DB", help="Database [RUNS/leaderboard.duckdb].")
]
Base = Annotated[str | None, typer.Option("--base", help="Base model: folder, Hub id or zoo:NAME.")]
Experts = Annotated[
    list[str] | None, typer.Option("--expert", help="Expert, optionally :weight. Repeatable.")
]
Settings = Annotated[
    list[str] | None, typer.Option("--set", help="Method parameter, name=value. Repeatable.")
]
Models = Annotated[str | None, typer.Option("--models", help="Model set of configs/models.")]
Suite = Annotated[str, typer.Option("--suite", help="Suite, or one benchmark.")]
Limit = Annotated[
    int | None, typer.Option("--limit", min=1, help="Only the first N samples of each benchmark.")
]
Split = Annotated[str, typer.Option("--split", help="train, validation or test.")]
EngineName = Annotated[
    str,
    typer.Option("--engine", help="hf, vllm, server, or auto: vllm where installed and the model is large."),
]
Dtype = Annotated[
    str | None, typer.Option("--dtype", help="Compute dtype [float32 on CPU, stored dtype on GPU].")
]
Batch = Annotated[int | None, typer.Option("--batch-size", min=1, help="Most sequences decoded together.")]
Threads = Annotated[int | None, typer.Option("--threads", min=1, help="Compute threads.")]
Budget = Annotated[
    int | None, typer.Option("--max-new-tokens", min=1, help="Overrides the benchmarks' budget.")
]
TensorParallel = Annotated[
    int | None, typer.Option("--tensor-parallel", min=1, help="GPUs that share one model (vllm) [1].")
]
GpuMemory = Annotated[
    float | None,
    typer.Option("--gpu-memory", min=0.01, max=1.0, help="Fraction of a GPU's memory (vllm) [vLLM's own]."),
]
ServerUrl = Annotated[
    str | None,
    typer.Option("--server-url", help="OpenAI-compatible server, up to and with /v1 (engine server)."),
]
ServedModel = Annotated[
    str | None, typer.Option("--served-model", help="The model's name there [the only one] (engine server).")
]
Concurrency = Annotated[
    int | None, typer.Option("--concurrency", min=1, help="Most requests under way at once (engine server).")
]
Samples = Annotated[
    int | None,
    typer.Option("--samples", min=0, help="Sampled responses a question, for votes; 0 leaves them out."),
]
FixedTokenizer = Annotated[
    str | None,
    typer.Option("--fixed-tokenizer", help="Count lengths under this tokenizer too: folder or Hub id."),
]
GraderName = Annotated[
    str | None, typer.Option("--grader", help="Show this grader's numbers [the benchmarks' first].")
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
ExperimentName = Annotated[
    str | None,
    typer.Option("--experiment", help="Experiment of configs/experiments: methods, models, suite."),
]
AnySuite = Annotated[
    str | None, typer.Option("--suite", help="Suite, or one benchmark [the experiment's, mini_l2s].")
]
DataSplit = Annotated[
    str, typer.Option("--data-split", help="Examples for methods that need data: train or validation.")
]
DataDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir", envvar="MERGEBOARD_DATA", help="Local folder of benchmark data (BENCHMARK/SPLIT.jsonl)."
    ),
]
Mergekit = Annotated[
    Path | None, typer.Option("--mergekit", help="mergekit YAML, instead of --method, --base and --expert.")
]
PromptMode = Annotated[
    str | None, typer.Option("--prompt-mode", help="Prompt format [the benchmark's first].")
]


def _recipe(
    mergekit: Path | None,
    method: str | None,
    base: str | None,
    expert: list[str] | None,
    set_: list[str] | None,
    suite: str = "",
    opener: Callable[[str], Checkpoint] | None = None,
) -> Recipe:
    """What to merge: a mergekit YAML, or a method with a base and experts; `opener` opens the models."""
    from bench.choice import settings_of
    from bench.mergekit import recipe_of
    from bench.models.checkpoint import open_checkpoint
    from bench.recipe import build_recipe, parse_settings

    settings, opener = parse_settings(set_ or []), opener or open_checkpoint
    if mergekit is not None:
        if method or base or expert:
            raise BadInput("--mergekit says what to merge: leave out --method, --base and --expert")
        return recipe_of(mergekit, settings, opener=opener)
    if not method or not base or not expert:
        raise BadInput("give --method, --base and at least one --expert, or --mergekit FILE")
    name, settings = settings_of(method, settings, suite)
    return build_recipe(name, settings, base, expert, opener=opener)


def _database(runs: Path, db: Path | None) -> Path:
    return db or runs / "leaderboard.duckdb"


def _options(
    suite: str,
    split: str,
    limit: int | None,
    engine: str,
    dtype: str | None,
    batch_size: int | None,
    threads: int | None,
    max_new_tokens: int | None,
    data_dir: Path | None,
    prompt_mode: str | None,
    samples: int | None,
    tensor_parallel: int | None,
    gpu_memory: float | None,
    server_url: str | None,
    served_model: str | None,
    concurrency: int | None,
    fixed_tokenizer: str | None,
) -> EvalOptions:
    from bench.suites import EvalOptions

    return EvalOptions(
        suite=suite,
        split=split,
        limit=limit,
        engine=engine,
        dtype=dtype,
        batch_size=batch_size,
        threads=threads,
        max_new_tokens=max_new_tokens,
        data_dir=data_dir,
        prompt_mode=prompt_mode,
        samples=samples,
        tensor_parallel=tensor_parallel,
        gpu_memory=gpu_memory,
        server_url=server_url,
        served_model=served_model,
        concurrency=concurrency,
        fixed_tokenizer=fixed_tokenizer,
    )


@app.command()
def run(
    method: Annotated[
        str | None, typer.Option("--method", help="Methods, comma-separated, or `all` [fim_ties].")
    ] = None,
    suite: AnySuite = None,
    experiment: ExperimentName = None,
    models: Models = None,
    base: Base = None,
    expert: Experts = None,
    set_: Settings = None,
    split: Split = "test",
    limit: Limit = None,
    engine: EngineName = "auto",
    dtype: Dtype = None,
    batch_size: Batch = None,
    threads: Threads = None,
    tensor_parallel: TensorParallel = None,
    gpu_memory: GpuMemory = None,
    server_url: ServerUrl = None,
    served_model: ServedModel = None,
    concurrency: Concurrency = None,
    fixed_tokenizer: FixedTokenizer = None,
    max_new_tokens: Budget = None,
    data_dir: DataDir = None,
    prompt_mode: PromptMode = None,
    samples: Samples = None,
    data_split: DataSplit = "train",
    context_length: ContextLength = None,
    rope_from: RopeFrom = None,
    runs: Runs = Path("runs"),
    db: Db = None,
    json: Json = False,
) -> None:
    """The whole road: merge, evaluate base, experts and merges, record, and print the table."""
    from bench.experiments import wanted
    from bench.models.context import Context
    from bench.run import run as road

    asked = wanted(experiment, method=method, suite=suite, models=models, base=base, experts=expert)
    options = _options(
        asked.suite, split, limit, engine, dtype, batch_size, threads, max_new_tokens, data_dir, prompt_mode,
        samples, tensor_parallel, gpu_memory, server_url, served_model, concurrency, fixed_tokenizer,
    )  # fmt: skip
    report = road(
        asked.methods,
        options,
        models=asked.models,
        base=base,
        experts=expert or [],
        settings=set_ or [],
        runs=runs,
        db=_database(runs, db),
        say=_say,
        data_split=data_split,
        context=Context(context_length, rope_from),
    )
    extra = {"report": report.summary, "not_applicable": report.refused, "failed": report.failed}
    _print_board(report.board, json=json, extra=extra)
    _reasons("does not apply", report.refused)
    _reasons("left out", dict.fromkeys(asked.left_out, "needs examples: bench merge --data"))
    _reasons("FAILED", report.failed)
    if report.failed:
        raise CheckFailed(f"{', '.join(report.failed)}; the results of the others are kept")


@app.command()
def merge(
    out: Annotated[Path, typer.Option("--out", help="Folder of the merged checkpoint.")],
    method: Annotated[
        str | None, typer.Option("--method", help="Merge method; METHOD@PRESET takes a preset.")
    ] = None,
    base: Base = None,
    expert: Experts = None,
    mergekit: Mergekit = None,
    set_: Settings = None,
    data: Annotated[
        list[Path] | None,
        typer.Option("--data", help="JSON lines, one file per expert, for methods that need data."),
    ] = None,
    push_to_hub: Annotated[
        str | None, typer.Option("--push-to-hub", help="Then upload it to this Hub repository.")
    ] = None,
    private: Annotated[bool, typer.Option("--private", help="Make a new repository private.")] = False,
    context_length: ContextLength = None,
    rope_from: RopeFrom = None,
    runs: Runs = Path("runs"),
    db: Db = None,
    json: Json = False,
) -> None:
    """Write one merged checkpoint, and publish it if asked."""
    from bench.data import with_files
    from bench.merging.merge import Place
    from bench.merging.merge import merge as merge_models
    from bench.merging.push import check_push, push
    from bench.models.context import Context
    from bench.show import status

    if private and push_to_hub is None:
        raise BadInput("--private is about the Hub repository: give --push-to-hub NAME too, or leave it out")
    recipe = _recipe(mergekit, method, base, expert, set_)
    recipe = replace(recipe, context=Context(context_length, rope_from))
    recipe = with_files(recipe, data or [])
    if push_to_hub is not None:
        check_push(push_to_hub)
    with status() as show:
        result = merge_models(recipe, out, Place(runs), say=show)
        pushed = None
        if push_to_hub is not None:
            show(f"uploading to {push_to_hub}")
            pushed = push(result, push_to_hub, private=private, db=_database(runs, db))
    if json:
        _print_json({"path": str(result.path), "reused": result.reused, "pushed": pushed, **result.manifest})
        return
    from results import text

    done = "Already there" if result.reused else "Wrote"
    _print(
        f"{done} {result.path}: {recipe.label}, {result.manifest['seconds']:.1f} s and "
        f"{result.manifest['statistics_seconds']:.1f} s for statistics, peak memory "
        f"{text.size(result.manifest['peak_bytes'])}."
    )
    if pushed is not None:
        _print(f"Pushed to {pushed}.")


@app.command(name="eval")
def evaluate_command(
    model: Annotated[
        list[str] | None, typer.Option("--model", help="Model: folder, Hub id, zoo:NAME. Repeatable.")
    ] = None,
    suite: Suite = "mini_l2s",
    rescore: Annotated[
        bool, typer.Option("--rescore", help="Grade stored responses again; generate nothing.")
    ] = False,
    models: Models = None,
    split: Split = "test",
    limit: Limit = None,
    engine: EngineName = "auto",
    dtype: Dtype = None,
    batch_size: Batch = None,
    threads: Threads = None,
    tensor_parallel: TensorParallel = None,
    gpu_memory: GpuMemory = None,
    server_url: ServerUrl = None,
    served_model: ServedModel = None,
    concurrency: Concurrency = None,
    fixed_tokenizer: FixedTokenizer = None,
    max_new_tokens: Budget = None,
    data_dir: DataDir = None,
    prompt_mode: PromptMode = None,
    samples: Samples = None,
    runs: Runs = Path("runs"),
    db: Db = None,
    json: Json = False,
) -> None:
    """Evaluate models as they are, or grade what is stored again (--rescore)."""
    from bench.as_is import evaluate_models

    options = _options(
        suite, split, limit, engine, dtype, batch_size, threads, max_new_tokens, data_dir, prompt_mode,
        samples, tensor_parallel, gpu_memory, server_url, served_model, concurrency, fixed_tokenizer,
    )  # fmt: skip
    report = evaluate_models(
        model or [], options, models=models, rescore=rescore, runs=runs, db=_database(runs, db), say=_say
    )
    _print_board(report.board, json=json, extra={"report": report.summary})


@app.command(name="lm-eval")
def lm_eval_command(
    model: Annotated[list[str], typer.Option("--model", help="Model: folder, Hub id, zoo:NAME. Repeatable.")],
    tasks: Annotated[str, typer.Option("--tasks", help="Tasks, tags or groups of lm-eval, comma-separated.")],
    include_path: Annotated[
        Path | None, typer.Option("--include-path", help="Folder of task files of your own.")
    ] = None,
    num_fewshot: Annotated[
        int | None, typer.Option("--num-fewshot", min=0, help="Examples in the prompt [the task's own].")
    ] = None,
    apply_chat_template: Annotated[
        bool, typer.Option("--apply-chat-template", help="Ask through the model's chat template.")
    ] = False,
    models: Models = None,
    limit: Limit = None,
    engine: EngineName = "auto",
    dtype: Dtype = None,
    batch_size: Batch = None,
    threads: Threads = None,
    tensor_parallel: TensorParallel = None,
    gpu_memory: GpuMemory = None,
    server_url: ServerUrl = None,
    served_model: ServedModel = None,
    concurrency: Concurrency = None,
    max_new_tokens: Budget = None,
    runs: Runs = Path("runs"),
    db: Db = None,
    json: Json = False,
) -> None:
    """Ask tasks of lm-eval (the Evaluation Harness) through an engine of ours; `bench table lm_eval` shows them."""
    from bench.lm_eval.run import LmEvalOptions, listed, run_lm_eval
    from bench.suites import EvalOptions

    options = EvalOptions(
        suite="lm_eval", limit=limit, engine=engine, dtype=dtype, batch_size=batch_size, threads=threads,
        tensor_parallel=tensor_parallel, gpu_memory=gpu_memory, server_url=server_url, served_model=served_model,
        concurrency=concurrency, max_new_tokens=max_new_tokens,
    )  # fmt: skip
    names = tuple(name.strip() for name in tasks.split(",") if name.strip())
    asked = LmEvalOptions(names, include_path, num_fewshot, apply_chat_template)
    report = run_lm_eval(model, asked, options, models=models, runs=runs, db=_database(runs, db), say=_say)
    whole = {"measured": report.measured, "report": report.run.summary, "board": report.run.board}
    _report("lm-eval", listed(report.measured), json=json, whole=whole)


@app.command()
def table(
    named: Annotated[str | None, typer.Argument(metavar="[SUITE]", help="Suite, or one benchmark.")] = None,
    suite: Suite = "mini_l2s",
    models: Models = None,
    method: Annotated[
        str | None, typer.Option("--method", help="Only these methods, comma-separated.")
    ] = None,
    split: Split = "test",
    grader: GraderName = None,
    published: Annotated[
        bool, typer.Option("--published", help="Also numbers printed in papers, marked as reported.")
    ] = False,
    runs: Runs = Path("runs"),
    db: Db = None,
    json: Json = False,
) -> None:
    """The leaderboard of a suite, from what is stored."""
    from bench.road import board_of
    from results.published import published_tables

    if db is not None and not db.exists():
        raise BadInput(
            f"--db {db}: no such file. `bench run` makes one; without --db it is RUNS/leaderboard.duckdb."
        )
    methods = [name.strip() for name in method.split(",")] if method else None
    board = board_of(
        _database(runs, db), named or suite, split=split, model_set=models, methods=methods, grader=grader
    )
    reported = published_tables(board.benchmarks) if published else ()
    _print_board(board, json=json, extra={"published": reported} if published else {})
    if published and not json:
        _print_published(board, reported)


@app.command()
def methods(
    name: Annotated[str | None, typer.Argument(help="Show one method's parameters.")] = None,
    json: Json = False,
) -> None:
    """List merge methods, or one method's parameters with default, source and meaning."""
    from bench import listings
    from bench.show import definitions

    if json:
        _print_json(listings.method_listing() if name is None else listings.method_details(name))
        return
    if name is None:
        _print(definitions("methods", listings.method_entries()))
        _print(f"\n{listings.METHOD_LEGEND}")
        return
    details = listings.method_details(name)
    _print(details["about"])
    for title, entries in listings.parameter_entries(details).items():
        _print(definitions(f"\n{title}", entries))


@app.command()
def suites(json: Json = False) -> None:
    """List suites and their benchmarks."""
    from bench.listings import suite_entries, suite_listing
    from bench.show import definitions

    if json:
        _print_json(suite_listing())
        return
    for title, entries in suite_entries().items():
        _print(definitions(title, entries))
        _print("")


@app.command()
def models(json: Json = False) -> None:
    """List configured model sets."""
    from bench.listings import model_entries, model_listing
    from bench.show import definitions

    if json:
        _print_json(model_listing())
        return
    _print(definitions("model sets", model_entries()))


@app.command()
def plan(
    method: Annotated[
        str | None, typer.Option("--method", help="Merge method; METHOD@PRESET takes a preset [fim_ties].")
    ] = None,
    models: Models = None,
    base: Base = None,
    expert: Experts = None,
    set_: Settings = None,
    suite: AnySuite = None,
    experiment: ExperimentName = None,
    context_length: ContextLength = None,
    rope_from: RopeFrom = None,
    mergekit: Mergekit = None,
    write_mergekit: Annotated[
        Path | None, typer.Option("--write-mergekit", help="Also write the merge as a mergekit YAML.")
    ] = None,
    tensors: Annotated[bool, typer.Option("--tensors", help="List every tensor.")] = False,
    json: Json = False,
) -> None:
    """What a merge would do and cost, from headers alone: of Hub models too, nothing is downloaded."""
    from bench.experiments import wanted
    from bench.mergekit import save_mergekit
    from bench.merging.plan import plan as make_plan
    from bench.models.context import Context
    from bench.models.hub import open_headers

    said = Context(context_length, rope_from)
    if mergekit is None:
        asked = wanted(experiment, method=method, suite=suite, models=models, base=base, experts=expert)
        recipes = _recipes(asked, base, expert, set_, said)
    else:
        if models or experiment:
            raise BadInput("--mergekit says what to merge: leave out --models and --experiment")
        made = _recipe(mergekit, method, base, expert, set_, opener=open_headers)
        recipes = [replace(made, context=said)]
    if write_mergekit is not None:
        if len(recipes) > 1:
            raise BadInput("--write-mergekit writes one merge: name one --method")
        save_mergekit(recipes[0], write_mergekit)
    plans = [make_plan(recipe) for recipe in recipes]
    if json:
        _print_json(plans[0] if experiment is None and len(plans) == 1 else plans)
    else:
        for one in plans:
            _print_plan(one, tensors=tensors)
    bad = [f"{len(one.mismatches)} places ({one.label})" for one in plans if one.mismatches]
    if bad:
        raise CheckFailed(f"base and experts do not match in {', '.join(bad)}: no merge")


def _recipes(
    asked: Wanted, base: str | None, expert: list[str] | None, set_: list[str] | None, said: Context
) -> list[Recipe]:
    """What an experiment or the options mean, of headers alone; a Hub model is asked once."""
    from functools import cache

    from bench.choice import chosen_models
    from bench.models.hub import open_headers

    chosen = chosen_models(asked.models, base, expert or [], suite=asked.suite).within(said)
    opener, experts = cache(open_headers), list(chosen.experts.values())
    return [
        replace(
            _recipe(None, method, chosen.base, experts, set_, asked.suite, opener), context=chosen.context
        )
        for method in (*asked.methods, *asked.left_out)
    ]


def _print_plan(made: Plan, *, tensors: bool) -> None:
    from bench.merging import plan_listing

    _report(f"plan: {made.label}", plan_listing.summary(made), json=False)
    _report("what happens to its tensors", plan_listing.groups(made), json=False)
    for title, rows in (("tensors", plan_listing.tensors(made) if tensors else []),
                        ("mismatches", plan_listing.mismatches(made))):  # fmt: skip
        if rows:
            _report(title, rows, json=False)


@app.command()
def regress(
    method: Annotated[str, typer.Option("--method", help="Methods, comma-separated, or `all`.")] = "all",
    accept: Annotated[
        str | None, typer.Option("--accept", help="Why changes are right: take them as the accepted results.")
    ] = None,
    json: Json = False,
) -> None:
    """Merge fixed small models with every method, and compare every tensor with the accepted ones."""
    from bench.regress import listing
    from bench.regress import regress as verdicts_of
    from bench.show import status

    with status() as show:
        verdicts = verdicts_of([method], accept=accept, say=show)
    _report("regress", listing.verdicts(verdicts), json=json, whole=verdicts)
    changes = [] if json else listing.changes(verdicts)
    if changes:
        _report("what changed", changes, json=False)
    bad = [verdict.method for verdict in verdicts if not verdict.good]
    if bad:
        raise CheckFailed(f"{', '.join(bad)}. {listing.ADVICE}")


@app.command()
def grade(
    file: Annotated[Path, typer.Argument(help="JSON lines: `response` or `responses`, and `answer`.")],
    benchmark: Annotated[str, typer.Option("--benchmark", help="Whose answers these are, e.g. math500.")],
    out: Annotated[
        Path | None, typer.Option("--out", help="Also write every verdict and its reason as JSON lines.")
    ] = None,
    json: Json = False,
) -> None:
    """Grade the outputs of any tool on a benchmark of suite l2s, under both graders."""
    from bench import grade as grading
    from bench.show import status

    questions = grading.read_outputs(file, benchmark)
    if out is not None:
        grading.check_out(out)
    with status() as show:
        graded = grading.grade_outputs(
            questions, benchmark, advance=lambda done, of: show(f"graded {done} of {of} responses")
        )
    if out is not None:
        grading.write_verdicts(graded, out)
    rows, notes = grading.summary(graded), grading.notes(graded)
    _report(
        f"grade: {benchmark}", rows, json=json, whole={"scores": rows, "flips": graded.flips, "notes": notes}
    )
    if not json:
        for note in notes:
            _say(note)


@app.command()
def doctor(runs: Runs = Path("runs"), db: Db = None, json: Json = False) -> None:
    """Check this machine: packages, memory, disk, zoo, database, Hub."""
    from bench.doctor import report

    checks = report(runs=runs, db=_database(runs, db))
    rows = [
        {
            "check": c.name,
            "state": "ok" if c.ok else ("FAILED" if c.required else "no"),
            "found": c.value,
            "advice": c.advice,
        }
        for c in checks
    ]
    _report("doctor", rows, json=json)
    failed = [c.name for c in checks if c.required and not c.ok]
    if failed:
        raise CheckFailed(", ".join(failed))


def _print_board(board: Any, *, json: bool, extra: dict[str, Any]) -> None:
    from bench.show import board_tables, grader_lines

    if json:
        _print_json({"board": board, **extra})
        return
    if not board.rows:
        _say(
            f"No rows for {board.suite} ({board.split} split) yet: `bench run --suite {board.suite}` makes some."
        )
    for one in board_tables(board):
        _print(one)
        _print("")
    for line in grader_lines(board):
        _print(line)
    for note in board.notes:
        _say(note)


def _print_published(board: Any, reported: Any) -> None:
    from bench.show_published import tables

    if not reported:
        _say(f"No published numbers are known for {', '.join(board.benchmarks)}.")
    for one in tables(board.benchmarks, reported):
        _print(one)
        _print("")


def _reasons(what: str, reasons: Mapping[str, str]) -> None:
    """One line a method, on standard error, behind everything else."""
    width = max(map(len, reasons), default=0)
    for name, why in reasons.items():
        _say(f"{name:{width}}  {what}: {why}")


def _report(title: str, rows: list[dict[str, Any]], *, json: bool, whole: Any = None) -> None:
    from bench.show import simple_table

    if json:
        _print_json(rows if whole is None else whole)
        return
    columns = list(rows[0]) if rows else ["nothing"]
    _print(simple_table(title, columns, [[str(row[c]) for c in columns] for row in rows]))


def _print(what: Any) -> None:
    from bench.show import printer

    printer()(what)


def _print_json(value: Any) -> None:
    from bench.show import to_json

    sys.stdout.write(to_json(value) + "\n")


def _say(text: str) -> None:
    """A remark for a person, on standard error, so that --json stays clean."""
    sys.stderr.write(text + "\n")


class Interrupted(BaseException):
    """Ctrl-C, under a name of ours: the command-line library would answer KeyboardInterrupt with exit code 1."""


def _interrupt(number: int, frame: object) -> None:
    raise Interrupted


def _collect_seldom() -> None:
    """Importing torch makes a million objects that stay: walking them again and again takes longer than a small
    merge."""
    gc.set_threshold(50_000, 20, 100)


def main() -> None:
    """Entry point: turns every way of ending into an exit code and a sentence."""
    signal.signal(signal.SIGINT, _interrupt)
    # Idle compute threads must not spin: on a busy machine that costs more than the work itself.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    _collect_seldom()
    try:
        app()
    except (BadInput, StoreError, OSError) as error:
        _say(f"error: {error}")
        sys.exit(2)
    except CheckFailed as error:
        _say(f"failed: {error}")
        sys.exit(1)
    except Interrupted:
        _say("\nInterrupted. Finished responses and merges are kept: the same command goes on from there.")
        sys.exit(130)
