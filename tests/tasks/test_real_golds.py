"""Both graders over the golds of the real data: the reference's counts, and every gold against itself.

Needs the real data: tests/helpers/l2s.py says where they are looked for.
"""

from __future__ import annotations

import json
from functools import cache

import pytest

from tasks.golds import L2S_BENCHMARKS, gold_text
from tasks.qwen_compat.equivalence import number
from tasks.qwen_compat.extraction import raw_answer
from tasks.qwen_compat.grader import QwenCompat
from tasks.qwen_compat.normalisation import normalise
from tasks.strict.grader import Strict
from tests.helpers.l2s import REAL

pytestmark = pytest.mark.l2s_data

# Reference, 1.5: golds changed by unit removal (None: not applied), comma lists read as one number, numeric golds.
COUNTS = {
    "gsm8k": (0, 14, 1319),
    "math500": (5, 6, 347),
    "college_math": (593, 69, 448),
    "olympiadbench": (9, 36, 414),
    "minerva_ocw": (None, 0, 188),
    "aime24": (0, 0, 30),
}
# Golds that the toolkit's own rules do not find equal to themselves: Minerva's are normalised once, answers twice.
NOT_THEMSELVES = {"minerva_ocw": 1}


@cache
def golds(benchmark: str) -> tuple[str, ...]:
    folder = next(
        REAL / name for name in (benchmark, "minerva_math") if (REAL / name / "test.jsonl").exists()
    )
    rows = [json.loads(line) for line in (folder / "test.jsonl").read_text().splitlines()]
    if benchmark == "minerva_ocw":
        return tuple(raw_answer(row["solution"]) for row in rows)
    return tuple(gold_text(benchmark, row.get("final_answer") or row["answer"]) for row in rows)


@pytest.mark.parametrize("benchmark", L2S_BENCHMARKS)
def test_the_quirks_strike_as_often_as_the_reference_counts(benchmark: str) -> None:
    units, lists, numeric = COUNTS[benchmark]
    strip = units is not None
    forms = [normalise(gold, strip_units=strip) for gold in golds(benchmark)]
    changed = sum(
        form != normalise(g, strip_units=False) for form, g in zip(forms, golds(benchmark), strict=True)
    )
    numbers = [form for form in forms if number(form) is not None]
    assert changed == (units or 0)
    assert sum("," in form for form in numbers) == lists
    assert len(numbers) == numeric


@pytest.mark.slow
@pytest.mark.parametrize("benchmark", L2S_BENCHMARKS)
def test_every_gold_is_correct_against_itself(benchmark: str) -> None:
    pairs = [(f"so \\boxed{{{gold}}}", gold) for gold in golds(benchmark)]
    wrong = {}
    for build in (QwenCompat, Strict):
        grader = build(benchmark)
        wrong[grader.name] = sum(not verdict.correct for verdict in grader.grade(pairs))
        grader.close()
    assert wrong == {"qwen_compat": NOT_THEMSELVES.get(benchmark, 0), "strict": 0}
