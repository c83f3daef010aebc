"""Tasks of lm-eval through our engines: what is asked once, what is recorded, and what is refused."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from tokenizers.processors import TemplateProcessing
from transformers import AutoTokenizer, PreTrainedTokenizerFast

pytest.importorskip("lm_eval", reason="lm-eval is not installed: the extra lm-eval")

from bench.errors import BadInput  # noqa: E402
from bench.identity import text_hash  # noqa: E402
from bench.lm_eval.tasks import _unknown  # noqa: E402
from bench.lm_eval.verdicts import correct  # noqa: E402
from bench.models.checkpoint import locate  # noqa: E402
from bench.road import board_of  # noqa: E402
from tests.bench import lm_eval_tasks as made  # noqa: E402
from tests.bench import tiny  # noqa: E402
from tests.bench.lm_eval_tasks import INSTRUCTIONS, ask, questions, stored  # noqa: E402

N = 12


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both tasks asked once, of one loaded checkpoint."""
    folder = tmp_path_factory.mktemp("lm_eval")
    made.write_task(folder / "tasks", "gsm8k_local", questions(N))
    made.write_ifeval(folder / "tasks", INSTRUCTIONS)
    report = ask(folder / "tasks", ["gsm8k_local", "ifeval_local"], folder / "runs")
    assert f"{N + len(INSTRUCTIONS)} responses generated" in report.run.summary[0]
    return folder


def texts(run: Path, task: str) -> dict[int, str]:
    rows = stored(run / "runs", f"SELECT * FROM responses WHERE benchmark = 'lm-eval:{task}'")
    return {int(row["sample_id"]): row["text"] for row in rows}


def verdicts(run: Path, grader: str) -> dict[int, dict[str, Any]]:
    rows = stored(
        run / "runs",
        "SELECT v.*, r.sample_id FROM current_verdicts v JOIN responses r USING (response_id) "
        f"WHERE grader = 'lm-eval:{grader}'",
    )
    return {int(row["sample_id"]): row for row in rows}


def value(run: Path, metric: str, grader: str) -> float | None:
    rows = stored(run / "runs", f"SELECT * FROM current_scores WHERE metric = '{metric}'")
    (found,) = [row["value"] for row in rows if (row["grader"] or "").startswith(f"lm-eval:{grader}@")]
    return None if found is None else float(found)


def test_every_response_is_a_row_with_its_length(run: Path) -> None:
    rows = stored(run / "runs", "SELECT * FROM responses WHERE benchmark = 'lm-eval:gsm8k_local'")
    tokenizer = AutoTokenizer.from_pretrained(locate("zoo:l2s-expert"))
    assert len(rows) == N
    for row in rows:
        asked = questions(N)[int(row["sample_id"])]
        prompt = f"Q: {asked['question']}\nA:"
        assert row["question"] == prompt and row["target"] == asked["answer"]
        assert row["prompt_hash"] == text_hash(prompt)
        assert row["n_tokens_text"] == len(tokenizer(row["text"])["input_ids"])
        assert row["seed"] == int(row["document_hash"], 16) % 2**63
        assert (row["suite"], row["benchmark_version"], row["split"]) == ("lm_eval", "3.0", "test")
        assert (row["draw"], row["prompt_mode"], row["max_new_tokens"]) == ("greedy", "0-shot", 100)


def test_verdicts_are_those_of_a_hand_made_check(run: Path) -> None:
    """The last number of the text against the one behind `####`, and that the model writes no `####`."""
    judged, right = verdicts(run, "gsm8k_local:flexible-extract"), []
    for index, text in texts(run, "gsm8k_local").items():
        gold = questions(N)[index]["answer"].split("#### ")[1]
        numbers = re.findall(r"-?[$0-9.,]{2,}|-?[0-9]+", text)
        found = numbers[-1] if numbers else None
        right.append(found is not None and found.strip("$.,").replace(",", "") == gold)
        assert judged[index]["correct"] is right[-1], (text, gold)
        assert judged[index]["extracted"] == found
        assert judged[index]["why"] == f"exact_match = {float(right[-1])}"
    assert 0 < sum(right) < N, "an accuracy of 0 or 1 would show little"
    assert value(run, "exact_match", "gsm8k_local:flexible-extract") == pytest.approx(sum(right) / N)
    assert value(run, "accuracy", "gsm8k_local:flexible-extract") == pytest.approx(sum(right) / N)
    strict = verdicts(run, "gsm8k_local:strict-match")
    assert {row["extracted"] for row in strict.values()} == {None}
    assert not any(row["correct"] for row in strict.values())


