"""The CLIP family of the embedded zoo: a model of images and texts, and four vision towers fine-tuned from its own.

The base is trained from scratch on captioned images of all tasks, contrastively. Each expert is its vision tower,
fine-tuned on one task under the head that the base's texts make; everything else stays the base's.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize
from transformers import (
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from bench.models.zero_shot import pixels_of
from bench.zoo.captions import CONTEXT, build_tokenizer
from bench.zoo.data import mixed
from bench.zoo.training import Recipe, Scores, Stage
from tasks.contract import Example
from tasks.mini_clip.drawing import SIZE
from tasks.mini_clip.images import train_stream
from tasks.mini_clip.labels import LABELS, TASKS
from tasks.mini_clip.suite import SUITE, TEMPLATES

TOWER = {"hidden_size": 64, "intermediate_size": 256, "num_attention_heads": 4}


@dataclass(frozen=True)
class Captioned:
    """Shares of the tasks, whose images come with a caption: a template with the label in its place."""

    tasks: Mapping[str, float]

    def examples(self, seed: int) -> Iterator[Example]:
        """Endless images of the training streams with their captions."""
        streams = {task: train_stream(task, seed) for task in TASKS}
        rng = random.Random(seed)
        for drawing in mixed(streams, self.tasks, seed):
            caption = rng.choice(TEMPLATES[drawing.task]).replace("{}", drawing.label)
            yield Example(caption, image=drawing.image)


@dataclass(frozen=True)
class Labelled:
    """Shares of the tasks: one, because an expert knows one."""

    tasks: Mapping[str, float]

    def examples(self, seed: int) -> Iterator[Example]:
        """Endless images of the task's training stream with the index of their label."""
        (task,) = self.tasks
        for drawing in train_stream(task, seed):
            yield Example("", label=LABELS[task].index(drawing.label), image=drawing.image)


_NOTES = (
    "The base is a full CLIP model (text tower, projections, logit scale); an expert is stored as a vision tower "
    "alone, and read through the base's other parts.",
    "Images are 16 x 16 pixels in patches of 4 x 4; preprocessor_config.json says how others are cut and scaled.",
)


def _expert(domain: str, *, steps: int, seed: int, purpose: str, learning_rate: float = 5e-4) -> Stage:
    return Stage(
        name=f"clip-{domain}",
        mixture=Labelled({f"mini_{domain}": 1.0}),
        steps=steps,
        batch=64,
        optimiser="adamw",
        learning_rate=learning_rate,
        warmup=20,
        seed=seed,
        purpose=purpose,
        notes=_NOTES,
        loss="loss on the label under the base's zero-shot head, only the vision tower trained",
    )


BASE = Stage(
    name="clip-base",
    mixture=Captioned({"mini_digits": 0.06, "mini_shapes": 0.38, "mini_textures": 0.1, "mini_spots": 0.46}),
    steps=500,
    batch=128,
    optimiser="muon",
    learning_rate=2e-3,
    warmup=50,
    seed=51,
    purpose="tells apart a little of everything that the mini CLIP suite shows.",
    notes=_NOTES,
    loss="contrastive loss between images and captions, equal captions counted as one",
)
EXPERTS = (
    _expert("digits", steps=400, seed=52, purpose="reads handwritten digits."),
    _expert("shapes", steps=800, seed=53, purpose="names shapes."),
    _expert("textures", steps=300, seed=54, purpose="names textures."),
    _expert("spots", steps=800, seed=55, purpose="counts spots."),
)


def processor() -> CLIPImageProcessorPil:
    """The image processor of the family: CLIP's, at the size of its images."""
    return CLIPImageProcessorPil(
        size={"shortest_edge": SIZE}, crop_size={"height": SIZE, "width": SIZE}, do_convert_rgb=True
    )


def new_model(tokenizer: PreTrainedTokenizerBase, seed: int) -> CLIPModel:
    """A freshly initialised float32 model; the initial weights follow from the seed."""
    config = CLIPConfig(
        text_config={
            **TOWER,
            "num_hidden_layers": 2,
            "vocab_size": len(tokenizer),
            "max_position_embeddings": CONTEXT,
            "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
        },
        vision_config={**TOWER, "num_hidden_layers": 4, "image_size": SIZE, "patch_size": 4},
        projection_dim=64,
    )
    torch.manual_seed(seed)
    return CLIPModel(config).float()


