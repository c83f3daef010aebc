"""Tiny GPT-2 classifiers for tests: one body fine-tuned twice, each with a head of its own, and their base."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from transformers import GPT2Config, GPT2ForSequenceClassification, GPT2LMHeadModel, GPT2Model

from tasks.contract import Benchmark, Draw, Sample, Sampling, Source, Suite, Verdict
from tests.bench import tiny

LABELS = {"mood": ("bad", "good"), "topic": ("arts", "law", "sport")}
TOKENS = tiny.tokenizer()
KINDS: dict[str, Callable[..., torch.nn.Module]] = {"lm": GPT2LMHeadModel, "body": GPT2Model}


class Exact:
    """Grades a label by its name."""

    name, version = "exact", "1"

    def grade(self, pairs: list[tuple[str, str]]) -> list[Verdict]:
        return [Verdict(text == target, text, text, "compared") for text, target in pairs]


def suite(questions: int = 12) -> Suite:
    """A benchmark per domain; prompts of very different length, so that batches are padded."""

    def load(labels: tuple[str, ...], split: str, folder: Path | None) -> tuple[list[Sample], Source]:
        samples = [
            Sample(f"q{i}", f"{'word ' * (i % 7)}{i}?", labels[i % len(labels)]) for i in range(questions)
        ]
        return samples, Source("made for a test", "1")

    from functools import partial

    return Suite("choosing", "labels", tuple(
        Benchmark(name=f"tiny_{domain}", title=domain, version="1", load=partial(load, labels), splits=("test",),
                  prompts={"plain": lambda sample: sample.question}, protocols=(Draw("greedy", Sampling(1)),),
                  grader=Exact, domain=domain, labels=labels)
        for domain, labels in LABELS.items()))  # fmt: skip


def write_base(folder: Path, kind: str = "lm") -> Path:
    """The pretrained model: with a language head ("lm") or bare ("body"); without a padding token."""
    return _save(KINDS[kind](_config()), folder, seed=0)


def write_expert(folder: Path, domain: str, *, pad: bool = True) -> Path:
    """The classifier of a domain."""
    labels = LABELS[domain]
    config = _config(num_labels=len(labels), pad_token_id=TOKENS.pad_token_id if pad else None)
    config.id2label = dict(enumerate(labels))
    return _save(GPT2ForSequenceClassification(config), folder, seed=1 + len(domain))


def write_numbered(folder: Path, labels: int, seed: int) -> Path:
    """A classifier whose labels have numbers in the place of names, as FusionBench saves them."""
    return _save(GPT2ForSequenceClassification(_config(num_labels=labels, pad_token_id=1)), folder, seed)


def _config(**more: object) -> GPT2Config:
    return GPT2Config(
        vocab_size=len(TOKENS), n_embd=16, n_layer=2, n_head=2, n_positions=64, bos_token_id=1, eos_token_id=1,
        **more,
    )  # fmt: skip


def _save(model: torch.nn.Module, folder: Path, seed: int) -> Path:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:  # what is not a matrix would only make all prompts alike
                parameter.copy_(0.4 * torch.randn(parameter.shape, generator=generator))
    model.save_pretrained(folder)
    TOKENS.save_pretrained(folder)
    return folder
