"""SQuAD 2.0's metric against the port of its evaluation script that `transformers` has."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers.data.metrics import squad_metrics as script

from bench.lm_eval.squad import SquadV2, exact, f1, of_document

WORDS = st.sampled_from(
    ["the", "Bay", "bay", "of", "a", "an", "south.", "South", "1,5", "'", "é", "-", "", "the  end"]
)
TEXT = st.lists(WORDS, max_size=5).map(" ".join)
QUESTION = st.tuples(st.lists(TEXT, max_size=3), TEXT, st.floats(0, 1))


@given(TEXT, TEXT)
def test_one_answer_scores_as_in_the_script(gold: str, said: str) -> None:
    assert exact(gold, said) == script.compute_exact(gold, said)
    assert f1(gold, said) == pytest.approx(script.compute_f1(gold, said))


@given(st.lists(QUESTION, min_size=1, max_size=12))
def test_all_metrics_are_those_of_the_script(questions: list[tuple[list[str], str, float]]) -> None:
    predictions = [
        {"id": str(i), "prediction_text": said, "no_answer_probability": unsure}
        for i, (_, said, unsure) in enumerate(questions)
    ]
    references = [{"id": str(i), "answers": {"text": golds}} for i, (golds, _, _) in enumerate(questions)]
    found = SquadV2().compute(predictions=predictions, references=references)
    expected = _of_script(questions)
    assert found.keys() == expected.keys()
    assert found == pytest.approx(expected)


def _of_script(questions: list[tuple[list[str], str, float]]) -> dict[str, float]:
    """The steps of the script, by its own functions: golds that are nothing but articles count as no answer text."""
    said = {str(i): text for i, (_, text, _) in enumerate(questions)}
    unsure = {str(i): value for i, (_, _, value) in enumerate(questions)}
    answerable = {str(i): bool(golds) for i, (golds, _, _) in enumerate(questions)}
    raw: dict[str, dict[str, float]] = {"exact": {}, "f1": {}}
    for i, (golds, text, _) in enumerate(questions):
        kept = [gold for gold in golds if script.normalize_answer(gold)] or [""]
        raw["exact"][str(i)] = max(script.compute_exact(gold, text) for gold in kept)
        raw["f1"][str(i)] = max(script.compute_f1(gold, text) for gold in kept)
    held = {
        name: script.apply_no_ans_threshold(values, unsure, answerable, 1.0) for name, values in raw.items()
    }
    found = dict(script.make_eval_dict(held["exact"], held["f1"]))
    for name, wanted in (("HasAns", True), ("NoAns", False)):
        ids = [id for id, has in answerable.items() if has == wanted]
        if ids:
            part = script.make_eval_dict(held["exact"], held["f1"], qid_list=ids)
            found |= {f"{name}_exact": part["exact"], f"{name}_f1": part["f1"]}
    for name, values in raw.items():
        found[f"best_{name}"] = script.find_best_thresh(said, values, unsure, answerable)[0]
    return found


def test_an_answer_by_hand() -> None:
    """Two of three words of the nearer gold, one of them an article: 2 * (1 * 1/2) / (1 + 1/2)."""
    reference = {"answers": {"text": ["in the north", "Bay south"]}}
    assert of_document("f1", "the bay", reference) == pytest.approx(2 / 3)
    assert of_document("exact", "bay, SOUTH", reference) == 1.0
    assert of_document("HasAns_f1", "bay", reference) is None
    assert of_document("f1", "", {"answers": {"text": []}}) == 1.0
