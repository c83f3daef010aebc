"""Gold answers of the Long-to-Short suite, as each dataset writes them: the rules of `tasks/golds.py`, made strict.

A gold is the dataset's own text: normalising it is the grader's business, and each grader does it in its own way.
What a dataset may not hold is refused here, where the row can still be named.
"""

from __future__ import annotations

from typing import Any

from tasks.errors import DataUnavailable
from tasks.extraction import last_boxed
from tasks.golds import behind_marker, without_dollars, without_outer_dollars

SHOWN = 80


def plain(answer: Any) -> str:
    """A gold that stands alone in its column."""
    if not isinstance(answer, str) or not answer.strip():
        raise DataUnavailable(f"a gold answer is a text, this one is {answer!r}")
    return answer


def after_marker(answer: Any) -> str:
    """GSM8K: the number behind the last `####` of a worked answer, without thousands separators."""
    text = plain(answer)
    number = behind_marker(text)
    if "####" not in text or not number:
        raise DataUnavailable(f"a GSM8K answer ends in '#### NUMBER', this one does not: {text[-SHOWN:]!r}")
    return number.replace(",", "")


def boxed(solution: Any) -> str:
    r"""Minerva (OCW): the content of the last `\boxed{...}` of a worked solution."""
    text = plain(solution)
    found = last_boxed(text)
    if found is None or not found.strip():
        raise DataUnavailable(
            f"a solution holds its answer in \\boxed{{...}}, this one does not: {text[-SHOWN:]!r}"
        )
    return found


def first_of_list(final_answer: Any) -> str:
    """OlympiadBench: the first of a list, without the dollar signs around it; many answers stand in one text."""
    if not isinstance(final_answer, list) or not final_answer:
        raise DataUnavailable(f"final_answer is a list of one text, this one is {final_answer!r}")
    return without_outer_dollars(plain(final_answer[0]))


def undollared(answer: Any) -> str:
    """CollegeMath: without any dollar sign."""
    return plain(without_dollars(plain(answer)))


def aime(answer: Any) -> str:
    """AIME: an integer of three digits, 0 to 999; copies that store a number lose the zeros, which come back."""
    text = str(answer).strip()
    if not (text.isascii() and text.isdigit() and len(text) <= 3):
        raise DataUnavailable(f"an AIME answer is an integer from 0 to 999, this one is {answer!r}")
    return text.zfill(3)
