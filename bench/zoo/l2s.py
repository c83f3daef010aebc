"""The L2S pair of the embedded zoo: a terse base and an expert with long, self-checking chains.

The base is trained from scratch on direct answers, short chains and a few long chains; the expert is
fine-tuned from the base on long chains only. Everything follows from the constants of `Recipe` and its
seeds. Weights are trained in float32 and stored in bfloat16; the expert starts from the stored base.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch.nn.functional import cross_entropy
from transformers import GenerationConfig, PreTrainedTokenizerBase, Qwen2Config, Qwen2ForCausalLM

from bench.engines.contract import Request
from bench.engines.decoding import Decoder, Job
from bench.zoo.data import IGNORE, MicroBatch, Mixture, batches
from bench.zoo.tokenizer import MAX_LENGTH
from tasks.mini_l2s.grader import BoxedInteger
from tasks.mini_l2s.problems import LEVELS, problems
from tasks.mini_l2s.suite import BUDGET, GREEDY

BASE_NAME, EXPERT_NAME = "l2s-base", "l2s-expert"

Report = Callable[[str, int, int, float], None]
"""Progress callback: stage, finished steps, all steps, smoothed loss."""


@dataclass(frozen=True)
class Stage:
    """One training run: its data mixture, length, optimiser and learning-rate schedule.

    ``"muon"`` trains the matrices inside the blocks with Muon and everything else with AdamW;
    ``"adamw"`` trains everything with AdamW.
    """

    name: str
    mixture: Mixture
    steps: int
    batch: int
    optimiser: str
    learning_rate: float
    warmup: int
    seed: int


_BASE_LEVELS = {"mini_gsm": 0.60, "mini_math": 0.24, "mini_aime": 0.16}
_EXPERT_LEVELS = {"mini_gsm": 0.40, "mini_math": 0.30, "mini_aime": 0.30}


@dataclass(frozen=True)
class Recipe:
    """All hyper-parameters of the pair."""

    hidden_size: int = 128
    intermediate_size: int = 320
    layers: int = 4
    heads: int = 4
    initializer_range: float = 0.06
    micro_batch: int = 8
    betas: tuple[float, float] = (0.9, 0.98)
    weight_decay: float = 0.01
    clip: float = 1.0
    threads: int = 1
    log_every: int = 50
    evaluate_every: int = 200
    evaluate_n: int = 100
    base: Stage = field(
        default_factory=lambda: Stage(
            name=BASE_NAME,
            mixture=Mixture(_BASE_LEVELS, {"direct": 0.68, "short": 0.27, "long": 0.05}),
            steps=2000,
            batch=96,
            optimiser="muon",
            learning_rate=3e-3,
            warmup=100,
            seed=11,
        )
    )
    expert: Stage = field(
        default_factory=lambda: Stage(
            name=EXPERT_NAME,
            mixture=Mixture(_EXPERT_LEVELS, {"long": 1.0}),
            steps=220,
            batch=48,
            optimiser="adamw",
            learning_rate=3e-4,
            warmup=30,
            seed=12,
        )
    )

    def quick(self) -> Recipe:
        """A smoke-test version: the same path through the code with a few tiny steps."""
        return replace(
            self,
            micro_batch=2,
            log_every=1,
            evaluate_every=2,
            evaluate_n=2,
            base=replace(self.base, steps=3, batch=4, warmup=1),
            expert=replace(self.expert, steps=2, batch=4, warmup=1),
        )


def new_model(recipe: Recipe, tokenizer: PreTrainedTokenizerBase) -> Qwen2ForCausalLM:
    """A freshly initialised float32 model; the initial weights follow from the base stage's seed."""
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=recipe.hidden_size,
        intermediate_size=recipe.intermediate_size,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        num_key_value_heads=recipe.heads,
        max_position_embeddings=MAX_LENGTH,
        initializer_range=recipe.initializer_range,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    torch.manual_seed(recipe.base.seed)
    return Qwen2ForCausalLM(config).float()


def learning_rate_factor(step: int, steps: int, warmup: int) -> float:
    """Linear warm-up, then a cosine down to one hundredth."""
    if step < warmup:
        return (step + 1) / warmup
    progress = (step - warmup) / max(1, steps - warmup)
    return 0.01 + 0.99 * 0.5 * (1.0 + math.cos(math.pi * progress))


