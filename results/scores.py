"""From graded responses to the rows of the table `scores`. Pure functions: nothing is read or written.

Under a grader: `accuracy` (the score of the benchmark), `accuracy:GROUP` (of one group of its samples),
`no_answer`, `accuracy_complete` (truncated responses without a complete box are wrong), `length_correct` (mean length
of the right answers), `stopped` (share of the answers that were not compared to the end, because a limit was met),
`maj@n` (rule robust), `maj@n:toolkit`, `flips:GRADER` (share of the verdicts in which that other grader differs), and
a benchmark's own metrics (`micro_asr` of harmbench).
Of the responses alone: `length_mean`, `length_median`, `length_p90`, `length_untruncated`, `length_mean@TOKENIZER` (a
fixed tokenizer), `truncated`, `reflections`, `code_fence`, and `tokens@n` (tokens per problem of a vote of n).
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from results.schema import SCORES
from results.statistics import Estimate, cluster_means, mean, proportion, ratio
from results.voting import ROBUST, TOOLKIT, Ballot, Vote, tokens_at, votes_at

Row = Mapping[str, Any]
Metrics = Mapping[str, Estimate | Vote | None]
"""By name: the value, None where it cannot be computed."""

# What the responses of one score have in common: copied to the score, and checked.
SHARED = (
    "checkpoint", "suite", "benchmark", "benchmark_version", "split", "draw",
    "prompt_mode", "engine", "dtype",
)  # fmt: skip


# Finish reasons of answers that no model wrote: a label that was chosen, likelihoods of answers that were given.
UNWRITTEN = ("label", "likelihood")

# How the reason of a verdict begins that says: the answer was not compared to the end. `tasks` writes them.
LIMITS = ("time limit", "memory limit", "length limit", "process ended", "could not be compared")


def stopped_at_limit(why: str | None) -> bool:
    """Whether a verdict with this reason was reached only because grading the answer met a limit, or broke off."""
    return why is not None and why.startswith(LIMITS)


def document_set(document_hashes: Iterable[str]) -> str:
    """Hash of a set of documents: scores over equal sets can be compared. Order and repeats do not matter."""
    digest = hashlib.blake2b(digest_size=16)
    for document in sorted(set(document_hashes)):
        digest.update(document.encode() + b"\n")
    return digest.hexdigest()


def largest_pools(scores: Iterable[dict[str, Any]], at_most: int | None = None) -> list[dict[str, Any]]:
    """Of scores that differ in nothing but the size of their pool, the one that rests on the most responses a
    question, `at_most` where that is given; in the order they came.

    A pool of 8 holds the first 8 of a pool of 32: what was drawn later under a smaller number replaces nothing.
    """
    identity = [name for name in SCORES.key if name != "samples"]
    allowed = [score for score in scores if at_most is None or (score["samples"] or 0) <= at_most]
    best: dict[tuple[Any, ...], dict[str, Any]] = {}
    for score in allowed:
        held = best.setdefault(tuple(score[name] for name in identity), score)
        if (score["samples"] or 0) > (held["samples"] or 0):
            best[tuple(score[name] for name in identity)] = score
    kept = set(map(id, best.values()))
    return [score for score in allowed if id(score) in kept]


def score_rows(
    responses: Sequence[Row],
    verdicts: Sequence[Row],
    *,
    expected_n: int,
    votes: Sequence[int] = (),
    others: Mapping[str, Sequence[Row]] | None = None,
    tokens: Mapping[str, Mapping[str, int]] | None = None,
    native: Mapping[str, Sequence[tuple[float, float]]] | None = None,
    first: bool = True,
    **common: Any,
) -> list[dict[str, Any]]:
    """The scores of one checkpoint on one benchmark, under one draw and one grader, over one set of documents.

    `responses` and `verdicts` are rows of those tables, with one verdict of one grader for each response;
    `others` are the verdicts of other graders on the same responses, by name. `first`: it is the benchmark's
    first grader, with whose scores those without a grader come. `tokens`: by fixed tokenizer, the length of
    each response by its id. `native`: the benchmark's own metrics, ratios of sums, by name: what each response adds
    to numerator and denominator. `expected_n` is the number of questions of the whole split, `votes` the n of each
    maj@n that is reported, `common` what responses do not know: model_set, base, expert, domain, run_id,
    created_at. Lengths are `n_tokens_text`, in tokens. Shares (truncated, no_answer) are fractions of the
    responses. A value that cannot be computed, such as maj@16 of a pool of 8, is a row with the value None.
    A verdict may have a `value` from 0 to 1, the share of a point that it gives: the F1 of an answer. Chosen
    labels and likelihoods of given answers (finish reasons in `UNWRITTEN`) have neither length nor budget, and
    always an answer: there are no such rows. Raises ValueError for responses that do not belong together or have no
    verdict.
    """
    if not responses:
        raise ValueError("there are no responses to score")
    shared = {name: _single(responses, name) for name in SHARED}
    judged = _by_response(responses, verdicts)
    grader = f"{_single(verdicts, 'grader')}@{_single(verdicts, 'grader_version')}"
    row = {
        **shared,
        **common,
        "n": len({str(r["sample_id"]) for r in responses}),
        "expected_n": expected_n,
        "document_set": document_set(r["document_hash"] for r in responses),
        "samples": min(Counter(str(r["sample_id"]) for r in responses).values()),
    }
    constant = constant_score(responses)
    graded = _graded(responses, judged, votes)
    grouped = _grouped(responses, judged)
    if _decided(verdicts):
        decided = {name: rows for name, rows in (others or {}).items() if _decided(rows)}
        graded |= {f"flips:{name}": _flips(responses, judged, rows) for name, rows in decided.items()}
    made = [
        _row(row, metric, value, grader, first) | ({"constant": constant} if metric == "accuracy" else {})
        for metric, value in graded.items()
    ]
    made += [_row(row | {"n": n}, metric, value, grader, first) for metric, (value, n) in grouped.items()]
    for name, sums in (native or {}).items():
        value, n = _ratio(responses, sums)
        made.append(_row(row | {"n": n}, name, value, grader, first))
    if first:
        made += [
            _row(row, metric, value) for metric, value in _measured(responses, votes, tokens or {}).items()
        ]
    return made


def _row(
    row: Row, metric: str, value: Estimate | Vote | None, grader: str | None = None, first: bool | None = None
) -> dict[str, Any]:
    estimate = value.estimate if isinstance(value, Vote) else value
    return {
        **row,
        "metric": metric,
        "value": None if estimate is None else estimate.value,
        "stderr": None if estimate is None else estimate.stderr,
        "low": value.low if isinstance(value, Vote) else None,
        "high": value.high if isinstance(value, Vote) else None,
        "grader": grader,
        "first_grader": first if grader else None,
    }


def _graded(responses: Sequence[Row], judged: Mapping[str, Row], votes: Sequence[int]) -> dict[str, Any]:
    """What stands on the verdicts of one grader."""
    correct = [_points(judged[r["response_id"]]) for r in responses]
    metrics: dict[str, Any] = {"accuracy": _share(responses, correct)}
    if votes:
        pools = _pools(responses, judged)
        metrics |= {f"maj@{n}": vote for n, vote in votes_at(votes, pools, ROBUST).items()}
        several = [n for n in votes if n > 1]  # of one sample both rules make the mean of the single samples
        metrics |= {f"maj@{n}:toolkit": vote for n, vote in votes_at(several, pools, TOOLKIT).items()}
    if _written(responses):
        found = [judged[r["response_id"]]["extracted"] is None for r in responses]
        stopped = [stopped_at_limit(judged[r["response_id"]].get("why")) for r in responses]
        metrics |= {
            "stopped": _share(responses, stopped),
            "no_answer": _share(responses, found),
            "accuracy_complete": _accuracy_complete(responses, correct),
            "length_correct": _mean_length([r for r, p in zip(responses, correct, strict=True) if p == 1]),
        }
    return metrics


def _grouped(responses: Sequence[Row], judged: Mapping[str, Row]) -> dict[str, tuple[Estimate | None, int]]:
    """`accuracy:GROUP` and the number of its questions, for every group of samples."""
    names = dict.fromkeys(r.get("sample_group") for r in responses)
    found = {}
    for name in names:
        own = [r for r in responses if r.get("sample_group") == name]
        if name is not None:
            right = _share(own, [_points(judged[r["response_id"]]) for r in own])
            found[f"accuracy:{name}"] = right, len({str(r["sample_id"]) for r in own})
    return found


def _points(verdict: Row) -> float:
    """What an answer counts: 1 or 0, or the value of a metric that lies between."""
    value = verdict.get("value")
    return float(bool(verdict["correct"])) if value is None else float(value)


def _decided(verdicts: Sequence[Row]) -> bool:
    """The grader calls every answer right or wrong."""
    return all(verdict["correct"] is not None for verdict in verdicts)


def _ratio(responses: Sequence[Row], sums: Sequence[tuple[float, float]]) -> tuple[Estimate | None, int]:
    """The ratio of two sums over responses, and how many questions are in it: one observation each."""
    of: dict[str, tuple[float, float]] = {}
    for response, (above, below) in zip(responses, sums, strict=True):
        so_far = of.get(question := str(response["sample_id"]), (0.0, 0.0))
        of[question] = so_far[0] + above, so_far[1] + below
    return ratio(*zip(*of.values(), strict=True)), sum(any(both) for both in of.values())


def constant_score(responses: Sequence[Row]) -> float | None:
    """What the best constant answer would score: the share of the most frequent target among the questions.

    None where all targets are the same: there a constant answer may be what is wanted.
    """
    targets = Counter({str(r["sample_id"]): r.get("target") for r in responses}.values())
    if len(targets) < 2 or None in targets:
        return None
    return max(targets.values()) / targets.total()


def _measured(
    responses: Sequence[Row], votes: Sequence[int], tokens: Mapping[str, Mapping[str, int]]
) -> Metrics:
    """What the responses show by themselves, whoever grades them."""
    if not _written(responses):
        return {}
    questions = [str(r["sample_id"]) for r in responses]
    spread = lengths(responses, questions)
    counted = {
        f"length_mean@{name}": _known_mean([counts.get(r["response_id"]) for r in responses], questions)
        for name, counts in tokens.items()
    }
    fences = [r.get("ends_with_code_fence") for r in responses]
    return {
        "truncated": _share(responses, [r["finish_reason"] == "length" for r in responses]),
        **spread,
        "length_untruncated": _mean_length([r for r in responses if r["finish_reason"] != "length"]),
        **counted,
        "reflections": _known_mean([r.get("n_reflections") for r in responses], questions),
        "code_fence": None if None in fences else _share(responses, fences),
        **{f"tokens@{n}": tokens_at(n, spread["length_mean"]) for n in votes},
    }


def _written(responses: Sequence[Row]) -> bool:
    """The responses are texts that were written."""
    return any(r["finish_reason"] not in UNWRITTEN for r in responses)


def _share(responses: Sequence[Row], holds: Sequence[Any]) -> Estimate | None:
    return proportion(cluster_means(holds, [str(r["sample_id"]) for r in responses]))


def _accuracy_complete(responses: Sequence[Row], correct: Sequence[float]) -> Estimate | None:
    """Accuracy in which a response that was cut off before it had closed a box is wrong; None where unknown."""
    cut = [r["finish_reason"] == "length" for r in responses]
    boxes = [r.get("complete_box") for r in responses]
    if any(is_cut and box is None for is_cut, box in zip(cut, boxes, strict=True)):
        return None
    holds = [
        right * (not is_cut or bool(box)) for right, is_cut, box in zip(correct, cut, boxes, strict=True)
    ]
    return _share(responses, holds)


def _flips(responses: Sequence[Row], judged: Mapping[str, Row], verdicts: Sequence[Row]) -> Estimate | None:
    """Share of the responses on which the two graders differ."""
    other = _by_response(responses, verdicts)
    differ = [
        bool(judged[r["response_id"]]["correct"]) != bool(other[r["response_id"]]["correct"])
        for r in responses
    ]
    return _share(responses, differ)


def _mean_length(responses: Sequence[Row]) -> Estimate | None:
    """Mean length of some of the responses, averaged in each question first; None of none."""
    return _known_mean([r["n_tokens_text"] for r in responses], [str(r["sample_id"]) for r in responses])


def _known_mean(values: Sequence[float | None], questions: Sequence[str]) -> Estimate | None:
    if not values or any(value is None for value in values):
        return None
    return mean(cluster_means(np.array(values, dtype=np.float64), questions))


def lengths(responses: Sequence[Row], questions: Sequence[str]) -> dict[str, Estimate | None]:
    """Mean (over questions, with its standard error), median and 90th percentile (over responses), in tokens.

    All are None when the length of a response is not known.
    """
    tokens = [r["n_tokens_text"] for r in responses]
    if any(count is None for count in tokens):
        return dict.fromkeys(("length_mean", "length_median", "length_p90"))
    median, p90 = np.quantile(tokens, [0.5, 0.9])
    return {
        "length_mean": mean(cluster_means(tokens, questions)),
        "length_median": Estimate(float(median), None),
        "length_p90": Estimate(float(p90), None),
    }


def _pools(responses: Sequence[Row], judged: Mapping[str, Row]) -> list[list[Ballot]]:
    """The ballots of each question, by sample index."""
    pools: dict[str, list[Ballot]] = {}
    for r in sorted(responses, key=lambda r: (str(r["sample_id"]), r["sample_index"])):
        verdict = judged[r["response_id"]]
        ballot = Ballot(verdict["vote"], bool(verdict["correct"]), verdict["extracted"], r.get("logprob_sum"))
        pools.setdefault(str(r["sample_id"]), []).append(ballot)
    return list(pools.values())


def _by_response(responses: Sequence[Row], verdicts: Sequence[Row]) -> dict[str, Row]:
    judged = {v["response_id"]: v for v in verdicts}
    missing = [r["response_id"] for r in responses if r["response_id"] not in judged]
    if missing:
        raise ValueError(
            f"{len(missing)} of {len(responses)} responses have no verdict, for example {missing[0]}"
        )
    places = {(r["sample_id"], r["sample_index"]) for r in responses}
    if len(places) < len(responses):
        raise ValueError(
            f"{len(responses)} responses for {len(places)} places (sample, index): some are repeated"
        )
    return judged


def _single(rows: Sequence[Row], name: str) -> Any:
    values = {row[name] for row in rows}
    if len(values) != 1:
        raise ValueError(
            f"the rows of one score must agree on {name!r}, found {sorted(map(str, values))[:4]}"
        )
    return values.pop()
