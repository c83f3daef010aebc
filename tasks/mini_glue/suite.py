"""Suite `mini_glue`: four generated classifications with labels of their own, one domain and one expert each.

The model is shown the text as it is and chooses a label by its index; nothing is written.
"""

from __future__ import annotations

from functools import partial

from tasks.contract import Benchmark, Draw, Example, Sample, Sampling, Suite
from tasks.generated import benchmark
from tasks.mini_glue.grader import LabelName
from tasks.mini_glue.sentences import GENERATED, LABELS, Sentence

# A label is chosen, not written: the budget has no part in it.
CHOICE = Draw("greedy", Sampling(max_new_tokens=1))


def plain(sample: Sample) -> str:
    """The text alone."""
    return sample.question


def _sample(sentence: Sentence) -> Sample:
    return Sample(sentence.id, sentence.text, sentence.label)


def _example(sentence: Sentence) -> Example:
    """A labelled text."""
    return Example(sentence.text, label=LABELS[sentence.task].index(sentence.label))


def _benchmark(name: str, domain: str, title: str) -> Benchmark:
    return benchmark(
        GENERATED,
        name,
        sample=_sample,
        example=_example,
        title=title,
        prompts={"plain": plain},
        protocols=(CHOICE,),
        grader=partial(LabelName, LABELS[name]),
        domain=domain,
        labels=LABELS[name],
    )


SUITE = Suite(
    name="mini_glue",
    title="Four classifications with an expert each",
    benchmarks=(
        _benchmark("mini_sentiment", "sentiment", "what a review says of a film"),
        _benchmark("mini_preference", "preference", "which of two reviews is the kinder one"),
        _benchmark("mini_entailment", "entailment", "whether a hypothesis follows from a premise"),
        _benchmark("mini_acceptability", "acceptability", "whether a sentence is grammatical"),
    ),
)
