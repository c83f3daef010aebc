"""What lm-eval would fetch while it loads and grades tasks, and does not here: code of metrics, data of nltk."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import BadInput
from bench.lm_eval.squad import SquadV2

if TYPE_CHECKING:
    from lm_eval.api.task import Task

PUNKT = "tokenizers/punkt_tab"
# The checkers of ifeval that split sentences or words with nltk's Punkt model.
USING_PUNKT = {"length_constraints:number_sentences", "change_case:capital_word_frequency"}


@contextmanager
def nothing_fetched() -> Iterator[list[str]]:
    """While it lasts, no code of a metric comes from the Hub and no data of nltk; yields the metrics refused.

    `evaluate.load` takes a metric from a folder of this machine, or runs code that it fetches: that is refused, but
    for `squad_v2`, which is here.
    Tasks that need data of nltk download them when they are loaded, and go on where they cannot: so do these.
    """
    import evaluate
    import nltk

    load, download = evaluate.load, nltk.download
    refused: list[str] = []

    def local(path: str, *args: Any, **kwargs: Any) -> Any:
        if path == "squad_v2":
            return SquadV2()
        if Path(path).exists():
            return load(path, *args, **kwargs)
        refused.append(path)
        raise BadInput(not_ours(path))

    evaluate.load, nltk.download = local, lambda *args, **kwargs: False
    try:
        yield refused
    finally:
        evaluate.load, nltk.download = load, download


def not_ours(metric: str) -> str:
    """The refusal of a metric whose code lies on the Hub."""
    return (
        f"the metric {metric!r} is none of lm-eval's own: it would be fetched from the Hub as code, and is not run. "
        "Take a task with another metric, or name a local copy of it by its path"
    )


def check_punkt(tasks: dict[str, Task], limit: int | None) -> None:
    """Refuse, before anything is generated, instructions of ifeval whose checkers lack nltk's data."""
    for name, task in tasks.items():
        docs = getattr(task, "task_docs", None) or task.eval_docs  # prepared once already
        if "instruction_id_list" not in getattr(docs, "column_names", ()):
            continue
        asked = {id for ids in docs[:limit]["instruction_id_list"] for id in ids}
        if asked & USING_PUNKT and not _has_punkt():
            raise BadInput(
                f"{name} has the instructions {', '.join(sorted(asked & USING_PUNKT))}, which nltk checks with its "
                f"punkt_tab data, and they are not on this machine: {nltk_advice('punkt_tab')}"
            )


def nltk_advice(data: str) -> str:
    """How data of nltk come to this machine."""
    return (
        f"`python -m nltk.downloader {data}` where there is a network, then copy its nltk_data to one of the "
        "places that nltk searches, or point NLTK_DATA at it"
    )


def _has_punkt() -> bool:
    import nltk

    try:
        nltk.data.find(PUNKT)
    except LookupError:
        return False
    return True


def missing_nltk_data(error: LookupError) -> str | None:
    """The name of the data that nltk did not find; None for another error."""
    found = re.search(r"nltk\.download\('(\w+)'\)", str(error))
    return found[1] if found else None


def steady_language_detection() -> None:
    """langdetect, which checks ifeval's languages, draws random numbers: with a seed a verdict stays what it is."""
    try:
        from langdetect import DetectorFactory
    except ImportError:  # no task of this run needs it
        return
    DetectorFactory.seed = 0
