"""A batched decoder for the zoo's own scores: left padding, key-value cache, finished rows dropped."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers import DynamicCache, PreTrainedModel, PreTrainedTokenizerBase

from tasks.mini_l2s.problems import Problem

_BOXED = re.compile(r"\\boxed\{(\d+)\}")


@dataclass(frozen=True)
class Response:
    """One generated response: its text, token count (with ``<eos>``) and parsed answer."""

    text: str
    tokens: int
    answer: int | None


def parse_answer(text: str) -> int | None:
    """The integer in the last ``\\boxed{...}``, or None."""
    found = _BOXED.findall(text)
    return int(found[-1]) if found else None


def _next_ids(logits: torch.Tensor, temperature: float, generator: torch.Generator | None) -> torch.Tensor:
    """Greedy choice at temperature 0, otherwise one sample per row."""
    if temperature == 0.0:
        return logits.argmax(dim=-1)
    weights = torch.softmax(logits / temperature, dim=-1)
    return torch.multinomial(weights, 1, generator=generator).squeeze(-1)


def _pad_left(rows: Sequence[list[int]], pad_id: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Left-padded ids and their attention mask."""
    width = max(map(len, rows))
    ids = torch.full((len(rows), width), pad_id)
    mask = torch.zeros((len(rows), width), dtype=torch.long)
    for index, row in enumerate(rows):
        ids[index, width - len(row) :] = torch.tensor(row)
        mask[index, width - len(row) :] = 1
    return ids, mask


@torch.inference_mode()
def generate_ids(
    model: PreTrainedModel,
    rows: Sequence[list[int]],
    *,
    pad_id: int,
    eos_id: int,
    max_new_tokens: int = 256,
    temperature: float = 0.0,
    generator: torch.Generator | None = None,
) -> list[list[int]]:
    """Continue every row until ``<eos>`` (kept) or ``max_new_tokens``."""
    ids, mask = _pad_left(rows, pad_id)
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    cache, alive = DynamicCache(config=model.config), torch.arange(len(rows))
    produced: list[list[int]] = [[] for _ in rows]
    for _ in range(max_new_tokens):
        output = model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        chosen = _next_ids(output.logits[:, -1].float(), temperature, generator)
        for row, token in zip(alive.tolist(), chosen.tolist(), strict=True):
            produced[row].append(token)
        going = (chosen != eos_id).nonzero().squeeze(-1)
        if not len(going):
            break
        if len(going) < len(alive):
            cache.batch_select_indices(going)
        alive, chosen, mask = alive[going], chosen[going], mask[going]
        positions = positions[going, -1:] + 1
        ids = chosen[:, None]
        mask = torch.cat([mask, mask.new_ones(len(alive), 1)], dim=-1)
    return produced


def respond(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    problems: Sequence[Problem],
    *,
    temperature: float = 0.0,
    seed: int = 0,
    max_new_tokens: int = 256,
    batch_size: int = 100,
) -> list[Response]:
    """One response per problem (pass a problem several times to sample it several times)."""
    generator = torch.Generator().manual_seed(seed)
    was_training = model.training
    model.eval()
    responses: list[Response] = []
    for start in range(0, len(problems), batch_size):
        prompts = [problem.prompt for problem in problems[start : start + batch_size]]
        produced = generate_ids(
            model,
            tokenizer(prompts)["input_ids"],
            pad_id=tokenizer.pad_token_id,
            eos_id=tokenizer.eos_token_id,
            max_new_tokens=max_new_tokens,
            temperature=temperature,
            generator=generator,
        )
        for ids in produced:
            text = tokenizer.decode(ids, skip_special_tokens=True)
            responses.append(Response(text, len(ids), parse_answer(text)))
    model.train(was_training)
    return responses
