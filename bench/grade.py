"""`bench grade`: outputs of any tool, graded as ours are, without a model and without a database.

A file of JSON lines: `response` (text) or `responses` (a list of texts, one question's samples in order), and
`answer`, the gold as the benchmark's data have it or as the plain answer. Everything is read and checked before the
first response is graded.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import BadInput, unknown
from bench.evaluation.clusters import Voter, clustered
from results import text
from results.scores import stopped_at_limit
from results.voting import RULES, Ballot, maj_at

if TYPE_CHECKING:
    from results.statistics import Estimate
    from tasks.contract import Verdict
    from tasks.strict.grader import Strict

CHUNK = 256  # responses between two reports of progress
VOTE_SIZES = (8, 16, 32)
PERCENTAGES = ("percent", "standard error")


@dataclass(frozen=True)
class Question:
    """One line of the file: its number (from 1), its responses in order, its gold as text."""

    line: int
    responses: tuple[str, ...]
    gold: str


@dataclass
class Graded:
    """All verdicts: by grader, one a response, in the order of the file."""

    questions: Sequence[Question]
    verdicts: dict[str, list[Verdict]]
    votes: dict[str, list[list[Ballot]]] = field(default_factory=dict)

    @property
    def places(self) -> list[tuple[int, int]]:
        """(line number, response index) of every response."""
        return [(question.line, k) for question in self.questions for k in range(len(question.responses))]

    @property
    def flips(self) -> int:
        """Responses on which the graders disagree."""
        first, second = self.verdicts.values()
        return sum(one.correct != other.correct for one, other in zip(first, second, strict=True))


def read_outputs(path: Path, benchmark: str) -> list[Question]:
    """The questions of a file. Raises BadInput with the number of the line for whatever cannot be graded."""
    from tasks.golds import L2S_BENCHMARKS

    if benchmark not in L2S_BENCHMARKS:
        raise unknown("benchmark", benchmark, L2S_BENCHMARKS)
    try:
        # utf-8-sig: some tools begin a file with a byte order mark
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise BadInput(f"cannot read {path}: {reason}; it must hold one JSON object per line") from error
    questions = [
        _question(line, f"{path}, line {number}", number, benchmark)
        for number, line in enumerate(lines, start=1)
        if line.strip()
    ]
    if not questions:
        raise BadInput(f"{path} holds no lines to grade; it must hold one JSON object per line")
    return questions


def _question(line: str, place: str, number: int, benchmark: str) -> Question:
    from tasks.golds import gold_text

    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{place} is not JSON: {error}") from error
    if not isinstance(row, dict):
        raise BadInput(f"{place} is not a JSON object but {type(row).__name__}")
    if "answer" not in row:
        raise BadInput(f"{place} has no `answer` (the gold); it has {', '.join(map(repr, row)) or 'nothing'}")
    if ("response" in row) == ("responses" in row):
        raise BadInput(f"{place} needs either `response` (a text) or `responses` (a list of texts)")
    responses = row["responses"] if "responses" in row else [row["response"]]
    if not isinstance(responses, list) or not responses or not all(isinstance(r, str) for r in responses):
        raise BadInput(f"{place}: a response is a text, and `responses` a list of at least one")
    try:
        return Question(number, tuple(responses), gold_text(benchmark, row["answer"]))
    except ValueError as error:
        raise BadInput(f"{place}: {error}") from error


def grade_outputs(
    questions: Sequence[Question],
    benchmark: str,
    *,
    advance: Callable[[int, int], None] = lambda done, of: None,
) -> Graded:
    """Verdicts of both graders on every response, and the clusters that they vote with."""
    from tasks.qwen_compat.grader import QwenCompat
    from tasks.strict.grader import Strict

    pairs = [(response, question.gold) for question in questions for response in question.responses]
    graders = (QwenCompat(benchmark), strict := Strict(benchmark))
    verdicts: dict[str, list[Verdict]] = {grader.name: [] for grader in graders}
    try:
        for start in range(0, len(pairs), CHUNK):
            for grader in graders:
                verdicts[grader.name] += grader.grade(pairs[start : start + CHUNK])
            advance(min(start + CHUNK, len(pairs)), len(pairs))
        graded = Graded(questions, verdicts)
        if _smallest(questions) > 1:
            graded.votes = {name: _ballots(questions, found, strict) for name, found in verdicts.items()}
    finally:
        for grader in graders:
            grader.close()
    return graded


def _smallest(questions: Sequence[Question]) -> int:
    return min(len(question.responses) for question in questions)


def _pools(questions: Sequence[Question], verdicts: Sequence[Verdict]) -> list[list[Verdict]]:
    flat = iter(verdicts)
    return [[next(flat) for _ in question.responses] for question in questions]


def _ballots(
    questions: Sequence[Question], verdicts: Sequence[Verdict], strict: Strict
) -> list[list[Ballot]]:
    """What every response votes with: its text under `toolkit`, its cluster of equal answers under `robust`."""
    pools = _pools(questions, verdicts)
    answers = [[Voter(v.vote, v.extracted or v.vote or "") for v in pool] for pool in pools]
    return [
        [Ballot(name, v.correct, v.extracted) for name, v in zip(names, pool, strict=True)]
        for names, pool in zip(clustered(answers, strict.equivalent), pools, strict=True)
    ]


def summary(graded: Graded) -> list[dict[str, Any]]:
    """A row per number: accuracy of each grader, majority votes under both rules. Percentages, with n questions; the
    standard error is None for a single question."""
    rows = []
    for name, verdicts in graded.verdicts.items():
        pools = _pools(graded.questions, verdicts)
        singles = [[Ballot(v.vote, v.correct) for v in pool] for pool in pools]
        rows.append(_row(name, "accuracy", maj_at(1, singles), len(pools)))
        for n in _vote_sizes(graded.questions) if graded.votes else ():
            votes = graded.votes[name]
            rows += [_row(name, f"maj@{n} {rule}", maj_at(n, votes, rule), len(votes)) for rule in RULES]
    return rows


def _vote_sizes(questions: Sequence[Question]) -> list[int]:
    most = _smallest(questions)
    return sorted({n for n in VOTE_SIZES if n <= most} | {most})


def _row(grader: str, metric: str, estimate: Estimate | None, questions: int) -> dict[str, Any]:
    assert estimate is not None  # there is at least one question, and each pool is large enough
    error = None if estimate.stderr is None else 100 * estimate.stderr
    return {
        "grader": grader, "metric": metric, "percent": 100 * estimate.value, "standard error": error,
        "questions": questions,
    }  # fmt: skip


def listed(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rows of `summary` as a person reads them: one decimal, and a dash where there is no number."""

    def shown(name: str, value: Any) -> Any:
        if name not in PERCENTAGES:
            return value
        return text.MISSING if value is None else f"{value:.1f}"

    return [{name: shown(name, value) for name, value in row.items()} for row in rows]


