"""The L2S pair of the embedded zoo: a terse base and an expert with long, self-checking chains.

The base is trained from scratch on direct answers, short chains and a few long chains; the expert is
fine-tuned from the base on long chains only.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial

from bench.zoo.decoder import begin, new_decoder
from bench.zoo.snapshot import answers
from bench.zoo.tokenizer import build_tokenizer
from bench.zoo.training import Recipe, Stage
from tasks.contract import Example
from tasks.mini_l2s.problems import LEVELS, STYLES, train_stream
from tasks.mini_l2s.suite import SUITE

BASE_NAME, EXPERT_NAME = "l2s-base", "l2s-expert"


@dataclass(frozen=True)
class Problems:
    """Shares of levels and, within each level, of response styles (they need not sum to one)."""

    levels: Mapping[str, float]
    styles: Mapping[str, float]

    def examples(self, seed: int) -> Iterator[Example]:
        """Endless problems of the training streams, each in a drawn style."""
        rng = random.Random(seed)
        streams = {level: train_stream(level, seed) for level in LEVELS}
        levels, styles = list(self.levels), list(self.styles)
        while True:
            level = rng.choices(levels, weights=list(self.levels.values()))[0]
            style = rng.choices(styles, weights=list(self.styles.values()))[0]
            problem = next(streams[level])
            yield Example(problem.prompt, STYLES[style](problem))


_NOTES = (
    "mini_gsm: a problem of the test and validation splits has a number of steps drawn from "
    "(1, 1, 2, 2, 2, 3, 3, 4), a training problem one drawn from (1, 2, 2, 2, 3, 3, 3, 4): training leans to "
    "the longer problems.",
    "The tokenizer drops characters outside its vocabulary, without a trace in the prompt.",
)
_EXPERT_NOTE = (
    "The checks always confirm, wrong steps included: no training chain holds a check that fails, and the "
    "expert never corrects itself."
)

BASE = Stage(
    name=BASE_NAME,
    mixture=Problems(
        {"mini_gsm": 0.60, "mini_math": 0.24, "mini_aime": 0.16},
        {"direct": 0.68, "short": 0.27, "long": 0.05},
    ),
    steps=2000,
    batch=96,
    optimiser="muon",
    learning_rate=3e-3,
    warmup=100,
    seed=11,
    purpose="answers tersely: nothing but the boxed result.",
    notes=_NOTES,
)
EXPERT = Stage(
    name=EXPERT_NAME,
    mixture=Problems({"mini_gsm": 0.40, "mini_math": 0.30, "mini_aime": 0.30}, {"long": 1.0}),
    steps=220,
    batch=48,
    optimiser="adamw",
    learning_rate=3e-4,
    warmup=30,
    seed=12,
    purpose="writes long chains of thought in which every step is checked, then the boxed result.",
    notes=(*_NOTES, _EXPERT_NOTE),
)


RECIPE = Recipe(
    family="l2s",
    suite=SUITE.name,
    data="tasks/mini_l2s/problems.py, training stream",
    usage="The prompt is `Q: {question}\\nA:`; the response ends with `<eos>`.",
    stages=(BASE, EXPERT),
    tokenizer=build_tokenizer,
    new_model=partial(new_decoder, hidden_size=128, intermediate_size=320),
    begin=begin,
    snapshot=partial(answers, suite=SUITE),
)
