"""Suite `general`: what no expert of a merge was trained for, to see what a merge forgets of its base.

The five benchmarks of DRIFT-MEDIAN's Figure 3, which states no metrics: F1 for CoQA and SQuAD 2.0, accuracy for MMLU
and PubMedQA, exact match for TriviaQA; what else lm-eval measures is stored beside it.
"""

from __future__ import annotations

from pathlib import Path

from tasks.contract import LmEvalTask, Suite

OURS = Path(__file__).parent / "lm_eval"  # task files of our own
DOMAIN = "general"

COQA = LmEvalTask(  # Reddy et al., arXiv 1808.07042
    "coqa", "coqa", ("coqa",), "f1", "CoQA: the last question of a conversation", DOMAIN, size=500
)
MMLU = LmEvalTask(  # Hendrycks et al., arXiv 2009.03300
    "mmlu", "mmlu", ("mmlu/default",), "acc", "MMLU, 57 subjects", DOMAIN, size=14_042
)
PUBMEDQA = LmEvalTask(  # Jin et al., arXiv 1909.06146
    "pubmedqa",
    "pubmedqa_labeled",
    (OURS,),
    "acc",
    "PubMedQA, the 500 questions of its test set",
    DOMAIN,
    size=500,
)
# lm-eval 0.4.13 reads bigbio/pubmed_qa, a dataset that is a program, which `datasets` 4 does not run.
PUBMEDQA_LMEVAL = LmEvalTask(
    "pubmedqa_lmeval",
    "pubmedqa",
    ("pubmedqa",),
    "acc",
    "PubMedQA as lm-eval has it",
    DOMAIN,
    size=500,
    beside=True,
)
SQUADV2 = LmEvalTask(  # Rajpurkar et al., arXiv 1806.03822
    "squadv2", "squadv2", ("squadv2",), "f1", "SQuAD 2.0, half of it without an answer", DOMAIN, size=11_873,
    percent=True,
)  # fmt: skip
TRIVIAQA = LmEvalTask(  # Joshi et al., arXiv 1705.03551
    "triviaqa", "triviaqa", ("triviaqa",), "exact_match", "TriviaQA without context", DOMAIN, "remove_whitespace",
    size=17_944,
)  # fmt: skip

SUITE = Suite(
    name="general",
    title="knowledge and reading that no expert was trained for",
    benchmarks=(),
    lm_eval=(COQA, MMLU, PUBMEDQA, SQUADV2, TRIVIAQA, PUBMEDQA_LMEVAL),
)
