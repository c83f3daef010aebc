"""What a response shows by its text alone."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.l2s.flags import REFLECTIONS, flags, opens_think_block, think_block


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<think>a b</think> c", "a b"),
        ("<think>a b", "a b"),
        ("a b</think> c", "a b"),
        ("<think></think>4", ""),
        ("a </think> b <think> c </think>", "a "),
        ("<think>a</think> <think>b</think>", "a"),
        ("no block", None),
        ("", None),
    ],
)
def test_think_block(text: str, expected: str | None) -> None:
    assert think_block(text) == expected


@pytest.mark.parametrize(
    ("text", "n"),
    [
        ("Wait, wait. WAIT!", 3),
        ("She is waiting; await the waiter.", 0),
        ("Let me check. Let me just check, let me just verify, let me double-check and re-examine: recap", 6),
        ("let me verify", 0),
        ("", 0),
    ],
)
def test_reflections(text: str, n: int) -> None:
    assert flags(text).reflections == n


@given(st.lists(st.sampled_from(REFLECTIONS), max_size=20))
def test_every_keyword_counts_once(words: list[str]) -> None:
    assert flags(" and ".join(words).upper()).reflections == len(words)


def test_a_block_that_the_prompt_had_opened_reaches_from_the_start_also_where_it_was_cut_off() -> None:
    assert opens_think_block("Assistant:<think>\n") and not opens_think_block("<think>x</think> y")
    assert flags("so 1 + 1", thinking=True).think == "so 1 + 1"
    assert flags("so</think>2", thinking=True).think == "so"
    assert flags("<think>a</think>b", thinking=True).think == "a"  # the model opens it once more
    assert flags("so 1 + 1").think is None


@pytest.mark.parametrize(
    ("text", "code_fence", "complete_box"),
    [
        ("```python\nprint(1)\n```", True, False),
        ("```python\nprint(1)\n```\n\n", True, False),
        ("\\boxed{1} ```", False, True),
        ("boxed ```", False, False),  # the word alone keeps the toolkit from running code
        ("```python\nprint(1)\n``` done", False, False),
        ("\\boxed{1", False, False),
        ("\\boxed{1} and \\boxed{2", False, True),
        ("", False, False),
    ],
)
def test_code_fence_and_box(text: str, code_fence: bool, complete_box: bool) -> None:
    found = flags(text)
    assert (found.code_fence, found.complete_box) == (code_fence, complete_box)


def test_a_hostile_text_takes_no_time() -> None:
    started = time.process_time()
    for text in ("<think>" * 200_000, "{" * 10**6, "let me just " * 100_000, "re-" * 300_000):
        flags(text)
    assert time.process_time() - started < 3.0
