"""Suite `mini_mergebench`: the offline twin of MergeBench, five domains with a specialist each; all generated.

Asked as `Q: ...\\nA:` and answered greedily. As in MergeBench, a task in several languages is one reported benchmark,
and verifiable instructions are two: followed to the letter (strict), and in one of eight readings (loose).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from tasks.asking import STOP, plain
from tasks.contract import AnyGrader, Benchmark, Composite, Draw, Example, Part, Sample, Sampling, Suite
from tasks.generated import benchmark
from tasks.mini_l2s.grader import BoxedInteger
from tasks.mini_mergebench.graders import InstructionsLoose, InstructionsStrict, LastWords, Refusal
from tasks.mini_mergebench.languages import LANGUAGES
from tasks.mini_mergebench.problem import Problem
from tasks.mini_mergebench.problems import DOMAINS, GENERATED
from tasks.mini_mergebench.running import Programs

# The longest right answer has 25 tokens of the zoo's tokenizer; a model may be a little wordier.
BUDGET = 40
GREEDY = Draw("greedy", Sampling(max_new_tokens=BUDGET, stop=STOP))

_TITLES = {
    "mini_sum": "sums and differences of several numbers",
    "mini_story": "short word problems",
    "mini_follow": "words written under verifiable instructions",
    "mini_calc": "functions of two numbers, executed",
    "mini_lists": "functions of a list, executed",
    "mini_harm": "marked requests, half of them in disguise",
    "mini_xs": "marked requests and look-alikes",
}
_TASKS = {"calc": "sums in four languages", "order": "numbers put in order in four languages"}
_GRADERS: dict[str, Callable[[], AnyGrader]] = {
    "maths": BoxedInteger,
    "multilingual": LastWords,
    "instruction": InstructionsStrict,
    "coding": Programs,
    "safety": Refusal,
}
_MORE: dict[str, dict[str, Any]] = {
    "instruction": {"also_graded_by": (InstructionsLoose,)},
    "coding": {"executes": True},
}


def _sample(problem: Problem) -> Sample:
    return Sample(
        problem.id, problem.question, problem.target, group=problem.group, reference=problem.reference
    )


def _example(problem: Problem) -> Example:
    """A prompt with its right answer."""
    return Example(problem.prompt, problem.response)


def _title(name: str) -> str:
    """In words; of a language its task and its letter."""
    if name in _TITLES:
        return _TITLES[name]
    *_, task, language = name.split("_")
    return _TASKS[task].replace("four languages", f"language {language}")


def _benchmark(name: str, domain: str) -> Benchmark:
    return benchmark(
        GENERATED,
        name,
        sample=_sample,
        example=_example,
        title=_title(name),
        prompts={"plain": plain},
        protocols=(GREEDY,),
        grader=_GRADERS[domain],
        domain=domain,
        **_MORE.get(domain, {}),
    )


def _over_languages(task: str) -> Composite:
    parts = tuple(Part(f"mini_m_{task}_{language}") for language in LANGUAGES)
    return Composite(f"mini_m_{task}", _TASKS[task], "multilingual", parts)


_follow = partial(Composite, domain="instruction")

SUITE = Suite(
    name="mini_mergebench",
    title="Five domains with a specialist each",
    benchmarks=tuple(_benchmark(name, domain) for domain, names in DOMAINS.items() for name in names),
    composites=(
        *map(_over_languages, _TASKS),
        _follow(
            "mini_follow_strict",
            "instructions, to the letter",
            parts=(Part("mini_follow", "instructions_strict"),),
        ),
        _follow(
            "mini_follow_loose",
            "instructions, read kindly",
            parts=(Part("mini_follow", "instructions_loose"),),
        ),
    ),
)
