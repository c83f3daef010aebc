"""Tasks of lm-eval (the Evaluation Harness) answered by our engines and recorded in our rows.

What a task asks, how it filters answers and what it measures is lm-eval's own; who answers, what is stored and
what need not be done again is ours.
"""

from __future__ import annotations

SUITE = "lm_eval"  # the suite that the rows are stored under
PREFIX = "lm-eval:"  # of their benchmarks and graders: lm-eval's gsm8k is another benchmark than ours


def is_lm_eval(name: str) -> bool:
    """Whether a suite or benchmark by this name is one of lm-eval's."""
    return name == SUITE or name.startswith(PREFIX)
