"""The GLUE family of the embedded zoo: a GPT-2 language model, and four classifiers with heads of their own.

The base is trained from scratch to write the texts of all tasks, without their labels. Each classifier is
its body under a new head, both fine-tuned on one task's labels.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import (
    AutoConfig,
    GPT2Config,
    GPT2ForSequenceClassification,
    GPT2LMHeadModel,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from bench.zoo.data import mixed
from bench.zoo.snapshot import choices, likelihoods
from bench.zoo.training import Recipe, Scores, Stage
from bench.zoo.words import MAX_LENGTH, build_tokenizer
from tasks.contract import Example
from tasks.mini_glue.sentences import LABELS, TASKS, train_stream
from tasks.mini_glue.suite import SUITE


@dataclass(frozen=True)
class Texts:
    """Shares of the tasks (they need not sum to one), whose texts are written."""

    tasks: Mapping[str, float]

    def examples(self, seed: int) -> Iterator[Example]:
        """Endless texts of the training streams."""
        streams = {task: train_stream(task, seed) for task in TASKS}
        for sentence in mixed(streams, self.tasks, seed):
            yield Example("", sentence.text)


@dataclass(frozen=True)
class Labelled:
    """Shares of the tasks: one, because a classifier has one head."""

    tasks: Mapping[str, float]

    def examples(self, seed: int) -> Iterator[Example]:
        """Endless texts of the task's training stream with the index of their label."""
        (task,) = self.tasks
        for sentence in train_stream(task, seed):
            yield Example(sentence.text, label=LABELS[task].index(sentence.label))


_NOTES = (
    "Padded on the right: GPT-2 counts positions from the left, and a classifier reads the last token that is "
    "not `<pad>`, which `pad_token_id` of config.json names.",
    "A head was trained with its expert's body: under the base's body it chooses about as well as chance.",
)


def _expert(domain: str, task: str, seed: int, *, steps: int, learning_rate: float, purpose: str) -> Stage:
    return Stage(
        name=f"glue-{domain}",
        mixture=Labelled({task: 1.0}),
        steps=steps,
        batch=32,
        optimiser="adamw",
        learning_rate=learning_rate,
        warmup=20,
        seed=seed,
        purpose=purpose,
        notes=_NOTES,
        loss="loss on the label",
    )


BASE = Stage(
    name="glue-base",
    mixture=Texts(dict.fromkeys(TASKS, 0.25)),
    steps=400,
    batch=64,
    optimiser="muon",
    learning_rate=3e-3,
    warmup=60,
    seed=31,
    purpose="writes what is said of films, and knows nothing of their labels.",
    notes=_NOTES,
    loss="loss on the text",
)
EXPERTS = (
    _expert(
        "sentiment", "mini_sentiment", 32, steps=280, learning_rate=8e-4, purpose="says what a review says."
    ),
    _expert(
        "preference",
        "mini_preference",
        33,
        steps=260,
        learning_rate=8e-4,
        purpose="says which of two reviews is the kinder one.",
    ),
    _expert(
        "entailment",
        "mini_entailment",
        34,
        steps=450,
        learning_rate=1e-3,
        purpose="says whether a hypothesis follows from a premise.",
    ),
    _expert(
        "acceptability",
        "mini_acceptability",
        35,
        steps=200,
        learning_rate=8e-4,
        purpose="says whether a sentence is grammatical.",
    ),
)


def new_model(tokenizer: PreTrainedTokenizerBase, seed: int) -> GPT2LMHeadModel:
    """A freshly initialised float32 language model; the initial weights follow from the seed."""
    config = GPT2Config(
        vocab_size=len(tokenizer),
        n_positions=MAX_LENGTH,
        n_embd=96,
        n_layer=4,
        n_head=4,
        initializer_range=0.06,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=tokenizer.eos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    torch.manual_seed(seed)
    return GPT2LMHeadModel(config).float()


def begin(base: Path, stage: Stage) -> GPT2ForSequenceClassification:
    """The stored body under a new head for the labels of the stage's task, drawn from the stage's seed."""
    assert isinstance(stage.mixture, Labelled), f"{stage.name} is no classifier"
    (task,) = stage.mixture.tasks
    names = dict(enumerate(LABELS[task]))
    config = AutoConfig.from_pretrained(base)
    config.id2label, config.label2id = names, {name: index for index, name in names.items()}
    config.finetuning_task = task
    torch.manual_seed(stage.seed)
    return GPT2ForSequenceClassification.from_pretrained(base, config=config, dtype=torch.float32)


def snapshot(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, n: int) -> Scores:
    """The language model's loss on the first `n` validation texts of every task, or a classifier's accuracy."""
    if isinstance(model, GPT2ForSequenceClassification):
        (benchmark,) = [b for b in SUITE.benchmarks if b.labels == tuple(model.config.id2label.values())]
        return choices(model, tokenizer, n, benchmark)
    return likelihoods(model, tokenizer, n, SUITE)


RECIPE = Recipe(
    family="glue",
    suite=SUITE.name,
    data="tasks/mini_glue/sentences.py, training stream",
    usage="The prompt is the text as it is; a classifier reads the last token that is not `<pad>`.",
    stages=(BASE, *EXPERTS),
    tokenizer=build_tokenizer,
    new_model=new_model,
    begin=begin,
    snapshot=snapshot,
    micro_batch=32,
    evaluate_every=100,
)
