"""The last complete box of a response."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.extraction import last_boxed


@pytest.mark.parametrize(
    ("text", "content"),
    [
        (r"so \boxed{5}", "5"),
        (r"\boxed{1} no, \boxed{2}.", "2"),
        (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\boxed {7}", "7"),
        (r"\boxed{\boxed{3}}", "3"),
        (r"\boxed{}", ""),
        (r"\boxed{\{1,2\}}", r"\{1,2\}"),
        (r"a \} b \boxed{4}", "4"),
        (r"} \boxed{6} {", "6"),
        (r"\boxed{8} and then it was cut \boxed{9", "8"),
        (r"\boxed{12", None),
        (r"\boxed 5", None),
        ("boxed{5}", None),
        ("", None),
    ],
)
def test_last_boxed(text: str, content: str | None) -> None:
    assert last_boxed(text) == content


@given(st.text(alphabet="ab1 \\{}", max_size=40), st.text(alphabet="ab1 ", max_size=10))
def test_whatever_comes_first_the_box_at_the_end_is_found(before: str, content: str) -> None:
    assert last_boxed(before + " \\boxed{" + content + "}") == content


@pytest.mark.parametrize(
    "hostile", ["{" * 10**6, "\\boxed{" * 150_000, "\\boxed{1}" * 110_000, "{}" * 500_000]
)
def test_a_megabyte_of_braces_takes_no_time(hostile: str) -> None:
    started = time.process_time()
    last_boxed(hostile)
    assert time.process_time() - started < 3