def train_step(model: Qwen2ForCausalLM, parts: list[MicroBatch]) -> float:
    """Accumulate the gradient of the mean loss per response token; return that loss."""
    tokens = sum(int((part.labels != IGNORE).sum()) for part in parts)
    total = 0.0
    for part in parts:
        logits = model(input_ids=part.input_ids, use_cache=False).logits
        loss = cross_entropy(
            logits[:, :-1].flatten(0, 1), part.labels[:, 1:].flatten(), ignore_index=IGNORE, reduction="sum"
        )
        (loss / tokens).backward()
        total += loss.item()
    return total / tokens


def snapshot_scores(
    model: Qwen2ForCausalLM, tokenizer: PreTrainedTokenizerBase, n: int
) -> dict[str, dict[str, float]]:
    """Greedy accuracy and mean tokens on the first ``n`` validation problems per level: a training curve.

    The engine's decoder on the weights in training. ``tokens`` counts what is generated, ``<eos>`` included;
    the lengths of the leaderboard and of the cards are those of the text. No random number is drawn.
    """
    model.eval()
    decoder = Decoder(model, batch_size=n, end_ids=[tokenizer.eos_token_id], has_stopped=None, tail=0)
    scores = {}
    for level in LEVELS:
        chosen = problems(level, "validation", n)
        prompts = tokenizer([problem.prompt for problem in chosen])["input_ids"]
        jobs = [
            Job(Request(problem.id, problem.prompt, GREEDY.sampling, seed=0), prompt, BUDGET)
            for problem, prompt in zip(chosen, prompts, strict=True)
        ]
        given = [response for group in decoder.run(jobs) for response in group]
        targets = {problem.id: str(problem.answer) for problem in chosen}
        texts = [tokenizer.decode(response.ids, skip_special_tokens=True) for response in given]
        pairs = [(text, targets[r.job.request.id]) for text, r in zip(texts, given, strict=True)]
        right = sum(verdict.correct for verdict in BoxedInteger().grade(pairs))
        length = sum(len(response.ids) + response.ended for response in given) / n
        scores[level] = {"accuracy": round(right / n, 4), "tokens": round(length, 2)}
    model.train()
    return scores


def _optimisers(model: Qwen2ForCausalLM, recipe: Recipe, stage: Stage) -> list[torch.optim.Optimizer]:
    """The optimisers of a stage, all at the stage's peak learning rate."""
    if stage.optimiser not in ("muon", "adamw"):
        raise ValueError(f"unknown optimiser {stage.optimiser!r}")
    rate, decay = stage.learning_rate, recipe.weight_decay
    named = list(model.named_parameters())
    in_blocks = [p for name, p in named if stage.optimiser == "muon" and p.ndim == 2 and "embed" not in name]
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
    model: Qwen2ForCausalLM, tokenizer: PreTrainedTokenizerBase, recipe: Recipe, stage: Stage
) -> Iterator[tuple[int, float]]:
    """Run the stage; yields (finished steps, loss) after every optimiser step."""
    optimisers = _optimisers(model, recipe, stage)
    stream = batches(tokenizer, stage.mixture, stage.seed, stage.batch, recipe.micro_batch)
    model.train()
    for step in range(stage.steps):
        rate = stage.learning_rate * learning_rate_factor(step, stage.steps, stage.warmup)
        for group in (group for optimiser in optimisers for group in optimiser.param_groups):
            group["lr"] = rate
        loss = train_step(model, next(stream))
        torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.clip)
        for optimiser in optimisers:
            optimiser.step()
        model.zero_grad()
        yield step + 1, loss


def train(
    model: Qwen2ForCausalLM,
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
            record: dict[str, object] = {"stage": stage.name, "step": done, "loss": round(smooth, 5)}
            if last or done % recipe.evaluate_every == 0:
                record["validation"] = snapshot_scores(model, tokenizer, recipe.evaluate_n)
            sink.write(json.dumps(record) + "\n")
            sink.flush()
    return time.monotonic() - started


def save(model: Qwen2ForCausalLM, tokenizer: PreTrainedTokenizerBase, folder: Path) -> Qwen2ForCausalLM:
    """Store bfloat16 weights, configs and tokenizer; return what is on disk, in float32.

    The model is read back because a cast and its reversal would round the rotary frequencies as well.
    """
    stored = model.to(torch.bfloat16)
    stored.generation_config = GenerationConfig(
        do_sample=False, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id
    )
    stored.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "model.safetensors").chmod(0o644)
    return Qwen2ForCausalLM.from_pretrained(folder, dtype=torch.float32)
