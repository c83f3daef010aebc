"""Statistics on uniformly random tokens: the Fisher of FIM-Merging, and the inputs of matrices on the same tokens.

Source: arXiv 2603.21705, eq. 7 and Algorithm 1, step 1. No data, no beginning-of-text token, one sequence a pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from bench.errors import BadInput
from bench.models.checkpoint import Checkpoint
from bench.models.loading import require_tokenizer
from bench.statistics.gradients import Term, squared_gradients
from bench.statistics.points import load_point, module_of
from bench.statistics.progress import counted
from bench.statistics.store import Computed
from bench.statistics.subject import Subject

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel


def compute(subject: Subject, say: Callable[[str], None]) -> Computed:
    """The Fisher, or the modules' inputs, of one model."""
    tokens = random_tokens(subject.model, subject.options)
    point = load_point(subject)
    asked = point.wanted(subject)
    sequences = counted(tokens, len(tokens), subject.title, "sequence", say)
    if subject.need.kind == "fisher_random_tokens":
        values = fisher(point.model, sequences, len(tokens), set(asked))
    else:
        modules = {name: module_of(point, name) for name in asked}
        values = module_inputs(point.model, sequences, modules)
    tensors = {}
    for name in list(values):
        found = values.pop(name)
        tensors[asked[name].info.name] = (
            point.in_result(found, asked[name]) if subject.need.kind == "fisher_random_tokens" else found
        )
    return Computed(tensors, counts={"sequences": len(tokens)})


def random_tokens(model: Checkpoint, options: dict[str, Any]) -> Tensor:
    """[samples, length] uniform token ids: one CPU generator, one call."""
    import torch

    size = model.config.get("vocab_size")
    if not isinstance(size, int) or size < 1:
        raise BadInput(
            f"config.json of {model.name} has vocab_size {size!r}: random tokens need a whole number"
        )
    if options["vocabulary"] == "tokenizer":
        from transformers import AutoTokenizer

        require_tokenizer(model.path, model.name)
        size = len(AutoTokenizer.from_pretrained(model.path))
    length = int(options["length"])
    limit = int(model.config.get("max_position_embeddings", model.config.get("n_positions", length)))
    if length > limit:
        raise BadInput(f"length={length} is longer than the {limit} positions of {model.name}")
    generator = torch.Generator().manual_seed(int(options["seed"]))
    return torch.randint(0, size, (int(options["samples"]), length), generator=generator)


def fisher(
    model: PreTrainedModel, sequences: Iterable[Tensor], count: int, wanted: set[str]
) -> dict[str, Tensor]:
    """Diagonal Fisher: mean over sequences of the squared gradient of the mean next-token loss (FIM eq. 7)."""

    def terms() -> Iterator[list[Term]]:
        for sequence in sequences:
            yield [(next_token_loss(model, sequence.unsqueeze(0)), 1.0)]

    return squared_gradients(model, wanted, terms(), count)


def next_token_loss(model: PreTrainedModel, ids: Tensor) -> Tensor:
    """Mean next-token negative log-likelihood over the L - 1 predicted positions, in float32."""
    import torch.nn.functional as functional

    logits = model(input_ids=ids, use_cache=False).logits[:, :-1].float()
    return functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())


def module_inputs(
    model: PreTrainedModel, sequences: Iterable[Tensor], modules: dict[str, Any]
) -> dict[str, Tensor]:
    """Inputs of modules on the sequences: float32 [samples * length, features] by the modules' keys."""
    import torch

    rows: dict[str, list[Tensor]] = {name: [] for name in modules}
    hooks = [module.register_forward_pre_hook(_collect(rows[name])) for name, module in modules.items()]
    with torch.no_grad():
        for sequence in sequences:
            model(input_ids=sequence.unsqueeze(0), use_cache=False)
    for hook in hooks:
        hook.remove()
    return {name: torch.cat(rows.pop(name)) for name in list(rows)}


def _collect(rows: list[Tensor]) -> Callable[[Any, tuple[Any, ...]], None]:
    def hook(module: Any, inputs: tuple[Any, ...]) -> None:
        rows.append(inputs[0].detach().float().flatten(0, -2).clone())

    return hook
