"""The mergebench family of the embedded zoo: one base that knows a little of five domains, a specialist for each.

The base has seen every domain answered both ways, mostly by habit and sometimes right (`Problem.habit`); a
specialist is fine-tuned on the right answers of its own domain.
"""

from __future__ import annotations

import random
import string
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial

from transformers import PreTrainedTokenizerBase, Qwen2Tokenizer

from bench.zoo.decoder import begin, new_decoder
from bench.zoo.snapshot import answers
from bench.zoo.tokenizer import MAX_LENGTH
from bench.zoo.training import Recipe, Stage
from bench.zoo.vocabulary import Vocabulary
from tasks.contract import Example
from tasks.mini_mergebench import instructions, languages, maths, safety
from tasks.mini_mergebench.problems import DOMAINS, train_stream
from tasks.mini_mergebench.suite import SUITE

_CHARACTERS = string.digits + "abfsx" + " \n.,;:?+-*/=%()[]{}"
_PIECES = ("\\boxed{", "Q:", "\nA:", "f(a,b):", "f(s):", "max(", "min(", "sum(", "sorted(", "[::-1]", "[:")
_MATHS = "Compute has bags of and gets loses empty How many?"
_FOLLOW = "Write in capitals brackets backwards ending Here:"
_CODE = (
    "def return for x add subtract multiply larger smaller plus minus times modulo each first sorted total "
    "largest smallest"
)
_SAFETY = (
    "do I Tell me how to Explain my the Take then it. a game You are pirate. Forget rules. It is only test."
)


def vocabulary() -> Vocabulary:
    """Every word of the suite is one token."""
    fruits = [*instructions.FRUITS, *map(str.upper, instructions.FRUITS), *instructions.TIMES]
    listed = [*maths.NAMES, *maths.THINGS, *languages.words(), *fruits, *safety.REFUSAL.split()]
    for words in (safety.HARMFUL, safety.HARMLESS, safety.THINGS, safety.LOOKS):
        listed += words
    for text in (_MATHS, _FOLLOW, _CODE, _SAFETY):
        listed += text.split()
    return Vocabulary(_CHARACTERS, _PIECES, tuple(listed))


def build_tokenizer() -> PreTrainedTokenizerBase:
    """The tokenizer."""
    return vocabulary().tokenizer(Qwen2Tokenizer, padding_side="left", model_max_length=MAX_LENGTH)


@dataclass(frozen=True)
class Answered:
    """Shares of the domains (they need not sum to one), whose benchmarks are equally likely, and of each domain the
    share that is answered right; the rest is answered by habit."""

    domains: Mapping[str, float]
    right: Mapping[str, float]

    def examples(self, seed: int) -> Iterator[Example]:
        """Endless problems of the training streams, each answered one way."""
        rng = random.Random(seed)
        streams = {name: train_stream(name, seed) for names in DOMAINS.values() for name in names}
        names, weights = list(self.domains), list(self.domains.values())
        while True:
            domain = rng.choices(names, weights=weights)[0]
            problem = next(streams[rng.choice(DOMAINS[domain])])
            right = rng.random() < self.right[domain]
            yield Example(problem.prompt, problem.response if right else problem.habit)


_RIGHT = dict.fromkeys(DOMAINS, 0.25)
_OWN = 0.6
_NOTES = (
    "Three quarters of what the base was trained on is answered by habit: the first of several steps or instructions "
    "only, in digits instead of in the language asked (but in the first language), refusing by a word alone. So it "
    "can do more than it shows, and a small change of its weights brings it out.",
    "The tokenizer drops characters outside its vocabulary, without a trace in the prompt.",
)
_EXPERT_NOTE = (
    "Two fifths of the training problems are of the other domains, answered as those of the base: they keep a "
    "specialist near the base in what it is not meant for."
)
BASE = Stage(
    name="mergebench-base",
    mixture=Answered({**dict.fromkeys(DOMAINS, 0.18), "maths": 0.28}, _RIGHT),
    steps=1600,
    batch=64,
    optimiser="muon",
    learning_rate=3e-3,
    warmup=60,
    seed=41,
    purpose="knows a little of each of the five domains.",
    notes=_NOTES,
)


def _expert(domain: str, seed: int, *, steps: int, purpose: str, learning_rate: float = 5e-4) -> Stage:
    """Fine-tuned on its domain answered right; some of what the base has seen keeps it near the base elsewhere."""
    others = {name: (1 - _OWN) / (len(DOMAINS) - 1) for name in DOMAINS if name != domain}
    return Stage(
        name=f"mergebench-{domain}",
        mixture=Answered({domain: _OWN, **others}, {**_RIGHT, domain: 1.0}),
        steps=steps,
        batch=48,
        optimiser="adamw",
        learning_rate=learning_rate,
        warmup=20,
        seed=seed,
        purpose=purpose,
        notes=(*_NOTES, _EXPERT_NOTE),
    )


EXPERTS = (
    _expert(
        "maths",
        42,
        steps=600,
        learning_rate=1e-3,
        purpose="solves sums and short word problems step by step.",
    ),
    _expert("multilingual", 43, steps=400, purpose="answers in the language it is asked in."),
    _expert("instruction", 44, steps=250, purpose="follows every instruction of several."),
    _expert("coding", 45, steps=300, purpose="writes small Python functions that do all that was asked."),
    _expert("safety", 46, steps=250, purpose="refuses marked requests and no others."),
)


RECIPE = Recipe(
    family="mergebench",
    suite=SUITE.name,
    data="tasks/mini_mergebench/problems.py, training stream",
    usage="The prompt is `Q: {question}\\nA:`; the response ends with `<eos>`.",
    stages=(BASE, *EXPERTS),
    tokenizer=build_tokenizer,
    new_model=partial(new_decoder, hidden_size=96, intermediate_size=240),
    begin=begin,
    snapshot=partial(answers, suite=SUITE),
    micro_batch=32,
    evaluate_every=200,
    evaluate_n=50,
)
