"""What engines make of the tokens that a model wrote, without a model."""

from __future__ import annotations

import pytest

from bench.engines.contract import Request
from bench.engines.texts import Job, TextEngine, Tokens, load_tokenizer
from tasks.contract import Sampling
from tests.bench import tiny


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> TextEngine:
    made = TextEngine()
    made.tokenizer = load_tokenizer(tiny.write(tmp_path_factory.mktemp("model")))
    return made


def written(engine: TextEngine, text: str, logprobs: list[float] | None, *, ended: bool) -> Tokens:
    request = Request("r", "x", Sampling(20, temperature=1.0), seed=0)
    return Tokens(Job(request, [5], 20), engine.tokenizer(text)["input_ids"], ended, logprobs)


@pytest.mark.parametrize(
    ("ended", "logprobs", "stop", "expected"),
    [
        (True, [-1.0, -2.0, -4.0, -8.0, -16.0], (), -31.0),  # four letters and the end token
        (False, [-1.0, -2.0, -4.0, -8.0], (), -15.0),  # cut off at the budget
        (
            False,
            [-1.0, -2.0, -4.0, -8.0],
            ("b",),
            -3.0,
        ),  # noticed late: what was written behind it does not count
        (True, [-1.0, -2.0, -4.0, -8.0, -16.0], ("bc",), -7.0),
        (False, None, (), None),
    ],
)
def test_the_log_probability_of_a_response_is_that_of_the_tokens_it_counts(
    engine: TextEngine,
    ended: bool,
    logprobs: list[float] | None,
    stop: tuple[str, ...],
    expected: float | None,
) -> None:
    [done] = engine.completions([written(engine, "abcd", logprobs, ended=ended)], stop)
    assert done.logprob_sum == expected


@pytest.mark.parametrize("text", ["    return a\n    b", " a", "a", "\n  a", ""])
def test_white_space_around_a_program_is_kept(text: str) -> None:
    """Decoders of Llama 2's kind strip one blank off a text: there an indented program would lose its shape."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = {letter: n for n, letter in enumerate("▁xabretun\n:")}
    inner = Tokenizer(models.BPE(letters, []))
    inner.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never")
    inner.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    made = TextEngine()
    made.tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner)
    ids = [letters["▁" if letter == " " else letter] for letter in text]
    assert made.tokenizer.decode(ids) == text.removeprefix(" ")
    for strip, stop in ((False, ()), (True, ()), (False, ("b",))):
        request = Request("r", "x:", Sampling(20, stop=stop, strip=strip), seed=0)
        [done] = made.completions([Tokens(Job(request, [letters[":"]], 20), ids, True)], stop)
        kept = text.partition("b")[0] if stop else text
        assert done.text == (kept.strip() if strip else kept)
