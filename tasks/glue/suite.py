"""Suite `glue`: seven classifications of text, for merges of GPT-2 bodies under task heads of their own.

The setting of FusionBench (Tang et al. 2024, arXiv 2406.03280), which DRIFT-MEDIAN's Table 1 uses: plain accuracy on
the validation sets for every task (for CoLA, MRPC and QQP as well, where GLUE itself has other metrics), unweighted
mean. Data: Wang et al. 2018 (arXiv 1804.07461), nyu-mll/glue on the Hub. docs/glue.md says how texts become tokens.
"""

from __future__ import annotations

from functools import partial

from tasks.contract import Benchmark, Draw, Sampling, Suite
from tasks.glue.loading import SPLITS, Task
from tasks.mini_glue.grader import LabelName

# A label is chosen, not written: the budget has no part in it.
CHOICE = Draw("greedy", Sampling(max_new_tokens=1))
ENTAILMENT = ("entailment", "not_entailment")

COLA = Task("cola", ("sentence",), ("unacceptable", "acceptable"), 1043)
MNLI = Task(
    "mnli", ("premise", "hypothesis"), ("entailment", "neutral", "contradiction"), 9815, "validation_matched"
)
MRPC = Task("mrpc", ("sentence1", "sentence2"), ("not_equivalent", "equivalent"), 408)
QNLI = Task("qnli", ("question", "sentence"), ENTAILMENT, 5463)
QQP = Task("qqp", ("question1", "question2"), ("not_duplicate", "duplicate"), 40_430)
RTE = Task("rte", ("sentence1", "sentence2"), ENTAILMENT, 277)
SST2 = Task("sst2", ("sentence",), ("negative", "positive"), 872)


def _benchmark(task: Task, title: str) -> Benchmark:
    return Benchmark(
        name=task.name,
        title=title,
        version="1",
        load=task.load,
        splits=SPLITS,
        prompts={"plain": task.passage},
        protocols=(CHOICE,),
        grader=partial(LabelName, task.labels),
        domain=task.name,
        labels=task.labels,
        examples=task.examples,
        sizes={"test": task.n},
    )


SUITE = Suite(
    name="glue",
    title="Seven GLUE tasks with an expert each",
    benchmarks=(
        _benchmark(COLA, "CoLA: is a sentence acceptable"),
        _benchmark(MNLI, "MNLI, matched: does a hypothesis follow"),
        _benchmark(MRPC, "MRPC: do two sentences say the same"),
        _benchmark(QNLI, "QNLI: does a sentence answer a question"),
        _benchmark(QQP, "QQP: do two questions ask the same"),
        _benchmark(RTE, "RTE: does a sentence follow"),
        _benchmark(SST2, "SST-2: what a review says of a film"),
    ),
)
