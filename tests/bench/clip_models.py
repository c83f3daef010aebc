"""Tiny CLIP models for tests: a full base, and vision towers beside it, with pictures to classify."""

from __future__ import annotations

import io
import random
from functools import partial
from pathlib import Path

import torch
from PIL import Image
from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel

from bench.zoo.captions import build_tokenizer
from tasks.contract import Benchmark, Draw, Example, Sample, Sampling, Source, Suite
from tasks.pictures import Encoded
from tests.bench.classifiers import Exact

CLASSES = {"shape": ("circle", "square", "ring"), "place": ("rising", "falling", "dotted", "checked")}
TEMPLATES = {"shape": ("a drawing of a {}.", "the picture shows a {}."), "place": ("a {} texture.",)}
SIZE, PATCH, WIDTH, PROJECTION = 24, 8, 32, 20
TOWER = {
    "hidden_size": WIDTH,
    "intermediate_size": 48,
    "num_attention_heads": 2,
    "num_hidden_layers": 2,
    "initializer_factor": 3.0,
}


def write_base(folder: Path) -> Path:
    """A full CLIP model with tokenizer and image processor; the projection's width is in no tower's config."""
    tokens = build_tokenizer()
    torch.manual_seed(0)
    model = CLIPModel(
        CLIPConfig(
            text_config={
                **TOWER,
                "vocab_size": len(tokens),
                "max_position_embeddings": 16,
                "bos_token_id": tokens.bos_token_id,
                "eos_token_id": tokens.eos_token_id,
                "pad_token_id": tokens.pad_token_id,
            },
            vision_config={**TOWER, "image_size": SIZE, "patch_size": PATCH},
            projection_dim=PROJECTION,
        )
    )
    model.save_pretrained(folder)
    tokens.save_pretrained(folder)
    side = {"height": SIZE, "width": SIZE}
    CLIPImageProcessorPil(size={"shortest_edge": SIZE}, crop_size=side).save_pretrained(folder)
    return folder


def write_tower(folder: Path, base: Path, seed: int, scale: float = 0.05) -> Path:
    """A vision tower some way from the base's, as transformers saves one."""
    tower = CLIPModel.from_pretrained(base).vision_model
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in tower.parameters():
            parameter += scale * torch.randn(parameter.shape, generator=draw)
    tower.save_pretrained(folder)
    return folder


def photo(seed: int) -> Image.Image:
    """A picture of any size and mode: grey, palette, RGB, or with transparency; wide, high or small."""
    draw = random.Random(seed)
    width, height = draw.randrange(9, 70), draw.randrange(9, 70)
    image = Image.frombytes("RGB", (width, height), draw.randbytes(3 * width * height)).resize(
        (width, height)
    )
    return image.resize((width * 2, height * 2), Image.Resampling.BICUBIC).convert(
        ("RGB", "L", "RGBA", "P")[seed % 4]
    )


def encoded(image: Image.Image, kind: str = "PNG") -> Encoded:
    """A picture as a file."""
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return Encoded(buffer.getvalue)


def suite(images: int = 13) -> Suite:
    """A zero-shot benchmark per domain."""

    def load(domain: str, split: str, folder: Path | None) -> tuple[list[Sample], Source]:
        labels = CLASSES[domain]
        samples = [
            Sample(f"i{i}", f"image {i}", labels[i % len(labels)], image=encoded(photo(i)))
            for i in range(images)
        ]
        return samples, Source("made for a test", "1")

    def examples(domain: str, split: str, folder: Path | None) -> list[Example]:
        n = len(CLASSES[domain])
        return [Example("", label=i % n, image=encoded(photo(100 + i))) for i in range(9)]

    return Suite("seeing", "images", tuple(
        Benchmark(name=f"tiny_{domain}", title=domain, version="1", load=partial(load, domain), splits=("test",),
                  prompts={"zero_shot": lambda sample: "classes"}, protocols=(Draw("greedy", Sampling(1)),),
                  grader=Exact, domain=domain, labels=labels, templates=TEMPLATES[domain],
                  examples=partial(examples, domain))
        for domain, labels in CLASSES.items()))  # fmt: skip
