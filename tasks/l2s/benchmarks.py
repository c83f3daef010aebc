"""The six benchmarks of the Long-to-Short suite: 5,614 problems, asked zero-shot as the L2S study asks them.

Every model is asked in the Qwen2.5-Math toolkit's format by default; `chat` is the model's own template. Numbers of
rows are those of the published tables. Copies on the Hub differ in columns and sometimes in rows: what was read is
recorded, and no revision is pinned.
"""

from __future__ import annotations

from tasks.contract import Benchmark, Draw, Sampling
from tasks.l2s import golds
from tasks.l2s.loading import Dataset
from tasks.l2s.prompts import STOP, chat, qwen25_math_cot
from tasks.qwen_compat.grader import qwen_compat
from tasks.sources import HubDataset
from tasks.strict.grader import strict

# The L2S study's budget for reasoning models; the effective one is capped by the context of the model.
BUDGET = 10_240
GREEDY = Draw("greedy", Sampling(max_new_tokens=BUDGET, stop=STOP))
# FIM-Merging, AIME24: temperature 0.3; it states no top_p, so that nothing is cut off here.
SAMPLED = Draw(
    "pool", Sampling(max_new_tokens=BUDGET, temperature=0.3, top_p=1.0, stop=STOP), n=32, votes=(1, 8, 16, 32)
)


def _benchmark(dataset: Dataset, title: str, *draws: Draw) -> Benchmark:
    return Benchmark(
        name=dataset.name,
        title=title,
        version="1",
        load=dataset.load,
        splits=tuple(sorted(dataset.sizes, key=("train", "validation", "test").index)),
        prompts={"qwen25-math-cot": qwen25_math_cot, "chat": chat},
        protocols=(GREEDY, *draws),
        grader=qwen_compat(dataset.name),
        also_graded_by=(strict(dataset.name),),
        sizes=dataset.sizes,
    )


GSM8K = _benchmark(
    Dataset(
        "gsm8k",
        HubDataset("openai/gsm8k", "main"),
        {"train": 7473, "test": 1319},
        question=("question",),
        gold={"answer": golds.after_marker},
    ),
    "GSM8K grade-school word problems",  # Cobbe et al., arXiv 2110.14168
)

MATH500 = _benchmark(
    Dataset(
        "math500",
        HubDataset("HuggingFaceH4/MATH-500"),
        {"test": 500},
        question=("problem",),
        gold={"answer": golds.plain, "solution": golds.boxed},
        meta=("subject", "level", "unique_id"),
    ),
    "MATH500 competition problems",  # Lightman et al., arXiv 2305.20050, of MATH, arXiv 2103.03874
)

MINERVA_OCW = _benchmark(
    Dataset(
        "minerva_ocw",
        HubDataset("math-ai/minervamath"),
        {"test": 272},
        question=("problem", "question"),
        gold={"solution": golds.boxed, "answer": golds.plain},
        meta=("type",),
        folders=("minerva_math",),  # the toolkit's name; lm-eval gives it to another benchmark
    ),
    "Minerva: MIT OpenCourseWare problems",  # Lewkowycz et al., arXiv 2206.14858
)

OLYMPIADBENCH = _benchmark(
    Dataset(
        "olympiadbench",
        HubDataset("math-ai/olympiadbench"),
        {"test": 675},
        question=("question",),
        gold={"final_answer": golds.first_of_list},
        meta=("subfield", "answer_type", "is_multiple_answer", "unit", "error"),
    ),
    "OlympiadBench: English text-only open-ended mathematics",  # He et al., arXiv 2402.14008
)

COLLEGE_MATH = _benchmark(
    Dataset(
        "college_math",
        HubDataset("qq8933/College_Math_Test"),
        {"test": 2818},
        question=("question",),
        gold={"answer": golds.undollared},
        meta=("data_topic", "data_source"),
    ),
    "CollegeMath textbook exercises",  # Tang et al., arXiv 2403.02884
)

AIME24 = _benchmark(
    Dataset(
        "aime24",
        HubDataset("HuggingFaceH4/aime_2024", splits={"test": "train"}),
        {"test": 30},
        question=("problem", "Problem", "question"),
        gold={"answer": golds.aime, "Answer": golds.aime},
        # AI-MO/aimo-validation-aime holds three years of it.
        keep=lambda row: "2024_AIME" in str(row.get("url", "2024_AIME")),
    ),
    "AIME 2024, both papers",
    SAMPLED,
)

BENCHMARKS = (GSM8K, MATH500, MINERVA_OCW, OLYMPIADBENCH, COLLEGE_MATH, AIME24)
