"""The `server` engine against a server that fails in every way that a real one does."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from bench import engines
from bench.as_is import evaluate_models
from bench.engines import retry, served
from bench.engines import server as server_file
from bench.engines.contract import Completion, EngineOptions, Request
from bench.engines.gathering import as_finished
from bench.engines.retry import Retry
from bench.engines.server import ServerEngine
from bench.errors import BadInput
from bench.suites import EvalOptions
from tasks.contract import Sampling
from tests.bench import tiny
from tests.helpers.completions import Completions, Fault, completions

QUICK = Retry(first=0.02, most=0.1, patience=5.0)
GREEDY = Sampling(max_new_tokens=40)
Serve = Callable[..., Completions]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write(tmp_path_factory.mktemp("model"))


@pytest.fixture
def serve(checkpoint: Path) -> Iterator[Serve]:
    """Starts servers that pretend to serve the tiny checkpoint."""
    tokenizer, running = AutoTokenizer.from_pretrained(checkpoint), []

    def start(**settings: Any) -> Completions:
        context = completions(tokenizer, **settings)
        running.append(context)
        return context.__enter__()

    served.served.cache_clear()
    yield start
    for context in running:
        context.__exit__(None, None, None)


def engine(path: Path, state: Completions, **settings: Any) -> ServerEngine:
    found = served.served(state.url, settings.pop("served_model", None), path)
    return ServerEngine(path, found, **{"concurrency": 4, "retry": QUICK, **settings})


def requests(prompts: Sequence[str], sampling: Sampling = GREEDY) -> list[Request]:
    return [Request(f"r{k}", prompt, sampling, seed=2**62 + k) for k, prompt in enumerate(prompts)]


def answers(engine: ServerEngine, asked: Sequence[Request]) -> dict[str, Completion]:
    """By prompt, in the order asked: they finish in any."""
    found = {one.request.prompt: one for group in engine.generate(asked) for one in group}
    return {one.prompt: found[one.prompt] for one in asked if one.prompt in found}


PROMPTS = [f"prompt{k}" for k in range(12)]
BACKWARDS = {prompt: prompt[::-1] for prompt in PROMPTS}


def texts(found: dict[str, Completion]) -> dict[str, str]:
    return {prompt: one.text for prompt, one in found.items()}


@pytest.mark.parametrize(
    "fault",
    ["drop", "half", "hang", (500, {}, {"error": {"message": "boom"}}), (503, {}, "not yet"), (200, {}, "no JSON"),
     (200, {}, {"choices": [{"text": "", "finish_reason": "abort"}]})],
    ids=str,
)  # fmt: skip
def test_what_may_pass_is_tried_again(checkpoint: Path, serve: Serve, fault: Fault) -> None:
    state = serve(fault=lambda prompt, n: fault if prompt[-1] in "37" and n <= 2 else None)
    found = answers(engine(checkpoint, state, timeout=0.5), requests(PROMPTS))
    assert texts(found) == BACKWARDS
    assert dict(state.attempts) == {p: 3 if p[-1] in "37" else 1 for p in PROMPTS}


@pytest.mark.parametrize("as_date", [False, True])
def test_a_busy_server_is_given_the_time_that_it_asks_for(
    checkpoint: Path, serve: Serve, as_date: bool
) -> None:
    came: list[float] = []

    def busy(prompt: str, attempt: int) -> Fault:
        came.append(time.time())
        later = format_datetime(datetime.now(UTC) + timedelta(seconds=3), usegmt=True)
        return (429, {"Retry-After": later if as_date else "1.5"}, "slow down") if attempt == 1 else None

    state = serve(fault=busy)
    assert texts(answers(engine(checkpoint, state), requests(["abc"]))) == {"abc": "cba"}
    assert 1.4 < came[1] - came[0] < 3.5, "a date has whole seconds"


def test_a_wait_longer_than_patience_ends_at_once_and_says_so(checkpoint: Path, serve: Serve) -> None:
    state = serve(fault=lambda prompt, n: (429, {"Retry-After": "600"}, {"error": {"message": "quota"}}))
    with pytest.raises(
        BadInput, match="1 attempts in 0 s, the last one: HTTP 429 quota and asks to wait 600 s"
    ):
        answers(engine(checkpoint, state), requests(["abc"]))


def test_pauses_grow_up_to_a_limit_and_differ() -> None:
    policy = Retry(first=0.5, most=30, patience=300)
    for failures, most in ((1, 0.5), (2, 1), (4, 4), (7, 30), (1000, 30)):
        drawn = [policy.pause(failures) for _ in range(200)]
        assert most / 2 <= min(drawn) < max(drawn) <= most
        assert len(set(drawn)) > 100


def test_a_server_that_stays_away_ends_the_work_with_what_was_finished(
    checkpoint: Path, serve: Serve
) -> None:
    state = serve(seconds=0.05)
    impatient = engine(checkpoint, state, concurrency=2, retry=Retry(first=0.02, most=0.05, patience=0.4))
    finished: list[str] = []
    with pytest.raises(BadInput, match=r"did not answer: \d+ attempts .*What was finished is kept") as caught:
        for group in impatient.generate(requests(PROMPTS)):
            finished += [one.request.prompt for one in group]
            if len(finished) >= 4:
                state.stop()
    assert "ConnectError" in str(caught.value)
    assert 4 <= len(finished) == len(set(finished)) <= 6
    assert set(finished) >= set(state.answered) - set(PROMPTS[len(finished) :])


def test_a_server_that_comes_back_in_time_loses_nothing(checkpoint: Path, serve: Serve) -> None:
    state = serve(seconds=0.05)
    found: dict[str, Completion] = {}
    timer = threading.Timer(0.8, lambda: state.start(state.port))
    for group in engine(checkpoint, state).generate(requests(PROMPTS)):
        found |= {one.request.prompt: one for one in group}
        if len(found) >= 4 and timer.ident is None:
            state.stop()
            timer.start()
    timer.join()
    assert texts(found) == BACKWARDS


def test_no_more_than_the_allowed_number_of_requests_is_under_way(checkpoint: Path, serve: Serve) -> None:
    state = serve(
        seconds=0.05, fault=lambda prompt, n: (503, {}, "") if n == 1 and prompt[-1] in "258" else None
    )
    assert texts(answers(engine(checkpoint, state, concurrency=3), requests(PROMPTS))) == BACKWARDS
    assert state.peak == 3


def test_what_is_finished_comes_before_the_slow_ones(checkpoint: Path, serve: Serve) -> None:
    state = serve(fault=lambda prompt, n: "hang" if prompt == PROMPTS[0] else None)
    groups = engine(checkpoint, state).generate(requests(PROMPTS))
    started, early = time.monotonic(), 0
    for group in groups:
        if time.monotonic() - started < 2:
            early += len(group)
    assert early == len(PROMPTS) - 1


def test_a_consumer_that_stops_early_leaves_nothing_running(checkpoint: Path, serve: Serve) -> None:
    state = serve(seconds=0.1)
    groups = engine(checkpoint, state, concurrency=2).generate(requests(PROMPTS))
    next(groups)
    groups.close()
    time.sleep(0.2)  # what was on its way arrives
    asked = len(state.seen)
    time.sleep(0.4)
    assert len(state.seen) == asked <= 4


def test_an_interruption_within_the_work_reaches_the_consumer() -> None:
    class Interrupted(BaseException):
        pass

    class Client:
        async def __aenter__(self) -> Client:
            return self

        async def __aexit__(self, *_: object) -> None:
            pass

    async def work(client: Client, item: int) -> int:
        if item == 3:
            raise Interrupted
        return item

    got: list[int] = []
    with pytest.raises(Interrupted):
        for group in as_finished(range(9), work, Client, concurrency=1):
            got += group
    assert got == [0, 1, 2]


def test_a_refusal_ends_the_work_with_the_servers_words(checkpoint: Path, serve: Serve) -> None:
    refused = (400, {}, {"error": {"message": "max_tokens must be even", "type": "BadRequestError"}})
    state = serve(fault=lambda prompt, n: refused)
    with pytest.raises(
        BadInput, match="/v1/completions refused the request with HTTP 400: max_tokens must be even"
    ):
        answers(engine(checkpoint, state), requests(["abc"]))
    assert state.attempts["abc"] == 1


def test_a_refusal_takes_back_what_is_under_way_and_tries_nothing_again(
    checkpoint: Path, serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    state = serve(fault=lambda prompt, n: (400, {}, "no") if prompt == PROMPTS[0] else "hang")
    with pytest.raises(BadInput, match="HTTP 400: no"):
        answers(engine(checkpoint, state), requests(PROMPTS))
    assert not caplog.records


def test_the_key_goes_into_a_header_and_into_no_message(
    checkpoint: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    caplog.set_level(logging.DEBUG)
    state = serve(
        fault=lambda prompt, n: (401, {}, {"error": "no such key: sk-secret"}) if prompt == "b" else None
    )
    assert texts(answers(engine(checkpoint, state), requests(["a"]))) == {"a": "a"}
    assert state.headers[0]["Authorization"] == "Bearer sk-secret"
    with pytest.raises(BadInput, match=r"no such key: \*\*\* .*OPENAI_API_KEY") as caught:
        answers(engine(checkpoint, state), requests(["b"]))
    assert "sk-secret" not in str(caught.value) + caplog.text


def test_what_is_asked_of_vllm_leaves_nothing_to_the_servers_defaults(checkpoint: Path, serve: Serve) -> None:
    state = serve()
    warm = Sampling(max_new_tokens=7, temperature=0.3, top_p=0.9, stop=("\n\n", "<eos>"))
    answers(engine(checkpoint, state, concurrency=1), requests(["abc", "abc"], warm))
    assert state.seen[0] == {
        "model": "tiny", "prompt": "abc", "max_tokens": 7, "temperature": 0.3, "top_p": 0.9, "seed": 2**62,
        "logprobs": 0, "stop": ["\n\n"], "stop_token_ids": [1], "return_token_ids": True, "top_k": -1, "min_p": 0.0,
        "repetition_penalty": 1.0, "ignore_eos": True, "presence_penalty": 0.0, "frequency_penalty": 0.0,
    }  # fmt: skip
    assert [body["seed"] for body in state.seen] == [2**62, 2**62 + 1]


def test_sglang_gets_seeds_of_32_bits_and_an_unknown_server_the_standards_fields_only(
    checkpoint: Path, serve: Serve
) -> None:
    warm, state = Sampling(max_new_tokens=7, temperature=0.3, stop=("Z", "<eos>")), serve(by="sglang")
    answers(engine(checkpoint, state), requests(["abc"], warm))
    assert state.seen[0]["seed"] == 2**62 % 2**31
    other = serve(by="someone")
    answers(engine(checkpoint, other), requests(["abc"], warm))
    standard = {"model", "prompt", "max_tokens", "temperature", "top_p", "seed", "logprobs", "stop"}
    assert set(other.seen[0]) == standard and other.seen[0]["stop"] == ["Z", "<eos>"]


WARM = Sampling(max_new_tokens=40, temperature=0.3)


@pytest.mark.parametrize("by", ["vllm", "someone"])
def test_log_probabilities_are_asked_of_samples_and_summed_over_their_tokens(
    checkpoint: Path, serve: Serve, by: str
) -> None:
    state = serve(by=by)
    [one] = answers(engine(checkpoint, state), requests(["abc"], WARM)).values()
    assert one.logprob_sum == 4 * -0.25  # three letters and the end token
    [greedy] = answers(engine(checkpoint, state), requests(["abc"])).values()
    assert greedy.logprob_sum is None and "logprobs" not in state.seen[1]
    assert state.seen[0]["logprobs"] == (0 if by == "vllm" else 1)


@pytest.mark.parametrize(
    ("logprobs", "expected"),
    [
        ({"content": [{"logprob": -1.0}, {"logprob": -0.5}]}, -1.5),  # the layout of chats
        ({"token_logprobs": [None, -0.5]}, None),
        ({"token_logprobs": []}, None),
        (None, None),
        ("none", None),
    ],
)
def test_log_probabilities_that_are_not_all_there_are_not_recorded(
    checkpoint: Path, serve: Serve, logprobs: Any, expected: float | None
) -> None:
    def told(answer: dict[str, Any]) -> dict[str, Any]:
        answer["choices"][0]["logprobs"] = logprobs
        return answer

    [one] = answers(engine(checkpoint, serve(by="someone", reply=told)), requests(["abc"], WARM)).values()
    assert (one.text, one.logprob_sum) == ("cba", expected)


@pytest.mark.parametrize("status", [400, 403, 422, 501])
def test_a_server_that_gives_no_log_probabilities_answers_without(
    checkpoint: Path, serve: Serve, status: int
) -> None:
    state = serve(by="someone")

    def refuse(prompt: str, attempt: int) -> Fault:
        asked = "logprobs" in state.seen[-1]
        return (status, {}, {"error": {"message": "no logprobs here"}}) if asked else None

    state.fault = refuse
    found = answers(engine(checkpoint, state, concurrency=1), requests(PROMPTS, WARM))
    assert texts(found) == BACKWARDS and {one.logprob_sum for one in found.values()} == {None}
    assert len(state.seen) == len(PROMPTS) + 1, "asked once, and no more"


def test_a_refusal_that_is_about_something_else_still_ends_the_run(checkpoint: Path, serve: Serve) -> None:
    state = serve(fault=lambda prompt, n: (400, {}, {"error": {"message": "too long"}}))
    with pytest.raises(BadInput, match="HTTP 400: too long"):
        answers(engine(checkpoint, state, concurrency=1), requests(["abc"], WARM))
    assert len(state.seen) == 2


def test_sglang_is_not_asked_for_log_probabilities_of_the_tempered_distribution(
    checkpoint: Path, serve: Serve
) -> None:
    state = serve(by="sglang")
    [one] = answers(engine(checkpoint, state), requests(["abc"], WARM)).values()
    assert one.logprob_sum is None and "logprobs" not in state.seen[0]


def test_the_effective_budget_is_what_the_served_context_leaves(checkpoint: Path, serve: Serve) -> None:
    state = serve(context=20)
    found = answers(engine(checkpoint, state), requests(["x" * 5, "x" * 17], Sampling(max_new_tokens=10)))
    assert [one.budget for one in found.values()] == [10, 3]
    assert [one.finish_reason for one in found.values()] == ["stop", "length"]
    assert [one.n_generated for one in found.values()] == [5, 3]
    with pytest.raises(BadInput, match="prompt of 20 tokens does not fit: the model's context is 20"):
        answers(engine(checkpoint, state), requests(["ok", "x" * 20]))
    assert len(state.seen) == 2, "refused before anything is asked"
    assert engine(checkpoint, serve(context=None)).context == 128, "of the model's config"


def without(*keys: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Answers without these fields."""

    def stripped(answer: dict[str, Any]) -> dict[str, Any]:
        choice = {k: v for k, v in answer["choices"][0].items() if k not in keys}
        return {k: v for k, v in {**answer, "choices": [choice]}.items() if k not in keys}

    return stripped


