"""The `hf` engine against transformers' own generation, and what our decoding loop promises."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from bench import engines
from bench.engines.contract import Completion, Request
from bench.engines.hf import HFEngine
from bench.errors import BadInput
from tasks.contract import Sampling
from tests.bench import tiny
from tests.helpers import logprobs


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def engine(checkpoint: Path) -> HFEngine:
    return HFEngine(checkpoint, batch_size=5)


def prompts(n: int, *, longest: int = 40) -> list[str]:
    rng = random.Random(7)
    return ["".join(rng.choices(tiny.CHARACTERS, k=rng.randrange(1, longest))) for _ in range(n)]


def requests(texts: Sequence[str], sampling: Sampling) -> list[Request]:
    return [Request(f"r{index}", text, sampling, seed=1000 * index) for index, text in enumerate(texts)]


def answers(engine: HFEngine, asked: Sequence[Request]) -> dict[str, Completion]:
    finished = [completion for group in engine.generate(asked) for completion in group]
    assert sorted(c.request.id for c in finished) == sorted(r.id for r in asked)
    return {completion.request.id: completion for completion in finished}


@pytest.mark.parametrize("key_value_heads", [2, 4])
def test_greedy_text_is_that_of_transformers(tmp_path: Path, key_value_heads: int) -> None:
    ends = [1, *range(20, 32)]  # many end tokens, so that responses end at different times
    path = tiny.write(tmp_path, key_value_heads=key_value_heads, seed=3, eos_token_id=ends)
    model, tokenizer = AutoModelForCausalLM.from_pretrained(path), AutoTokenizer.from_pretrained(path)
    texts = prompts(24)
    got = answers(HFEngine(path, batch_size=7), requests(texts, Sampling(max_new_tokens=60)))
    lengths = set()
    for index, text in enumerate(texts):
        ids = torch.tensor([tokenizer(text)["input_ids"]])
        with torch.inference_mode():
            whole = model.generate(ids, max_new_tokens=60, do_sample=False, pad_token_id=0)[0]
        expected = whole[ids.shape[1] :]
        tokens = [token for token in expected.tolist() if token not in ends]
        answer = got[f"r{index}"]
        assert answer.text == tokenizer.decode(tokens, skip_special_tokens=True).strip()
        assert answer.n_generated == len(tokens)
        assert answer.finish_reason == ("stop" if len(tokens) < len(expected) else "length")
        lengths.add(len(tokens))
    assert len(lengths) > 3, "rows were to leave the batch at different times"


@pytest.mark.parametrize("top_p", [1.0, 0.9])
def test_a_sampled_response_is_the_same_alone_and_in_a_batch(checkpoint: Path, top_p: float) -> None:
    asked = requests(prompts(20), Sampling(max_new_tokens=40, temperature=0.7, top_p=top_p))
    together = answers(HFEngine(checkpoint, batch_size=8), asked)
    alone = HFEngine(checkpoint, batch_size=1)
    for request in asked:
        assert answers(alone, [request])[request.id].text == together[request.id].text


def test_other_seeds_give_other_responses_and_more_of_them_change_none(engine: HFEngine) -> None:
    sampling = Sampling(max_new_tokens=30, temperature=1.0)

    def pool(n: int) -> dict[str, Completion]:
        return answers(engine, [Request(f"k{k}", "What is 1+1?", sampling, seed=99 + k) for k in range(n)])

    few, many = pool(4), pool(12)
    assert {key: many[key].text for key in few} == {key: answer.text for key, answer in few.items()}
    assert len({answer.text for answer in many.values()}) > 6


def test_a_longer_budget_continues_the_same_response(engine: HFEngine) -> None:
    short = answers(engine, requests(prompts(6), Sampling(max_new_tokens=10, temperature=1.0)))
    long = answers(engine, requests(prompts(6), Sampling(max_new_tokens=50, temperature=1.0)))
    for key, answer in short.items():
        if answer.finish_reason == "length":
            assert long[key].text.startswith(answer.text)


def test_sampling_follows_the_distribution_of_the_model(checkpoint: Path) -> None:
    engine = HFEngine(checkpoint, batch_size=256)
    n, sampling = 4000, Sampling(max_new_tokens=1, temperature=1.3)
    first = answers(engine, [Request(f"k{k}", "Q", sampling, seed=k) for k in range(n)])
    with torch.inference_mode():
        logits = engine.model(torch.tensor([engine.tokenizer("Q")["input_ids"]])).logits[0, -1]
    probabilities = torch.softmax(logits.double() / sampling.temperature, -1)
    for token in probabilities.topk(8).indices.tolist():
        p = float(probabilities[token])
        text = engine.tokenizer.decode([token], skip_special_tokens=True).strip()
        if text:
            seen = sum(answer.text == text for answer in first.values()) / n
            assert abs(seen - p) < 5 * (p * (1 - p) / n) ** 0.5


def test_greedy_and_sampled_rows_share_a_batch(engine: HFEngine) -> None:
    texts = prompts(10)
    greedy = requests(texts, Sampling(max_new_tokens=30))
    warm = Sampling(max_new_tokens=30, temperature=1.0)
    sampled = [Request(f"s{r.id}", r.prompt, warm, r.seed) for r in greedy]
    assert all(a.logprob_sum is None for a in answers(engine, greedy).values())
    mixed = answers(engine, [request for pair in zip(greedy, sampled, strict=True) for request in pair])
    expected = {**answers(engine, greedy), **answers(engine, sampled)}
    assert {key: a.text for key, a in mixed.items()} == {key: a.text for key, a in expected.items()}


def test_a_sampled_response_has_its_log_probability_before_temperature_and_top_p(
    engine: HFEngine, checkpoint: Path
) -> None:
    plain = SimpleNamespace(model=AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32))
    warm = Sampling(60, temperature=1.5, top_p=0.9)
    assert logprobs.check(engine, plain, requests(prompts(12), warm)) == {True, False}
    assert logprobs.check(engine, plain, requests(prompts(12), replace(warm, stop=("a", "b")))) <= {
        True,
        False,
    }


def test_budget_is_the_smaller_of_the_asked_one_and_the_context_left(tmp_path: Path) -> None:
    path = tiny.write(tmp_path, context=50, eos_token_id=None)
    engine = HFEngine(path, batch_size=4)
    engine.end_ids = set()
    asked = requests(["x" * 10, "x" * 45, "x" * 49], Sampling(max_new_tokens=20))
    got = answers(engine, asked)
    assert [got[r.id].budget for r in asked] == [20, 5, 1]
    assert [got[r.id].n_generated for r in asked] == [20, 5, 1]
    assert [got[r.id].n_prompt_tokens for r in asked] == [10, 45, 49]
    assert {answer.finish_reason for answer in got.values()} == {"length"}


def test_a_prompt_that_fills_the_context_is_refused_before_work(engine: HFEngine) -> None:
    asked = requests(["short", "y" * 128], Sampling(max_new_tokens=4))
    with pytest.raises(BadInput, match="prompt of 128 tokens does not fit.*context is 128"):
        next(engine.generate(asked))


def test_the_first_stop_string_ends_the_text(engine: HFEngine) -> None:
    texts = prompts(12)
    free = answers(engine, requests(texts, Sampling(max_new_tokens=60, temperature=1.0)))
    stops = ("e", "Zq")
    stopped = answers(engine, requests(texts, Sampling(max_new_tokens=60, temperature=1.0, stop=stops)))
    hit = 0
    for key, answer in free.items():
        at = min((found for s in stops if (found := answer.text.find(s)) >= 0), default=None)
        if at is None:
            assert stopped[key].text == answer.text
            continue
        hit += 1
        assert stopped[key].text == answer.text[:at].strip()
        assert stopped[key].finish_reason == "stop"
        # One token per character: the tokens up to the stop string, white space in front included.
        assert stopped[key].n_generated >= at + 1
        assert stopped[key].n_generated <= at + 2 + 60 - len(answer.text)
    assert hit >= 3


def test_a_stop_string_that_is_a_special_token_ends_the_text(tmp_path: Path) -> None:
    path = tiny.write(tmp_path, seed=5, eos_token_id=None)
    engine = HFEngine(path)
    engine.end_ids = set()
    sampling = Sampling(max_new_tokens=100, temperature=2.0, stop=("<eos>",))
    got = answers(engine, requests(prompts(20, longest=20), sampling))
    assert {answer.finish_reason for answer in got.values()} == {"stop", "length"}
    assert all(answer.n_generated < 100 for answer in got.values() if answer.finish_reason == "stop")


def test_every_end_id_of_a_list_ends_the_text(tmp_path: Path) -> None:
    path = tiny.write(tmp_path, eos_token_id=[1, 30, 31])
    engine = HFEngine(path)
    assert engine.end_ids == {1, 30, 31}
    got = answers(engine, requests(prompts(20), Sampling(max_new_tokens=60, temperature=1.0)))
    ends = [engine.tokenizer.decode([token]) for token in (30, 31)]
    assert all(end not in answer.text for answer in got.values() for end in ends)


def test_length_of_the_text_is_counted_with_the_models_tokenizer(engine: HFEngine) -> None:
    got = answers(engine, requests(prompts(6), Sampling(max_new_tokens=30)))
    assert all(a.n_tokens_text == len(engine.tokenizer(a.text)["input_ids"]) for a in got.values())


def test_responses_come_as_they_finish(engine: HFEngine) -> None:
    groups = list(engine.generate(requests(prompts(30), Sampling(max_new_tokens=40, temperature=1.0))))
    assert len(groups) > 5
    assert all(groups)


def test_batch_size_follows_the_size_of_the_cache(checkpoint: Path) -> None:
    assert HFEngine(checkpoint).batch_size == 256


def test_identity_is_known_without_loading_and_is_what_gets_loaded(checkpoint: Path) -> None:
    assert engines.engine_identity("hf", checkpoint, device="cpu") == ("hf", "float32")
    assert engines.engine_identity("hf", checkpoint, dtype="bfloat16") == ("hf", "bfloat16")
    loaded = engines.load("hf", checkpoint, dtype="bfloat16", device="cpu")
    assert (loaded.family, loaded.dtype) == ("hf", "bfloat16")
    [answer] = answers(loaded, requests(["2+2="], Sampling(max_new_tokens=4))).values()
    assert answer.n_generated <= 4


def test_unknown_names_are_refused_with_the_nearest(checkpoint: Path) -> None:
    with pytest.raises(BadInput, match="unknown engine 'hff'. Did you mean 'hf'"):
        engines.load("hff", checkpoint)
    with pytest.raises(BadInput, match="unknown dtype 'float23'. Did you mean 'float32'"):
        engines.engine_identity("hf", checkpoint, dtype="float23")


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="has no tokenizer"):
        HFEngine(tmp_path)
