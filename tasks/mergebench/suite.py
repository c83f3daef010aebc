"""Suite `mergebench`: five domains, each with an expert, as DRIFT-MEDIAN measures them on the models of MergeBench.

He et al., arXiv 2505.10833. What lm-eval asks rightly is asked through it.
"""

from __future__ import annotations

from tasks.contract import Suite
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

SUITE = Suite(
    name="mergebench",
    title="mathematics, four languages, instructions, programs and safety, with an expert each",
    benchmarks=SAFETY,
    composites=(GSM8K, *MULTILINGUAL, *FOLLOWED),
    lm_eval=(PLAIN, THOUGHT, MINERVA, *M_MMLU, *M_ARC, *M_HELLASWAG, IFEVAL),
)
