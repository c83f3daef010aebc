"""The gold answer of a row of the Long-to-Short data, as the Qwen2.5-Math toolkit takes it from each benchmark.

What is a plain answer already stays one, so that a gold may be given as the data have it or as it was read.
"""

from __future__ import annotations

from typing import Any

L2S_BENCHMARKS = ("gsm8k", "math500", "minerva_ocw", "olympiadbench", "college_math", "aime24")


def check_benchmark(name: str) -> str:
    """`name` itself. Raises ValueError for a benchmark whose golds nobody here knows how to read."""
    if name not in L2S_BENCHMARKS:
        raise ValueError(f"no grading rules for benchmark {name!r}; there are: {', '.join(L2S_BENCHMARKS)}")
    return name


def behind_marker(text: str) -> str:
    """GSM8K: what stands behind the last `####` of a worked answer; without one, the text."""
    return text.rpartition("####")[2].strip()


def without_outer_dollars(text: str) -> str:
    """OlympiadBench: without the dollar signs around it."""
    return text.strip("$")


def without_dollars(text: str) -> str:
    """CollegeMath: without any dollar sign."""
    return text.replace("$", "")


RULES = {"gsm8k": behind_marker, "olympiadbench": without_outer_dollars, "college_math": without_dollars}


def gold_text(benchmark: str, value: Any) -> str:
    """The gold as text, before any normalisation: by the benchmark's rule, the first of a list.

    A solution of minerva_ocw stays whole: graders that extract do so themselves when the text holds `boxed`.
    Raises ValueError for what is no answer (null, an empty list or text).
    """
    if isinstance(value, list | tuple):
        if not value:
            raise ValueError("the gold is an empty list")
        value = value[0]
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f"the gold is {value!r}: it must be text or a number")
    text = str(value).strip()
    if benchmark in RULES:
        text = RULES[benchmark](text).strip()
    if not text:
        raise ValueError("the gold is empty")
    return text
