"""Suite `mergebench`: five domains, each with an expert, as DRIFT-MEDIAN measures them on the models of MergeBench.

He et al., arXiv 2505.10833. What lm-eval asks rightly is asked through it.
"""

from __future__ import annotations

from tasks.coding.benchmarks import HUMANEVAL_PLUS, MBPP_PLUS_FULL
from tasks.contract import Composite, Part, Suite
from tasks.mergebench.examples import EXAMPLES
from tasks.mergebench.through_lm_eval import (
    FOLLOWED,
    IFEVAL,
    M_ARC,
    M_HELLASWAG,
    M_MMLU,
    MINERVA,
    MULTILINGUAL,
    gsm8k,
)
from tasks.safety.benchmarks import BENCHMARKS as SAFETY

PLAIN, THOUGHT, GSM8K = gsm8k("", "maths")
# All tests of MBPP+; `mbpp_plus_lmeval` of the suite `coding` is lm-eval's number, of three assertions.
MBPP_PLUS = Composite("mbpp_plus", "MBPP+, all tests", "coding", (Part(MBPP_PLUS_FULL.name),))

SUITE = Suite(
    name="mergebench",
    title="mathematics, four languages, instructions, programs and safety, with an expert each",
    benchmarks=(HUMANEVAL_PLUS, MBPP_PLUS_FULL, *SAFETY),
    composites=(GSM8K, *MULTILINGUAL, *FOLLOWED, MBPP_PLUS),
    lm_eval=(PLAIN, THOUGHT, MINERVA, *M_MMLU, *M_ARC, *M_HELLASWAG, IFEVAL),
    examples=EXAMPLES,
)
