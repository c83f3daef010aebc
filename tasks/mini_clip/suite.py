"""Suite `mini_clip`: four classifications of small images, one domain and one vision tower each.

The model is shown the image and chooses a label by its index, under the head that the base's text tower makes of the
labels in the templates.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from tasks.contract import Benchmark, Example, Sample, Suite
from tasks.generated import benchmark
from tasks.mini_clip.images import GENERATED
from tasks.mini_clip.labels import LABELS
from tasks.mini_glue.grader import LabelName
from tasks.zero_shot import CHOICE, zero_shot

if TYPE_CHECKING:
    from tasks.mini_clip.drafts import Drawing

TEMPLATES = {
    "mini_digits": ("a scan of the digit {}.", "the handwritten number {}."),
    "mini_shapes": ("a drawing of a {}.", "the picture shows a {}."),
    "mini_textures": ("a {} texture.", "a surface with a {} pattern."),
    "mini_spots": ("a picture of {} spots.", "there are {} spots."),
}


def _sample(drawing: Drawing) -> Sample:
    return Sample(drawing.id, f"image {drawing.id}", drawing.label, image=drawing.image)


def _example(drawing: Drawing) -> Example:
    """A labelled image."""
    return Example("", label=LABELS[drawing.task].index(drawing.label), image=drawing.image)


def _benchmark(name: str, domain: str, title: str) -> Benchmark:
    labels, templates = LABELS[name], TEMPLATES[name]
    return benchmark(
        GENERATED,
        name,
        sample=_sample,
        example=_example,
        title=title,
        prompts={"zero_shot": zero_shot(labels, templates)},
        protocols=(CHOICE,),
        grader=partial(LabelName, labels),
        domain=domain,
        labels=labels,
        templates=templates,
    )


SUITE = Suite(
    name="mini_clip",
    title="Four classifications of images with a vision tower each",
    benchmarks=(
        _benchmark("mini_digits", "digits", "real handwritten digits"),
        _benchmark("mini_shapes", "shapes", "which shape is drawn"),
        _benchmark("mini_textures", "textures", "which texture covers the image"),
        _benchmark("mini_spots", "spots", "how many spots there are"),
    ),
)
