"""The `vllm` engine against the `hf` engine and against what vLLM is asked for: it really generates.

`make test-vllm` runs these. Both engines compute in float32 here, so that greedy tokens must be the same.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench import engines
from bench.engines.contract import Completion, Engine, Request
from bench.engines.vllm import VLLMEngine, installed
from bench.errors import BadInput
from bench.models.checkpoint import locate
from results.store import Store
from tasks.contract import Sampling
from tests.bench import tiny
from tests.bench.command import BENCH, bench, bench_json, environment
from tests.helpers import logprobs

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.skipif(installed() is None, reason="vLLM is not installed: make vllm"),
]
PROMPTS = [
    f"What is {a} {op} {b}?" for a, b in ((3, 4), (12, 7), (25, 6), (9, 9)) for op in ("plus", "times")
]
PROMPTS += ["12 + 7 =", "Tom has 5 apples and eats 2.", "a b c", "x"]


@pytest.fixture(scope="module")
def engine() -> Iterator[VLLMEngine]:
    loaded = engines.load("vllm", locate("zoo:l2s-expert"), dtype="float32", batch_size=64)
    assert isinstance(loaded, VLLMEngine)
    yield loaded
    loaded.close()
    loaded.close()  # twice does no harm


@pytest.fixture(scope="module")
def reference() -> Engine:
    return engines.load("hf", locate("zoo:l2s-expert"), dtype="float32")


def alive(token: str, *, worker: bool = False) -> set[int]:
    """Processes with `token` in their environment; with `worker` only those that call themselves VLLM::..."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            marked = f"TOKEN={token}".encode() in (folder / "environ").read_bytes().split(b"\0")
            named = (folder / "cmdline").read_bytes().startswith(b"VLLM::")
        except OSError:  # another user's, or gone
            continue
        if marked and (named or not worker):
            found.add(int(folder.name))
    return found


def until(condition: Callable[[], bool], seconds: float) -> bool:
    """Wait for a condition; whether it came true."""
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.1)
    return condition()


def answers(engine: Engine, asked: Sequence[Request]) -> dict[str, Completion]:
    finished = [completion for group in engine.generate(asked) for completion in group]
    assert sorted(c.request.id for c in finished) == sorted(r.id for r in asked)
    return {completion.request.id: completion for completion in finished}


def pool(n: int, sampling: Sampling, prompt: str = "What is 3 times 4?", *, first: int = 0) -> list[Request]:
    return [Request(f"k{k}", prompt, sampling, seed=2**62 + k) for k in range(first, n)]


@pytest.mark.parametrize("stop", [(), ("Wait", "\n\n"), ("<eos>",)])
def test_greedy_answers_are_those_of_hf_in_every_field(
    engine: VLLMEngine, reference: Engine, stop: tuple[str, ...]
) -> None:
    budgets = (40, 200, 1000)  # the last is more than the context of 512
    asked = [
        Request(f"{index}/{budget}", prompt, Sampling(budget, stop=stop), seed=index)
        for index, prompt in enumerate(PROMPTS)
        for budget in budgets
    ]
    got, expected = answers(engine, asked), answers(reference, asked)
    assert got == expected
    assert {answer.finish_reason for answer in got.values()} == (
        {"stop"} if "Wait" in stop else {"stop", "length"}
    )
    assert any(answer.budget < answer.request.sampling.max_new_tokens for answer in got.values())


def test_more_samples_change_none_of_the_first(engine: VLLMEngine) -> None:
    sampling = Sampling(48, temperature=0.9, top_p=0.95)
    few, many = answers(engine, pool(4, sampling)), answers(engine, pool(8, sampling))
    assert {key: many[key].text for key in few} == {key: answer.text for key, answer in few.items()}
    assert len({answer.text for answer in many.values()}) > 4


def test_a_child_has_the_seed_it_would_have_alone(engine: VLLMEngine) -> None:
    sampling = Sampling(48, temperature=0.9)
    together = answers(engine, pool(6, sampling))
    for request in pool(6, sampling):
        assert answers(engine, [request])[request.id].text == together[request.id].text
    later = answers(engine, pool(6, sampling, first=4))  # as after raising n from 4 to 6
    assert {key: answer.text for key, answer in later.items()} == {
        key: together[key].text for key in ("k4", "k5")
    }


