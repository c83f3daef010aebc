"""Every task that a suite asks through lm-eval: requests and metrics of lm-eval's own evaluation, string by string.

lm-eval loads its own task files, untouched; where it would read the Hub it is given the same dozen rows. Those of
ours that deviate on purpose are listed in `DEVIATES`, with the reason.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

lm_eval = pytest.importorskip("lm_eval", reason="lm-eval is not installed: the extra lm-eval")

import bench.suites  # noqa: E402
from bench import engines  # noqa: E402
from bench.as_is import evaluate_models  # noqa: E402
from bench.models.checkpoint import locate  # noqa: E402
from bench.suites import EvalOptions  # noqa: E402
from results.board import Board  # noqa: E402
from results.store import Store  # noqa: E402
from tasks.catalogue import resolve, suites  # noqa: E402
from tasks.general.lm_eval.test_set import official_ids  # noqa: E402
from tests.bench import suite_data as made  # noqa: E402
from tests.bench.recorders import RecordingEngine, RecordingLM  # noqa: E402

pytestmark = pytest.mark.slow
TASKS = Path(lm_eval.__file__).parent / "tasks"
# Benchmarks of ours that are not lm-eval's task of the same name, and why.
DEVIATES = {
    "pubmedqa": "lm-eval reads bigbio/pubmed_qa, which datasets 4 cannot load: the same 500 questions come from "
    "qiaojin/pubmed_qa; prompts, choices and metric are equal",
    "cmmlu": "lm-eval reads the program on the main branch of haonan-li/cmmlu, which datasets 4 does not run: the "
    "same task reads the Hub's parquet conversion",
}
SUITES = ("mergebench", "llama2", "general")
ASKED = (*SUITES, "pubmedqa_lmeval")


def subjects(folder: str, start: str) -> list[str]:
    return sorted(path.stem.removeprefix(start) for path in (TASKS / folder).glob(f"{start}*.yaml"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("suite_data")
    made.write_mergebench(folder)
    made.write_llama2(folder, subjects("cmmlu", "cmmlu_"))
    return made.write_general(folder, subjects("mmlu/default", "mmlu_"), official_ids())


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An embedded model whose config states a long context: nobody computes with it, and long prompts must fit."""
    folder = tmp_path_factory.mktemp("model") / "long"
    shutil.copytree(locate("zoo:l2s-expert"), folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 100_000}))
    return folder