def notes(graded: Graded) -> list[str]:
    """What the numbers do not say: flips, answers not found, limits that were met, votes that could not be taken."""
    total = len(graded.places)
    lines = [f"{graded.flips} of {total} verdicts flip between {' and '.join(graded.verdicts)}."]
    for name, verdicts in graded.verdicts.items():
        none = sum(v.extracted is None for v in verdicts)
        limits = sum(stopped_at_limit(v.why) for v in verdicts)
        lines.append(f"{name}: no answer found in {none}, stopped at a limit {limits}.")
    return [*lines, *_uneven(graded.questions)]


def _uneven(questions: Sequence[Question]) -> list[str]:
    """Says so where questions have different numbers of responses: a vote takes as many of each."""
    fewest = min(questions, key=lambda question: len(question.responses))
    few, most = len(fewest.responses), max(len(question.responses) for question in questions)
    if few == most:
        return []
    if few == 1:
        return [f"No majority vote: line {fewest.line} has one response, others have up to {most}."]
    return [f"Votes are over the first {few} responses of each question: line {fewest.line} has no more."]


def records(graded: Graded) -> Iterator[dict[str, Any]]:
    """One record a response: where it stands in the file and what each grader says of it."""
    for index, (line, k) in enumerate(graded.places):
        said = {name: verdicts[index] for name, verdicts in graded.verdicts.items()}
        yield {"line": line, "response": k} | {
            name: {"correct": v.correct, "extracted": v.extracted, "why": v.why} for name, v in said.items()
        }


def check_out(out: Path, file: Path) -> None:
    """Refuse, before the work is done, a place that cannot be written, and the file that is graded."""
    if out.is_dir() or not out.resolve().parent.is_dir():
        raise BadInput(f"cannot write {out}: give a file in a folder that exists")
    if out.exists() and out.samefile(file):
        raise BadInput(f"--out {out} is the file that is graded: give another one, or its responses are lost")
    if not os.access(out if out.exists() else out.resolve().parent, os.W_OK):
        raise BadInput(f"cannot write {out}: no permission; give another place")


def write_verdicts(graded: Graded, out: Path) -> None:
    """Write `records` as JSON lines. Raises BadInput when the file cannot be written."""
    try:
        with out.open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(record) + "\n" for record in records(graded))
    except OSError as error:
        raise BadInput(f"cannot write {out}: {error.strerror}") from error
