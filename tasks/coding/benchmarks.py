"""HumanEval, HumanEval+ and MBPP+: programs that are executed, with every test of the benchmark.

Prompts, stop strings and budgets are those of lm-eval 0.4.13, and so is the program that is run. On purpose other:

* a program has 20 s, where lm-eval's metric stops after 3 (HumanEval+ needs more on slow machines);
* it runs in a sandbox of ours; the metric that lm-eval fetches from the Hub at scoring time is not used;
* `mbpp_plus_full` runs the tests of MBPP+, which lm-eval's `mbpp_plus` never reads: that one's number, of the three
  assertions that the prompt shows, is `mbpp_plus_lmeval`.
"""

from __future__ import annotations

from functools import partial

from tasks.coding import problems
from tasks.coding.grader import Executed, completed, standing_alone
from tasks.coding.problems import Problems
from tasks.coding.prompts import DOCSTRING_ENDS, EXAMPLE_ENDS, FUNCTION_ENDS, bare, three_shot
from tasks.contract import Benchmark, Draw, Sampling
from tasks.sandbox.grading import Assembly
from tasks.sources import HubDataset

HUMANEVAL_BUDGET = 1024
MBPP_BUDGET = 256  # lm-eval's default, which the task leaves as it is
DOCSTRING_BUDGET = 512

_HUMANEVAL_COLUMNS = (("prompt",), ("canonical_solution",), ("test",), ("entry_point",))
_MBPP_COLUMNS = (("prompt", "text"), ("code",), ("test_list",))
_MBPP_PLUS = HubDataset("evalplus/mbppplus")
_MBPP_SIZE = 378


def _benchmark(
    data: Problems, title: str, mode: str, budget: int, stop: tuple[str, ...], assemble: Assembly
) -> Benchmark:
    return Benchmark(
        name=data.name,
        title=title,
        version="1",
        load=data.load,
        splits=("test",),
        prompts={mode: three_shot if mode == "three-shot" else bare},
        protocols=(Draw("greedy", Sampling(max_new_tokens=budget, stop=stop, strip=False)),),
        grader=partial(Executed, assemble),
        domain="coding",
        sizes={"test": data.size},
        executes=True,
    )


def _humaneval(name: str, repository: str, title: str) -> Benchmark:
    data = Problems(name, HubDataset(repository), 164, _HUMANEVAL_COLUMNS, problems.humaneval)
    return _benchmark(data, title, "completion", HUMANEVAL_BUDGET, FUNCTION_ENDS, completed)


# Chen et al., arXiv 2107.03374.
HUMANEVAL = _humaneval("humaneval", "openai/openai_humaneval", "HumanEval: functions from their docstrings")

# Liu et al., arXiv 2305.01210: the same problems with eighty times the tests.
HUMANEVAL_PLUS = _humaneval(
    "humaneval_plus", "evalplus/humanevalplus", "HumanEval+: the same with more tests"
)

# Austin et al., arXiv 2108.07732, with the tests of arXiv 2305.01210.
MBPP_PLUS_FULL = _benchmark(
    Problems(
        "mbpp_plus_full",
        _MBPP_PLUS,
        _MBPP_SIZE,
        (*_MBPP_COLUMNS, ("test",)),
        problems.mbpp_plus,
        folders=("mbpp_plus",),
    ),
    "MBPP+: functions from descriptions, all tests",
    "three-shot",
    MBPP_BUDGET,
    EXAMPLE_ENDS,
    standing_alone,
)

MBPP_PLUS_LMEVAL = _benchmark(
    Problems(
        "mbpp_plus_lmeval",
        _MBPP_PLUS,
        _MBPP_SIZE,
        _MBPP_COLUMNS,
        problems.mbpp_base,
        folders=("mbpp_plus", "mbpp_plus_full"),
    ),
    "MBPP+ as lm-eval scores it: the three shown assertions",
    "three-shot",
    MBPP_BUDGET,
    EXAMPLE_ENDS,
    standing_alone,
)

# The prompt of the BigCode evaluation harness, which MergeBench (arXiv 2505.10833) uses; asked greedily.
MBPP_PLUS_DOCSTRING = _benchmark(
    Problems(
        "mbpp_plus_docstring",
        _MBPP_PLUS,
        _MBPP_SIZE,
        (*_MBPP_COLUMNS, ("test",)),
        problems.mbpp_docstring,
        folders=("mbpp_plus", "mbpp_plus_full"),
    ),
    "MBPP+ asked by a docstring, zero-shot",
    "docstring",
    DOCSTRING_BUDGET,
    DOCSTRING_ENDS,
    completed,
)