def test_verdicts_of_ifeval_are_those_of_its_rules(run: Path) -> None:
    answers = texts(run, "ifeval_local")
    words = {index: len(re.findall(r"\w+", text)) for index, text in answers.items()}
    expected = {
        0: ["," not in answers[0]],
        1: [words[1] >= 3],
        2: [words[2] < 40, "," not in answers[2]],
        3: [re.search("bag", answers[3], re.IGNORECASE) is not None],
    }
    expected = {index: [bool(answers[index]) and held for held in rules] for index, rules in expected.items()}
    judged = verdicts(run, "ifeval_local:none:prompt_level_strict_acc")
    assert {index: row["correct"] for index, row in judged.items()} == {
        i: all(r) for i, r in expected.items()
    }
    each = verdicts(run, "ifeval_local:none:inst_level_strict_acc")
    assert {row["correct"] for row in each.values()} == {None}  # a list is neither right nor wrong
    for index, row in each.items():
        assert row["why"] == f"inst_level_strict_acc = {str(expected[index]).lower()}"
    rules = [held for index in sorted(expected) for held in expected[index]]
    assert value(run, "inst_level_strict_acc", "ifeval_local:none") == pytest.approx(sum(rules) / len(rules))


def test_the_table_shows_suite_and_task(run: Path) -> None:
    db = run / "runs" / "leaderboard.duckdb"
    board = board_of(db, "lm_eval", split="test", model_set=None)
    assert board.benchmarks == ("lm-eval:gsm8k_local", "lm-eval:ifeval_local")
    (row,) = board.rows
    cell = row.cells["lm-eval:gsm8k_local"]
    assert cell is not None and cell.n == cell.expected_n == N
    assert cell.grader is not None and cell.grader.startswith("lm-eval:gsm8k_local:strict-match@0.")
    tokenizer = AutoTokenizer.from_pretrained(locate("zoo:l2s-expert"))
    lengths = [len(tokenizer(text)["input_ids"]) for text in texts(run, "gsm8k_local").values()]
    assert cell.length is not None and cell.length.value == pytest.approx(sum(lengths) / N)
    alone = board_of(db, "lm-eval:ifeval_local", split="test", model_set=None)
    assert alone.benchmarks == ("lm-eval:ifeval_local",) and len(alone.rows) == 1


