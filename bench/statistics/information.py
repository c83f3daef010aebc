"""Mutual information between base and expert activations, per block and for the LM head (ACM, reconstructed).

Tokens are samples, every hidden unit is estimated alone, and a layer's value is the mean over its units, in nats.
`gaussian`: -log(1 - rho^2) / 2 with rho the correlation of the two models' activations, rho^2 at most 1 - 1e-6.
`histogram`: the plug-in value of a `bins` by `bins` table between each unit's smallest and largest activation. A
block's activation is its output (the residual stream behind it); the head's its logits, or the body's last state
(`head=hidden`). Both models are loaded and read the same tokens, those of the base's tokenizer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from bench.errors import BadInput
from bench.statistics.points import load, names_of
from bench.statistics.progress import counted
from bench.statistics.store import Computed
from bench.statistics.subject import Subject, is_classifier
from bench.statistics.text import Reader, Shown, check_vocabulary, together
from methods.common.contract import Role

if TYPE_CHECKING:
    from torch import Tensor

CLIP = 1 - 1e-6
ROUNDING = 1e-12  # variance over mean square that float32 activations and float64 sums may owe to rounding
HEAD = Role.LM_HEAD.value  # the key that `Need` states
ROWS = 64  # tokens whose logits exist at a time
Pair = tuple[str, "Tensor", "Tensor"]  # layer, and [tokens, units] of base and expert


def compute(subject: Subject, say: Callable[[str], None]) -> Computed:
    """One number per layer, keys "block i" and "lm_head"."""
    import torch

    options = subject.options
    histogram = options["estimator"] == "histogram"
    classifier = is_classifier(subject.model)
    if histogram and options["head"] == "logits" and not classifier:
        raise BadInput(
            "estimator=histogram keeps a table per unit, too many for all logits: take head=hidden"
        )
    reader = Reader(subject.base, classifier=classifier, chat=str(options["chat_template"]))
    texts = reader.read(together(subject.data), options, answered=False)
    check_vocabulary(texts, [subject.model])
    models = [load(model, str(options["dtype"])) for model in (subject.base, subject.model)]
    modules = [block_modules(model, subject) for model in models]
    head = None if classifier else str(options["head"])

    def sweep(title: str) -> Iterator[Pair]:
        for row in counted(texts.shown, len(texts.shown), title, "example", say):
            yield from activations(models, modules, row, head)

    estimate = _histogram(sweep, subject) if histogram else _gaussian(sweep, subject)
    return Computed(
        {key: torch.tensor(value, dtype=torch.float32) for key, value in estimate.items()},
        counts=texts.counts,
    )


def block_modules(model: Any, subject: Subject) -> dict[str, Any]:
    """Every transformer block of a loaded model, by its group's key."""
    found = {}
    for name, target in names_of(model, subject.targets).items():
        if target.info.block is not None:
            parts = name.split(".")
            path = ".".join(parts[: parts.index(str(target.info.block)) + 1])
            found[target.info.key("block")] = model.get_submodule(path)
    return found


def activations(
    models: list[Any], modules: list[dict[str, Any]], row: Shown, head: str | None
) -> Iterator[Pair]:
    """Outputs of every block of both models on one text, then those of the head in runs of tokens."""
    import torch

    outputs: list[dict[str, Tensor]] = [{}, {}]
    hooks = [
        module.register_forward_hook(_keep(outputs[i], key))
        for i, blocks in enumerate(modules)
        for key, module in blocks.items()
    ]
    ids = torch.tensor([row.ids])
    try:
        with torch.no_grad():
            last = [m.base_model(input_ids=ids, use_cache=False).last_hidden_state[0] for m in models]
    finally:
        for hook in hooks:
            hook.remove()
    for key in outputs[0]:
        yield key, outputs[0][key], outputs[1][key]
    if head == "hidden":
        yield HEAD, last[0], last[1]
    elif head == "logits":
        with torch.no_grad():
            for start in range(0, len(row.ids), ROWS):
                x, y = shared_logits(models, [states[start : start + ROWS] for states in last])
                yield HEAD, x, y


