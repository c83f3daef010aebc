"""Training of the embedded zoo: recipes, stages, and the loop that all families share.

A family is one base and the models fine-tuned from it. Everything follows from the constants of its `Recipe`
and the seeds of its stages. Weights are trained in float32 and stored in bfloat16; whatever is fine-tuned
starts from the stored base.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import torch
from torch.nn.functional import cross_entropy
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

from bench.zoo.data import IGNORE, MicroBatch, batches
from tasks.contract import Example

Report = Callable[[str, int, int, float], None]
"""Progress callback: stage, finished steps, all steps, smoothed loss."""

Scores = dict[str, dict[str, float]]
"""By benchmark: what a snapshot measured."""

Losses = Callable[[PreTrainedModel, PreTrainedTokenizerBase, "Recipe", "Stage"], Iterator[float]]
"""Each loss that it yields has left its gradient in the model: one optimiser step's."""


class Mixture(Protocol):
    """What a stage is trained on; its fields are shares, which a card states."""

    def examples(self, seed: int) -> Iterator[Example]:
        """Endless training examples; they follow from the seed."""
        ...


@dataclass(frozen=True)
class Stage:
    """One training run: its data mixture, length, optimiser and learning-rate schedule.

    ``"muon"`` trains the matrices inside the blocks with Muon and everything else with AdamW;
    ``"adamw"`` trains everything with AdamW. `purpose` completes "it ..." in the card, which also lists
    `notes`.
    """

    name: str
    mixture: Mixture
    steps: int
    batch: int
    optimiser: str
    learning_rate: float
    warmup: int
    seed: int
    purpose: str
    notes: tuple[str, ...] = ()
    loss: str = "loss on the response only"


@dataclass(frozen=True)
class Recipe:
    """A family: its stages (the base first), how its models begin and are watched, and the optimisation.

    `new_model(tokenizer, seed)` draws the base's initial weights; `begin(base, stage)` reads the stored base,
    float32, as the model of a later stage; `snapshot(model, tokenizer, n)` measures the model on the first `n`
    validation samples and leaves it alone. `losses` and `save` are those of models of texts where they are not said.
    """

    family: str
    suite: str
    data: str
    usage: str
    stages: tuple[Stage, ...]
    tokenizer: Callable[[], PreTrainedTokenizerBase]
    new_model: Callable[[PreTrainedTokenizerBase, int], PreTrainedModel]
    begin: Callable[[Path, Stage], PreTrainedModel]
    snapshot: Callable[[PreTrainedModel, PreTrainedTokenizerBase, int], Scores]
    micro_batch: int = 8
    betas: tuple[float, float] = (0.9, 0.98)
    weight_decay: float = 0.01
    clip: float = 1.0
    threads: int = 1
    log_every: int = 50
    evaluate_every: int = 200
    evaluate_n: int = 100
    losses: Losses | None = None
    save: Callable[[PreTrainedModel, PreTrainedTokenizerBase, Path], None] | None = None

    @property
    def base(self) -> Stage:
        """The stage that trains from scratch."""
        return self.stages[0]

    @property
    def experts(self) -> tuple[Stage, ...]:
        """The stages that fine-tune the base."""
        return self.stages[1:]

    def quick(self) -> Recipe:
        """A smoke-test version: the same path through the code with a few tiny steps."""
        base, *experts = (replace(stage, steps=2, batch=4, warmup=1) for stage in self.stages)
        return replace(
            self,
            micro_batch=2,
            log_every=1,
            evaluate_every=2,
            evaluate_n=2,
            stages=(replace(base, steps=3), *experts),
        )


def learning_rate_factor(step: int, steps: int, warmup: int) -> float:
    """Linear warm-up, then a cosine down to one hundredth."""
    if step < warmup:
        return (step + 1) / warmup
    progress = (step - warmup) / max(1, steps - warmup)
    return 0.01 + 0.99 * 0.5 * (1.0 + math.cos(math.pi * progress))


