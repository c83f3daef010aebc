"""GSM8K: 1,319 grade-school word problems (Cobbe et al., arXiv 2110.14168); the gold follows `####`."""

from __future__ import annotations

from pathlib import Path

from tasks.contract import Benchmark, Draw, Sample, Sampling, Source
from tasks.errors import DataUnavailable
from tasks.l2s.math_verify_grader import MathVerify
from tasks.l2s.prompts import STOP, qwen25_math_cot
from tasks.sources import HubDataset, read_rows

HUB = HubDataset("openai/gsm8k", "main")
# The L2S study's budget for reasoning models; the effective one is capped by the context of the model.
BUDGET = 10_240


def gold(answer: str) -> str:
    """The final number of a worked answer: what follows the last `####`, without thousands separators."""
    _, marker, number = answer.rpartition("####")
    if not marker or not number.strip():
        raise DataUnavailable(f"a GSM8K answer ends in '#### NUMBER', this one does not: {answer[-80:]!r}")
    return number.strip().replace(",", "")


def load(split: str, data_dir: Path | None) -> tuple[list[Sample], Source]:
    """The problems of "train" (7,473 on the Hub) or "test" (1,319), in the dataset's order."""
    rows, source = read_rows("gsm8k", split, data_dir=data_dir, hub=HUB, fields=("question", "answer"))
    samples = [
        Sample(f"gsm8k-{split}-{index:05d}", row["question"], gold(row["answer"]))
        for index, row in enumerate(rows)
    ]
    return samples, source


GSM8K = Benchmark(
    name="gsm8k",
    title="GSM8K grade-school word problems",
    version="1",
    load=load,
    splits=("train", "test"),
    prompts={"qwen25-math-cot": qwen25_math_cot},
    protocols=(Draw("greedy", Sampling(max_new_tokens=BUDGET, stop=STOP)),),
    grader=MathVerify,
)
