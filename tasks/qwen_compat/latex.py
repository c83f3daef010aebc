r"""SymPy's LaTeX parser, read in two stages: the same results, four times as fast.

It is an antlr parser, which predicts with the full context of the grammar (LL). antlr's own advice is to predict with
the context that its tables hold (SLL) first: what that reads is what LL reads, what it cannot read is read again.
latex2sympy's parser, which the strict grader uses, is one too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def sympy_latex(text: str) -> Any:
    """What `sympy.parsing.latex.parse_latex` returns. Raises LaTeXParsingError, and whatever SymPy raises."""
    from antlr4 import CommonTokenStream, InputStream
    from sympy.parsing.latex import LaTeXParsingError, check_matrix_delimiters
    from sympy.parsing.latex import _parse_latex_antlr as reader

    check_matrix_delimiters(text)
    text = text.strip()
    listener = reader.MathErrorListener(text)

    def parser() -> Any:
        lexer = reader.LaTeXLexer(InputStream(text))
        lexer.removeErrorListeners()
        lexer.addErrorListener(listener)
        made = reader.LaTeXParser(CommonTokenStream(lexer))
        made.removeErrorListeners()
        made.addErrorListener(listener)
        return made

    return reader.convert_relation(TwoStages(parser, LaTeXParsingError).math().relation())


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