def loss_sum(model: PreTrainedModel, part: MicroBatch) -> torch.Tensor:
    """Summed cross-entropy of a micro-batch: over the labelled next tokens, or over the rows' classes."""
    logits = model(input_ids=part.input_ids, use_cache=False).logits
    if part.labels.ndim == 1:
        return cross_entropy(logits, part.labels, reduction="sum")
    return cross_entropy(
        logits[:, :-1].flatten(0, 1), part.labels[:, 1:].flatten(), ignore_index=IGNORE, reduction="sum"
    )


def train_step(model: PreTrainedModel, parts: list[MicroBatch]) -> float:
    """Accumulate the gradient of the mean loss per label (a response token, or a class); return that loss."""
    labels = sum(int((part.labels != IGNORE).sum()) for part in parts)
    total = 0.0
    for part in parts:
        loss = loss_sum(model, part)
        (loss / labels).backward()
        total += loss.item()
    return total / labels


def text_losses(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, recipe: Recipe, stage: Stage
) -> Iterator[float]:
    """Endless losses on the texts, or the labels of texts, of a stage's mixture."""
    for parts in batches(tokenizer, stage.mixture.examples(stage.seed), stage.batch, recipe.micro_batch):
        yield train_step(model, parts)


def _optimisers(model: PreTrainedModel, recipe: Recipe, stage: Stage) -> list[torch.optim.Optimizer]:
    """The optimisers of a stage, all at the stage's peak learning rate."""
    if stage.optimiser not in ("muon", "adamw"):
        raise ValueError(f"unknown optimiser {stage.optimiser!r}")
    rate, decay = stage.learning_rate, recipe.weight_decay
    named = list(model.named_parameters())
    blocks = (".layers.", ".h.")
    in_blocks = [
        parameter
        for name, parameter in named
        if stage.optimiser == "muon" and parameter.ndim == 2 and any(block in name for block in blocks)
    ]
    chosen = {id(p) for p in in_blocks}
    others = [p for _, p in named if id(p) not in chosen]
    optimisers: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(others, lr=rate, betas=recipe.betas, weight_decay=decay)
    ]
    if in_blocks:
        optimisers.append(
            torch.optim.Muon(in_blocks, lr=rate, weight_decay=decay, adjust_lr_fn="match_rms_adamw")
        )
    return optimisers


def _optimiser_steps(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, recipe: Recipe, stage: Stage
) -> Iterator[tuple[int, float]]:
    """Run the stage; yields (finished steps, loss) after every optimiser step."""
    optimisers = _optimisers(model, recipe, stage)
    losses = (recipe.losses or text_losses)(model, tokenizer, recipe, stage)
    model.train()
    for step in range(stage.steps):
        rate = stage.learning_rate * learning_rate_factor(step, stage.steps, stage.warmup)
        for group in (group for optimiser in optimisers for group in optimiser.param_groups):
            group["lr"] = rate
        loss = next(losses)
        torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.clip)
        for optimiser in optimisers:
            optimiser.step()
        model.zero_grad()
        yield step + 1, loss


def train(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    recipe: Recipe,
    stage: Stage,
    log: Path,
    report: Report,
) -> float:
    """Train ``model`` in place through one stage, logging JSON lines; returns the seconds it took."""
    started, smooth = time.monotonic(), 0.0
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w", encoding="utf-8") as sink:
        for done, loss in _optimiser_steps(model, tokenizer, recipe, stage):
            smooth = loss if done == 1 else 0.95 * smooth + 0.05 * loss
            report(stage.name, done, stage.steps, smooth)
            last = done == stage.steps
            if not (last or done % recipe.log_every == 0):
                continue
            record: dict[str, Any] = {"stage": stage.name, "step": done, "loss": round(smooth, 5)}
            if last or done % recipe.evaluate_every == 0:
                record["validation"] = recipe.snapshot(model, tokenizer, recipe.evaluate_n)
            sink.write(json.dumps(record) + "\n")
            sink.flush()
    return time.monotonic() - started


def save(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Store bfloat16 weights, configs and tokenizer; the model is not fit for further training."""
    stored = model.to(torch.bfloat16)
    if stored.can_generate():
        stored.generation_config = GenerationConfig(
            do_sample=False, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id
        )
    stored.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "model.safetensors").chmod(0o644)
