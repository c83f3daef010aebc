"""Data Fisher: the mean over examples of the squared gradient of one example's log-likelihood.

F_i = mean over (x, y) of (d log p(y|x) / d theta_i)^2 (DRIFT-MEDIAN, eq. 1), one example a backward pass: squaring a
batch's gradient is another quantity. Language models: log p(y|x) is the sum over the tokens of the response and
the end token, the prompt masked. Classifiers: the model with its own, frozen head.

Estimators. `empirical`: y is the data's. `exact` (classifiers): sum over classes of p_c times the square for class
c. `sampled`: y drawn from the model, for a language model one token at every answer position of the data's text.
`argmax`: the model's likeliest class, or token behind the last one of the text, alone. `batch_sqrt` (classifiers,
for parity with MergeLM): the square of the gradient of a batch's sum of sqrt(p_c) log p_c, sqrt(p_c) held fixed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bench.models.padding import padded
from bench.statistics.gradients import Term, squared_gradients
from bench.statistics.images import pixels
from bench.statistics.points import Point, load_point, reader_of
from bench.statistics.progress import counted
from bench.statistics.store import Computed
from bench.statistics.subject import Subject
from bench.statistics.text import Shown, batches, together

if TYPE_CHECKING:
    from torch import Generator, Tensor


def compute(subject: Subject, say: Callable[[str], None]) -> Computed:
    """The diagonal Fisher of one subject."""
    import torch

    options = subject.options
    estimator = str(options["estimator"])
    answered = estimator in ("empirical", "sampled")
    texts = reader_of(subject).read(together(subject.data), options, answered=answered)
    point = load_point(subject)
    asked = point.wanted(subject)
    size = int(options["batch"]) if estimator == "batch_sqrt" else 1
    groups = list(batches(texts.shown, size))
    generator = torch.Generator().manual_seed(int(options["seed"]))

    def terms() -> Iterator[list[Term]]:
        for group in counted(groups, len(groups), subject.title, "example" if size == 1 else "batch", say):
            yield terms_of(point, group, options, generator)

    values = squared_gradients(point.model, asked, terms(), len(groups))
    tensors = {asked[name].info.name: point.in_result(values.pop(name), asked[name]) for name in list(values)}
    return Computed(tensors, counts=texts.counts)


def terms_of(
    point: Point, group: Sequence[Shown], options: dict[str, Any], generator: Generator
) -> list[Term]:
    """What to differentiate for one example (for `batch_sqrt`, one batch), with the squares' weights."""
    if point.classifier:
        labels = [row.label for row in group]
        return class_terms(class_logits(point, group), labels, str(options["estimator"]), generator)
    (row,) = group
    if options["estimator"] == "argmax":
        last = answer_logits(point, row, start=len(row.ids))
        return [(last.log_softmax(-1)[0, int(last.argmax())], 1.0)]
    logits = answer_logits(point, row, start=row.answer)
    return [(answer_likelihood(logits, row, options, generator), 1.0)]


def class_logits(point: Point, group: Sequence[Shown], weights: Mapping[str, Tensor] | None = None) -> Tensor:
    """[batch, classes] float32 logits of a classifier: its head on the state of each text's last token, or a vision
    tower's on the image.

    `weights` (by parameter name of the body) stand in for the body's own.
    """
    import torch
    from torch.func import functional_call

    if group[0].pixels is not None:
        seen: Tensor = point.model(pixels(group), weights)
        return seen
    ids, mask = padded([row.ids for row in group])
    shown = {"input_ids": ids, "attention_mask": mask, "use_cache": False}
    states = functional_call(point.model.base_model, dict(weights or {}), kwargs=shown).last_hidden_state
    last = states[torch.arange(len(group)), mask.sum(1) - 1]
    head: Any = point.model.score
    return head(last).float()


def class_terms(
    logits: Tensor, labels: Sequence[int | None], estimator: str, generator: Generator
) -> list[Term]:
    """Terms of one classified example, logits [1, classes] (`batch_sqrt`: of a batch)."""
    import torch

    logs = logits.log_softmax(-1)
    shares = logs.detach().exp()
    if estimator == "batch_sqrt":
        return [((shares.sqrt() * logs).sum(), 1.0)]
    if estimator == "exact":
        return [(logs[0, c], float(shares[0, c])) for c in range(logs.shape[1])]
    if estimator == "sampled":
        return [(logs[0, int(torch.multinomial(shares[0], 1, generator=generator))], 1.0)]
    if estimator == "argmax":
        return [(logs[0, int(logs[0].argmax())], 1.0)]
    label = labels[0]
    assert label is not None
    return [(logs[0, label], 1.0)]


def answer_logits(point: Point, row: Shown, *, start: int) -> Tensor:
    """[tokens, vocabulary] float32 logits that predict tokens `start` and after (from 1 to len(ids), one past it)."""
    import torch

    first, stop = max(start, 1) - 1, max(len(row.ids) - 1, start)
    ids = torch.tensor([row.ids])
    kept = torch.arange(first, stop)
    found: Tensor = point.model(input_ids=ids, use_cache=False, logits_to_keep=kept).logits[0].float()
    return found


def answer_likelihood(logits: Tensor, row: Shown, options: dict[str, Any], generator: Generator) -> Tensor:
    """log p(y|x), summed over the answer's tokens, or their mean; a text's very first token is not predicted."""
    import torch

    logs = logits.log_softmax(-1)
    if options.get("estimator") == "sampled":
        answer = torch.multinomial(logs.detach().exp(), 1, generator=generator)[:, 0]
    else:
        answer = torch.tensor(row.ids[max(row.answer, 1) :])
    chosen = logs.gather(1, answer[:, None])
    return chosen.mean() if options["token_reduction"] == "mean" else chosen.sum()
