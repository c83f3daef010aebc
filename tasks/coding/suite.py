"""Suite `coding`: MBPP+ asked and scored in the ways of other harnesses, beside what `mergebench` reports."""

from __future__ import annotations

from tasks.coding.benchmarks import MBPP_PLUS_DOCSTRING, MBPP_PLUS_LMEVAL
from tasks.contract import Suite

SUITE = Suite(
    name="coding",
    title="MBPP+ as other harnesses ask and score it",
    benchmarks=(MBPP_PLUS_LMEVAL, MBPP_PLUS_DOCSTRING),
)
