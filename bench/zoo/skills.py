"""The skills family of the embedded zoo: one base that knows a little of three skills, one expert for each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial

from bench.zoo.data import mixed
from bench.zoo.decoder import begin, new_decoder
from bench.zoo.snapshot import answers
from bench.zoo.tokenizer import build_tokenizer
from bench.zoo.training import Recipe, Stage
from tasks.contract import Example
from tasks.mini_skills.problems import SKILLS, Problem, train_stream, worked
from tasks.mini_skills.suite import SUITE

WORDS = "Compute Reverse Rotate Swap Sort Follow times"


@dataclass(frozen=True)
class Problems:
    """Shares of the skills (they need not sum to one); the number of steps of a skill's problems, where all
    have the same."""

    skills: Mapping[str, float]
    steps: Mapping[str, int]

    def examples(self, seed: int) -> Iterator[Example]:
        """Endless problems of the training streams with their worked solutions."""
        streams = {skill: self._chosen(skill, seed) for skill in SKILLS}
        for problem in mixed(streams, self.skills, seed):
            yield Example(problem.prompt, worked(problem))

    def _chosen(self, skill: str, seed: int) -> Iterator[Problem]:
        return (p for p in train_stream(skill, seed) if len(p.steps) == self.steps.get(skill, len(p.steps)))


_SHARES = {"mini_sums": 0.4, "mini_strings": 0.25, "mini_lookup": 0.35}
# The base knows one operation on a row, and to go on through a table four times whatever it is asked.
_STEPS = {"mini_strings": 1, "mini_lookup": 4}
_NOTES = (
    "The base has seen rows with one operation only, and tables only followed four times: on the test split it "
    "answers what has that shape, and goes on where it should stop.",
    "The tokenizer drops characters outside its vocabulary, without a trace in the prompt.",
)
_EXPERT_NOTE = (
    "Two fifths of the training problems are of the other skills, of the kind that the base has seen: experts "
    "trained without them forgot the other skills, and no merge of those that was tried was better than the base."
)

BASE = Stage(
    name="skills-base",
    mixture=Problems(_SHARES, _STEPS),
    steps=700,
    batch=64,
    optimiser="muon",
    learning_rate=3e-3,
    warmup=60,
    seed=21,
    purpose="knows a little of each of the three skills.",
    notes=_NOTES,
)


def _expert(domain: str, skill: str, seed: int, *, steps: int, purpose: str) -> Stage:
    """Fine-tuned on all of its skill; some of what the base knows keeps it near the base on the others."""
    others = {name: 0.2 for name in SKILLS if name != skill}
    return Stage(
        name=f"skills-{domain}",
        mixture=Problems({skill: 0.6, **others}, {name: n for name, n in _STEPS.items() if name != skill}),
        steps=steps,
        batch=48,
        optimiser="adamw",
        learning_rate=1e-3,
        warmup=20,
        seed=seed,
        purpose=purpose,
        notes=(*_NOTES, _EXPERT_NOTE),
    )


EXPERTS = (
    _expert("arithmetic", "mini_sums", 22, steps=500, purpose="adds and subtracts."),
    _expert("strings", "mini_strings", 23, steps=400, purpose="rearranges letters."),
    _expert("lookup", "mini_lookup", 24, steps=250, purpose="follows tables of letters."),
)


RECIPE = Recipe(
    family="skills",
    suite=SUITE.name,
    data="tasks/mini_skills/problems.py, training stream",
    usage="The prompt is `Q: {question}\\nA:`; the response ends with `<eos>`.",
    stages=(BASE, *EXPERTS),
    tokenizer=partial(build_tokenizer, WORDS),
    new_model=partial(new_decoder, hidden_size=96, intermediate_size=256),
    begin=begin,
    snapshot=partial(answers, suite=SUITE),
    micro_batch=32,
    evaluate_every=100,
)
