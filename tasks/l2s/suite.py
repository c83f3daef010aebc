"""Suite `l2s`: Long-to-Short mathematics, asked and measured as the L2S study does (arXiv 2503.20641)."""

from __future__ import annotations

from tasks.contract import Suite
from tasks.l2s.benchmarks import BENCHMARKS

SUITE = Suite(name="l2s", title="Long-to-Short mathematics", benchmarks=BENCHMARKS)