def ours(
    name: str, data: Path, model: Path, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[RecordingEngine, dict[str, dict[str, Any]], Board]:
    """What our road asks, the accuracy of each benchmark under each grader, and the board."""
    engine = RecordingEngine()
    monkeypatch.setattr(engines, "load", lambda *args, **kwargs: engine)
    part = replace(resolve(name), benchmarks=())  # without those that are asked by us
    monkeypatch.setattr(bench.suites, "resolve", lambda _: part)
    options = EvalOptions(suite=name, engine="hf", dtype="float32", data_dir=data)
    report = evaluate_models(
        [str(model)],
        options,
        models=None,
        rescore=False,
        runs=runs,
        db=runs / "board.duckdb",
        say=lambda _: None,
    )
    rows = Store(runs / "board.duckdb").rows("SELECT * FROM current_scores WHERE metric = 'accuracy'")
    assert {row["suite"] for row in rows} == {part.name} and {row["split"] for row in rows} == {"test"}
    found: dict[str, dict[str, Any]] = {}
    for row in rows:
        found.setdefault(row["benchmark"], {})[str(row["grader"]).rpartition("@")[0]] = row
    return engine, found, report.board


def from_hub(data: Path, tasks: list[str]) -> Any:
    """`datasets.load_dataset` as lm-eval calls it for these tasks, one after the other."""
    from datasets import Dataset, DatasetDict
    from lm_eval.api.task import ConfigurableTask

    def download(self: ConfigurableTask, dataset_kwargs: Any = None, **kwargs: Any) -> None:
        rows = {path.stem: Dataset.from_list(made.read(path)) for path in (data / waiting[0]).glob("*.jsonl")}
        config = self.config
        scored = config.test_split or config.validation_split or "validation"
        rest = [
            config.training_split,
            config.validation_split,
            config.fewshot_config.split,
            "train",
            "validation",
        ]
        found = {split: rows.get(str(split), rows["test"]) for split in rest if split} | {
            scored: rows["test"]
        }
        self.dataset = DatasetDict(found)
        waiting.pop(0)

    waiting = list(tasks)
    return download


def theirs(name: str, data: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[RecordingLM, dict[str, Any]]:
    """What lm-eval's own evaluation asks, and its results by task."""
    from lm_eval.api.task import ConfigurableTask
    from lm_eval.tasks import TaskManager

    from bench.lm_eval.offline import nothing_fetched

    scored = [task for task in resolve(name).lm_eval if not task.beside]
    lm = RecordingLM()
    loaded = []
    for task in scored:
        own = {"pubmedqa_labeled": "pubmedqa"}.get(task.task, task.task)
        folders = ["pubmedqa"] if own == "pubmedqa" else task.folders
        manager = TaskManager(include_path=[TASKS / folder for folder in folders], include_defaults=False)
        leaves = leaves_of(manager, own)
        monkeypatch.setattr(ConfigurableTask, "download", from_hub(data, leaves))
        loaded += list(manager.load([own])["tasks"].values())
    with nothing_fetched():
        found = lm_eval.simple_evaluate(
            model=lm, tasks=loaded, task_manager=TaskManager(include_defaults=False), bootstrap_iters=0
        )
    assert found is not None
    return lm, dict(found)


def leaves_of(manager: Any, name: str) -> list[str]:
    """The tasks of a group in the order in which lm-eval loads them."""
    import yaml

    entry = manager.task_index[name]
    if name in manager.all_subtasks:
        return [name]
    if name in manager.all_tags:
        return sorted(entry.tags)
    text = Path(entry.yaml_path).read_text(encoding="utf-8")
    return [leaf for child in yaml.safe_load(text)["task"] for leaf in leaves_of(manager, child)]


@pytest.fixture(scope="module")
def both(
    data: Path, model: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, tuple[Any, ...]]]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        found = {}
        for name in ASKED:
            with monkeypatch.context() as inside:
                asked, scores, board = ours(name, data, model, tmp_path_factory.mktemp(name), inside)
            with monkeypatch.context() as inside:
                found[name] = (asked, scores, *theirs(name, data, inside), board)
        yield found


@pytest.mark.parametrize("name", ASKED)
def test_requests_are_those_of_lm_eval(both: dict[str, Any], name: str) -> None:
    asked, _, peer, *_ = both[name]
    assert asked.asked == {(prompt, stop, budget) for prompt, stop, budget in peer.asked}
    assert asked.scored == peer.scored
    assert asked.asked or asked.scored


@pytest.mark.parametrize("name", ASKED)
def test_metrics_are_those_of_lm_eval(both: dict[str, Any], name: str) -> None:
    """Each benchmark's score, and every other metric and filter that is stored beside it."""
    _, scores, _, found, _ = both[name]
    compared = 0
    for task in (task for task in resolve(name).lm_eval if not task.beside):
        members = [key for key in found["results"] if belongs(key, task)]
        sizes = {key: found["n-samples"][key]["effective"] for key in members}
        assert task.grader() in scores[task.name], task.name
        assert scores[task.name][task.grader()]["first_grader"]
        for grader, row in scores[task.name].items():
            *named, metric = grader.split(":")[1:]
            filter = named[0] if named else "none"
            values = {key: found["results"][key][f"{metric},{filter}"] for key in members}
            mean = sum(values[key] * sizes[key] for key in members) / sum(sizes.values())
            scale = 100 if task.percent else 1
            assert row["value"] == pytest.approx(mean / scale, abs=1e-12), (task.name, grader)
            assert row["n"] == sum(sizes.values()) and row["expected_n"] == task.size
            compared += 1
    assert compared >= len(scores)


def belongs(key: str, task: Any) -> bool:
    own = {"pubmedqa_labeled": "pubmedqa"}.get(task.task, task.task)
    return key == own or (task.task in ("minerva_math", "mmlu", "cmmlu") and key.startswith(f"{own}_"))


def test_scores_show_something(both: dict[str, Any]) -> None:
    """A score of 0 or 1 everywhere would hide a wrong target."""
    for name in SUITES:
        _, scores, *_ = both[name]
        flat = {row["value"] for by_grader in scores.values() for row in by_grader.values()}
        assert len(flat - {0.0, 1.0}) >= 2


def test_columns_are_made_of_what_lm_eval_measured(both: dict[str, Any]) -> None:
    """The better of two, a mean of languages, one set of answers under two metrics: from lm-eval's own results."""
    *_, found, board = both["mergebench"]
    (row,) = board.rows
    shown = {name: cell.accuracy.value for name, cell in row.cells.items() if cell and cell.accuracy}
    result = found["results"]
    flexible = [result[task]["exact_match,flexible-extract"] for task in ("gsm8k", "gsm8k_cot")]
    assert shown["gsm8k"] == pytest.approx(max(flexible)) and flexible[0] != flexible[1]
    for column, task, metric in (("m_mmlu", "m_mmlu", "acc"), ("m_arc", "arc", "acc_norm"),
                                 ("m_hellaswag", "hellaswag", "acc_norm")):  # fmt: skip
        mean = (
            sum(result[f"{task}_{language}"][f"{metric},none"] for language in ("fr", "de", "ru", "es")) / 4
        )
        assert shown[column] == pytest.approx(mean)
    for how in ("strict", "loose"):
        assert shown[f"ifeval_{how}"] == pytest.approx(result["ifeval"][f"prompt_level_{how}_acc,none"])


def test_what_deviates_says_so() -> None:
    """A benchmark of a suite that is no task of lm-eval's own, or reads other data, is listed; nothing else is."""
    known = [task for name in SUITES for task in suites()[name].lm_eval if not task.beside]
    other = {t.name for t in known if t.data or any(isinstance(folder, Path) for folder in t.folders)}
    assert other == set(DEVIATES)
