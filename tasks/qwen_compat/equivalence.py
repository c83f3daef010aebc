r"""Whether a normalised prediction equals a normalised gold, in the order of the Qwen2.5-Math toolkit.

Rules 1-3 are cheap and need no parser (`quick`); the rest may evaluate what a model wrote and run under limits
(`compare`). Every answer comes with the rule that decided, as a sentence.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

RELATIVE = 1e-4
MOST_PARTS = 1000  # more elements than any gold has; what is longer is compared as a whole
_BRACKETED = re.compile(r"[(\[].+[)\]]", re.DOTALL)
_BEGIN, _END = r"\begin{pmatrix}", r"\end{pmatrix}"


@dataclass(frozen=True)
class Decision:
    """Equal or not, and why."""

    equal: bool
    why: str


def number(text: str) -> float | None:
    """`text` as a number: commas are dropped wherever they stand, a percent sign at the end divides by 100."""
    text = text.replace(",", "")
    for candidate, divisor in ((text, 1.0), (text.removesuffix("%").removesuffix("\\"), 100.0)):
        try:
            return float(candidate) / divisor
        except ValueError:
            if not text.endswith("%"):
                break
    return None


def quick(prediction: str, gold: str) -> Decision | None:
    """Rules 1 to 3; None when they do not decide."""
    if prediction.strip().lower() == gold.strip().lower():
        return Decision(True, "rule 1: the same text")
    mine, right = number(prediction), number(gold)
    if mine is not None and right is not None:
        return _numbers(mine, right)
    if not prediction:
        return Decision(False, "rule 3: the answer is empty")
    return None


def _numbers(mine: float, right: float) -> Decision:
    for factor, name in ((1.0, "the gold"), (0.01, "the gold / 100"), (100.0, "100 times the gold")):
        if math.isclose(right * factor, mine, rel_tol=RELATIVE):
            return Decision(True, f"rule 2: numerically {name}")
    return Decision(False, "rule 2: both are numbers, and they differ")


def compare(prediction: str, gold: str) -> Decision:
    """All rules. May parse and evaluate both sides: call it where time and memory are limited."""
    decision = quick(prediction, gold)
    if decision is not None:
        return decision
    gold = _as_matrix(prediction, gold)
    if _without_brackets(prediction, gold):
        return Decision(True, "rule 5: the same text without brackets")
    if _BRACKETED.fullmatch(prediction) and _BRACKETED.fullmatch(gold):
        if _each(prediction[1:-1].split(","), gold[1:-1].split(",")):
            return Decision(True, "rule 6: every element is equal")
    elif _is_matrix(prediction) and _is_matrix(gold) and _matrices(prediction, gold):
        return Decision(True, "rule 7: every cell is equal")
    return _equations(prediction, gold) or _symbolic(prediction, gold)


def _as_matrix(prediction: str, gold: str) -> str:
    """Rule 4: a gold `{a,b}` becomes a column when the prediction contains a matrix."""
    if "pmatrix" in prediction and "pmatrix" not in gold and gold.startswith("{") and gold.endswith("}"):
        return _BEGIN + r"\\".join(part.strip() for part in gold[1:-1].split(",")) + _END
    return gold


def _without_brackets(prediction: str, gold: str) -> bool:
    """Rule 5. The stripped sides serve this rule only."""
    square = prediction.startswith("[") and prediction.endswith("]") and not gold.startswith("(")
    rounded = prediction.startswith("(") and prediction.endswith(")") and not gold.startswith("[")
    if square or rounded:
        prediction, gold = prediction.strip("[]()"), gold.strip("[]()")
    bare = str.maketrans("", "", "{}()")
    return prediction.translate(bare).lower() == gold.translate(bare).lower()


def _each(mine: list[str], right: list[str]) -> bool:
    if len(mine) != len(right) or len(mine) > MOST_PARTS:
        return False
    return all(compare(one, other).equal for one, other in zip(mine, right, strict=True))


def _is_matrix(text: str) -> bool:
    return text.startswith(_BEGIN) and text.endswith(_END)


def _matrices(prediction: str, gold: str) -> bool:
    """Rule 7: row by row, cell by cell."""
    rows = [_rows(text) for text in (prediction, gold)]
    return len(rows[0]) == len(rows[1]) and all(
        _each(mine, right) for mine, right in zip(rows[0], rows[1], strict=True)
    )


def _rows(matrix: str) -> list[list[str]]:
    lines = matrix[len(_BEGIN) : -len(_END)].split(r"\\")
    return [[cell.strip() for cell in line.split("&")] for line in lines if line.strip()]


def _equations(prediction: str, gold: str) -> Decision | None:
    """Rule 8; None when it does not make them equal."""
    from tasks.qwen_compat.symbolic import equal

    mine, right = (text.split("=") for text in (prediction, gold))
    if len(mine) == 2 and len(right) == 2:
        one, other = (f"{left.strip()} - ({rest.strip()})" for left, rest in (mine, right))
        if equal(one, other) or equal(f"-({one})", other):
            return Decision(True, "rule 8: the two equations say the same")
    if len(mine) == 2 and len(right) == 1 and len(mine[0].strip()) <= 2 and compare(mine[1], gold).equal:
        return Decision(True, "rule 8: the right side of the answer equals the gold")
    if (
        len(right) == 2
        and len(mine) == 1
        and len(right[0].strip()) <= 2
        and compare(prediction, right[1]).equal
    ):
        return Decision(True, "rule 8: the answer equals the right side of the gold")
    return None


def _symbolic(prediction: str, gold: str) -> Decision:
    from tasks.qwen_compat.symbolic import equal

    if equal(prediction, gold):
        return Decision(True, "rule 9: symbolically equal")
    return Decision(False, "rule 9: no rule makes the two equal")
