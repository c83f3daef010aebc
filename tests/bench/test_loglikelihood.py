"""Log-likelihoods: where lm-eval 0.4.13 splits tokens, written out by hand, and probabilities against plain torch."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import product
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, AutoTokenizer

from bench.engines import scoring
from bench.engines.contract import Continuation, Likelihood
from bench.engines.hf import HFEngine
from bench.engines.likelihood import encoded
from bench.errors import BadInput

ZOO = Path(__file__).parents[2] / "bench/zoo/models/l2s-expert"
CONTEXT = 512


@pytest.fixture(scope="module")
def engine() -> HFEngine:
    return HFEngine(ZOO, batch_size=7)


def asked(pairs: Sequence[tuple[str, str]]) -> list[Continuation]:
    return [Continuation(f"c{number}", *pair) for number, pair in enumerate(pairs)]


def scores(engine: HFEngine, pairs: Sequence[tuple[str, str]]) -> list[Likelihood]:
    found = {one.request.id: one for group in engine.loglikelihood(asked(pairs)) for one in group}
    assert len(found) == len(pairs)
    return [found[f"c{number}"] for number in range(len(pairs))]


def split(context: str, text: str) -> tuple[list[str], list[str]]:
    tokenizer = AutoTokenizer.from_pretrained(ZOO)
    [pair] = encoded(tokenizer, asked([(context, text)]), CONTEXT)
    parts = (pair.context, pair.continuation)
    return tuple(tokenizer.convert_ids_to_tokens(list(part)) for part in parts)  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("context", "text", "expected"),
    [
        ("Tom", " has", (["T", "o", "m"], [" has"])),
        ("Tom ", "has", (["T", "o", "m"], [" has"])),  # the space moves: one token, as in running text
        ("Tom has \n", "12", (["T", "o", "m", " has"], ["Ġ", "Ċ", "1", "2"])),
        ("1", "2", (["1"], ["2"])),
        ("", "Q: 3", (["<eos>"], ["Q:", "Ġ", "3"])),  # no BOS here: EOS stands for the empty context
        ("  ", "3", (["<eos>"], ["Ġ", "Ġ", "3"])),
        ("", "<eos>3", (["<eos>"], ["3"])),  # it is there already
    ],
)
def test_tokens_are_split_where_lm_eval_splits_them(
    context: str, text: str, expected: tuple[list[str], list[str]]
) -> None:
    assert split(context, text) == expected


@settings(max_examples=60, deadline=None)
@given(st.text("Q: 3+has\n", min_size=1), st.text("Q: 3+has\n", min_size=1))
def test_context_and_continuation_are_the_tokens_of_running_text(context: str, text: str) -> None:
    tokenizer = AutoTokenizer.from_pretrained(ZOO)
    kept = context.rstrip()
    try:
        [pair] = encoded(tokenizer, asked([(context, text)]), CONTEXT)
    except BadInput:  # the last token of the context took the continuation in
        assert len(tokenizer.encode(context + text)) <= len(tokenizer.encode(kept))
        return
    whole = tokenizer.encode(context + text)
    if kept:
        # The continuation is the end of the whole; how the context's own end is cut changes nothing of it.
        assert list(pair.continuation) == whole[len(tokenizer.encode(kept)) :]
        assert list(pair.context) == tokenizer.encode(kept)
    else:
        assert [*pair.context, *pair.continuation] == [tokenizer.eos_token_id, *whole]


def one_at_a_time(pairs: Sequence[tuple[str, str]]) -> list[tuple[float, bool]]:
    """The definition: the whole through the model, token by token, without batches, padding or shared work."""
    model, tokenizer = (
        AutoModelForCausalLM.from_pretrained(ZOO, dtype=torch.float32),
        AutoTokenizer.from_pretrained(ZOO),
    )
    found = []
    for pair in encoded(tokenizer, asked(pairs), CONTEXT):
        ids = [*pair.context, *pair.continuation]
        total, greedy = 0.0, True
        with torch.no_grad():
            logits = model(torch.tensor([ids[:-1]])).logits[0].double()
        for at in range(len(pair.context), len(ids)):
            before = logits[at - 1]
            total += float(before[ids[at]] - before.exp().sum().log())
            greedy = greedy and int(before.argmax()) == ids[at]
        found.append((total, greedy))
    return found


def questions() -> list[tuple[str, str]]:
    draw = random.Random(3)
    contexts = [
        f"Q: Tom has {draw.randrange(99)} apples" + " and eats 2" * draw.randrange(9) + "\nA:"
        for _ in range(6)
    ]
    return [
        *product(contexts, [" 3", " 12*4=48. Wait, check", " 3+4=7"]),
        ("", "Q: 3"),
        ("<eos>Q:", " 3"),  # the same tokens, split elsewhere
        ("Q: 5+5=?\nA: ", "1"),
    ]


def test_likelihoods_are_those_of_the_definition(engine: HFEngine) -> None:
    pairs = questions()
    got, expected = scores(engine, pairs), one_at_a_time(pairs)
    assert [one.log_probability for one in got] == pytest.approx([total for total, _ in expected], abs=2e-4)
    assert [one.is_greedy for one in got] == [greedy for _, greedy in expected]
    assert {one.n_cut for one in got} == {0}


def test_a_greedy_answer_is_greedy_and_another_is_not(engine: HFEngine) -> None:
    ids = engine.tokenizer.encode("Q: 17+25=?\nA:")
    whole = engine.model.generate(torch.tensor([ids]), max_new_tokens=12, do_sample=False)[0].tolist()
    answer = engine.tokenizer.decode(whole[len(ids) :])
    [own, other] = scores(engine, [("Q: 17+25=?\nA:", answer), ("Q: 17+25=?\nA:", answer + " has has")])
    assert own.is_greedy and not other.is_greedy
    assert own.n_tokens == len(whole) - len(ids) and other.n_tokens == own.n_tokens + 2
    assert 0 > own.log_probability > other.log_probability


def test_probabilities_of_all_next_tokens_sum_to_one(engine: HFEngine) -> None:
    digits = [f" {text}" for text in ("3", "Wait", "has")]
    singles = [engine.tokenizer.decode([token]) for token in range(3, engine.model.config.vocab_size)]
    kept = [
        text
        for text in singles
        if len(engine.tokenizer.encode(f"1{text}")) == 2 and text.strip() == text and text
    ]
    found = scores(engine, [("1", text) for text in [*kept, *digits]])
    total = sum(torch.tensor(one.log_probability).exp() for one in found[: len(kept)])
    assert 0.5 < float(total) <= 1 + 1e-4
    assert sum(one.is_greedy for one in found[: len(kept)]) <= 1


def test_what_is_read_alike_is_read_once(engine: HFEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = 0
    forward = scoring._scored

    def counted(model: object, group: list[tuple[tuple[int, ...], list[object]]]) -> list[Likelihood]:
        nonlocal rows
        rows += len(group)
        return forward(model, group)  # type: ignore[arg-type]

    monkeypatch.setattr(scoring, "_scored", counted)
    letters = [("Which is it?\nA", letter) for letter in "3456"]
    together = scores(engine, letters)
    assert rows == 1
    assert [one.log_probability for one in together] == pytest.approx(
        [t for t, _ in one_at_a_time(letters)], abs=1e-4
    )


def test_small_passes_give_the_same(engine: HFEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = questions()
    whole = [one.log_probability for one in scores(engine, pairs)]
    monkeypatch.setattr(scoring, "READ_TOKENS", 40)
    monkeypatch.setattr(scoring, "LOGITS", 1)
    assert [one.log_probability for one in scores(engine, pairs)] == pytest.approx(whole, abs=2e-4)


def test_a_long_context_loses_its_start_and_that_is_said(
    engine: HFEngine, caplog: pytest.LogCaptureFixture
) -> None:
    end = "".join(f"{n % 10}" for n in range(508))
    [long, full] = scores(engine, [("7" * 100 + end, "+123"), (end[-509:], "+123")])
    assert (long.n_cut, full.n_cut, long.n_tokens) == (99, 0, 4)
    [expected] = one_at_a_time([("7" + end, "+123")])
    assert long.log_probability == pytest.approx(expected[0], abs=2e-4)
    assert [record.message for record in caplog.records if record.name == "bench.engines.likelihood"] == [
        "1 of 2 contexts are too long and lose their start"
    ]


def test_a_continuation_that_cannot_be_scored_is_refused(engine: HFEngine) -> None:
    with pytest.raises(BadInput, match="':' has no tokens of its own after its context"):
        scores(engine, [("Q", ":")])  # one token together
    with pytest.raises(BadInput, match="continuation of 513 tokens does not fit: the model's context is 512"):
        scores(engine, [("Q:", "1" * 513)])
