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


def gold_text(benchmark: str, value: Any) -> str:
    r"""The gold as text, before any normalisation.

    gsm8k: after `####`; minerva_ocw: the last box of a solution (graders that extract do so themselves when the
    text holds `boxed`); olympiadbench: the first element of a list, without outer dollar signs; college_math:
    without any dollar sign. Raises ValueError for what is no answer (null, an empty list or text).
    """
    if isinstance(value, list | tuple):
        if not value:
            raise ValueError("the gold is an empty list")
        value = value[0]
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f"the gold is {value!r}: it must be text or a number")
    text = str(value)
    if benchmark == "gsm8k" and "####" in text:
        text = text.rpartition("####")[2]
    elif benchmark == "olympiadbench":
        text = text.strip().strip("$")
    elif benchmark == "college_math":
        text = text.replace("$", "")
    if not text.strip():
        raise ValueError("the gold is empty")
    return text.strip()
