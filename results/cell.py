"""One cell of a leaderboard: what one checkpoint reaches on one benchmark, or on one made of others."""

from __future__ import annotations

from dataclasses import dataclass, field

from results.ratio import Pairs
from results.statistics import Estimate, Paired


@dataclass(frozen=True)
class VotePoint:
    """maj@n under one rule: value, 95 % interval, and tokens per problem (n times the mean length).

    At n = 1 it is the mean of the single samples, which is the same under both rules. Ends of the interval
    are None for scores that were computed before there were any, and tokens where a length is not known. `samples`
    is the size of the pool, responses a question.
    """

    n: int
    rule: str
    accuracy: Estimate
    low: float | None
    high: float | None
    tokens: Estimate | None
    samples: int | None = None


@dataclass(frozen=True)
class Budget:
    """New tokens that a response was allowed: those asked for, and the least that a context left of them (None where
    it is not recorded)."""

    asked: int
    least: int | None = None


@dataclass(frozen=True)
class Group:
    """Accuracy on one group of a benchmark's samples, with the number of its questions."""

    accuracy: Estimate | None
    n: int


@dataclass(frozen=True)
class Cell:
    """One checkpoint on one benchmark. Fractions in 0..1, lengths in tokens; None is missing, never 0.

    `base` and `expert` are the fingerprints of what it is compared with. `n` questions were answered of the
    `expected_n` of the split. `votes` maps n to maj@n. `length_ratio` is the mean length over the expert's,
    minus 1, on the same documents; `against_base` compares accuracies and `length_against_base` lengths,
    question by question, where the base answered every one of them. `has_length` is false where labels were
    chosen: no length is missing there. `curve` has maj@n under both rules. `flips` is the share of the
    verdicts in which another grader, by name, differs. `accuracy_complete` takes truncated responses without
    a complete box as wrong; `length_fixed` has the mean length by fixed tokenizer, and `length_fixed_ratio` what
    `length_ratio` is under it. `samples` is how many responses a question the accuracy rests on, where known.
    `stopped` counts the responses, those of the votes too, on which grading met a limit; None where that was not
    recorded. `budget` is None for labels, and where no response is stored. `constant` is what the best constant
    answer would score, and `groups` have the accuracy of each named group of samples. `pairs` says on how many
    questions it and the domain's expert were right, where both gave one answer to each. `native` are the benchmark's
    own metrics, under the names that others report them by: shares in which less may be better.

    Where the benchmark is made of others (`results/composites.py`) `parts` has their cells, None for a missing one,
    and `won` names the one that was taken as the best. What the parts do not agree on is joined with a plus sign.
    """

    benchmark: str
    benchmark_version: str
    base: str | None
    expert: str | None
    accuracy: Estimate | None
    length: Estimate | None
    length_median: float | None
    length_p90: float | None
    truncated: float | None
    no_answer: float | None
    votes: dict[int, Estimate]
    n: int
    expected_n: int
    document_set: str
    draw: str
    grader: str | None
    prompt_mode: str | None
    engine: str | None
    dtype: str | None
    length_ratio: float | None = None
    against_base: Paired | None = None
    length_against_base: Paired | None = None
    has_length: bool = True
    curve: tuple[VotePoint, ...] = ()
    flips: dict[str, float] = field(default_factory=dict)
    accuracy_complete: Estimate | None = None
    length_correct: float | None = None
    length_untruncated: float | None = None
    length_fixed: dict[str, Estimate] = field(default_factory=dict)
    length_fixed_ratio: dict[str, float] = field(default_factory=dict)
    samples: int | None = None
    reflections: float | None = None
    code_fence: float | None = None
    stopped: int | None = None
    budget: Budget | None = None
    domain: str | None = None
    constant: float | None = None
    groups: dict[str, Group] = field(default_factory=dict)
    native: dict[str, Estimate] = field(default_factory=dict)
    pairs: Pairs | None = None
    parts: dict[str, Cell | None] = field(default_factory=dict)
    won: str | None = None

    @property
    def limited(self) -> bool:
        """Only a part of the split was asked."""
        return self.n < self.expected_n or any(
            part is not None and part.limited for part in self.parts.values()
        )

    @property
    def coverage(self) -> str:
        """`50 of 500`, or `500`."""
        return f"{self.n} of {self.expected_n}" if self.limited else str(self.n)
