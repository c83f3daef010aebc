"""A suite that asks tasks of lm-eval beside its own benchmarks: one engine, rows under its names, early refusals."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

lm_eval = pytest.importorskip("lm_eval", reason="lm-eval is not installed: the extra lm-eval")

import bench.suites  # noqa: E402
from bench import engines  # noqa: E402
from bench.as_is import evaluate_models  # noqa: E402
from bench.errors import BadInput  # noqa: E402
from bench.road import RunReport  # noqa: E402
from bench.run import run  # noqa: E402
from bench.suites import EvalOptions  # noqa: E402
from results.store import Store  # noqa: E402
from tasks.catalogue import resolve  # noqa: E402
from tasks.contract import LmEvalTask  # noqa: E402
from tasks.general.lm_eval.test_set import official_ids  # noqa: E402
from tests.bench import suite_data as made  # noqa: E402

MODEL = "zoo:l2s-expert"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    for language in ("fr", "de", "ru", "es"):
        made.write(folder, f"arc_{language}", made.m_arc(language), 6)
    tasks = Path(lm_eval.__file__).parent / "tasks" / "mmlu" / "default"
    for subject in (path.stem.removeprefix("mmlu_") for path in tasks.glob("mmlu_*.yaml")):
        made.write(folder, f"mmlu_{subject}", made.mmlu(subject), 2 if subject == "anatomy" else 1)
    made.write(folder, "triviaqa", made.triviaqa, 5)
    made.write(folder, "squadv2", made.squad, 5)
    return folder


def ask(suite: str, data: Path | None, runs: Path, rescore: bool = False, **options: Any) -> RunReport:
    """`bench eval` in this process."""
    chosen = EvalOptions(suite=suite, data_dir=data, **{"engine": "hf", "dtype": "float32", **options})
    return evaluate_models(
        [MODEL],
        chosen,
        models=None,
        rescore=rescore,
        runs=runs,
        db=runs / "board.duckdb",
        say=lambda text: None,
    )


def rows(runs: Path, sql: str) -> list[dict[str, Any]]:
    return Store(runs / "board.duckdb").rows(sql)


def test_one_engine_answers_what_lm_eval_asks_and_the_rest(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = {name: resolve(name) for name in ("mini_gsm", "triviaqa", "m_arc")}
    mixed = replace(
        parts["m_arc"],
        benchmarks=parts["mini_gsm"].benchmarks,
        lm_eval=(*parts["triviaqa"].lm_eval, *parts["m_arc"].lm_eval),
    )
    # The embedded benchmark is generated: it needs no folder, and heeds none.
    own = replace(
        mixed.benchmarks[0], load=lambda split, _: parts["mini_gsm"].benchmarks[0].load(split, None)
    )
    monkeypatch.setattr(bench.suites, "resolve", lambda name: replace(mixed, benchmarks=(own,)))
    loads: list[Any] = []
    load = engines.load

    def counted_load(*args: Any, **kwargs: Any) -> Any:
        loads.append(args)
        return load(*args, **kwargs)

    monkeypatch.setattr(engines, "load", counted_load)
    report = ask("mixed", data, tmp_path, limit=3)
    assert len(loads) == 1
    counted = Counter(row["benchmark"] for row in rows(tmp_path, "SELECT benchmark FROM responses"))
    languages = {f"m_arc_{language}": 3 for language in ("fr", "de", "ru", "es")}
    assert counted == {"mini_gsm": 3, "triviaqa": 3, **languages}
    assert {row["suite"] for row in rows(tmp_path, "SELECT suite FROM responses")} == {mixed.name}
    assert any("triviaqa 5 of 17,944" in said for said in report.summary)
    scores = {
        row["benchmark"]: row
        for row in rows(tmp_path, "SELECT * FROM current_scores WHERE metric = 'accuracy' AND first_grader")
    }
    assert set(scores) == {"mini_gsm", "triviaqa", *languages}
    (cells,) = [row.cells for row in report.board.rows]
    mean = sum(scores[name]["value"] for name in languages) / 4
    made_of = cells["m_arc"]
    assert made_of is not None and made_of.accuracy is not None
    assert made_of.accuracy.value == pytest.approx(mean)

    monkeypatch.setattr(engines, "load", None)  # all is stored: loading an engine would fail
    again = ask("mixed", data, tmp_path, limit=3)
    assert "0 responses generated, 15 reused; 0 new verdicts" in " ".join(again.summary)


def test_a_group_of_tasks_is_one_benchmark(data: Path, tmp_path: Path) -> None:
    """All documents count alike; every subject is scored by itself too."""
    ask("mmlu", data, tmp_path)
    verdicts = rows(
        tmp_path,
        "SELECT correct, sample_id, sample_group, target, finish_reason, text FROM current_verdicts "
        "JOIN responses USING (response_id) WHERE grader = 'lm-eval:acc'",
    )
    assert len(verdicts) == 58 and {row["finish_reason"] for row in verdicts} == {"likelihood"}
    assert {row["sample_id"] for row in verdicts if row["sample_group"] == "anatomy"} == {
        "anatomy/0",
        "anatomy/1",
    }
    for row in verdicts:
        found = [value for value, _ in json.loads(row["text"])]
        assert len(found) == 4 and row["correct"] == (found.index(max(found)) == int(row["target"]))
    (score,) = rows(tmp_path, "SELECT * FROM current_scores WHERE metric = 'accuracy'")
    right = [row["correct"] for row in verdicts]
    assert 0 < sum(right) < 58, "an accuracy of 0 or 1 would show little"
    assert score["value"] == pytest.approx(sum(right) / 58)
    assert (score["n"], score["expected_n"], score["domain"]) == (58, 14_042, "general")
    most = max(Counter(row["target"] for row in verdicts).values())
    assert score["constant"] == pytest.approx(most / 58)
    (part,) = rows(tmp_path, "SELECT * FROM current_scores WHERE metric = 'accuracy:anatomy'")
    of_part = [row["correct"] for row in verdicts if row["sample_group"] == "anatomy"]
    assert (part["value"], part["n"]) == (sum(of_part) / 2, 2)
    assert {row["prompt_mode"] for row in rows(tmp_path, "SELECT prompt_mode FROM responses")} == {"0-shot"}


def test_an_f1_is_part_of_a_point_and_a_budget_is_counted(data: Path, tmp_path: Path) -> None:
    ask("squadv2", data, tmp_path, max_new_tokens=4)
    written = rows(tmp_path, "SELECT * FROM responses WHERE finish_reason <> 'likelihood'")
    assert len(written) == 5 and {(row["draw"], row["max_new_tokens"]) for row in written} == {
        ("greedy@4", 4)
    }
    scored = rows(tmp_path, "SELECT * FROM responses WHERE finish_reason = 'likelihood'")
    assert len(scored) == 5 and all(len(json.loads(row["text"])) == 1 for row in scored)
    found = {
        (row["metric"], (row["grader"] or "").rpartition("@")[0]): row["value"]
        for row in rows(tmp_path, "SELECT * FROM current_scores")
    }
    cut = sum(row["finish_reason"] == "length" for row in written) / 5
    assert found["truncated", ""] == pytest.approx(cut)
    by_document = [
        json.loads(row["why"].removeprefix("f1 = "))
        for row in rows(tmp_path, "SELECT why FROM current_verdicts WHERE grader = 'lm-eval:f1'")
    ]
    assert found["accuracy", "lm-eval:f1"] == pytest.approx(sum(by_document) / 5)
    assert found["f1", "lm-eval:none"] == pytest.approx(sum(by_document) / 5)  # lm-eval's own, in fractions
    assert found["NoAns_f1", "lm-eval:none"] is not None


def test_a_run_compares_merges_with_base_and_experts(data: Path, tmp_path: Path) -> None:
    """What no expert is meant for is retained of the base, also where a set has only one expert."""
    report = run(
        ["task_arithmetic"], EvalOptions("mmlu", data_dir=data, engine="hf", dtype="float32", limit=1),
        models="mini_l2s", base=None, experts=[], settings=[], runs=tmp_path, db=tmp_path / "board.duckdb",
        say=lambda text: None,
    )  # fmt: skip
    by_kind = {row.kind: row for row in report.board.rows}
    assert by_kind.keys() == {"base", "expert", "merged"}
    assert sum("57 responses generated" in said for said in report.summary) == 3
    merged, base = by_kind["merged"], by_kind["base"].cells["mmlu"]
    cell = merged.cells["mmlu"]
    assert base and base.accuracy and cell and cell.accuracy and cell.n == 57
    assert (
        cell.against_base is not None and cell.against_base.n == 57
    )  # likelihoods have verdicts: a paired test
    assert {row["expert"] for row in rows(tmp_path, "SELECT expert FROM current_scores")} == {None}
    assert merged.retention is not None and merged.retain is None
    (kept,) = merged.retention.ratios
    assert kept.estimate is not None
    assert kept.estimate.value == pytest.approx(100 * cell.accuracy.value / base.accuracy.value)


def test_missing_data_are_named_before_anything_is_asked(data: Path, tmp_path: Path) -> None:
    (tmp_path / "few").mkdir()
    made.write(tmp_path / "few", "gsm8k", made.gsm8k)
    with pytest.raises(BadInput) as error:
        ask("gsm8k_5shot", tmp_path / "few", tmp_path)
    assert "gsm8k/train.jsonl" in str(error.value) and "gsm8k_5shot" in str(error.value)
    with pytest.raises(BadInput) as error:
        ask("general", data, tmp_path)
    said = str(error.value)
    assert "coqa/test.jsonl" in said and "pubmedqa_labeled/test.jsonl" in said and "triviaqa" not in said
    assert not (tmp_path / "merges").exists() and not (tmp_path / "board.duckdb").exists()


def test_rows_of_mixed_types_are_refused(tmp_path: Path) -> None:
    made.write(tmp_path, "triviaqa", lambda i: {"question": "q" if i else 1, "answer": {"aliases": []}})
    with pytest.raises(BadInput, match=r"triviaqa/test\.jsonl: the rows do not have columns of one type"):
        ask("triviaqa", tmp_path, tmp_path / "runs")


def test_what_lm_eval_scores_is_the_test_split(data: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="split of triviaqa"):
        ask("triviaqa", data, tmp_path, split="validation")
    with pytest.raises(BadInput, match="triviaqa: graded by lm-eval: the command without --rescore"):
        ask("triviaqa", data, tmp_path, rescore=True)


def test_the_test_set_of_pubmedqa_has_five_hundred_questions() -> None:
    """The authors' file of them has 500 ids; the first labelled question of their data is one."""
    ids = official_ids()
    assert len(ids) == 500 and all(id.isdigit() for id in ids) and "21645374" in ids


def test_names_of_suites_reach_their_tasks() -> None:
    """A benchmark by name alone, one that is made of others, and one that stands beside its suite."""
    assert [task.name for task in resolve("m_arc_fr").lm_eval] == ["m_arc_fr"]
    assert [task.name for task in resolve("m_arc").lm_eval] == [
        f"m_arc_{x}" for x in ("fr", "de", "ru", "es")
    ]
    assert "pubmedqa_lmeval" not in resolve("general").asked
    (beside,) = resolve("pubmedqa_lmeval").lm_eval
    assert isinstance(beside, LmEvalTask) and not beside.beside
    assert {"gsm8k", "minerva", "m_mmlu", "ifeval_strict", "ifeval_loose"} <= {
        *resolve("mergebench").reported
    }
    assert resolve("gsm8k").name == "l2s"
