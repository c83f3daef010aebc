"""Small real models for statistics: a base, experts near it, a tokenizer of characters, and recipes over them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    GPT2Config,
    GPT2ForSequenceClassification,
    GPT2LMHeadModel,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen2ForSequenceClassification,
)

from bench.alignment.align import align
from bench.examples import ExampleSet
from bench.merging.merge import quiet
from bench.recipe import Recipe, build_recipe
from bench.statistics import Statistic, Subject, provide, subjects
from methods.common.contract import Need, Role
from tasks.contract import Example
from tests.bench.tiny import tokenizer
from tests.helpers.models import randomised

ROLES = (Role.EMBED, Role.POS_EMBED, Role.LINEAR, Role.BIAS, Role.NORM, Role.LM_HEAD)
SIZE = len(tokenizer())
SPOKEN = tuple(Example(f"say {word}", word) for word in ("one", "seven", "a", "four and five"))
LABELLED = tuple(
    Example(text, label=k % 3) for k, text in enumerate(("ab", "hello", "x y z", "12", "longer text"))
)


def write(folder: Path, kind: str, seed: int, near: Path | None = None, spread: float = 0.05) -> Path:
    """A model of a kind ("qwen2", "gpt2", "... tied", "... classifier"), its body near another's if one is given."""
    model = randomised(_made(kind), seed)
    if near is not None:
        loader = AutoModelForCausalLM if (near / "speaks").exists() else AutoModelForSequenceClassification
        start = dict(loader.from_pretrained(near).base_model.named_parameters())
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for name, parameter in model.base_model.named_parameters():
                noise = torch.randn(parameter.shape, generator=generator)
                parameter.copy_(start[name] + spread * noise)
    model.save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    if "classifier" not in kind:
        (folder / "speaks").touch()
    return folder


def _made(kind: str) -> PreTrainedModel:
    qwen: dict[str, Any] = {
        "vocab_size": SIZE, "hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 2,
        "num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 64, "dtype": "float32",
        "eos_token_id": 1, "pad_token_id": 0, "bos_token_id": None, "num_labels": 3,
        "tie_word_embeddings": "tied" in kind,
    }  # fmt: skip
    gpt: dict[str, Any] = {
        "vocab_size": SIZE, "n_embd": 8, "n_layer": 2, "n_head": 2, "n_positions": 64, "bos_token_id": 1,
        "eos_token_id": 1, "pad_token_id": 0, "num_labels": 3,
    }  # fmt: skip
    if kind.startswith("qwen2"):
        chosen = Qwen2ForSequenceClassification if "classifier" in kind else Qwen2ForCausalLM
        return chosen(Qwen2Config(**qwen)).eval()
    speaker = GPT2ForSequenceClassification if "classifier" in kind else GPT2LMHeadModel
    return speaker(GPT2Config(**gpt)).eval()


def family(folder: Path, kind: str, experts: int = 2, *, expert_kind: str | None = None) -> Recipe:
    """A recipe (Task Arithmetic: its arithmetic does not matter here) with examples for every expert."""
    base = write(folder / "base", kind, 1)
    paths = [write(folder / f"expert{m}", expert_kind or kind, 10 + m, near=base) for m in range(experts)]
    classifier = "classifier" in (expert_kind or kind)
    every = LABELLED if classifier else SPOKEN
    recipe = build_recipe("task_arithmetic", {}, str(base), [str(path) for path in paths])
    return replace(
        recipe, data=tuple(ExampleSet(f"set {m}", (*every[m:], *every[:m])) for m in range(experts))
    )


def need(kind: Any, of: Any = "experts", **options: Any) -> Need:
    """A need on each expert's own data; `roles`, `scope`, `data` and `objective` may be given too."""
    own = {key: options.pop(key) for key in ("roles", "scope", "data", "objective") if key in options}
    return Need("it", kind, of, {"dtype": "float32", **options} if kind != "optimised" else options,
                **{"data": "own", "roles": ROLES, **own})  # fmt: skip


def of(recipe: Recipe, wanted: Need) -> tuple[Subject, ...]:
    """The subjects of a need for a recipe."""
    return subjects(wanted, recipe, align(recipe).targets)


def computed(
    folder: Path, recipe: Recipe, wanted: Need, say: Callable[[str], None] = quiet, only: int | None = None
) -> list[Statistic]:
    """The statistic of every subject, or of one."""
    return [
        provide(subject, folder=folder / "statistics", memory=folder / "fingerprints.json", say=say)
        for m, subject in enumerate(of(recipe, wanted))
        if only in (None, m)
    ]


def tensors(statistic: Statistic) -> dict[str, torch.Tensor]:
    """All of a statistic's tensors."""
    return {name: statistic.read(name) for name in statistic.tensors}


def close(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    """The same names, values within 2e-5 of each other, and not all 0."""
    assert set(found) == set(expected)
    for name, values in expected.items():
        torch.testing.assert_close(
            found[name], values, atol=1e-9, rtol=5e-5, msg=lambda text, n=name: f"{n}: {text}"
        )
    assert any(values.abs().max() > 0 for values in expected.values())


def ids_of(examples: Sequence[Example], path: Path) -> list[tuple[list[int], list[int]]]:
    """(prompt, response and end token) of each example, as the checkpoint's own tokenizer has them."""
    tokens = AutoTokenizer.from_pretrained(path)
    return [
        (tokens(e.prompt)["input_ids"], [*tokens(e.response or "")["input_ids"], tokens.eos_token_id])
        for e in examples
    ]
