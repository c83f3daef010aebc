"""What the strict grader spares itself changes nothing: math-verify, asked plainly, says the same."""

from __future__ import annotations

import itertools
import json
import random
from functools import cache
from typing import Any

import pytest

from tasks.golds import gold_text
from tasks.strict.compare import is_words
from tasks.strict.parsing import is_complex, parsed
from tasks.strict.shapes import clean, shape
from tasks.strict.values import same_value
from tests.helpers.l2s import REAL

SAMPLE = 25  # golds of each benchmark, each beside three others
EXPRESSIONS = (
    r"\frac{x}{x^2}", r"\frac{1}{x}", r"(p+7)^2", r"p^{2}+14 p+49", r"2\sqrt{2}", r"\sqrt{8}",
    r"2 \frac{1}{3}", r"\frac{7}{3}", r"x = 5", r"5", r"y=2x+3", r"2x+3", r"x \ge 2", r"[2,\infty)",
    r"\sin^2 x + \cos^2 x", r"1", r"e^{i\pi}", r"-1", r"\begin{pmatrix}1\\2\end{pmatrix}",
    r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}", r"\ln 4", r"2\ln 2", r"\sqrt{x^2}", r"|x|", r"x",
    r"\int_0^1 x dx", r"\frac{1}{2}", r"\sum_{n=1}^{3} n", r"6", r"abc", r"cba", r"\log_2 8", r"3",
    r"\binom{4}{2}", r"x^{1/2}", r"\sqrt{x}", r"\frac{1}{1-x}", r"1/(1-x", r"\tan x",
    r"\frac{\sin x}{\cos x}", r"\pi", r"3.14159265", r"50\%", r"0.5", r"2^{10}", r"1024",
    r"\frac{d x}{d t}=k x-a", r"x^2-1=0", r"1=x^2", r"\mathbb{R}", r"\emptyset", r"f(x)=x", r"i \sqrt{3}",
)  # fmt: skip

CHAINS = (
    r"y=(x+1)^2=x^2+2x+1", r"y=x^2+2x+1", r"x^2+2x+1", r"y=x^2=x+1", r"2x=4=y", r"y=4", r"x=y=4",
    r"y=\sum_{n=1}^{3} n x=6x", r"y=\sum_{n=1}^{3} n x", r"y=\sum_{n=1}^{3} n z", r"y=6x", r"6x",
    r"y=\int_0^1 2 t dt", r"y=1", r"f(x)=\int_0^x 2 t dt", r"y=\int_0^x 2 t dt", r"y=x^2", r"f(x)=x^2",
)  # fmt: skip


def plainly(text: str) -> Any:
    """What `math_verify.parse` finds when the text is the whole formula; None when that is no LaTeX."""
    from latex2sympy2_extended import NormalizationConfig
    from math_verify import LatexExtractionConfig, parse

    rules = NormalizationConfig(
        basic_latex=True, units=False, malformed_operators=True, nits=True, boxed="none"
    )
    config = LatexExtractionConfig(normalization_config=rules)
    found = parse(f"${text}$", [config], fallback_mode="no_fallback", parsing_timeout=None)
    return found[0] if found else None


def differences(texts: list[str], pairs: list[tuple[str, str]]) -> list[object]:
    """Texts that are read, and pairs that are judged, in another way than by math-verify alone."""
    from math_verify import verify

    texts = [text for text in texts if not is_complex(text)]  # in those, i is a variable to math-verify
    plain = {text: plainly(text) for text in texts}
    ours = {text: parsed(text) for text in texts}
    found: list[object] = [t for t in texts if plain[t] is not None and str(plain[t]) != str(ours[t])]
    for gold, answer in pairs:
        if is_complex(gold) or is_complex(answer) or plain[gold] is None or plain[answer] is None:
            continue
        expected = verify(plain[gold], plain[answer], timeout_seconds=None, allow_set_relation_comp=True)
        if same_value(ours[gold], ours[answer], 1e-6) != expected:
            found.append((gold, answer, expected))
    return found


def test_expressions_are_read_and_compared_as_math_verify_does() -> None:
    pairs = [(a, b) for a, b in itertools.product(EXPRESSIONS[:12], repeat=2) if a != b]
    neighbours = list(itertools.pairwise(EXPRESSIONS))
    assert differences(list(EXPRESSIONS), [*pairs, *neighbours]) == []


def test_chains_and_what_has_no_value_are_compared_as_math_verify_does() -> None:
    assert differences(list(CHAINS), list(itertools.product(CHAINS, repeat=2))) == []


@cache
def golds(benchmark: str) -> list[str]:
    """Elements of golds that a parser has to read, a sample."""
    rows = map(json.loads, (REAL / benchmark / "test.jsonl").read_text().splitlines())
    texts = [clean(gold_text(benchmark, row.get("final_answer") or row["answer"])) for row in rows]
    short = [t for t in dict.fromkeys(texts) if shape(t).kind == "one" and not is_words(t) and len(t) < 100]
    return random.Random(0).sample(short, min(SAMPLE, len(short)))


@pytest.mark.slow
@pytest.mark.l2s_data
@pytest.mark.parametrize("benchmark", ["math500", "olympiadbench", "college_math"])
def test_golds_are_read_and_compared_as_math_verify_does(benchmark: str) -> None:
    texts = golds(benchmark)
    rng = random.Random(1)
    pairs = [(gold, answer) for gold in texts for answer in (gold, *rng.sample(texts, 3))]
    assert differences(texts, pairs) == []