def test_samples_of_a_question_share_its_prefill(engine: VLLMEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    prompt = "Add these: " + " ".join(str(number) for number in range(100, 180))
    length = len(engine.tokenizer(prompt)["input_ids"])
    assert 256 < length < 500
    cached: list[int] = []
    step = engine.process.step

    def watched() -> list[Any]:
        outputs = step()
        cached.extend(output.num_cached_tokens for output in outputs)
        return outputs

    monkeypatch.setattr(engine.process, "step", watched)
    answers(engine, pool(8, Sampling(1, temperature=1.0), prompt))
    # The first one computes the prompt; the others take from it what fills whole blocks of the cache.
    assert len(cached) == 8 and sum(tokens > length / 2 for tokens in cached) == 7


def test_sampling_follows_the_distribution_of_the_model(engine: VLLMEngine, reference: Any) -> None:
    import torch

    n, sampling = 1500, Sampling(1, temperature=1.3, top_p=0.9)
    prompt = "What is 3 times 4?"
    first = answers(engine, pool(n, sampling, prompt))
    with torch.inference_mode():
        ids = torch.tensor([reference.tokenizer(prompt)["input_ids"]])
        logits = reference.model(ids).logits[0, -1].double()
    probabilities, order = torch.softmax(logits / sampling.temperature, -1).sort(descending=True)
    kept = probabilities * (probabilities.cumsum(0) - probabilities < sampling.top_p)
    expected: dict[str, float] = {}
    for p, token in zip((kept / kept.sum()).tolist(), order.tolist(), strict=True):
        text = reference.tokenizer.decode([token], skip_special_tokens=True).strip()
        expected[text] = expected.get(text, 0.0) + p
    for text, p in sorted(expected.items(), key=lambda item: -item[1])[:8]:
        seen = sum(answer.text == text for answer in first.values()) / n
        assert abs(seen - p) < 5 * (p * (1 - p) / n) ** 0.5 + 1e-9
    assert {answer.text for answer in first.values()} <= {text for text, p in expected.items() if p > 0}


def test_a_sampled_response_has_its_log_probability_before_temperature_and_top_p(
    engine: VLLMEngine, reference: Any
) -> None:
    warm = Sampling(60, temperature=0.6, top_p=0.9)
    assert logprobs.check(engine, reference, pool(12, warm)) == {True, False}
    assert logprobs.check(engine, reference, pool(4, replace(warm, stop=(".",)))) <= {True, False}
    assert {one.logprob_sum for one in answers(engine, pool(2, Sampling(8))).values()} == {None}


def test_responses_come_as_they_finish_and_a_pool_is_not_held_back(engine: VLLMEngine) -> None:
    groups = [
        [completion.n_generated for completion in group]
        for group in engine.generate(pool(16, Sampling(200, temperature=1.0)))
    ]
    assert len(groups) > 3
    assert max(groups[0]) < max(groups[-1])


def test_who_stops_listening_leaves_nothing_running(engine: VLLMEngine) -> None:
    generating = engine.generate(pool(64, Sampling(400, temperature=1.0)))
    next(generating)
    generating.close()  # type: ignore[attr-defined]
    assert not engine.process.engine.has_unfinished_requests()
    assert len(answers(engine, pool(2, Sampling(4)))) == 2


def test_a_prompt_that_fills_the_context_is_refused_before_work(engine: VLLMEngine) -> None:
    with pytest.raises(BadInput, match="does not fit: the model's context is 512"):
        next(iter(engine.generate([Request("r", "1 " * 600, Sampling(4), seed=0)])))


def test_labels_are_refused(engine: VLLMEngine) -> None:
    with pytest.raises(BadInput, match="chooses no labels: take --engine hf"):
        engine.classify([], Path("."))
    with pytest.raises(BadInput, match="chooses no labels: take --engine"):
        engines.check_engine("vllm", labels=True)


def test_identity_is_known_without_loading_and_is_what_gets_loaded(engine: VLLMEngine) -> None:
    path = locate("zoo:l2s-expert")
    assert engines.engine_identity("vllm", path, dtype="float32") == (engine.family, engine.dtype)
    stored = json.loads((path / "config.json").read_text())["dtype"]
    assert engines.engine_identity("vllm", path) == ("vllm", stored)


def test_auto_knows_the_architectures_that_vllm_knows() -> None:
    from vllm import ModelRegistry

    from bench.engines.auto import known_architectures

    known = known_architectures()
    assert len(known) > 100 and known <= set(ModelRegistry.get_supported_archs())
    assert {"Qwen2ForCausalLM", "LlamaForCausalLM"} <= known


def test_auto_takes_vllm_for_a_large_model_only(tmp_path: Path) -> None:
    small = tiny.write(tmp_path / "small")
    name, why = engines.chosen("auto", small)
    assert name == "hf" and "million parameters" in str(why)
    large = tiny.write(tmp_path / "large", vocab_size=800_000)
    assert engines.chosen("auto", large)[0] == "vllm"
    assert engines.chosen("auto", large, labels=True)[0] == "hf"
    config = json.loads((large / "config.json").read_text())
    (large / "config.json").write_text(json.dumps({**config, "architectures": ["UnheardOfForCausalLM"]}))
    name, why = engines.chosen("auto", large)
    assert name == "hf" and "UnheardOfForCausalLM" in str(why)
    with pytest.raises(BadInput, match="auto takes hf .* does not take --tensor-parallel"):
        engines.load("auto", small, tensor_parallel=2)


def test_what_vllm_cannot_load_is_refused_with_its_reason(tmp_path: Path) -> None:
    import psutil

    path = tiny.write(tmp_path / "model")
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps({**config, "intermediate_size": 96}))
    before = set(psutil.Process().children(recursive=True))
    with pytest.raises(BadInput, match=r"vLLM cannot load .*Qwen2ForCausalLM\): .*Error.*--engine hf"):
        engines.load("vllm", path)
    left = set(psutil.Process().children(recursive=True)) - before
    assert not [process for process in left if "resource_tracker" not in " ".join(process.cmdline())]


