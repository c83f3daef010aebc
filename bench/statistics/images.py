"""Examples that are images: what a vision tower is shown, and the classifier that it is under its zero-shot head."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from bench.errors import BadInput
from bench.examples import ExampleSet
from bench.models.checkpoint import Checkpoint
from bench.models.loading import load_tower
from bench.models.zero_shot import ZeroShot, image_processor, pixels_of
from bench.statistics.text import Shown, Texts, chosen
from tasks.contract import Example

if TYPE_CHECKING:
    from torch import Tensor

    from bench.models.clip_classifier import ZeroShotClassifier


class ImageReader:
    """The image processor of a set of models: its base's. Images are decoded when they are looked at."""

    def __init__(self, base: Checkpoint) -> None:
        self.processor = image_processor(base.path)

    def read(self, examples: ExampleSet, options: Mapping[str, Any], *, answered: bool) -> Texts:
        """The chosen examples; none is cut or left out."""
        picked = chosen(examples, int(options["examples"]), int(options["seed"]))
        shown = [Shown((), 0, example.label, partial(_pixels, self.processor, example)) for example in picked]
        return Texts(shown, {"examples": len(shown), "cut": 0, "left_out": 0})


def _pixels(processor: Any, example: Example) -> Tensor:
    assert example.image is not None
    return pixels_of(processor, [example.image.open()])


def pixels(group: Sequence[Shown]) -> Tensor:
    """[batch, 3, height, width] of examples that are images."""
    import torch

    return torch.cat([row.pixels() for row in group if row.pixels is not None])


def load_classifier(model: Checkpoint, base: Checkpoint, data: ExampleSet, dtype: Any) -> ZeroShotClassifier:
    """A vision tower in `dtype` under the head that `base` makes of the classes of `data`, in evaluation mode."""
    from bench.models.clip_classifier import ZeroShotClassifier

    if not data.templates:
        raise BadInput(
            f"{data.name} names no classes and templates, which the head of {model.name} is made of"
        )
    tower = load_tower(model.path, dtype)
    return ZeroShotClassifier(tower, ZeroShot(base.path, data.labels, data.templates)).eval()


def fed(model: Any, group: Sequence[Shown]) -> tuple[dict[str, Tensor], Tensor]:
    """What the body of a vision tower is fed, and [batch, tokens] ones: every patch counts, and the class token."""
    import torch

    config = model.config
    tokens = (config.image_size // config.patch_size) ** 2 + 1
    shown = pixels(group).to(model.dtype)
    return {"pixel_values": shown}, torch.ones(len(shown), tokens)