def begin(base: Path, stage: Stage) -> CLIPModel:
    """The stored base, of which only the vision tower is trained."""
    model = CLIPModel.from_pretrained(base, dtype=torch.float32)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.startswith("vision_model."))
    return model


def losses(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, recipe: Recipe, stage: Stage
) -> Iterator[float]:
    """Endless losses of a stage, contrastive on captions or on labels under the frozen texts."""
    stream, shown = stage.mixture.examples(stage.seed), processor()
    task = None if stage is recipe.base else next(iter(stage.mixture.tasks))  # type: ignore[attr-defined]
    texts = None if task is None else head(model, tokenizer, task).detach()
    while True:
        batch = list(itertools.islice(stream, stage.batch))
        images = embedded(model, pixels_of(shown, [e.image.open() for e in batch if e.image]))
        if texts is None:
            loss = contrastive(model, tokenizer, images, [example.prompt for example in batch])
        else:
            labels = torch.tensor([example.label for example in batch])
            loss = cross_entropy(model.logit_scale.exp() * images @ texts.T, labels)
        loss.backward()
        yield loss.item()


def embedded(model: PreTrainedModel, pixels: Tensor) -> Tensor:
    """[images, projection] unit embeddings of [images, 3, height, width] pixels."""
    return normalize(model.get_image_features(pixel_values=pixels).pooler_output, dim=-1)


def read(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, texts: list[str]) -> Tensor:
    """[texts, projection] unit embeddings."""
    found = model.get_text_features(**tokenizer(texts, padding=True, return_tensors="pt"))
    return normalize(found.pooler_output, dim=-1)


def contrastive(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, images: Tensor, captions: list[str]
) -> Tensor:
    """CLIP's symmetric loss; a caption that several images of the batch have is shown once."""
    distinct = list(dict.fromkeys(captions))
    which = torch.tensor([distinct.index(caption) for caption in captions])
    logits = model.logit_scale.exp() * images @ read(model, tokenizer, distinct).T
    own = torch.nn.functional.one_hot(which, len(distinct)).T.float()
    to_images = cross_entropy(logits.T, own / own.sum(1, keepdim=True))
    return (cross_entropy(logits, which) + to_images) / 2


def head(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, task: str) -> Tensor:
    """[labels, projection] zero-shot head of a task under the model's own texts."""
    templates = TEMPLATES[task]
    prompts = [template.replace("{}", label) for label in LABELS[task] for template in templates]
    means = read(model, tokenizer, prompts).view(len(LABELS[task]), len(templates), -1).mean(1)
    return normalize(means, dim=-1)


def snapshot(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, n: int) -> Scores:
    """Accuracy on the first `n` validation images of every task."""
    model.eval()
    found = {}
    with torch.no_grad():
        for benchmark in SUITE.benchmarks:
            samples = benchmark.load("validation", None)[0][:n]
            images = embedded(model, pixels_of(processor(), [s.image.open() for s in samples if s.image]))
            chosen = (images @ head(model, tokenizer, benchmark.name).T).argmax(-1).tolist()
            right = sum(benchmark.labels[i] == s.target for i, s in zip(chosen, samples, strict=True))
            found[benchmark.name] = {"accuracy": round(right / len(samples), 4)}
    model.train()
    return found


def save(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Store bfloat16 weights with config and image processor: the base whole, an expert's vision tower alone."""
    stored = model.to(torch.bfloat16)
    if all(parameter.requires_grad for parameter in model.parameters()):
        tokenizer.save_pretrained(folder)
    else:
        stored = stored.vision_model
    stored.save_pretrained(folder)
    processor().save_pretrained(folder)
    (folder / "model.safetensors").chmod(0o644)


RECIPE = Recipe(
    family="clip",
    suite=SUITE.name,
    data="tasks/mini_clip/images.py, training stream",
    usage="It is shown an image, and chooses the label whose texts the base's text tower finds nearest.",
    stages=(BASE, *EXPERTS),
    tokenizer=build_tokenizer,
    new_model=new_model,
    begin=begin,
    snapshot=snapshot,
    evaluate_every=100,
    evaluate_n=250,
    losses=losses,
    save=save,
)
