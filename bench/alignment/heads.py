"""The language-model head: tied to the embedding, a matrix of its own, or none (a bare body, a classifier)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bench.errors import BadInput
from bench.models.checkpoint import Checkpoint
from bench.models.roles import LM_HEAD, Architecture, role_of
from methods.common.contract import Method, Role

Head = Literal["tied", "own", "none"]
SPEAKING = ("ForCausalLM", "LMHeadModel")


@dataclass(frozen=True)
class Heads:
    """The head of the result, of each model, and what a reader should know about the choice."""

    result: Head
    models: tuple[Head, ...]
    notes: tuple[str, ...]


def head_of(model: Checkpoint, arch: Architecture) -> Head:
    """How a model stores its LM head. One that says `tie_word_embeddings` and stores a head has it ignored, as
    transformers does."""
    roles = [role_of(name, arch) for name in model.tensors]
    classes = model.config.get("architectures") or []
    speaks = any(str(name).endswith(SPEAKING) for name in classes) or not (classes or Role.TASK_HEAD in roles)
    if model.tied and (speaks or Role.LM_HEAD in roles):
        return "tied"
    return "own" if Role.LM_HEAD in roles or speaks else "none"


def choose_heads(models: tuple[Checkpoint, ...], method: Method, arch: Architecture) -> Heads:
    """The base decides whether the result has a head; `tied_mismatch` decides when tied and untied meet."""
    found = tuple(head_of(model, arch) for model in models)
    who = ", ".join(f"{model.name} {_word(head)}" for model, head in zip(models, found, strict=True))
    present = {head for head in found if head != "none"}
    if found[0] == "none" or len(present) == 1:
        return Heads(found[0], found, (f"LM heads differ: {who}",) if len(set(found)) > 1 else ())
    result = found[0] if method.tied_mismatch == "follow_base" else "own"
    saved = "an embedding that is also the head" if result == "tied" else "an explicit head"
    note = f"tied heads differ ({who}): tied_mismatch={method.tied_mismatch} saves {saved}"
    return Heads(result, found, (note,))


def _word(head: Head) -> str:
    return {"tied": "tied", "own": "untied", "none": "without one"}[head]


def names_in(model: Checkpoint, head: Head, result: Head, arch: Architecture) -> dict[str, str]:
    """Name of each tensor as the result counts them to its name in `model`.

    A tied model lends its embedding as head to a result that has one of its own; BadInput where it has none to
    lend, or several.
    """
    names = {name: name for name in model.tensors}
    if head == "tied" or result == "tied":
        names = {name: name for name in names if role_of(name, arch) is not Role.LM_HEAD}
    if head == "tied" and result == "own":
        names[LM_HEAD] = _embedding(model, arch)
    return names


def _embedding(model: Checkpoint, arch: Architecture) -> str:
    """Name of a tied model's one embedding."""
    found = [name for name in model.tensors if role_of(name, arch) is Role.EMBED]
    if len(found) != 1:
        raise BadInput(
            f"{model.name} is said to have its embedding as LM head (tie_word_embeddings), and has {len(found)} "
            f"embeddings{': ' if found else ''}{', '.join(found)}. Correct its config or its weights"
        )
    return found[0]
