"""Score rows against a hand-computed example."""

from __future__ import annotations

import pytest

from results.scores import document_set, largest_pools, score_rows
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
        "stopped": 0.0,
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


def test_scores_by_outcome_by_hand() -> None:
    responses, verdicts = answers("base", "b", [True, True, False, True], [10, 20, 30, 100])
    for row, cut, box, reflections in zip(responses, "-ccc", "yyny", (0, 1, 2, 5), strict=True):
        row |= {"finish_reason": "length" if cut == "c" else "stop", "complete_box": box == "y"}
        row |= {"n_reflections": reflections, "ends_with_code_fence": reflections == 5}
    responses[3]["complete_box"] = False  # right, but cut off before a box was closed
    rows = by_metric(scores((responses, verdicts), expected_n=4))
    assert rows["accuracy"]["value"] == 0.75 and rows["accuracy_complete"]["value"] == 0.5
    assert rows["length_correct"]["value"] == pytest.approx(130 / 3)
    assert rows["length_untruncated"]["value"] == 10 and rows["truncated"]["value"] == 0.75
    assert rows["reflections"]["value"] == 2.0 and rows["code_fence"]["value"] == 0.25
    assert rows["length_correct"]["grader"] == "boxed@1" and rows["length_untruncated"]["grader"] is None


def test_a_mean_over_nothing_is_missing() -> None:
    responses, verdicts = answers("base", "b", [False, False])
    rows = by_metric(scores((responses, verdicts), expected_n=2))
    assert rows["length_correct"]["value"] is None


def test_a_second_grader_adds_its_own_scores_and_the_flips_only() -> None:
    responses, verdicts = answers("base", "b", [True, True, False, False])
    other = [verdict(row, q < 1, grader="other") for q, row in enumerate(responses)]
    first = by_metric(scores((responses, verdicts), expected_n=4, others={"other": other}))
    second = by_metric(scores((responses, other), expected_n=4, others={"boxed": verdicts}, first=False))
    assert first["flips:other"]["value"] == second["flips:boxed"]["value"] == 0.25
    assert second["accuracy"]["value"] == 0.25 and "length_mean" not in second
    assert (first["accuracy"]["first_grader"], second["accuracy"]["first_grader"]) == (True, False)
    assert first["length_mean"]["first_grader"] is None


def test_a_fixed_tokenizer_has_a_length_of_its_own() -> None:
    responses, verdicts = answers("base", "b", [True, False], [10, 20])
    counts = {row["response_id"]: 7 + q for q, row in enumerate(responses)}
    rows = by_metric(scores((responses, verdicts), expected_n=2, tokens={"one:1": counts}))
    assert rows["length_mean@one:1"]["value"] == 7.5 and rows["length_mean"]["value"] == 15


def test_votes_have_intervals_and_a_price() -> None:
    responses = [
        response("base", "b", q, k, draw="vote", n_tokens_text=50) for q in range(6) for k in range(4)
    ]
    verdicts = [verdict(r, r["sample_id"] in ("b-0", "b-1", "b-2")) for r in responses]
    rows = by_metric(scores((responses, verdicts), expected_n=6, votes=(1, 4)))
    assert rows["maj@4"]["value"] == rows["maj@4:toolkit"]["value"] == 0.5
    assert 0 < rows["maj@4"]["low"] < 0.5 < rows["maj@4"]["high"] < 1
    assert rows["tokens@4"]["value"] == 200 and rows["tokens@4"]["grader"] is None
    assert "maj@1:toolkit" not in rows and rows["accuracy"]["low"] is None


def pooled(size: int) -> list[dict]:
    """Scores of one question's first `size` answers, of which the later ones are longer and right."""
    drawn = [response("base", "b", 0, k, draw="vote", n_tokens_text=10 * (k + 1)) for k in range(size)]
    return scores((drawn, [verdict(r, r["sample_index"] > 1) for r in drawn]), expected_n=1, votes=(1, size))


def test_scores_say_how_many_responses_a_question_they_rest_on() -> None:
    assert {row["samples"] for row in scores(answers("base", "b", [True, False]), expected_n=2)} == {1}
    assert {row["samples"] for row in pooled(4)} == {4}


def test_the_largest_pool_is_shown_whatever_was_scored_last() -> None:
    two, four = pooled(2), pooled(4)
    for rows in (two + four, four + two):
        kept = by_metric(largest_pools(rows))
        assert (kept["accuracy"]["value"], kept["length_mean"]["value"]) == (0.5, 25)
        assert kept["maj@2"]["samples"] == 2  # what only the smaller pool has is still there
        fewer = by_metric(largest_pools(rows, 3))
        assert (fewer["accuracy"]["value"], fewer["length_mean"]["value"]) == (0, 15) and "maj@4" not in fewer
        assert len(largest_pools(rows)) == len({row["metric"] for row in rows})


def test_scores_over_other_documents_or_graders_are_no_larger_pool() -> None:
    two, four = pooled(2), pooled(4)
    for name in ("document_set", "grader", "engine", "draw"):
        other = [{**row, name: "another"} for row in four]
        assert len(largest_pools(two + other)) == len(two) + len(other)
    old = [{**row, "samples": None} for row in two]  # of before it was recorded
    assert by_metric(largest_pools(four + old))["accuracy"]["samples"] == 4


def test_groups_of_samples_are_scored_by_themselves_and_a_constant_answer_is_known() -> None:
    """250 safe and 200 unsafe requests, scaled down: always complying is right on 5 of 9."""
    responses, verdicts = answers("base", "b", [True, True, True, True, False, True, True, False, False])
    responses = [
        r | {"sample_group": "safe" if i < 5 else "unsafe", "target": "comply" if i < 5 else "refuse"}
        for i, r in enumerate(responses)
    ]
    rows = by_metric(scores((responses, verdicts), expected_n=9))
    assert (rows["accuracy:safe"]["value"], rows["accuracy:safe"]["n"]) == (0.8, 5)
    assert (rows["accuracy:unsafe"]["value"], rows["accuracy:unsafe"]["n"]) == (0.5, 4)
    assert (rows["accuracy"]["n"], rows["accuracy"]["constant"]) == (9, pytest.approx(5 / 9))
    assert rows["accuracy:safe"].get("constant") is None and rows["truncated"].get("constant") is None


def test_a_constant_answer_says_nothing_where_all_targets_are_the_same() -> None:
    responses, verdicts = answers("base", "b", [True, False])
    rows = by_metric(scores(([r | {"target": "refuse"} for r in responses], verdicts), expected_n=2))
    assert rows["accuracy"]["constant"] is None
