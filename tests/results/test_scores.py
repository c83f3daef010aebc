"""Score rows against a hand-computed example."""

from __future__ import annotations

import pytest

from results.scores import document_set, score_rows
from tests.results.factory import answers, response, scores, verdict


def by_metric(rows: list[dict]) -> dict[str, dict]:
    return {row["metric"]: row for row in rows}


def test_greedy_scores_by_hand() -> None:
    responses, verdicts = answers("base", "b", [True, True, False, False], [10, 20, 30, 100])
    responses[3]["finish_reason"] = "length"
    verdicts[3] |= {"extracted": None, "vote": None}
    rows = by_metric(scores((responses, verdicts), expected_n=10))
    assert {m: row["value"] for m, row in rows.items()} == {
        "accuracy": 0.5,
        "no_answer": 0.25,
        "truncated": 0.25,
        "length_mean": 40.0,
        "length_median": 25.0,
        "length_p90": pytest.approx(79.0),
        "length_correct": 15.0,
        "length_untruncated": 20.0,
        "accuracy_complete": None,  # whether the text that was cut off holds a box is not known here
        "reflections": None,
        "code_fence": None,
    }
    assert rows["accuracy"]["stderr"] == pytest.approx((0.25 / 3) ** 0.5)
    assert rows["length_mean"]["stderr"] == pytest.approx(20.4124145)
    assert rows["length_median"]["stderr"] is None
    accuracy = rows["accuracy"]
    assert (accuracy["n"], accuracy["expected_n"], accuracy["grader"]) == (4, 10, "boxed@1")
    assert rows["length_mean"]["grader"] is None and rows["truncated"]["grader"] is None
    assert (accuracy["model_set"], accuracy["suite"], accuracy["draw"]) == ("pair", "mini", "greedy")


def test_shares_of_0_and_1_are_not_certain() -> None:
    rows = by_metric(scores(answers("base", "b", [False] * 60), expected_n=60))
    for metric in ("accuracy", "no_answer", "truncated"):
        assert (rows[metric]["value"], rows[metric]["stderr"]) == (0.0, pytest.approx(0.5 / 61))
    assert rows["length_mean"]["stderr"] == 0  # a length is no proportion


def test_a_pool_is_averaged_over_each_question_first() -> None:
    responses = [
        response("base", "b", q, k, draw="vote", n_tokens_text=10 * (q + 1)) for q in (0, 1) for k in range(4)
    ]
    responses = responses[:-2]  # question 1 has two samples only
    verdicts = [verdict(r, r["sample_id"] == "b-0") for r in responses]
    rows = by_metric(scores((responses[::-1], verdicts), expected_n=2, votes=(1, 2, 4)))
    assert rows["accuracy"]["value"] == 0.5 and rows["length_mean"]["value"] == 15.0
    assert rows["accuracy"]["n"] == 2
    assert (rows["maj@1"]["value"], rows["maj@2"]["value"]) == (0.5, 0.5)
    assert rows["maj@4"]["value"] is None  # not 0


def test_an_unknown_length_is_missing() -> None:
    responses, verdicts = answers("base", "b", [True, False])
    responses[0]["n_tokens_text"] = None
    rows = by_metric(scores((responses, verdicts), expected_n=2))
    assert rows["length_mean"]["value"] is None and rows["length_p90"]["value"] is None
    assert rows["accuracy"]["value"] == 0.5


def test_what_does_not_belong_together_is_refused() -> None:
    responses, verdicts = answers("base", "b", [True, False])
    with pytest.raises(ValueError, match="no responses"):
        score_rows([], [], expected_n=2)
    with pytest.raises(ValueError, match="1 of 2 responses have no verdict, for example base/b/greedy/0/0"):
        score_rows(responses, verdicts[1:], expected_n=2)
    with pytest.raises(ValueError, match="agree on 'engine', found"):
        score_rows([responses[0], responses[1] | {"engine": "vllm"}], verdicts, expected_n=2)
    with pytest.raises(ValueError, match="agree on 'grader_version'"):
        score_rows(responses, [verdicts[0], verdicts[1] | {"grader_version": "2"}], expected_n=2)
    twice = [*responses, responses[0] | {"response_id": "x"}]
    with pytest.raises(ValueError, match="3 responses for 2 places"):
        score_rows(twice, [*verdicts, verdicts[0] | {"response_id": "x"}], expected_n=2)


def test_a_document_set_is_a_set() -> None:
    assert document_set(["a", "b"]) == document_set(["b", "a", "b"])
    assert len({document_set(x) for x in ([], ["a"], ["a", "b"], ["ab"])}) == 4


def test_chosen_labels_have_an_accuracy_and_nothing_else() -> None:
    chosen = {"finish_reason": "label", "n_generated": None, "budget": None}
    responses, verdicts = answers("base", "b", [True, False], **chosen)
    rows = by_metric(scores((responses, verdicts), expected_n=2))
    assert {m: row["value"] for m, row in rows.items()} == {"accuracy": 0.5}
