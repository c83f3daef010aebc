"""The benchmarks of MergeBench that lm-eval 0.4.13 asks as they are published: mathematics, four languages, IFEval.

Metrics and filters are those that the published numbers of DRIFT-MEDIAN fit: `flexible-extract` for GSM8K, the whole
MATH test set under the Minerva prompt for "Minerva", normalised accuracy for ARC and HellaSwag.
"""

from __future__ import annotations

from tasks.contract import Composite, LmEvalTask, Part

GSM8K_SIZE = 1319


def gsm8k(start: str, domain: str) -> tuple[LmEvalTask, LmEvalTask, Composite]:
    """GSM8K with 5 examples of its training data, with 8 written chains of thought, and the better of the two.

    `start` begins the names of the two, which no other suite may have. Cobbe et al., arXiv 2110.14168.
    """
    plain = LmEvalTask(
        name=f"{start}gsm8k_5shot",
        task="gsm8k",
        folders=("gsm8k",),
        metric="exact_match",
        filter="flexible-extract",
        title="GSM8K, 5 examples of its training data",
        domain=domain,
        size=GSM8K_SIZE,
    )
    thought = LmEvalTask(
        name=f"{start}gsm8k_cot",
        task="gsm8k_cot",
        folders=("gsm8k",),
        metric="exact_match",
        filter="flexible-extract",
        title="GSM8K, 8 written chains of thought",
        domain=domain,
        size=GSM8K_SIZE,
    )
    best = Composite(
        name="gsm8k",
        title="GSM8K, the better of two ways of asking",
        domain=domain,
        parts=(Part(plain.name), Part(thought.name)),
        how="max",
    )
    return plain, thought, best


# Lewkowycz et al., arXiv 2206.14858: MATH (arXiv 2103.03874) with four worked examples.
MINERVA = LmEvalTask(
    name="minerva",
    task="minerva_math",
    folders=("minerva_math", "benchmarks"),
    metric="exact_match",
    title="MATH with the Minerva prompt, all seven subjects",
    domain="maths",
    size=5000,
)

# Questions of each language. Lai et al., arXiv 2307.16039, in the copies of alexandrainst.
M_MMLU_SIZES = {"fr": 13_091, "de": 13_258, "ru": 13_007, "es": 13_334}
M_ARC_SIZES = {"fr": 1169, "de": 1169, "ru": 1169, "es": 1170}
M_HELLASWAG_SIZES = {"fr": 9338, "de": 9368, "ru": 9272, "es": 9374}


def _languages(
    name: str, title: str, task: str, folder: str, metric: str, sizes: dict[str, int]
) -> list[LmEvalTask]:
    return [
        LmEvalTask(
            name=f"{name}_{language}",
            task=f"{task}_{language}",
            folders=(f"okapi/{folder}",),
            metric=metric,
            title=f"{title} ({language})",
            domain="multilingual",
            size=size,
        )
        for language, size in sizes.items()
    ]


M_MMLU = _languages("m_mmlu", "Multilingual MMLU", "m_mmlu", "mmlu_multilingual", "acc", M_MMLU_SIZES)
M_ARC = _languages("m_arc", "Multilingual ARC", "arc", "arc_multilingual", "acc_norm", M_ARC_SIZES)
M_HELLASWAG = _languages(
    "m_hellaswag", "Multilingual HellaSwag", "hellaswag", "hellaswag_multilingual", "acc_norm", M_HELLASWAG_SIZES
)  # fmt: skip


def _mean_of_languages(name: str, title: str, tasks: list[LmEvalTask]) -> Composite:
    return Composite(name, title, "multilingual", tuple(Part(task.name) for task in tasks))


MULTILINGUAL = (
    _mean_of_languages("m_mmlu", "Multilingual MMLU, mean of four languages", M_MMLU),
    _mean_of_languages("m_arc", "Multilingual ARC, mean of four languages", M_ARC),
    _mean_of_languages("m_hellaswag", "Multilingual HellaSwag, mean of four languages", M_HELLASWAG),
)

# Zhou et al., arXiv 2311.07911. One set of answers, reported as two benchmarks.
IFEVAL = LmEvalTask(
    name="ifeval",
    task="ifeval",
    folders=("ifeval",),
    metric="prompt_level_strict_acc",
    title="IFEval, prompts whose instructions are all followed",
    domain="instruction",
    size=541,
)
FOLLOWED = (
    Composite("ifeval_strict", "IFEval, strict", "instruction", (Part(IFEVAL.name),)),
    Composite(
        "ifeval_loose",
        "IFEval, loose",
        "instruction",
        (Part(IFEVAL.name, IFEVAL.grader("prompt_level_loose_acc")),),
    ),
)
