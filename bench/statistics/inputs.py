"""Statistics of what modules are fed on data: Gram matrices (RegMean) and mean magnitudes per channel (AIM)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bench.errors import BadInput
from bench.models.padding import padded
from bench.models.roles import LM_HEAD
from bench.statistics.images import ImageReader, fed
from bench.statistics.points import Point, load_point, module_of, reader_of
from bench.statistics.progress import counted
from bench.statistics.store import Computed
from bench.statistics.subject import Subject
from bench.statistics.text import Reader, Shown, batches, chosen, together

if TYPE_CHECKING:
    from torch import Tensor

Observe = Callable[[str, "Tensor"], None]


def compute(subject: Subject, say: Callable[[str], None]) -> Computed:
    """Gram matrices, or channel magnitudes, of one subject."""
    point = load_point(subject)
    reader = reader_of(subject)
    if subject.need.kind == "gram_data":
        return grams(subject, point, reader, say)
    assert isinstance(reader, Reader), "blocks of text are refused for models of images"
    return channels(subject, point, reader, say)


@dataclass
class Sums:
    """Sums by the result's tensor name. `aliases`: tensors whose module is fed the very same input as another's."""

    values: dict[str, Tensor] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, part: Tensor) -> None:
        """Add to a tensor's sum."""
        if name in self.values:
            self.values[name] += part
        else:
            self.values[name] = part


def grams(
    subject: Subject, point: Point, reader: Reader | ImageReader, say: Callable[[str], None]
) -> Computed:
    """X^T X / tokens of every wanted matrix's inputs; modules fed the same tensor (q, k, v; gate, up) share one."""
    import torch

    options = subject.options
    texts = reader.read(together(subject.data), options, answered=False)
    groups = list(batches(texts.shown, int(options["batch"])))
    dtype = getattr(torch, str(options["accumulate"]))
    sums = Sums()
    tokens = 0
    for group in counted(groups, len(groups), subject.title, "batch", say):
        shown, mask = _fed(point, group)
        counts = mask.bool() if options["padding"] == "exclude" else torch.ones_like(mask).bool()
        tokens += int(counts.sum())

        def add(name: str, found: Tensor, counts: Tensor = counts) -> None:
            rows = found[counts].to(dtype)
            sums.add(name, rows.T @ rows)

        observe(subject, point, shown, add, sums.aliases)
    tensors = {name: (sums.values.pop(name) / tokens).float() for name in list(sums.values)}
    return Computed(tensors, sums.aliases, {**texts.counts, "tokens": tokens})


def channels(subject: Subject, point: Point, reader: Reader, say: Callable[[str], None]) -> Computed:
    """u_j: sum over blocks of text of the mean over tokens of |x_j|, for every wanted module (AIM).

    Texts (prompt, response and end token, without chat template) of at most `max_length` tokens are joined in the
    seed's order and cut into blocks; an unfinished last block is left out, unless it is the only one.
    """
    import torch

    blocks, counts = text_blocks(subject, reader)
    sums = Sums()
    for ids in counted(blocks, len(blocks), subject.title, "block", say):
        tokens = torch.tensor([ids])

        def add(name: str, found: Tensor) -> None:
            sums.add(name, found.float().abs().flatten(0, -2).mean(0))

        observe(subject, point, {"input_ids": tokens, "use_cache": False}, add, {})
    return Computed(sums.values, counts=counts)


def text_blocks(subject: Subject, reader: Reader) -> tuple[list[list[int]], dict[str, int]]:
    """Token ids in blocks, and how many texts were used and skipped."""
    options = subject.options
    size = min(int(options["block"]), reader.positions)
    examples = together(subject.data)
    counts = {"examples": 0, "left_out": 0}
    stream: list[int] = []
    for example in chosen(examples, len(examples.examples), int(options["seed"])):
        ids = reader.encode(example).ids
        if len(ids) > int(options["max_length"]):
            counts["left_out"] += 1
            continue
        stream += ids
        counts["examples"] += 1
        if counts["examples"] == int(options["examples"]):
            break
    if not stream:
        raise BadInput(f"{examples.name}: every text is longer than {options['max_length']} tokens")
    whole = [stream[start : start + size] for start in range(0, len(stream) - size + 1, size)]
    return whole or [stream], {**counts, "blocks": len(whole) or 1, "tokens": len(stream)}


def _fed(point: Point, group: Sequence[Shown]) -> tuple[dict[str, Any], Tensor]:
    """What the body is fed of a batch, and [batch, tokens] which of it counts."""
    if group[0].pixels is not None:
        return fed(point.model, group)
    ids, mask = padded([row.ids for row in group])
    extra = {} if bool(mask.all()) else {"attention_mask": mask}
    return {"input_ids": ids, "use_cache": False, **extra}, mask


def observe(
    subject: Subject, point: Point, shown: Mapping[str, Any], add: Observe, aliases: dict[str, str]
) -> None:
    """One forward pass of the body on `shown`; `add(name, input)` is called for each wanted module, once per
    input tensor.

    The LM head is not run: its input is the body's output. `aliases` learns who shares a leader's input.
    """
    import torch

    seen: list[tuple[str, Tensor]] = []

    def hook(name: str) -> Callable[[Any, tuple[Any, ...]], None]:
        def listen(module: Any, inputs: tuple[Any, ...]) -> None:
            if seen and inputs[0] is seen[0][1] and subject.need.kind == "gram_data":
                aliases[name] = seen[0][0]
                return
            seen[:] = [(name, inputs[0])]
            add(name, inputs[0].detach())

        return listen

    asked = point.wanted(subject)
    hooks = [
        module_of(point, name).register_forward_pre_hook(hook(target.info.name))
        for name, target in asked.items()
        if name != LM_HEAD
    ]
    try:
        with torch.no_grad():
            states = point.model.base_model(**shown).last_hidden_state
    finally:
        for handle in hooks:
            handle.remove()
    if LM_HEAD in asked:
        add(asked[LM_HEAD].info.name, states)
