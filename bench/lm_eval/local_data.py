"""Where the tasks of a suite read their data: the Hub, or a folder of JSON lines in place of it.

lm-eval's task stays as it is; only the rows come from `<data_dir>/<task>/test.jsonl` (what lm-eval scores, whatever
its dataset calls it) and, for tasks with examples in their prompts, from `<data_dir>/<task>/<split of the examples>
.jsonl`. The columns are those of the task's dataset.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import BadInput
from tasks.contract import LmEvalTask, Source
from tasks.errors import DataUnavailable
from tasks.sources import HUB_TIMEOUT_SECONDS, HubDataset, read_rows

if TYPE_CHECKING:
    from lm_eval.api.task import ConfigurableTask


@contextmanager
def data_of(scored: LmEvalTask, data_dir: Path | None) -> Iterator[dict[str, Source]]:
    """While it lasts, tasks that are loaded read the data that are meant; yields by task where they were read.

    lm-eval has no setting that every task heeds (those written as classes ignore it): the method that reads is
    another one for as long.
    """
    from lm_eval.api.task import ConfigurableTask

    original = ConfigurableTask.download
    sources: dict[str, Source] = {}
    commits: dict[str, str | None] = {}

    def download(self: ConfigurableTask, dataset_kwargs: Any = None, **more: Any) -> None:
        name = str(self.config.task or scored.task)
        if data_dir is not None:
            self.dataset, sources[name] = _local(self, name, scored, data_dir)
            return
        commit = commits.get(str(self.DATASET_PATH)) or _commit(str(self.DATASET_PATH))
        commits[str(self.DATASET_PATH)] = commit
        if scored.data:
            import datasets

            self.dataset = datasets.load_dataset(**_filled(scored.data, str(self.DATASET_NAME)))
        elif commit is None:
            original(self, dataset_kwargs, **more)
        else:
            original(self, {"revision": commit, **(dataset_kwargs or {})}, **more)
            place = "/".join(str(part) for part in (self.DATASET_PATH, self.DATASET_NAME) if part)
            sources[name] = Source(place, commit)

    ConfigurableTask.download = download
    try:
        yield sources
    finally:
        ConfigurableTask.download = original


def _commit(repository: str) -> str | None:
    """The commit of a dataset of the Hub that is read now, which fails at once where there is no network; None where
    only what is cached is to be read."""
    from huggingface_hub import HfApi, constants

    if constants.HF_HUB_OFFLINE:
        return None
    return HfApi().dataset_info(repository, timeout=HUB_TIMEOUT_SECONDS).sha


def _filled(value: Any, name: str) -> Any:
    if isinstance(value, Mapping):
        return {key: _filled(inner, name) for key, inner in value.items()}
    return value.format(name=name) if isinstance(value, str) else value


def _local(
    task: ConfigurableTask, name: str, scored: LmEvalTask, data_dir: Path
) -> tuple[dict[str, Any], Source]:
    """The splits of a task from its folder. A split that no prompt needs may be missing: it is empty."""
    main, *others = splits_of(task)
    rows, source = _rows(name, "test", scored, data_dir)
    found = {main: _dataset(rows, source)}
    for split in others:
        if needs_examples(task, scored) == split or _file(name, split, data_dir).is_file():
            found[split] = _dataset(*_rows(name, split, scored, data_dir))
        else:
            found[split] = found[main].select([])
    return found, source


def splits_of(task: ConfigurableTask) -> list[str]:
    """The dataset's names of the splits that a task reads; first the one that is scored."""
    config = task.config
    validation = config.validation_split or ("validation" if task.has_validation_docs() else None)
    training = config.training_split or ("train" if task.has_training_docs() else None)
    named = [config.test_split, validation, training, getattr(config.fewshot_config, "split", None)]
    return list(dict.fromkeys(split for split in named if split))


def needs_examples(task: ConfigurableTask, scored: LmEvalTask) -> str | None:
    """The split that the examples of its prompts come from; None where it has none, or brings them itself."""
    shots = task.config.num_fewshot if scored.num_fewshot is None else scored.num_fewshot
    config = task.config.fewshot_config
    if not shots or (config is not None and config.samples is not None and config.split is None):
        return None
    return (config.split if config else None) or task.config.training_split or task.config.validation_split


def _file(name: str, split: str, data_dir: Path) -> Path:
    folder = data_dir.expanduser()
    return (folder if folder.name == name else folder / name) / f"{split}.jsonl"


def _rows(name: str, split: str, scored: LmEvalTask, data_dir: Path) -> tuple[list[dict[str, Any]], Source]:
    # A benchmark that is one task of ours may have a folder of its own name.
    folders = (scored.name,) if name == scored.task else ()
    return read_rows(name, split, data_dir=data_dir, hub=HubDataset(name), fields=(), folders=folders)


def _dataset(rows: Sequence[Mapping[str, Any]], source: Source) -> Any:
    """The rows as lm-eval has them; a column that a row lacks is None there."""
    from datasets import Dataset

    columns = list(dict.fromkeys(name for row in rows for name in row))
    try:
        return Dataset.from_dict({name: [row.get(name) for row in rows] for name in columns})
    except (TypeError, ValueError) as error:  # what Arrow raises for mixed types
        raise DataUnavailable(
            f"{source.location}: the rows do not have columns of one type each: {str(error).splitlines()[0]}"
        ) from error


def unavailable(scored: LmEvalTask, error: Exception, data_dir: Path | None) -> BadInput:
    """Why a task cannot be loaded, and what to put where."""
    reason = str(error).strip().split("\n")[0][:300] or type(error).__name__
    if isinstance(error, DataUnavailable) or data_dir is not None:
        return BadInput(f"{scored.name}: {reason}")
    return BadInput(
        f"{scored.name}: lm-eval cannot load its task {scored.task}: {reason}. Without a network give a local folder "
        f"(--data-dir FOLDER) with {scored.task}/test.jsonl: one JSON object per line, with the columns of the "
        "dataset (docs/mergebench.md)"
    )
