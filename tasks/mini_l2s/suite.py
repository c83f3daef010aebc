"""Suite `mini_l2s`: the offline twin of the Long-to-Short suite, three levels of generated arithmetic.

The problems come from a seeded generator, so nothing is read or downloaded. Asked as `Q: ...\\nA:`, answered
greedily; the hardest level is also asked 16 times at temperature 0.3 for self-consistency.
"""

from __future__ import annotations

from tasks.asking import STOP, plain
from tasks.contract import Benchmark, Draw, Example, Sample, Sampling, Suite
from tasks.generated import benchmark
from tasks.mini_l2s.grader import BoxedInteger
from tasks.mini_l2s.problems import GENERATED, Problem, long_chain

# The longest checked chain has 165 tokens of the zoo's tokenizer: room for half as much again.
BUDGET = 256

GREEDY = Draw("greedy", Sampling(max_new_tokens=BUDGET, stop=STOP))
POOL = Draw("pool", Sampling(max_new_tokens=BUDGET, temperature=0.3, stop=STOP), n=16, votes=(1, 8, 16))


def _sample(problem: Problem) -> Sample:
    return Sample(problem.id, problem.question, str(problem.answer))


def _example(problem: Problem) -> Example:
    """A prompt with its long, checked solution, which is what the zoo's expert is trained on."""
    return Example(problem.prompt, long_chain(problem))


def _benchmark(name: str, title: str, *protocols: Draw) -> Benchmark:
    return benchmark(
        GENERATED,
        name,
        sample=_sample,
        example=_example,
        title=title,
        prompts={"plain": plain},
        protocols=protocols,
        grader=BoxedInteger,
    )


SUITE = Suite(
    name="mini_l2s",
    title="Long-to-Short mathematics, offline twin",
    benchmarks=(
        _benchmark("mini_gsm", "short word problems", GREEDY),
        _benchmark("mini_math", "expressions with products and brackets", GREEDY),
        _benchmark("mini_aime", "repeated linear maps modulo 1000", GREEDY, POOL),
    ),
)