def test_generated_tokens_are_counted_without_the_end_token(
    checkpoint: Path, serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    for reply in (lambda answer: answer, without("token_ids", "prompt_token_ids")):
        [one] = answers(engine(checkpoint, serve(reply=reply)), requests(["\nabc\n"])).values()
        assert (one.text, one.n_generated, one.n_tokens_text) == ("cba", 5, 3)
    assert not caplog.records
    silent = engine(checkpoint, serve(reply=without("token_ids", "prompt_token_ids", "usage")))
    assert {one.n_generated for one in answers(silent, requests(["\nabc\n", "\nxyz\n"])).values()} == {3}
    assert [r.message for r in caplog.records] == [
        f"{silent.served.url} does not say how many tokens it generates: the texts' own tokens are counted instead"
    ]


def test_an_answer_that_ended_with_a_stop_string_counts_the_strings_token(
    checkpoint: Path, serve: Serve
) -> None:
    def stopped(answer: dict[str, Any]) -> dict[str, Any]:
        choice = {"text": "ab", "finish_reason": "stop", "stop_reason": "Z"}  # a, b, Z
        return {"choices": [choice], "usage": {"prompt_tokens": 3, "completion_tokens": 3}}

    asked = requests(["xyz"], Sampling(max_new_tokens=9, stop=("Z",)))
    [one] = answers(engine(checkpoint, serve(reply=stopped)), asked).values()
    assert (one.text, one.n_generated, one.finish_reason) == ("ab", 3, "stop")


def test_a_server_that_keeps_stop_strings_does_not_change_the_text(checkpoint: Path, serve: Serve) -> None:
    asked = requests(["abZcd"], Sampling(max_new_tokens=9, stop=("Z", "b")))
    [one] = answers(engine(checkpoint, serve(by="someone")), asked).values()
    assert one.text == "dc"


def test_a_limit_of_the_servers_own_is_found(checkpoint: Path, serve: Serve) -> None:
    def cut(answer: dict[str, Any]) -> dict[str, Any]:
        choice = answer["choices"][0]
        choice.update(text=choice["text"][:2], token_ids=choice["token_ids"][:2], finish_reason="length")
        return answer

    with pytest.raises(BadInput, match="cut an answer at 2 of 40 tokens.*--generation-config vllm"):
        answers(engine(checkpoint, serve(reply=cut)), requests(["abcdef"]))
    # Close to a full context servers differ by a token or two: there the budget is what it was.
    [one] = answers(engine(checkpoint, serve(reply=cut, context=9)), requests(["abcdef"])).values()
    assert (one.budget, one.n_generated) == (2, 2)


@pytest.mark.parametrize("hidden", [(), ("token_ids", "prompt_token_ids")])
def test_a_server_with_another_tokenizer_is_found(
    checkpoint: Path, serve: Serve, hidden: tuple[str, ...]
) -> None:
    def other(answer: dict[str, Any]) -> dict[str, Any]:
        answer["choices"][0]["prompt_token_ids"] = [5, 6]
        answer["usage"]["prompt_tokens"] = 2
        return without(*hidden)(answer)

    with pytest.raises(BadInput, match="reads a prompt as 2 tokens.*as 3.*'tiny'.*is not the model"):
        answers(engine(checkpoint, serve(reply=other)), requests(["abc"]))


def test_the_served_model_is_found_or_named(checkpoint: Path, tmp_path: Path, serve: Serve) -> None:
    assert engine(checkpoint, serve()).served.name == "tiny"
    several = serve(names=("one", "two"))
    with pytest.raises(BadInput, match="serves several models, say which with --served-model: one, two"):
        engine(checkpoint, several)
    assert engine(checkpoint, several, served_model="two").served.name == "two"
    with pytest.raises(BadInput, match=r"unknown model served at .* 'tow'. Did you mean 'two'"):
        engine(checkpoint, several, served_model="tow")
    ours = serve(names=("other", str(checkpoint)))
    assert engine(checkpoint, ours).served.name == str(checkpoint)
    wrong = serve(names=("m",), root=str(tmp_path))
    with pytest.raises(BadInput, match="serve that, or, when both hold the same weights.*--served-model m"):
        engine(checkpoint, wrong)
    assert engine(checkpoint, wrong, served_model="m").served.name == "m"


def test_identity_is_who_serves_and_the_dtype_that_was_said(checkpoint: Path, serve: Serve) -> None:
    for by, family in (("vllm", "server:vllm"), ("sglang", "server:sglang"), ("openai", "server")):
        url = serve(by=by).url
        assert engines.engine_identity("server", checkpoint, server_url=url) == (family, "unstated")
        loaded = engines.load("server", checkpoint, server_url=f"{url}/", dtype="bfloat16", concurrency=2)
        assert (loaded.family, loaded.dtype, loaded.batch_size) == (family, "bfloat16", 2)


@pytest.mark.parametrize(
    ("url", "error"),
    [
        (None, "needs an address: --server-url http"),
        ("localhost:8000", "write http://HOST:PORT/v1"),
        ("http://127.0.0.1:9/v1", "no server answers at http://127.0.0.1:9/v1 .ConnectError.*vllm serve"),
    ],
)
def test_an_address_without_a_server_is_refused(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch, url: str | None, error: str
) -> None:
    monkeypatch.setattr(served, "PAUSE", 0.01)
    with pytest.raises(BadInput, match=error):
        engines.engine_identity("server", checkpoint, server_url=url)


def test_an_address_needs_no_v1_and_a_wrong_one_is_explained(checkpoint: Path, serve: Serve) -> None:
    state = serve()
    root = state.url.removesuffix("/v1")
    assert server_file.identity(checkpoint, EngineOptions(server_url=root))[0] == "server:vllm"
    with pytest.raises(BadInput, match="HTTP 404: Not Found .--server-url is the address up to and with /v1"):
        server_file.identity(checkpoint, EngineOptions(server_url=f"{root}/other"))


def test_labels_are_refused(checkpoint: Path, serve: Serve) -> None:
    with pytest.raises(BadInput, match="writes texts and chooses no labels"):
        engines.load("server", checkpoint, server_url=serve().url, answers="labels")
    with pytest.raises(BadInput, match="writes texts and chooses no labels"):
        engine(checkpoint, serve()).classify([], checkpoint)


def evaluation(checkpoint: Path, state: Completions, tmp_path: Path, models: int = 1) -> Any:
    options = EvalOptions(
        "mini_gsm", limit=30, engine="server", server_url=state.url, concurrency=3, max_new_tokens=20
    )
    return evaluate_models(
        [str(checkpoint)] * models, options, models=None, rescore=False, runs=tmp_path, db=tmp_path / "board.duckdb",
        say=lambda text: None,
    )  # fmt: skip


def test_a_run_whose_server_died_goes_on_with_what_is_missing(
    tmp_path: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tiny.write(tmp_path / "model", context=512)
    state = serve(context=512, seconds=0.02)
    monkeypatch.setattr(server_file, "Retry", lambda: Retry(first=0.02, most=0.05, patience=0.3))

    def dies(prompt: str, attempt: int) -> Fault:
        if len(state.answered) >= 10:
            threading.Thread(target=state.stop).start()
            return "drop"
        return None

    state.fault = dies
    with pytest.raises(BadInput, match="What was finished is kept"):
        evaluation(path, state, tmp_path)
    before = set(state.answered)
    assert 10 <= len(before) < 30
    state.fault = lambda prompt, attempt: None
    state.attempts.clear()
    state.start(state.port)
    report = evaluation(path, state, tmp_path)
    assert set(state.attempts) & before == set(), "nothing is generated twice"
    assert len(state.attempts) + len(before) == 30
    assert any(f"{30 - len(before)} responses generated" in line for line in report.summary)


def test_one_server_answers_for_one_model(checkpoint: Path, tmp_path: Path, serve: Serve) -> None:
    with pytest.raises(BadInput, match="one model that it serves.*2 are to be evaluated"):
        evaluation(checkpoint, serve(), tmp_path, models=2)


def test_retry_after_that_is_neither_seconds_nor_a_date_is_left_out() -> None:
    assert retry._retry_after("soon") is None
    assert retry._retry_after("-3") == 0.0
