"""From graded responses to the rows of the table `scores`. Pure functions: nothing is read or written."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from results.statistics import Estimate, cluster_means, mean, proportion
from results.voting import Ballot, maj_at

Row = Mapping[str, Any]
Metrics = dict[str, tuple[Estimate | None, str | None]]
"""By name: the value, None where it cannot be computed, and the grader that it stands on."""

# What the responses of one score have in common: copied to the score, and checked.
SHARED = (
    "checkpoint", "suite", "benchmark", "benchmark_version", "split", "draw",
    "prompt_mode", "engine", "dtype",
)  # fmt: skip


def document_set(document_hashes: Iterable[str]) -> str:
    """Hash of a set of documents: scores over equal sets can be compared. Order and repeats do not matter."""
    digest = hashlib.blake2b(digest_size=16)
    for document in sorted(set(document_hashes)):
        digest.update(document.encode() + b"\n")
    return digest.hexdigest()


def score_rows(
    responses: Sequence[Row],
    verdicts: Sequence[Row],
    *,
    expected_n: int,
    votes: Sequence[int] = (),
    **common: Any,
) -> list[dict[str, Any]]:
    """The scores of one checkpoint on one benchmark, under one draw, over one set of documents.

    `responses` and `verdicts` are rows of those tables, with one verdict of one grader for each response.
    `expected_n` is the number of questions of the whole split, `votes` the n of each maj@n that is reported,
    `common` what responses do not know: model_set, base, expert, domain, run_id, created_at.
    Lengths are `n_tokens_text`, in tokens. Shares (truncated, no_answer) are fractions of the responses.
    A value that cannot be computed, such as maj@16 of a pool of 8, is a row with the value None. Chosen labels
    (finish reason "label") have neither length nor budget, and always an answer: there are no such rows.
    Raises ValueError for responses that do not belong together or have no verdict.
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
    }
    return [
        {
            **row,
            "metric": metric,
            "value": None if estimate is None else estimate.value,
            "stderr": None if estimate is None else estimate.stderr,
            "grader": by,
        }
        for metric, (estimate, by) in _metrics(responses, judged, grader, votes).items()
    ]


def _metrics(
    responses: Sequence[Row], judged: Mapping[str, Row], grader: str, votes: Sequence[int]
) -> Metrics:
    """What is measured on the responses of one score."""
    questions = [str(r["sample_id"]) for r in responses]

    def share(holds: Callable[[Row], bool]) -> Estimate | None:
        return proportion(cluster_means([holds(r) for r in responses], questions))

    metrics: Metrics = {
        "accuracy": (share(lambda r: judged[r["response_id"]]["correct"]), grader),
        **{f"maj@{n}": (maj_at(n, _pools(responses, judged)), grader) for n in votes},
    }
    if any(r["finish_reason"] != "label" for r in responses):
        metrics |= {
            "no_answer": (share(lambda r: judged[r["response_id"]]["extracted"] is None), grader),
            "truncated": (share(lambda r: r["finish_reason"] == "length"), None),
            **{name: (value, None) for name, value in lengths(responses, questions).items()},
        }
    return metrics


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
        pools.setdefault(str(r["sample_id"]), []).append(Ballot(verdict["vote"], bool(verdict["correct"])))
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
