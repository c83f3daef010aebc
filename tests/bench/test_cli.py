"""The command contract: what scripts rely on. Every command is a real process on the embedded zoo."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path

import pytest

from results.store import Store
from tests.bench.command import BENCH, bench, bench_json, environment

PAIR = ("--base", "zoo:l2s-base", "--expert", "zoo:l2s-expert")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("run", "--method", "fim_tie"), "Did you mean 'fim_ties'?"),
        (("run", "--method", "ties", "--suite", "mini_l2"), "Did you mean 'mini_l2s'?"),
        (("run", "--method", "ties", "--models", "mini_l3s"), "Did you mean 'mini_l2s'?"),
        (("run", "--method", "ties", "--set", "kep=0.3"), "Did you mean 'keep'?"),
        (("run", "--method", "ties", "--set", "keep=1.5"), "less than or equal to 1"),
        (("run", "--method", "ties", "--set", "keep=lots"), "keep='lots' is not allowed"),
        (("run", "--method", "ties", "--set", "k=0.3"), "use --set keep="),
        (("run", "--method", "ties", "--set", "keep"), "is not name=value"),
        (("run", "--method", "ties@l2", "--suite", "mini_gsm"), "Did you mean 'l2s'?"),
        (("run", "--method", "ties", "--split", "tset"), "Did you mean 'test'?"),
        (("run", "--method", "ties", "--engine", "hff"), "Did you mean 'hf'?"),
        (("run", "--method", "ties", "--base", "zoo:l2s-bse", *PAIR[2:]), "Did you mean 'l2s-base'?"),
        (("run", "--method", "ties", "--base", "zoo:l2s-base"), "--base and --expert go together"),
        (("run", "--method", "ties", "--suite", "gsm8k"), "no model set of its own"),
        (("run", "--method", "fim_ties", *PAIR[:3], "zoo:l2s-expert:0.5"), "takes no expert weights"),
        (("merge", "--method", "ties", "--base", "./none", "--expert", "./none", "--out", "o"), "does not exist"),
        (("merge", "--method", "ties", *PAIR, "--data", "x.jsonl", "--out", "o"), "needs no data"),
        (("merge", "--method", "ties", *PAIR, "--private", "--out", "o"), "--push-to-hub NAME too"),
        (("plan", "--mergekit", "x.yml", "--models", "mini_l2s"), "leave out --models"),
        (("run", "--method", "ties", "--data-split", "trian"), "train or validation, never of 'trian'"),
        (("eval", "--suite", "mini_gsm"), "name what to evaluate"),
        (("eval", "--suite", "mini_gsm", "--rescore"), "nothing is stored"),
        (("table", "mini_l2z"), "Did you mean 'mini_l2s'?"),
        (("table", "aime24", "--grader", "strickt"), "Did you mean 'strict'?"),
        (("table", "aime24", "--prompt-mode", "chatt"), "Did you mean 'chat'?"),
        (("methods", "tie"), "Did you mean 'ties'?"),
    ],
)  # fmt: skip
def test_bad_input_exits_with_2_and_says_what_to_do(
    words: tuple[str, ...], said: str, tmp_path: Path
) -> None:
    done = bench(*words, cwd=tmp_path, code=2)
    assert said in done.stderr, done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: "), "what is wrong is the last that is said"
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.glob("runs/merges/*")), "something was merged before the refusal"


def test_an_empty_table_says_what_was_asked(tmp_path: Path) -> None:
    done = bench("table", "aime24", "--grader", "strict", "--prompt-mode", "chat", cwd=tmp_path)
    assert "No rows for aime24 (test split) yet: `bench run --suite aime24` makes some." in done.stderr


def test_unknown_option_is_bad_input(tmp_path: Path) -> None:
    assert "No such option" in bench("run", "--methd", "ties", cwd=tmp_path, code=2).stderr


def test_merge_writes_a_checkpoint_once(tmp_path: Path) -> None:
    words = ("merge", "--method", "task_arithmetic", *PAIR, "--set", "lambda=0.5", "--out", "merged")
    assert "Wrote" in bench(*words, cwd=tmp_path).stdout
    written = (tmp_path / "merged" / "model.safetensors").stat().st_mtime_ns
    again = bench_json(*words, cwd=tmp_path)
    assert again["reused"] is True
    assert (tmp_path / "merged" / "model.safetensors").stat().st_mtime_ns == written
    other = bench(*words[:-3], "lambda=0.6", "--out", "merged", cwd=tmp_path, code=2)
    assert "holds another merge" in other.stderr


def test_expert_weight_scales_the_task_vector(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    out = {}
    for name, expert, scale in (
        ("weighted", "zoo:l2s-expert:0.5", "0.8"),
        ("plain", "zoo:l2s-expert", "0.4"),
    ):
        bench("merge", "--method", "task_arithmetic", *PAIR[:3], expert, "--set", f"lambda={scale}",
              "--set", "out_dtype=float32", "--out", name, cwd=tmp_path)  # fmt: skip
        out[name] = load_file(tmp_path / name / "model.safetensors")
    for name, tensor in out["plain"].items():
        assert (tensor - out["weighted"][name]).abs().max() < 1e-6


def test_run_records_reuses_and_rescores(tmp_path: Path) -> None:
    words = (
        "run",
        "--method",
        "ties,task_arithmetic",
        "--suite",
        "mini_gsm",
        "--limit",
        "12",
        "--db",
        "my.duckdb",
    )
    first = bench_json(*words, cwd=tmp_path)
    kinds = [row["kind"] for row in first["board"]["rows"]]
    assert kinds == ["base", "expert", "merged", "merged"]
    cell = first["board"]["rows"][0]["cells"]["mini_gsm"]
    assert (cell["n"], cell["expected_n"] >= 500) == (12, True)

    store = Store(tmp_path / "my.duckdb")
    assert store.rows("SELECT count(*) AS n FROM responses")[0]["n"] == 4 * 12
    verdicts = store.rows("SELECT count(*) AS n FROM verdicts")[0]["n"]

    second = bench(*words, cwd=tmp_path)
    assert "merge reused" in second.stderr and "all 12 responses reused" in second.stderr
    assert store.rows("SELECT count(*) AS n FROM responses")[0]["n"] == 4 * 12

    again = bench(
        "eval", "--suite", "mini_gsm", "--limit", "12", "--rescore", "--db", "my.duckdb", cwd=tmp_path
    )
    assert "12 graded" in again.stderr
    assert store.rows("SELECT count(*) AS n FROM verdicts")[0]["n"] == 2 * verdicts
    assert store.rows("SELECT count(*) AS n FROM responses")[0]["n"] == 4 * 12


def test_a_merged_folder_is_evaluated_in_its_parents_set(tmp_path: Path) -> None:
    bench("merge", "--method", "ties", *PAIR, "--out", "merged", cwd=tmp_path)
    report = bench_json("eval", "--model", "merged", "--suite", "mini_gsm", "--limit", "3", cwd=tmp_path)
    (row,) = report["board"]["rows"]
    assert (row["model_set"], row["kind"], row["method"]) == ("mini_l2s", "merged", "ties")


def test_real_problems_from_a_local_folder(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "gsm8k"
    folder.mkdir(parents=True)
    problems = [
        {"question": f"Ann has {n} pens and buys 2. How many?", "answer": f"{n}+2\n#### {n + 2}"}
        for n in (3, 5)
    ]
    (folder / "test.jsonl").write_text("".join(json.dumps(p) + "\n" for p in problems))
    words = (
        "run",
        "--method",
        "ties",
        "--suite",
        "gsm8k",
        *PAIR,
        "--data-dir",
        "data",
        "--max-new-tokens",
        "8",
    )
    board = bench_json(*words, cwd=tmp_path)["board"]
    assert [row["cells"]["gsm8k"]["n"] for row in board["rows"]] == [2, 2, 2]
    again = bench(*words[:-3], "data/gsm8k", "--max-new-tokens", "8", cwd=tmp_path)
    assert "all 2 responses reused" in again.stderr


def test_listings_are_json(tmp_path: Path) -> None:
    methods = {row["method"]: row for row in bench_json("methods", cwd=tmp_path)}
    assert {"average", "fim_ties", "task_arithmetic", "ties"} < set(methods)
    assert methods["ties"]["reconstructed"] == "no" and "our reading" in methods["fim_ties"]["reconstructed"]
    details = bench_json("methods", "ties", cwd=tmp_path)["parameters"]
    keep = next(p for p in details if p["parameter"] == "keep")
    assert keep["default"] == "0.2" and keep["default from"] and keep["allowed"] == "float, > 0, <= 1"
    shared = [p["shared"] for p in details]
    assert shared == sorted(shared) and not shared[0] and shared[-1], "a method's own parameters come first"
    embeddings = next(p for p in details if p["parameter"] == "embeddings")
    assert embeddings["allowed"] == "merge | base | expert:<i>"
    suites = {(row["suite"], row["benchmark"]) for row in bench_json("suites", cwd=tmp_path)}
    assert {("mini_l2s", "mini_gsm"), ("mini_l2s", "mini_aime"), ("l2s", "gsm8k")} <= suites
    assert "mini_l2s" in {row["models"] for row in bench_json("models", cwd=tmp_path)}
    plan = bench_json("plan", "--method", "fim_ties", cwd=tmp_path)
    assert plan["n_parameters"] > 0 and plan["needs"] == ["Fisher on random tokens of the base"]
    assert bench_json("table", "mini_l2s", cwd=tmp_path)["board"]["rows"] == []
    assert all(check["found"] for check in bench_json("doctor", cwd=tmp_path))


def test_ctrl_c_ends_with_a_sentence_and_keeps_what_was_finished(tmp_path: Path) -> None:
    command = [*BENCH, "eval", "--model", "zoo:l2s-expert", "--suite", "mini_aime", "--batch-size", "16"]
    process = subprocess.Popen(command, cwd=tmp_path, env=environment(), stderr=subprocess.PIPE, text=True)
    spool = tmp_path / "runs" / "spool"
    deadline = time.monotonic() + 120
    while not any(path.stat().st_size > 20_000 for path in spool.glob("*.jsonl")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Interrupted" in said and "Traceback" not in said
    assert (
        Store(tmp_path / "runs" / "leaderboard.duckdb").rows("SELECT count(*) AS n FROM responses")[0]["n"]
        > 0
    )


def test_the_listing_of_methods_fits_eighty_columns_and_marks_reconstructions(tmp_path: Path) -> None:
    said = bench("methods", cwd=tmp_path, COLUMNS="80").stdout
    assert "fim_ties †" in said and "ties †" not in said.replace("fim_ties †", "").replace("acm_ties †", "")
    assert "† its definition had to be reconstructed" in said
    said = bench("methods", "fim_ties", cwd=tmp_path, COLUMNS="80").stdout
    assert "† Reconstructed:" in said
    assert said.index("parameters of fim_ties") < said.index("what every method lets you choose")