def test_a_merge_opens_and_answers_as_with_hf(tmp_path: Path) -> None:
    out = tmp_path / "merge"
    bench("merge", "--method", "ties", "--base", "zoo:l2s-base", "--expert", "zoo:l2s-expert",
          "--out", out, "--runs", tmp_path / "runs", cwd=tmp_path)  # fmt: skip
    asked = [Request(prompt, prompt, Sampling(40), seed=0) for prompt in PROMPTS]
    loaded = engines.load("vllm", out, dtype="float32")
    try:
        assert answers(loaded, asked) == answers(engines.load("hf", out, dtype="float32"), asked)
    finally:
        loaded.close()


def test_the_road_with_vllm_is_quiet_leaves_nothing_behind_and_reuses(tmp_path: Path) -> None:
    words = ("eval", "--engine", "vllm", "--model", "zoo:l2s-base", "--suite", "mini_gsm", "--limit", "3",
             "--max-new-tokens", "16", "--runs", "runs")  # fmt: skip
    (scratch := tmp_path / "scratch").mkdir()
    token = uuid.uuid4().hex
    done = bench(*words, "--json", cwd=tmp_path, TMPDIR=str(scratch), TOKEN=token)
    report = json.loads(done.stdout)
    assert "3 responses generated" in report["report"][0]
    assert "vllm" not in done.stderr.lower() and "INFO" not in done.stderr, done.stderr
    assert not list(scratch.glob("vllm-*.log"))
    assert until(lambda: not alive(token), 10), alive(token)
    again = bench_json(*words, cwd=tmp_path)
    assert "all 3 responses reused" in again["report"][0]


