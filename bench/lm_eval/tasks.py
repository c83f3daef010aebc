"""Loading tasks of lm-eval, and refusing early what would fail late."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import BadInput, unknown
from bench.lm_eval.bars import no_foreign_bars
from bench.lm_eval.offline import not_ours, nothing_fetched

if TYPE_CHECKING:
    from lm_eval.api.group import Group
    from lm_eval.api.task import Task
    from lm_eval.tasks import TaskManager

INSTALL = "lm-eval is not installed: pip install -c constraints.txt -e '.[lm-eval]' in this environment"
SHOWN = 10  # names of each kind that are offered for one that is unknown
RESEMBLES = 0.6  # of difflib's ratio


@dataclass(frozen=True)
class Loaded:
    """What was asked for: tasks and groups by name, those of them that lm-eval is given, and its index of tasks."""

    tasks: dict[str, Task]
    groups: dict[str, Group]
    specs: list[Task | Group]
    manager: TaskManager


def require_lm_eval() -> None:
    """Raises BadInput, saying how to install it, when lm-eval cannot be imported."""
    from importlib.util import find_spec

    if find_spec("lm_eval") is None:
        raise BadInput(INSTALL)


def load_tasks(names: Sequence[str], include_path: Path | None) -> Loaded:
    """The tasks, tags and groups called `names`; data are read here.

    Raises BadInput for an unknown name, and for what lm-eval cannot load.
    """
    if include_path is not None and not include_path.is_dir():
        raise BadInput(f"--include-path {include_path}: no such folder of task files")
    manager = _manager(names, include_path)
    # Tasks print; our output may be JSON.
    with nothing_fetched() as refused, no_foreign_bars(), redirect_stdout(sys.stderr):
        try:
            loaded = manager.load(list(names))
        except BadInput:
            raise
        except Exception as error:  # datasets, its Hub client and task files raise dozens of unrelated types
            reason = str(error).strip().split("\n")[0][:300] or type(error).__name__
            raise BadInput(
                f"lm-eval cannot load {', '.join(names)}: {reason}. Without a network give a task file whose "
                "dataset_path is json and whose data_files are local, with --include-path FOLDER"
            ) from error
    if refused:  # lm-eval itself goes on without the metric
        raise BadInput(not_ours(refused[0]))
    return Loaded(loaded["tasks"], loaded.get("groups", {}), _outermost(loaded), manager)


def _manager(names: Sequence[str], include_path: Path | None) -> TaskManager:
    """The index of the tasks of a folder; of all tasks of lm-eval too, which takes ten seconds, where needed."""
    from lm_eval.tasks import TaskManager

    own: list[str] = []
    if include_path is not None:
        manager = TaskManager(include_path=str(include_path), include_defaults=False)
        if all(name in manager.all_subtasks for name in names):
            return manager
        own = manager.all_tasks
    manager = TaskManager(include_path=str(include_path) if include_path else None)
    for name in names:
        if name not in manager.all_tasks:
            raise _unknown(name, manager.all_tasks, own)
    return manager


def _unknown(name: str, known: Sequence[str], own: Sequence[str]) -> BadInput:
    """Thousands of names: those of the person's folder and those that resemble it are listed."""
    inside = [other for other in known if name.casefold() in other.casefold()]
    near = get_close_matches(name, known, n=SHOWN, cutoff=RESEMBLES)
    offered = dict.fromkeys([*own[:SHOWN], *near, *inside[:SHOWN]])
    every = f"`lm-eval ls tasks` lists the {len(known):,} that there are"
    if not offered:
        return BadInput(f"unknown lm-eval task {name!r}: {every}")
    return BadInput(f"{unknown('lm-eval task', name, offered)} These resemble it or are your own: {every}")


def _outermost(loaded: Any) -> list[Any]:
    """The groups that are in no other group, and the tasks that are in none."""
    groups = loaded.get("groups", {})
    inner = {child for names in loaded.get("group_map", {}).values() for child in names}
    outer = [group for name, group in groups.items() if name not in inner]
    grouped = {task.task_name for group in outer for task in group.get_all_tasks()}
    return [*outer, *(task for name, task in loaded["tasks"].items() if name not in grouped)]


def check_kinds(tasks: dict[str, Task]) -> None:
    """Refuse tasks that run code that a model wrote, and tasks that ask about more than text."""
    for name, task in tasks.items():
        if getattr(task, "UNSAFE_CODE", False):
            raise BadInput(
                f"the task {name} runs code that the model writes: nothing here confines it, so it is not run"
            )
        if getattr(task, "MULTIMODAL", False):
            raise BadInput(f"the task {name} asks about images or sounds, and the engines here read text")
