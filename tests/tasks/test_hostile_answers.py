"""Answers made to hang, to fill memory, or to run code cost their limit and nobody else anything."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from tasks.expressions import NotMathematics, parse_plain
from tasks.limits import Limited, LimitedPool
from tasks.qwen_compat.grader import QwenCompat
from tasks.strict.grader import Strict

SECONDS = 0.3
HOSTILE = [
    "\\boxed{9^{9^{9^{9^{9}}}}}",
    "The answer is 10**10**10**10",
    "\\boxed{9**9**9**9}",
    "{" * 10**6,
    "}" * 10**6,
    "\\boxed{" * 150_000,
    "\\boxed{" + "{" * 10**6 + "}" * 10**6 + "}",
    "\\boxed{" + "1+" * 1500 + "1}",
    "\\boxed{" + "1+" * 100_000 + "1}",
    "\\boxed{\\sqrt{" + "(" * 900 + "x" + ")" * 900 + "}}",
    "\\boxed{" + "9" * 5000 + "}",
    "\\boxed{x + 100000000!}",
    "\\boxed{((10^7)!)!}",
    "\\boxed{\\int_0^{\\infty} x^{x^{x}} dx}",
    "\\boxed{(x+1)^{99999} (y+2)^{99999}}",
    "\\boxed{\\prod_{n=1}^{10^{12}} n}",
    "\\boxed{__import__('os').system('touch PLACE')}",
    '\\boxed{open("PLACE","w").write("x")}',
    "\\boxed{().__class__.__base__.__subclasses__()}",
    "\\boxed{x.subs(x, exec('import os'))}",
    "\\boxed{sympify('9**9**9**9')}",
    "\\boxed{[x for x in range(10**12)]}",
    "\\boxed{S(\"__import__('os').abort()\")}",
    "\\boxed{" + "\\frac{1}{" * 300 + "2" + "}" * 300 + "}",
    "1" * 10**6,
    "\\boxed{1e999999999}",
    "$" * 200_000,
]


@pytest.mark.slow
@pytest.mark.parametrize("build", [QwenCompat, Strict])
def test_hostile_answers_are_wrong_and_change_nothing_else(
    build: type[QwenCompat] | type[Strict], tmp_path: Path
) -> None:
    place = tmp_path / "made"
    grader = build("math500", seconds=SECONDS)
    ordinary = ("so \\boxed{1+x}", "x+1")
    started = time.process_time()
    pairs = [pair for text in HOSTILE for pair in ((text.replace("PLACE", str(place)), "y+7"), ordinary)]
    verdicts = grader.grade(pairs)
    grader.close()
    assert [v.correct for v in verdicts[0::2]] == [False] * len(HOSTILE)
    assert [v.correct for v in verdicts[1::2]] == [True] * len(HOSTILE)
    assert all(len(v.why) < 3000 and len(v.extracted or "") < 3000 for v in verdicts)
    assert any(v.why.startswith("time limit") for v in verdicts)
    assert any(v.why.startswith("length limit") for v in verdicts)
    assert not place.exists()
    assert time.process_time() - started < 20  # of this process: what the workers spend is limited for each


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os')",
        "x.__class__",
        "os.system",
        "exec(1)",
        "lambda: 1",
        "[i for i in x]",
        "'a'*9",
        "(1).real",
    ],
)
def test_code_is_not_evaluated(text: str) -> None:
    with pytest.raises(NotMathematics):
        parse_plain(text)


def test_a_plain_expression_still_is() -> None:
    assert str(parse_plain("2*x**2 + sqrt(9) + 3.e2")) == "2*x**2 + 303.0"
    assert str(parse_plain("open(x) + sympify(x)")) == "open(x) + sympify(x)"  # unknown names are functions


def work(item: object) -> object:
    """The work of these tests, by name; runs in the worker."""
    if item == "slow":
        time.sleep(0.3)
    if item == "exit":
        os._exit(3)
    if item == "write":
        Path("written by a worker").write_text("x")
    if item == "start":
        os.system("true")
    if item == "connect":
        import socket

        socket.create_connection(("127.0.0.1", 9))
    return item


WORK = f"{__name__}:work" if __name__.startswith("tests.") else "tests.tasks.test_hostile_answers:work"


def test_a_pool_keeps_order_and_misses_nothing_when_workers_die() -> None:
    pool = LimitedPool(WORK, seconds=5, memory_bytes=1 << 30, workers=2)
    items = ["exit" if n % 7 == 3 else n for n in range(40)]
    outcomes = pool.map(items)
    assert [o.value for o in outcomes if o.status == "done"] == [n for n in items if n != "exit"]
    assert [o.status == "crashed" for o in outcomes] == [n == "exit" for n in items]
    assert pool.map([]) == []
    pool.close()
    assert pool.pids == []


def test_a_worker_killed_from_outside_costs_one_item() -> None:
    pool = LimitedPool(WORK, seconds=5, memory_bytes=1 << 30, workers=2)
    pool.map(list(range(16)))
    victim = pool.pids[0]
    killer = threading.Timer(0.15, os.kill, (victim, signal.SIGKILL))
    killer.start()
    outcomes = pool.map(["slow"] * 16)
    killer.join()
    assert [o.status for o in outcomes].count("done") == 15
    assert sum("SIGKILL" in o.why for o in outcomes) == 1
    pool.close()


@pytest.mark.parametrize("item", ["write", "start", "connect"])
def test_work_may_not_touch_the_machine(item: str) -> None:
    with Limited(WORK, seconds=5, memory_bytes=1 << 30) as limited:
        outcome = limited.call(item)
        assert outcome.status == "failed" and "Forbidden" in outcome.why
        assert limited.call(1).value == 1


def test_workers_end_with_their_pool() -> None:
    pool = LimitedPool(WORK, seconds=5, memory_bytes=1 << 30, workers=1)
    pool.map([1])
    [pid] = pool.pids
    del pool
    assert not Path(f"/proc/{pid}").exists()
