"""Statistics that methods need (Fishers, module inputs): computed once, kept on disk under their identity."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.alignment import Target
from bench.checkpoint import Checkpoint, Stored, read_header
from bench.errors import BadInput
from bench.identity import code_digest, digest
from bench.loading import load_model, require_tokenizer
from bench.writer import check_disk
from methods.common.contract import Need

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

DATA = "statistic.safetensors"
RECORD = "statistic.json"


@dataclass(frozen=True)
class Statistic:
    """One statistic of one model: tensors by parameter name, and what it cost to compute."""

    id: str
    tensors: dict[str, Stored]
    seconds: float
    reused: bool


def statistic_id(need: Need, fingerprint: str) -> str:
    """Identity: what is computed, with which code and torch, at which weights."""
    from importlib.metadata import version

    return digest(
        {
            "code": code_digest([Path(__file__)]),
            "kind": need.kind,
            "options": dict(need.options),
            "roles": list(need.roles),
            "model": fingerprint,
            "torch": version("torch"),
            "transformers": version("transformers"),
        }
    )


def provide(
    need: Need,
    model: Checkpoint,
    fingerprint: str,
    targets: tuple[Target, ...],
    *,
    source: int,
    folder: Path,
    say: Callable[[str], None],
) -> Statistic:
    """The statistic of `model`, from disk if it was computed before. `source` is its place in the targets'
    sources (0 = base)."""
    from filelock import FileLock

    identity = statistic_id(need, fingerprint)
    final = folder / identity
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / f".{identity}.lock"):
        if (found := _stored(final, identity)) is not None:
            return found
        wanted = {
            str(t.sources[source].name): t
            for t in targets
            if t.info.block is not None and t.info.role in need.roles
        }
        if not wanted:
            raise BadInput(
                f"{model.name} has no {', '.join(need.roles)} tensors inside blocks to take {need.kind} of"
            )
        check_disk(folder, size_of(need, list(wanted.values())), f"the statistic {need.kind}")
        say(f"computing {need.kind} of {model.name} ({_describe(need)})")
        started = time.perf_counter()
        values = _compute(need, model, set(wanted))
        seconds = time.perf_counter() - started
        _save(
            final,
            values,
            {
                "id": identity,
                "kind": need.kind,
                "options": dict(need.options),
                "model": model.name,
                "fingerprint": fingerprint,
                "seconds": seconds,
            },
        )
    return Statistic(identity, _tensors(final), seconds, False)


def _stored(final: Path, identity: str) -> Statistic | None:
    """The statistic on disk, None when it is not there or damaged (it is then made again)."""
    try:
        record = json.loads((final / RECORD).read_text(encoding="utf-8"))
        return Statistic(identity, _tensors(final), float(record["seconds"]), True)
    except (OSError, ValueError, TypeError, KeyError, BadInput):
        shutil.rmtree(final, ignore_errors=True)
        return None


def size_of(need: Need, wanted: list[Target]) -> int:
    """Bytes of a statistic: float32, one number per weight, or one input row per random token."""
    if need.kind == "fisher_random_tokens":
        return 4 * sum(target.info.n for target in wanted)
    rows = int(need.options["samples"]) * int(need.options["length"])
    return 4 * rows * sum(target.info.shape[target.info.input_axis] for target in wanted)


def _describe(need: Need) -> str:
    return ", ".join(f"{key} {value}" for key, value in need.options.items())


def _tensors(folder: Path) -> dict[str, Stored]:
    return {stored.name: stored for stored in read_header(folder / DATA)}


def _save(final: Path, values: dict[str, Tensor], record: dict[str, Any]) -> None:
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    draft = final.with_name(f".{final.name}.partial")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir()
    try:
        save_file(values, draft / DATA)
    except (SafetensorError, OSError) as error:
        shutil.rmtree(draft, ignore_errors=True)
        raise BadInput(f"the statistic could not be written to {draft.parent}: {error}") from error
    (draft / RECORD).write_text(json.dumps(record, indent=2), encoding="utf-8")
    draft.rename(final)


def _compute(need: Need, model: Checkpoint, wanted: set[str]) -> dict[str, Tensor]:
    tokens = _random_tokens(model, need)
    loaded = _load(model, str(need.options["dtype"]))
    if need.kind == "fisher_random_tokens":
        if str(loaded.dtype) == "torch.float16":
            raise BadInput(
                f"{model.name} is float16, whose gradients underflow: take fisher_dtype=float32 or bfloat16"
            )
        return fisher(loaded, tokens, wanted)
    return module_inputs(loaded, tokens, wanted)


def stored_name(name: str, model: PreTrainedModel, wanted: set[str]) -> str | None:
    """Name in the checkpoint of a loaded parameter, None when it is not wanted.

    A checkpoint of a bare backbone (GPT-2's on the Hub) lacks the prefix that the loaded model has.
    """
    bare = name.removeprefix(f"{model.base_model_prefix}.")
    return name if name in wanted else (bare if bare in wanted else None)


def _load(model: Checkpoint, dtype: str) -> PreTrainedModel:
    import torch

    return load_model(model.path, "auto" if dtype == "checkpoint" else getattr(torch, dtype))


def _random_tokens(model: Checkpoint, need: Need) -> Tensor:
    """[samples, length] uniform token ids: one CPU generator, one call."""
    import torch

    size = model.config.get("vocab_size")
    if not isinstance(size, int) or size < 1:
        raise BadInput(
            f"config.json of {model.name} has vocab_size {size!r}: random tokens need a whole number"
        )
    if need.options["vocabulary"] == "tokenizer":
        from transformers import AutoTokenizer

        require_tokenizer(model.path, model.name)
        size = len(AutoTokenizer.from_pretrained(model.path))
    length = int(need.options["length"])
    limit = int(model.config.get("max_position_embeddings", model.config.get("n_positions", length)))
    if length > limit:
        raise BadInput(f"length={length} is longer than the {limit} positions of {model.name}")
    generator = torch.Generator().manual_seed(int(need.options["seed"]))
    return torch.randint(0, size, (int(need.options["samples"]), length), generator=generator)


def fisher(model: PreTrainedModel, tokens: Tensor, wanted: set[str]) -> dict[str, Tensor]:
    """Diagonal Fisher: mean over sequences of the squared gradient of the mean next-token loss (FIM eq. 7).

    One sequence per backward. Squares are taken and summed in float32 in a hook on each parameter, which frees
    the gradient at once: the gradients of the whole model never exist together. A tied parameter's gradient is
    complete (both uses summed) before the hook sees it.
    """
    import torch

    totals: dict[str, Tensor] = {}
    hooks = []
    for loaded_name, parameter in model.named_parameters():
        name = stored_name(loaded_name, model, wanted)
        parameter.requires_grad_(name is not None)
        if name is not None:
            totals[name] = torch.zeros(parameter.shape, dtype=torch.float32)
            hooks.append(
                parameter.register_post_accumulate_grad_hook(_square_into(totals[name], len(tokens)))
            )
    _check_found(wanted, set(totals))
    for sequence in tokens:
        next_token_loss(model, sequence.unsqueeze(0)).backward()
    for hook in hooks:
        hook.remove()
    return totals


def _square_into(total: Tensor, count: int) -> Callable[[Tensor], None]:
    def hook(parameter: Tensor) -> None:
        assert parameter.grad is not None
        gradient = parameter.grad.float()
        total.addcmul_(gradient, gradient, value=1 / count)
        parameter.grad = None

    return hook


def next_token_loss(model: PreTrainedModel, ids: Tensor) -> Tensor:
    """Mean next-token negative log-likelihood over the L - 1 predicted positions, in float32."""
    import torch.nn.functional as functional

    logits = model(input_ids=ids, use_cache=False).logits[:, :-1].float()
    return functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())


def module_inputs(model: PreTrainedModel, tokens: Tensor, wanted: set[str]) -> dict[str, Tensor]:
    """Inputs of every wanted matrix on the random sequences: float32 [samples * length, features] by weight name."""
    import torch

    rows: dict[str, list[Tensor]] = {}
    hooks = [
        module.register_forward_pre_hook(_collect(rows.setdefault(name, [])))
        for loaded_name, module in model.named_modules()
        if (name := stored_name(f"{loaded_name}.weight", model, wanted)) is not None
    ]
    _check_found(wanted, set(rows))
    with torch.no_grad():
        for sequence in tokens:
            model(input_ids=sequence.unsqueeze(0), use_cache=False)
    for hook in hooks:
        hook.remove()
    return {name: torch.cat(found) for name, found in rows.items()}


def _collect(rows: list[Tensor]) -> Callable[[Any, tuple[Any, ...]], None]:
    def hook(module: Any, inputs: tuple[Any, ...]) -> None:
        rows.append(inputs[0].detach().float().flatten(0, -2).clone())

    return hook


def _check_found(wanted: set[str], found: set[str]) -> None:
    if missing := sorted(wanted - found):
        raise BadInput(
            f"the loaded model has no parameter {missing[0]!r} ({len(missing)} missing): "
            f"its names differ from the checkpoint's"
        )
