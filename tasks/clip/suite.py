"""Suite `clip`: eight classifications of images, for merges of the vision towers of CLIP ViT-B/32.

The setting of FusionBench (Tang et al. 2024, arXiv 2406.03280), which DRIFT-MEDIAN's tables use: zero-shot heads of
the base's text tower, top-1 accuracy on the test split, unweighted mean. Classes stand in label order, in the wording
of the prompt lists of CLIP (Radford et al. 2021); accuracy changes a lot with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from tasks.clip.loading import ImageSet
from tasks.contract import Benchmark, Suite
from tasks.mini_glue.grader import LabelName
from tasks.sources import HubDataset
from tasks.splits import SPLITS
from tasks.zero_shot import CHOICE, zero_shot

CLASSES = Path(__file__).with_name("classes")


def _classes(name: str) -> tuple[str, ...]:
    return tuple((CLASSES / f"{name}.txt").read_text(encoding="utf-8").splitlines())


def _benchmark(name: str, domain: str, title: str, hub: HubDataset, test: int, *templates: str) -> Benchmark:
    labels = _classes(name)
    images = ImageSet(name, hub, labels, {"test": test})
    return Benchmark(
        name=name,
        title=title,
        version="1",
        load=images.load,
        splits=SPLITS,
        prompts={"zero_shot": zero_shot(labels, templates)},
        protocols=(CHOICE,),
        grader=partial(LabelName, labels),
        domain=domain,
        labels=labels,
        templates=templates,
        examples=images.examples,
        sizes=images.sizes,
    )


def _each(pattern: str, words: Sequence[str]) -> list[str]:
    """The pattern with every word in the place of `*`."""
    return [pattern.replace("*", word) for word in words]


SUITE = Suite(
    name="clip",
    title="CLIP ViT-B/32 on eight classifications of images",
    benchmarks=(
        _benchmark(
            "sun397", "sun397", "SUN397: scenes", HubDataset("tanganke/sun397"), 19_850,
            *_each("a photo of * {}.", ("a", "the")),
        ),
        _benchmark(
            "stanford_cars", "stanford-cars", "Stanford Cars: makes and models",
            HubDataset("tanganke/stanford_cars"), 8_041,
            *_each("a photo of * {}.", ("a", "the", "my")), "i love my {}!",
            *_each("a photo of my * {}.", ("dirty", "clean", "new", "old")),
        ),
        _benchmark(
            "resisc45", "resisc45", "RESISC45: scenes from above", HubDataset("tanganke/resisc45"), 6_300,
            *(
                f"{source} {kind} of {article}{{}}."
                for article in ("", "a ", "the ")
                for kind in ("imagery", "photo", "view")
                for source in ("satellite", "aerial")
            ),
        ),
        _benchmark(
            "eurosat", "eurosat", "EuroSAT: land use from above", HubDataset("tanganke/eurosat"), 2_700,
            *_each("a centered satellite photo of *{}.", ("", "a ", "the ")),
        ),
        _benchmark(
            "svhn", "svhn", "SVHN: house numbers", HubDataset("ufldl-stanford/svhn", "cropped_digits"), 26_032,
            'a photo of the number: "{}".',
        ),
        _benchmark(
            "gtsrb", "gtsrb", "GTSRB: traffic signs", HubDataset("tanganke/gtsrb"), 12_630,
            *_each('a * photo of a "{}" traffic sign.', ("zoomed in", "centered", "close up")),
        ),
        _benchmark(
            "mnist", "mnist", "MNIST: handwritten digits", HubDataset("ylecun/mnist"), 10_000,
            'a photo of the number: "{}".',
        ),
        _benchmark(
            "dtd", "dtd", "DTD: describable textures", HubDataset("tanganke/dtd"), 1_880,
            *(
                f"a photo of {article} {{}} {noun}."
                for article in ("a", "the")
                for noun in ("texture", "pattern", "thing", "object")
            ),
        ),
    ),
)  # fmt: skip
