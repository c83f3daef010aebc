r"""The two-stage reading of LaTeX beside the plain parser: the same expression, or a refusal of the same kind."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import sympy
from sympy.parsing.latex import parse_latex

from tasks.qwen_compat.latex import sympy_latex
from tasks.qwen_compat.normalisation import normalise
from tasks.two_stages import TwoStages
from tests.helpers.l2s import REAL

EVERY = 40  # of the golds: the plain parser takes 15 ms for one

READ_BY_BOTH = [r"\frac{1}{2}", "x+1", r"2\sqrt{2}", r"\sin^2(x)+\cos^2(x)", "3e^{-2t}", r"|x-1|\le2", "x=5"]
HARD = [
    r"\frac{x^2-1}{x-1}",
    r"\begin{pmatrix}1&2\\3&4\end{pmatrix}",
    r"\begin{pmatrix}1\\2\end{pmatrix",
    r"\int_0^1 x^2 dx",
    r"\sum_{n=1}^{\infty}\frac{1}{n^2}",
    r"\lim_{x\to0}\frac{\sin x}{x}",
    r"(-\infty,3]\cup[4,\infty)",
    "concaveupeverywhere",
    "12people",
    "",
    "}",
    "{" * 50,
    "(" * 40 + "x" + ")" * 40,
    r"\frac{1}{" * 20 + "2" + "}" * 20,
    r"\sqrt",
    r"x^{y^{z",
    "a=b=c",
    "1,234",
    "#!@",
    "8π",
    r"\text{none}",
]


def read(parse: Callable[[str], Any], text: str) -> tuple[str, str]:
    """What a parser makes of a text: the expression's structure, or the name of what it raises."""
    try:
        found = parse(text)
    except Exception as error:
        return "raised", type(error).__name__
    return type(found).__name__, sympy.srepr(found)


def golds() -> list[str]:
    found = []
    for file in sorted(REAL.glob("*/test.jsonl")):
        rows = [json.loads(line) for line in file.read_text().splitlines()]
        found += [str(row.get("answer") or row.get("final_answer") or row.get("solution")) for row in rows]
    return [normalise(gold)[:300] for gold in found[::EVERY]]


@pytest.mark.parametrize("text", [*READ_BY_BOTH, *HARD])
def test_two_stages_read_what_one_reads(text: str) -> None:
    assert read(sympy_latex, text) == read(parse_latex, text)


@pytest.mark.parametrize("text", READ_BY_BOTH)
def test_ordinary_answers_are_read_in_the_first_stage(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second stage makes a second parser: it is what would be slow."""
    made = []
    plain = TwoStages.__init__

    def counted(self: TwoStages, parser: Callable[[], Any], refusal: type[Exception] = Exception) -> None:
        plain(self, lambda: made.append(text) or parser(), refusal)

    monkeypatch.setattr(TwoStages, "__init__", counted)
    sympy_latex(text)
    assert len(made) == 1


@pytest.mark.slow
@pytest.mark.l2s_data
def test_real_golds_are_read_alike() -> None:
    different = [gold for gold in golds() if read(sympy_latex, gold) != read(parse_latex, gold)]
    assert not different
