"""antlr parsers (SymPy's for LaTeX, math-verify's latex2sympy) read in two stages: the same trees, several times as
fast.

They predict with the full context of the grammar (LL). antlr's own advice is to predict with the context that its
tables hold (SLL) first: what that reads is what LL reads, what it cannot read is read again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class TwoStages:
    """An antlr parser whose `math` rule is read with SLL, and by a new one with LL where that fails."""

    def __init__(self, parser: Callable[[], Any], refusal: type[Exception] = Exception) -> None:
        """`refusal` is what the listener of the parsers raises; latex2sympy's raises no narrower one."""
        self._parser, self._refusal = parser, refusal

    def math(self) -> Any:
        """The tree. Raises what the parser's error listener raises."""
        from antlr4.atn.PredictionMode import PredictionMode

        first = self._parser()
        first._interp.predictionMode = PredictionMode.SLL
        try:
            return first.math()
        except self._refusal:
            return self._parser().math()
