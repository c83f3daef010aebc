"""lm-eval's own evaluation of a model that is an engine of ours."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from bench.errors import BadInput
from bench.lm_eval.bars import few_words, no_foreign_bars
from bench.lm_eval.offline import missing_nltk_data, nltk_advice, nothing_fetched, steady_language_detection

if TYPE_CHECKING:
    from lm_eval.api.group import Group
    from lm_eval.api.task import Task
    from lm_eval.tasks import TaskManager

    from bench.lm_eval.model import EngineLM
    from bench.suites import EvalOptions

TEMPLATES = 4096  # more than all tasks of a suite have


@contextmanager
def templates_compiled_once() -> Iterator[None]:
    """While it lasts, lm-eval compiles each of its prompt templates once, and not once more for every document."""
    from lm_eval.utils import env

    compiled = lru_cache(maxsize=TEMPLATES)(env.from_string)
    env.from_string = compiled
    try:
        yield
    finally:
        del env.from_string  # the class's own is behind it


def evaluated(
    lm: EngineLM,
    specs: Sequence[Task | Group],
    options: EvalOptions,
    *,
    manager: TaskManager,
    num_fewshot: int | None = None,
    apply_chat_template: bool = False,
) -> Mapping[str, Any]:
    """What `simple_evaluate` gives for loaded tasks: `results`, `samples` and `groups`, by task.

    `num_fewshot` None is each task's own. Raises BadInput where nltk's data are missing; responses are kept.
    """
    import lm_eval

    steady_language_detection()
    budget = {} if options.max_new_tokens is None else {"max_gen_toks": options.max_new_tokens}
    with (
        nothing_fetched(),
        templates_compiled_once(),
        few_words(),
        no_foreign_bars(),
        redirect_stdout(sys.stderr),  # tasks print; our output may be JSON
    ):
        try:
            found = lm_eval.simple_evaluate(
                model=lm,
                tasks=list(specs),
                task_manager=manager,  # without it all tasks of lm-eval are indexed once more
                num_fewshot=num_fewshot,
                limit=options.limit,
                apply_chat_template=apply_chat_template,
                gen_kwargs=budget or None,
                log_samples=True,
            )
        except LookupError as error:
            missing = missing_nltk_data(error)
            if missing is None:
                raise
            raise BadInput(
                f"a task is graded with data of nltk that are not on this machine ({missing}); the responses are "
                f"kept. {nltk_advice(missing)}"
            ) from error
    return dict(found or {})
