"""How images are asked zero-shot: the prompt is every class in every template, as the text tower reads them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tasks.contract import Draw, Sample, Sampling

# A label is chosen, not written: the budget has no part in it.
CHOICE = Draw("greedy", Sampling(max_new_tokens=1))


def zero_shot(labels: Sequence[str], templates: Sequence[str]) -> Callable[[Sample], str]:
    """The prompt of every image of a benchmark: its templates, and the labels that they are filled with."""
    text = "\n".join([*templates, "", *labels])

    def prompt(sample: Sample) -> str:
        return text

    return prompt