@pytest.mark.parametrize("moment", ["while it loads", "while it answers"])
def test_a_killed_run_leaves_no_process_of_vllm(tmp_path: Path, moment: str) -> None:
    token = uuid.uuid4().hex
    process = subprocess.Popen(
        [
            *BENCH,
            "eval",
            "--engine",
            "vllm",
            "--model",
            "zoo:l2s-base",
            "--suite",
            "mini_gsm",
            "--runs",
            "runs",
        ],
        cwd=tmp_path,
        env=environment(TMPDIR=str(tmp_path), TOKEN=token),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    if moment == "while it loads":
        assert until(lambda: bool(alive(token, worker=True)), 300)
    else:
        spools = tmp_path / "runs" / "spool"
        assert until(lambda: any(b'"responses"' in f.read_bytes() or b"response_id" in f.read_bytes()
                                 for f in spools.rglob("*") if f.is_file()), 300)  # fmt: skip
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert until(lambda: not alive(token), 30), alive(token)


def test_prompts_that_exceed_a_step_are_not_split(engine: VLLMEngine, reference: Any) -> None:
    """On a processor a seeded request whose prompt was split ended vLLM; so do a thousand prompts fill many steps."""
    settings = engine.process.engine.vllm_config.scheduler_config
    long = "What is " + " plus ".join(["12"] * 40) + "?"
    n = settings.max_num_batched_tokens // len(reference.tokenizer(long)["input_ids"]) * 3
    asked = [Request(f"s{k}", f"{k} {long}", Sampling(2, temperature=1.0), seed=k) for k in range(n)]
    assert len(answers(engine, asked)) == n


def test_when_vllm_dies_its_log_stays_and_the_same_command_goes_on(tmp_path: Path) -> None:
    words = ("eval", "--engine", "vllm", "--model", "zoo:l2s-base", "--suite", "mini_gsm", "--runs", "runs")
    token = uuid.uuid4().hex
    process = subprocess.Popen(
        [*BENCH, *words],
        cwd=tmp_path,
        env=environment(TMPDIR=str(tmp_path), TOKEN=token),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    spools = tmp_path / "runs" / "spool"
    assert until(lambda: any(b"response_id" in f.read_bytes() for f in spools.rglob("*") if f.is_file()), 300)
    for worker in alive(token, worker=True):
        os.kill(worker, signal.SIGKILL)
    said = process.communicate(timeout=120)[1]
    assert process.returncode == 2 and "Traceback" not in said
    [log] = tmp_path.glob("vllm-*.log")
    assert "error: vLLM broke off on " in said and str(log) in said and "goes on with the others" in said
    assert "for want of memory" in said, said
    again = bench_json(*words, cwd=tmp_path)["report"][0]
    assert "500" not in again.split(" responses")[0] and " 0 reused" not in again, again


def test_a_tie_of_stored_responses_goes_to_the_more_probable_answer(tmp_path: Path) -> None:
    """Two samples that differ are a tie; by hand from the rows, without the code that votes."""
    bench("eval", "--engine", "vllm", "--dtype", "float32", "--model", "zoo:l2s-base", "--suite", "mini_aime",
          "--limit", "60", "--samples", "2", "--runs", "runs", cwd=tmp_path)  # fmt: skip
    store = Store(tmp_path / "runs" / "leaderboard.duckdb")
    rows = store.rows(
        "SELECT sample_id, vote, correct, logprob_sum AS p FROM responses JOIN verdicts USING (response_id) "
        "WHERE draw = 'pool' ORDER BY sample_id, sample_index"
    )
    assert len(rows) == 120 and all(row["p"] < 0 for row in rows)
    assert store.rows("SELECT count(logprob_sum) AS n FROM responses WHERE draw = 'greedy'") == [{"n": 0}]
    right, decided = 0, 0
    for one, two in zip(rows[::2], rows[1::2], strict=True):
        first = one if one["vote"] is not None else two
        tied = None not in (one["vote"], two["vote"]) and one["vote"] != two["vote"]
        winner = two if tied and two["p"] > one["p"] else first
        decided += winner is two and tied
        right += bool(winner["correct"] and winner["vote"] is not None)
    assert decided > 5, "the rule had something to decide"
    [score] = store.rows("SELECT value FROM current_scores WHERE metric = 'maj@2'")
    assert score["value"] == pytest.approx(right / 60)
