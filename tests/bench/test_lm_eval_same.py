"""Our model class against lm-eval's own `hf` model: the same requests, the same texts, the same scores."""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Any

import pytest

lm_eval = pytest.importorskip("lm_eval", reason="lm-eval is not installed: the extra lm-eval")
pytest.importorskip("accelerate", reason="lm-eval's own hf model needs accelerate: the extra lm-eval")

from bench.errors import BadInput  # noqa: E402
from bench.models.checkpoint import locate  # noqa: E402
from tests.bench import lm_eval_tasks as made  # noqa: E402

MODEL = "zoo:l2s-expert"


def peer(folder: Path, names: list[str], **options: Any) -> dict[str, Any]:
    """lm-eval's results with its own model: float32, left-padded batches of four."""
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    model = HFLM(pretrained=str(locate(MODEL)), dtype="float32", device="cpu", batch_size=4)
    found = lm_eval.simple_evaluate(
        model=model,
        tasks=names,
        task_manager=TaskManager(include_path=str(folder), include_defaults=False),
        **options,
    )
    return dict(found or {})


def compared(report: made.LmEvalReport, theirs: dict[str, Any]) -> int:
    """Every aggregated metric and its standard error is the peer's; how many there were."""
    for row in report.measured:
        found = theirs["results"][row["task"]]
        assert row["value"] == pytest.approx(found[f"{row['metric']},{row['filter']}"], rel=1e-6), row
        error = found[f"{row['metric']}_stderr,{row['filter']}"]
        assert row["stderr"] == (None if error == "N/A" else pytest.approx(error, rel=1e-6)), row
    return len(report.measured)


def texts(runs: Path, task: str) -> dict[int, str]:
    rows = made.stored(runs, f"SELECT * FROM responses WHERE benchmark = 'lm-eval:{task}'")
    return {int(row["sample_id"]): row["text"] for row in rows}


@pytest.mark.parametrize("fewshot", [0, 2])
def test_texts_and_scores_of_tasks_that_generate(tmp_path: Path, fewshot: int) -> None:
    folder = made.write_task(
        tmp_path / "tasks", "gsm8k_local", made.questions(10), fewshot_split="test", num_fewshot=fewshot
    )
    made.write_ifeval(folder, made.INSTRUCTIONS)
    names = ["gsm8k_local", "ifeval_local"]
    report = made.ask(folder, names, tmp_path / "runs", model=MODEL)
    theirs = peer(folder, names)
    for task in names:
        ours = texts(tmp_path / "runs", task)
        for sample in theirs["samples"][task]:  # ours are stripped of outer white space
            assert ours[sample["doc_id"]] == sample["resps"][0][0].strip()
    assert compared(report, theirs) == 6
    scores = {row["metric"]: row["value"] for row in report.measured if row["filter"] == "flexible-extract"}
    assert 0 < scores["exact_match"] < 1 or fewshot, "an accuracy of 0 or 1 would show little"


def test_scores_of_tasks_that_choose_and_that_only_read(tmp_path: Path) -> None:
    """Log-likelihoods: choices of several lengths, and whole texts."""
    rng, rows = random.Random(3), []
    for row in made.questions(12):
        gold = row["answer"].split("#### ")[1]
        choices = [gold, str(int(gold) + 1), f"{gold}{rng.randrange(10)}", "Mia has 3 bags"]
        rng.shuffle(choices)
        rows.append({**row, "choices": choices, "gold": choices.index(gold)})
    metrics = [
        {"metric": name, "aggregation": "mean", "higher_is_better": True} for name in ("acc", "acc_norm")
    ]
    common: dict[str, Any] = {"generation_kwargs": None, "filter_list": None}
    folder = made.write_task(
        tmp_path / "tasks", "choose", rows, output_type="multiple_choice", doc_to_choice="{{choices}}",
        doc_to_target="{{gold}}", metric_list=metrics, **common,
    )  # fmt: skip
    perplexity = {
        "metric": "word_perplexity",
        "aggregation": "weighted_perplexity",
        "higher_is_better": False,
    }
    made.write_task(
        folder, "read", rows, output_type="loglikelihood_rolling", doc_to_text="", metric_list=[perplexity],
        doc_to_target="{{question}}", **common,
    )  # fmt: skip
    report = made.ask(folder, ["choose", "read"], tmp_path / "runs", model=MODEL)
    theirs = peer(folder, ["choose", "read"])
    assert compared(report, theirs) == 3
    values = {row["metric"]: row["value"] for row in report.measured}
    assert 0 < values["acc"] < 1 and math.isfinite(values["word_perplexity"])
    answers = made.stored(tmp_path / "runs", "SELECT * FROM responses")
    assert len(answers) == 12 and {row["finish_reason"] for row in answers} == {"likelihood"}
    accuracies = made.stored(tmp_path / "runs", "SELECT * FROM current_scores WHERE metric = 'accuracy'")
    by_metric = {row["grader"].rpartition("@")[0].rpartition(":")[2]: row for row in accuracies}
    assert {name: row["value"] for name, row in by_metric.items()} == pytest.approx(
        {name: values[name] for name in ("acc", "acc_norm")}
    )
    assert by_metric["acc"]["first_grader"] and by_metric["acc"]["draw"] == "loglikelihood"
    verdicts = made.stored(tmp_path / "runs", "SELECT * FROM current_verdicts WHERE grader LIKE '%:acc'")
    assert sum(row["correct"] for row in verdicts) == round(values["acc"] * 12)


def test_a_text_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    rows = [{"question": "How many cards does Mia have? " * 200, "answer": ""}]
    perplexity = {
        "metric": "word_perplexity",
        "aggregation": "weighted_perplexity",
        "higher_is_better": False,
    }
    folder = made.write_task(
        tmp_path / "tasks", "read", rows, output_type="loglikelihood_rolling", doc_to_text="",
        doc_to_target="{{question}}", metric_list=[perplexity], generation_kwargs=None, filter_list=None,
    )  # fmt: skip
    with pytest.raises(BadInput, match="the model's context is 512 tokens"):
        made.ask(folder, ["read"], tmp_path / "runs", model=MODEL)
