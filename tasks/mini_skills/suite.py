"""Suite `mini_skills`: three skills that share no answer, one domain and one expert each; all generated.

Asked as `Q: ...\\nA:` and answered greedily, step by step, with the result in a box.
"""

from __future__ import annotations

from collections.abc import Callable

from tasks.asking import STOP, plain
from tasks.contract import Benchmark, Draw, Example, Grader, Sample, Sampling, Suite
from tasks.generated import benchmark
from tasks.mini_l2s.grader import BoxedInteger
from tasks.mini_skills.grader import BoxedLetters
from tasks.mini_skills.problems import GENERATED, Problem, worked

# The longest worked solution has 50 tokens of the zoo's tokenizer; a model may be a little wordier.
BUDGET = 64
GREEDY = Draw("greedy", Sampling(max_new_tokens=BUDGET, stop=STOP))


def _sample(problem: Problem) -> Sample:
    return Sample(problem.id, problem.question, problem.answer)


def _example(problem: Problem) -> Example:
    """A prompt with its worked solution."""
    return Example(problem.prompt, worked(problem))


def _benchmark(name: str, domain: str, title: str, grader: Callable[[], Grader]) -> Benchmark:
    return benchmark(
        GENERATED,
        name,
        sample=_sample,
        example=_example,
        title=title,
        prompts={"plain": plain},
        protocols=(GREEDY,),
        grader=grader,
        domain=domain,
    )


SUITE = Suite(
    name="mini_skills",
    title="Three skills with an expert each",
    benchmarks=(
        _benchmark("mini_sums", "arithmetic", "sums and differences of several numbers", BoxedInteger),
        _benchmark("mini_strings", "strings", "operations on a row of letters", BoxedLetters),
        _benchmark("mini_lookup", "lookup", "following a table of letters", BoxedLetters),
    ),
)