def test_nothing_is_generated_or_written_twice(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bench import engines

    before = {table: len(stored(run / "runs", f"SELECT 1 FROM {table}")) for table in ("verdicts", "scores")}
    monkeypatch.setattr(engines, "load", None)  # no engine is needed: loading one would fail
    report = ask(run / "tasks", ["gsm8k_local", "ifeval_local"], run / "runs")
    assert f"0 responses generated, {N + len(INSTRUCTIONS)} reused; 0 new verdicts" in report.run.summary[0]
    after = {table: len(stored(run / "runs", f"SELECT 1 FROM {table}")) for table in ("verdicts", "scores")}
    assert after == before


def test_a_larger_limit_adds_only_what_is_missing(tmp_path: Path) -> None:
    made.write_task(tmp_path / "tasks", "gsm8k_local", questions(6))
    few = ask(tmp_path / "tasks", ["gsm8k_local"], tmp_path / "runs", limit=2, max_new_tokens=8)
    assert "2 responses generated" in few.run.summary[0]
    more = ask(tmp_path / "tasks", ["gsm8k_local"], tmp_path / "runs", max_new_tokens=8)
    assert "4 responses generated" in more.run.summary[0] and "2 reused" in more.run.summary[0]
    (row,) = stored(tmp_path / "runs", "SELECT DISTINCT draw, budget FROM responses")
    assert row == {"draw": "greedy@8", "budget": 8}


def test_a_pool_has_its_seeds_and_grows(tmp_path: Path) -> None:
    """Repeats are one pool: raising them keeps what is there; what is measured on a pool is no verdict."""
    sampled = {"until": ["\nQ:"], "do_sample": True, "temperature": 0.7, "max_gen_toks": 16}
    majority = [{"name": "vote", "filter": [{"function": "majority_vote"}, {"function": "take_first"}]}]
    rows = {}
    for repeats in (2, 3):
        made.write_task(
            tmp_path / "tasks", "pool", questions(2), generation_kwargs=sampled, repeats=repeats,
            filter_list=majority,
        )  # fmt: skip
        report = ask(tmp_path / "tasks", ["pool"], tmp_path / "runs")
        rows[repeats] = {
            (row["sample_id"], row["sample_index"]): row
            for row in stored(tmp_path / "runs", "SELECT * FROM responses")
        }
    assert "2 responses generated" in report.run.summary[0] and "4 reused" in report.run.summary[0]
    assert len(rows[2]) == 4 and len(rows[3]) == 6
    for place, row in rows[3].items():
        assert row["seed"] == int(row["document_hash"], 16) % 2**63 + place[1]
        assert row["draw"] == "t0.7" and row["temperature"] == 0.7
    assert all(rows[3][place] == row for place, row in rows[2].items())
    assert stored(tmp_path / "runs", "SELECT * FROM verdicts") == []
    scores = stored(tmp_path / "runs", "SELECT metric FROM current_scores")
    assert {"exact_match", "accuracy", "length_mean"} <= {row["metric"] for row in scores}


def test_a_group_is_aggregated_over_its_tasks(tmp_path: Path) -> None:
    """Weighted by size: (3 a + 1 b) / 4; the tasks are asked once each."""
    rows = questions(4)
    folder = made.write_task(tmp_path / "tasks", "first", rows[:3])
    made.write_task(folder, "second", rows[3:])
    exact = {"metric": "exact_match", "aggregation": "mean", "weight_by_size": True}
    filters = ["strict-match", "flexible-extract"]
    group = {
        "group": "both", "task": ["first", "second"], "metadata": {"version": 2.0},
        "aggregate_metric_list": [{**exact, "filter_list": filters}],
    }  # fmt: skip
    (folder / "both.yaml").write_text(yaml.safe_dump(group))
    report = ask(folder, ["both"], tmp_path / "runs")
    assert "4 responses generated" in report.run.summary[0]
    scores = {
        row["benchmark"]: row
        for row in stored(tmp_path / "runs", "SELECT * FROM current_scores WHERE metric = 'exact_match'")
        if ":flexible-extract@" in row["grader"]
    }
    both, first, second = (scores[f"lm-eval:{name}"] for name in ("both", "first", "second"))
    assert both["value"] == pytest.approx((3 * first["value"] + second["value"]) / 4)
    assert (both["n"], both["expected_n"], both["benchmark_version"]) == (4, 4, "2.0")


def test_the_chat_template_is_applied_and_begins_once(tmp_path: Path) -> None:
    """A template that writes the first token, for a tokenizer that writes it too: the model sees it once."""
    model = tiny.write(tmp_path / "model", context=256)
    tokens = PreTrainedTokenizerFast.from_pretrained(model, bos_token="<pad>")
    start = [("<pad>", tokens.bos_token_id)]
    tokens._tokenizer.post_processor = TemplateProcessing(single="<pad> $A", special_tokens=start)
    tokens.chat_template = (
        "{{ bos_token }}{% for m in messages %}[{{ m.role }}] {{ m.content }}\n{% endfor %}"
        "{% if add_generation_prompt %}[assistant] {% endif %}"
    )
    tokens.save_pretrained(model)
    made.write_task(tmp_path / "tasks", "gsm8k_local", questions(3), fewshot_split="test")
    ask(
        tmp_path / "tasks", ["gsm8k_local"], tmp_path / "runs", model=model, chat=True, max_new_tokens=4,
    )  # fmt: skip
    rows = stored(tmp_path / "runs", "SELECT * FROM responses")
    assert len(rows) == 3
    own = AutoTokenizer.from_pretrained(model)
    for row in rows:
        question = questions(3)[int(row["sample_id"])]["question"]
        prompt = f"[user] Q: {question}\nA:\n[assistant] "
        assert row["prompt_hash"] == text_hash(prompt)
        tokens_of_prompt = own("<pad>" + prompt, add_special_tokens=False)["input_ids"]
        assert tokens_of_prompt[:2].count(own.bos_token_id) == 1
        assert row["n_prompt_tokens"] == len(tokens_of_prompt)
        assert row["prompt_mode"] == "0-shot chat"


def test_a_model_without_template_is_refused(tmp_path: Path) -> None:
    model = tiny.write(tmp_path / "model")
    made.write_task(tmp_path / "tasks", "gsm8k_local", questions(1))
    with pytest.raises(BadInput, match="no chat template: leave out --apply-chat-template"):
        ask(tmp_path / "tasks", ["gsm8k_local"], tmp_path / "runs", model=model, chat=True)


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "a setting that engines lack": (
        {"generation_kwargs": {"until": [], "repetition_penalty": 1.3}},
        "task odd sets repetition_penalty = 1.3",
    ),
    "code that a model writes": ({"unsafe_code": True}, "task odd runs code that the model writes"),
    "a metric of the Hub": (
        {"metric_list": [{"metric": "bleurt", "aggregation": "mean", "higher_is_better": True}]},
        "metric 'bleurt' is none of lm-eval's own",
    ),
    "a metric that asks for the Hub's code": (
        {"metric_list": [{**{"metric": "exact_match", "aggregation": "mean"}, "hf_evaluate": True}]},
        "metric 'exact_match' is none of lm-eval's own",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_honoured_is_refused(tmp_path: Path, case: str) -> None:
    settings, says = REFUSED[case]
    made.write_task(tmp_path / "tasks", "odd", questions(1), **settings)
    with pytest.raises(BadInput, match=says):
        ask(tmp_path / "tasks", ["odd"], tmp_path / "runs")


def test_instructions_that_need_absent_data_are_refused(tmp_path: Path) -> None:
    import nltk

    sentences = {"length_constraints:number_sentences": {"num_sentences": 2, "relation": "at least"}}
    made.write_ifeval(tmp_path / "tasks", [("Write two sentences.", sentences)])
    places, nltk.data.path = nltk.data.path, [str(tmp_path)]
    try:
        with pytest.raises(BadInput, match="number_sentences, which nltk checks with its punkt_tab data"):
            ask(tmp_path / "tasks", ["ifeval_local"], tmp_path / "runs")
    finally:
        nltk.data.path = places
    assert not (tmp_path / "runs").exists()  # nothing was begun


def test_a_typo_gets_the_nearest_names_and_those_of_the_persons_own_folder(tmp_path: Path) -> None:
    """`gsm8k` is lm-eval's own, `sea_local` the one task of the folder."""
    made.write_task(tmp_path / "tasks", "sea_local", questions(1))
    with pytest.raises(
        BadInput, match="unknown lm-eval task 'gsm8q'. Did you mean 'gsm8k'.*Known: .*sea_local"
    ):
        ask(tmp_path / "tasks", ["gsm8q"], tmp_path / "runs")
    assert "'sea_local'" in str(_unknown("sae_local", ["gsm8k", "sea_local"], ["sea_local"]))
    assert "sea_local" in str(_unknown("xyzzy", ["gsm8k", "sea_local"], ["sea_local"]))


def test_no_bar_of_other_tools_is_drawn(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Data that are prepared for the first time, requests and answers: all three have bars of tqdm elsewhere."""
    made.write_task(tmp_path / "tasks", "gsm8k_local", questions(2))
    ask(tmp_path / "tasks", ["gsm8k_local"], tmp_path / "runs", max_new_tokens=2)
    said = capfd.readouterr()
    assert "Generating" not in said.err and "it/s" not in said.err and "%|" not in said.err
    from tqdm import tqdm

    list(tqdm([1], desc="afterwards"))
    assert "afterwards" in capfd.readouterr().err


def test_a_prompt_that_is_too_long_is_named(tmp_path: Path) -> None:
    rows = [*questions(1), {"question": "apple " * 1000, "answer": "#### 1"}]
    made.write_task(tmp_path / "tasks", "gsm8k_local", rows)
    with pytest.raises(BadInput, match=r"gsm8k_local: 1 of 2 prompts do not fit.*sample 1\).*--num-fewshot"):
        ask(tmp_path / "tasks", ["gsm8k_local"], tmp_path / "runs")


def test_right_or_wrong() -> None:
    """Only what the metric itself makes a truth value; an F1 of 1.0 is a number."""
    assert [correct("exact_match", v) for v in (1.0, 0, True)] == [True, False, True]
    assert [correct("f1", v) for v in (1.0, 0.0, 0.5)] == [None, None, None]
    assert correct("prompt_level_strict_acc", False) is False
    assert correct("inst_level_strict_acc", [True]) is None
