"""The `server` engine against a real vLLM server on this machine, and log-likelihoods by vLLM in both ways.

`make test-vllm` runs these. The server is the module that `vllm serve` runs: the command itself asks for the version
of a package named vllm, which the build for processors does not have.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import httpx2
import pytest

from bench import engines
from bench.engines import served
from bench.engines.contract import Completion, Continuation, Engine, Likelihood, Request
from bench.engines.retry import Retry
from bench.engines.server import ServerEngine
from bench.engines.vllm import installed
from bench.models.checkpoint import locate
from tasks.contract import Sampling
from tests.bench.command import bench_json
from tests.helpers import logprobs

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.skipif(installed() is None, reason="vLLM is not installed: make vllm"),
]
MODEL = "zoo:l2s-expert"
CONTEXT = 256  # of the server; the checkpoint's own is 512
STARTS_WITHIN = 400.0  # seconds; half a minute on a machine that does nothing else
PROMPTS = [f"Q: What is {a} {op} {b}?\nA:" for a, b in ((3, 4), (12, 7), (25, 6)) for op in ("plus", "times")]
WARM = Sampling(max_new_tokens=40, temperature=1.0, top_p=0.95)


class Server:
    """A vLLM server of one model in a process group of its own."""

    def __init__(self, log: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url, self.log, self.process = f"http://127.0.0.1:{self.port}/v1", log, None

    def start(self) -> None:
        """Start it, without waiting."""
        command = [
            sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(locate(MODEL)),
            "--served-model-name", "expert", "--host", "127.0.0.1", "--port", str(self.port), "--dtype", "float32",
            "--max-model-len", str(CONTEXT), "--max-num-seqs", "16", "--enforce-eager",
        ]  # fmt: skip
        settings = {"VLLM_CPU_KVCACHE_SPACE": "1", "HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1"}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, env={**os.environ, **settings}, start_new_session=True
            )

    def wait(self) -> None:
        """Until it answers; fails with its log when it has ended or takes too long."""
        until = time.monotonic() + STARTS_WITHIN
        while time.monotonic() < until and self.process is not None and self.process.poll() is None:
            try:
                if httpx2.get(f"{self.url}/models", trust_env=False).status_code == 200:
                    return
            except httpx2.TransportError:
                time.sleep(0.5)
        pytest.fail(f"the server did not start:\n{self.log.read_text()[-3000:]}")

    def kill(self) -> None:
        """Kill it and the processes that it started."""
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = Server(tmp_path_factory.mktemp("vllm") / "server.log")
    running.start()
    running.wait()
    yield running
    running.kill()


@pytest.fixture
def engine(server: Server) -> ServerEngine:
    loaded = engines.load(
        "server", locate(MODEL), server_url=server.url, served_model="expert", concurrency=8
    )
    assert isinstance(loaded, ServerEngine)
    return loaded


@pytest.fixture(scope="module")
def reference() -> Engine:
    return engines.load("hf", locate(MODEL), dtype="float32")


def answers(engine: Engine, asked: Sequence[Request]) -> dict[str, Completion]:
    finished = [completion for group in engine.generate(asked) for completion in group]
    assert sorted(c.request.id for c in finished) == sorted(r.id for r in asked)
    return {completion.request.id: completion for completion in finished}


def pool(n: int, sampling: Sampling = WARM) -> list[Request]:
    return [Request(f"k{k}", PROMPTS[0], sampling, seed=2**62 + k) for k in range(n)]


def test_a_sampled_response_has_its_log_probability_before_temperature_and_top_p(
    engine: ServerEngine, reference: Engine
) -> None:
    warm = Sampling(60, temperature=0.6, top_p=0.9)
    assert logprobs.check(engine, reference, pool(12, warm)) == {True, False}
    assert {one.logprob_sum for one in answers(engine, pool(1, Sampling(8))).values()} == {None}


def test_who_it_is_is_asked(server: Server, engine: ServerEngine) -> None:
    assert engines.engine_identity("server", locate(MODEL), server_url=server.url, served_model="expert") == (
        "server:vllm",
        "unstated",
    )
    assert (engine.served.name, engine.context) == ("expert", CONTEXT)


@pytest.mark.parametrize("stop", [(), ("Wait", "\n\n"), ("<eos>",)])
def test_greedy_answers_are_those_of_hf_in_every_field(
    engine: ServerEngine, reference: Engine, stop: tuple[str, ...]
) -> None:
    asked = [
        Request(f"{index}/{budget}", prompt, Sampling(budget, stop=stop), seed=index)
        for index, prompt in enumerate(PROMPTS)
        for budget in (3, 60, 180)
    ]
    assert answers(engine, asked) == answers(reference, asked)


def test_the_budget_is_what_the_servers_context_leaves(engine: ServerEngine) -> None:
    [one] = answers(engine, [Request("r", "1" * 250, Sampling(100), seed=0)]).values()
    assert one.budget == 6
    assert one.n_generated <= 6


def test_a_seed_belongs_to_a_sample(engine: ServerEngine) -> None:
    few, many = answers(engine, pool(4)), answers(engine, pool(12))
    assert len({one.text for one in many.values()}) > 6
    assert {key: many[key].text for key in few} == {key: one.text for key, one in few.items()}


def test_a_server_that_is_killed_and_comes_back_loses_nothing(server: Server) -> None:
    found = served.served(server.url, "expert", locate(MODEL))
    patient = ServerEngine(locate(MODEL), found, concurrency=4, retry=Retry(patience=STARTS_WITHIN))
    asked = [Request(f"r{k}", PROMPTS[k % 6], Sampling(60), seed=k) for k in range(40)]
    whole = answers(patient, asked)
    finished: dict[str, Completion] = {}
    killed_after = 0
    for group in patient.generate(asked):
        finished |= {one.request.id: one for one in group}
        if not killed_after and len(finished) >= 10:
            killed_after = len(finished)
            server.kill()
            server.start()
            server.wait()
    assert 10 <= killed_after < 40
    assert {key: one.text for key, one in finished.items()} == {key: one.text for key, one in whole.items()}


def test_the_command_line_evaluates_over_it_and_does_nothing_twice(server: Server, tmp_path: Path) -> None:
    command = (
        "eval", "--model", MODEL, "--suite", "mini_gsm", "--limit", "12", "--engine", "server", "--server-url",
        server.url, "--served-model", "expert", "--concurrency", "4", "--dtype", "float32", "--max-new-tokens", "60",
    )  # fmt: skip
    first, again = bench_json(*command, cwd=tmp_path), bench_json(*command, cwd=tmp_path)
    assert "12 responses generated" in str(first["report"])
    assert "all 12 responses reused" in str(again["report"])


PAIRS = [
    ("Q: Tom has 5 apples and eats 2.\nA:", " 3"), ("Q: Tom has 5 apples and eats 2.\nA:", " 12*4=48. Wait, check"),
    ("Q: 5+5=?\nA: ", "10"), ("", "Q: 3"), ("<eos>Q:", " 3"), ("Tom", " has"),
]  # fmt: skip


def likelihoods(engine: Engine) -> list[Likelihood]:
    asked = [Continuation(str(number), *pair) for number, pair in enumerate(PAIRS)]
    found = {one.request.id: one for group in engine.loglikelihood(asked) for one in group}
    return [found[str(number)] for number in range(len(PAIRS))]


def by_vllm() -> Engine:
    return engines.load("vllm", locate(MODEL), dtype="float32", batch_size=16)


@pytest.mark.parametrize("other", ["server", "vllm"])
def test_likelihoods_are_those_of_hf(engine: ServerEngine, reference: Engine, other: str) -> None:
    make: Callable[[], Engine] = by_vllm if other == "vllm" else lambda: engine
    loaded = make()
    try:
        got, expected = likelihoods(loaded), likelihoods(reference)
    finally:
        loaded.close()
    assert [one.log_probability for one in got] == pytest.approx(
        [e.log_probability for e in expected], abs=1e-3
    )
    assert [(one.is_greedy, one.n_tokens) for one in got] == [(e.is_greedy, e.n_tokens) for e in expected]
