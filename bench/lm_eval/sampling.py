"""How a task of lm-eval has its answers drawn: its `generation_kwargs` as our sampling."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.errors import BadInput
from tasks.contract import Sampling

DEFAULT_BUDGET = 256  # tokens, where a task states none: what lm-eval's own models take
BUDGETS = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")  # lm-eval's order
HANDLED = {"until", "do_sample", "temperature", "top_p", *BUDGETS}
# Settings that change nothing at these values, and those that change nothing as long as decoding is greedy.
NEUTRAL = {
    "top_k": (0, -1),
    "min_p": (0,),
    "repetition_penalty": (1,),
    "num_beams": (1,),
    "use_cache": (True,),
}
ONLY_SAMPLING = {"top_k", "min_p", "typical_p"}


def sampling_of(task: str, settings: Mapping[str, Any]) -> Sampling:
    """The sampling that a task's `generation_kwargs` ask for.

    Raises BadInput for a setting that changes texts and that our engines do not have.
    """
    sampled = settings.get("do_sample")
    temperature = float(settings.get("temperature", 1.0 if sampled else 0.0) or 0.0)
    greedy = temperature == 0.0 or sampled is False
    for name, value in settings.items():
        unused = name in NEUTRAL and value in NEUTRAL[name] or greedy and name in ONLY_SAMPLING
        if name not in HANDLED and value is not None and not unused:
            raise BadInput(
                f"the task {task} sets {name} = {value} in its generation_kwargs, which the engines here do not "
                f"have (they have {', '.join(sorted(HANDLED))}): take it out of the task file"
            )
    stated = [settings[name] for name in BUDGETS if settings.get(name) is not None]
    until = settings.get("until") or []
    stop = [until] if isinstance(until, str) else until
    return Sampling(
        max_new_tokens=int(stated[0]) if stated else DEFAULT_BUDGET,
        temperature=0.0 if greedy else temperature,
        top_p=1.0 if greedy else float(settings.get("top_p") or 1.0),
        stop=tuple(string for string in stop if string),
    )