def shared_logits(models: list[Any], states: list[Tensor]) -> list[Tensor]:
    """Logits of two models for the tokens that both know: [rows, vocabulary], float32."""
    logits = [
        model.get_output_embeddings()(found).float() for model, found in zip(models, states, strict=True)
    ]
    size = min(found.shape[-1] for found in logits)
    return [found[..., :size] for found in logits]


def _keep(outputs: dict[str, Tensor], key: str) -> Callable[[Any, Any, Any], None]:
    def hook(module: Any, inputs: Any, output: Any) -> None:
        outputs[key] = (output[0] if isinstance(output, tuple) else output).detach().flatten(0, -2)

    return hook


def _gaussian(sweep: Callable[[str], Iterator[Pair]], subject: Subject) -> dict[str, float]:
    moments: dict[str, Tensor] = {}
    for key, x, y in sweep(subject.title):
        found = moments_of(x, y)
        moments[key] = moments[key] + found if key in moments else found
    return {key: gaussian_information(found) for key, found in moments.items()}


def moments_of(x: Tensor, y: Tensor) -> Tensor:
    """[6, units] float64 sums over rows: 1, x, y, x^2, y^2, xy."""
    import torch

    x, y = x.double(), y.double()
    return torch.stack([torch.ones_like(x), x, y, x * x, y * y, x * y]).sum(1)


def gaussian_information(moments: Tensor) -> float:
    """Mean over units of -log(1 - rho^2) / 2; a unit that never changes tells nothing."""
    import torch

    n, x, y, xx, yy, xy = moments
    product = _spread(n, x, xx) * _spread(n, y, yy)
    squared = (xy - x * y / n) ** 2 / product
    squared = torch.where(product > 0, squared, 0.0).clamp(max=CLIP)
    return float((-0.5 * (1 - squared).log()).mean())


def _spread(n: Tensor, total: Tensor, squares: Tensor) -> Tensor:
    """[units] sum of (x - mean)^2 over n rows; what is only rounding of the sums is 0."""
    import torch

    found = squares - total * total / n
    return torch.where(found > ROUNDING * squares, found, 0.0)


def _histogram(sweep: Callable[[str], Iterator[Pair]], subject: Subject) -> dict[str, float]:
    """Two looks at the data: the range of every unit, then the tables."""
    import torch

    bins = int(subject.options["bins"])
    limits: dict[str, Tensor] = {}
    for key, x, y in sweep(f"{subject.title}, ranges"):
        low = torch.stack([-x.amin(0), x.amax(0), -y.amin(0), y.amax(0)]).float()
        limits[key] = torch.maximum(limits[key], low) if key in limits else low
    tables: dict[str, Tensor] = {}
    for key, x, y in sweep(f"{subject.title}, counts"):
        found = table_of(x.float(), y.float(), limits[key], bins)
        tables[key] = tables[key] + found if key in tables else found
    return {key: histogram_information(found) for key, found in tables.items()}


def table_of(x: Tensor, y: Tensor, limits: Tensor, bins: int) -> Tensor:
    """[units, bins, bins] counts; `limits` [4, units] holds -min x, max x, -min y, max y."""
    import torch

    def places(values: Tensor, low: Tensor, high: Tensor) -> Tensor:
        width = torch.where(high > low, high - low, 1.0)
        return ((values - low) / width * bins).long().clamp(0, bins - 1)

    units = x.shape[1]
    cells = places(x, -limits[0], limits[1]) * bins + places(y, -limits[2], limits[3])
    cells += torch.arange(units) * bins * bins
    return torch.bincount(cells.flatten(), minlength=units * bins * bins).view(units, bins, bins)


def histogram_information(table: Tensor) -> float:
    """Mean over units of sum p log(p / (p_x p_y))."""
    import torch

    joint = table.double() / table.sum((1, 2), keepdim=True)
    apart = joint.sum(2, keepdim=True) * joint.sum(1, keepdim=True)
    terms = torch.where(joint > 0, joint * (joint / apart).log(), 0.0)
    return float(terms.sum((1, 2)).mean())
