r"""SymPy's and latex2sympy's LaTeX parsers, read in two stages: the same results, several times as fast.

Both are antlr parsers, which predict with the full context of the grammar (LL). antlr's own advice is to predict with
the context that its tables hold (SLL) first: what that reads is what LL reads, what it cannot read is read again.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

SHOWN = 80


class NotRead(ValueError):
    """latex2sympy cannot read the text."""


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


def latex2sympy(text: str) -> Any:
    """What `latex2sympy2_extended.latex2sympy` returns. Raises NotRead, and whatever SymPy raises."""
    from latex2sympy2_extended import NormalizationConfig, normalize_latex

    try:
        return _latex2sympy()().parse(normalize_latex(text, NormalizationConfig()))
    except Exception as error:
        if type(error) is Exception:  # it raises no narrower one
            raise NotRead(f"latex2sympy cannot read {text[:SHOWN]!r}") from error
        raise


@lru_cache(maxsize=1)
def _latex2sympy() -> Any:
    from latex2sympy2_extended.latex2sympy2 import _Latex2Sympy

    class Reader(_Latex2Sympy):
        def create_parser(self, text: str) -> TwoStages:
            return TwoStages(partial(super().create_parser, text))

    return Reader


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
