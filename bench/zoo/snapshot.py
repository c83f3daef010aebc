"""What a model in training can do on the validation split: the points of a training curve.

The weights are left alone and no random number is drawn: a snapshot costs the training nothing but time.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from bench.engines.contract import Request
from bench.engines.decoding import Decoder
from bench.engines.texts import Job
from bench.evaluation.grading import verdicts_of
from bench.zoo.data import IGNORE, batches
from bench.zoo.training import loss_sum
from tasks.contract import Answer, Benchmark, Example, Sample, Suite


def answers(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, n: int, suite: Suite
) -> dict[str, dict[str, float]]:
    """Greedy accuracy and mean tokens on the first `n` validation samples of every benchmark, or all if fewer.

    The engine's decoder on the weights in training. ``tokens`` counts what is generated, ``<eos>`` included;
    the lengths of the leaderboard and of the cards are those of the text.
    """
    with _evaluating(model):
        decoder = Decoder(model, batch_size=n, end_ids=[tokenizer.eos_token_id], has_stopped=None, tail=0)
        return {benchmark.name: _answers(decoder, tokenizer, n, benchmark) for benchmark in suite.benchmarks}


def _answers(
    decoder: Decoder, tokenizer: PreTrainedTokenizerBase, n: int, benchmark: Benchmark
) -> dict[str, float]:
    samples = _validation(benchmark, n)
    prompts = [str(next(iter(benchmark.prompts.values()))(sample)) for sample in samples]  # texts, no turns
    sampling = benchmark.protocols[0].sampling
    jobs = [
        Job(Request(sample.id, prompt, sampling, seed=0), ids, sampling.max_new_tokens)
        for sample, prompt, ids in zip(samples, prompts, tokenizer(prompts)["input_ids"], strict=True)
    ]
    given = [response for group in decoder.run(jobs) for response in group]
    texts = {r.job.request.id: tokenizer.decode(r.ids, skip_special_tokens=True) for r in given}
    given_answers = [Answer(s.question, texts[s.id], s.target, s.reference) for s in samples]
    right = sum(verdict.correct for verdict in verdicts_of(benchmark.grader(), given_answers))
    length = sum(len(response.ids) + response.ended for response in given) / len(samples)
    return {"accuracy": round(right / len(samples), 4), "tokens": round(length, 2)}


def choices(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, n: int, benchmark: Benchmark
) -> dict[str, dict[str, float]]:
    """A classifier's accuracy on the first `n` validation samples of its benchmark."""
    samples = _validation(benchmark, n)
    texts = [next(iter(benchmark.prompts.values()))(sample) for sample in samples]
    with _evaluating(model):
        logits = model(**tokenizer(texts, padding=True, return_tensors="pt")).logits
    given_answers = [
        Answer(sample.question, benchmark.labels[label], sample.target)
        for label, sample in zip(logits.argmax(-1).tolist(), samples, strict=True)
    ]
    right = sum(verdict.correct for verdict in verdicts_of(benchmark.grader(), given_answers))
    return {benchmark.name: {"accuracy": round(right / len(samples), 4)}}


def likelihoods(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, n: int, suite: Suite
) -> dict[str, dict[str, float]]:
    """A language model's loss, nats a token, on the first `n` validation texts of every benchmark."""
    found = {}
    with _evaluating(model):
        for benchmark in suite.benchmarks:
            texts = iter([Example("", sample.question) for sample in _validation(benchmark, n)])
            (part,) = next(batches(tokenizer, texts, n, n))
            count = int((part.labels[:, 1:] != IGNORE).sum())
            found[benchmark.name] = {"loss": round(loss_sum(model, part).item() / count, 4)}
    return found


def _validation(benchmark: Benchmark, n: int) -> list[Sample]:
    return list(itertools.islice(benchmark.load("validation", None)[0], n))


@contextmanager
def _evaluating(model: PreTrainedModel) -> Iterator[None]:
    model.eval()
    with torch.no_grad():
        yield
    model.train()
