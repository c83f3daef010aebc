"""Statistics on images against autograd and hooks on transformers' own models, one image at a time."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import CLIPModel, CLIPVisionModel

from bench.alignment.align import align
from bench.errors import BadInput
from bench.examples import ExampleSet, suite_examples
from bench.merging.merge import quiet
from bench.models.zero_shot import ZeroShot, head_of, image_processor, pixels_of
from bench.recipe import Recipe, build_recipe
from bench.statistics import gather
from tasks.contract import Example
from tests.bench.clip_models import CLASSES, TEMPLATES, encoded, photo, suite, write_base, write_tower

DOMAINS = tuple(CLASSES)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("clip")
    base = write_base(made / "base")
    for seed, domain in enumerate(DOMAINS, 1):
        write_tower(made / domain, base, seed, scale=0.02)
    return made


def recipe(folder: Path, method: str, **settings: str) -> Recipe:
    made = build_recipe(method, settings, str(folder / "base"), [str(folder / d) for d in DOMAINS])
    return replace(made, data=suite_examples(suite(), DOMAINS, "train", None))


def logits(folder: Path, domain: str, tower: CLIPVisionModel, images: list[Example]) -> torch.Tensor:
    """[images, classes] written out: projection, length, cosine, scale."""
    whole = CLIPModel.from_pretrained(folder / "base")
    head = head_of(ZeroShot(folder / "base", CLASSES[domain], TEMPLATES[domain]))
    shown = pixels_of(image_processor(folder / "base"), [e.image.open() for e in images if e.image])
    seen = whole.visual_projection(tower(pixel_values=shown).pooler_output)
    return whole.logit_scale.exp() * (seen / seen.norm(dim=-1, keepdim=True)) @ head.T


@pytest.mark.parametrize("estimator", ["empirical", "exact"])
def test_the_fisher_is_the_mean_of_squared_gradients(estimator: str, folder: Path, tmp_path: Path) -> None:
    asked = recipe(folder, "fisher", estimator=estimator)
    found = gather(asked, align(asked).targets, folder=tmp_path, memory=tmp_path / "memory", say=quiet)
    for domain, statistic, data in zip(DOMAINS, found["fisher"], asked.data, strict=True):
        tower = CLIPVisionModel.from_pretrained(folder / domain)
        total = {name: torch.zeros_like(p) for name, p in tower.named_parameters()}
        for example in data.examples:
            logs = logits(folder, domain, tower, [example]).log_softmax(-1)[0]
            weights = logs.detach().exp() if estimator == "exact" else torch.eye(len(logs))[example.label]
            for log, weight in zip(logs, weights, strict=True):
                grads = torch.autograd.grad(log, list(tower.parameters()), retain_graph=True)
                for name, grad in zip(total, grads, strict=True):
                    total[name] += weight * grad**2 / len(data.examples)
        for name, expected in total.items():
            values = statistic.read(f"vision_model.{name}")
            torch.testing.assert_close(values, expected, rtol=2e-3, atol=1e-6 * float(expected.max()) + 1e-12)


def test_gram_matrices_count_every_patch_and_the_class_token(folder: Path, tmp_path: Path) -> None:
    asked = recipe(folder, "regmean")
    found = gather(asked, align(asked).targets, folder=tmp_path, memory=tmp_path / "memory", say=quiet)
    tower, rows = CLIPVisionModel.from_pretrained(folder / DOMAINS[1]), []
    module = tower.get_submodule("encoder.layers.1.mlp.fc1")
    module.register_forward_pre_hook(lambda _, inputs: rows.append(inputs[0].detach()))
    logits(folder, DOMAINS[1], tower, list(asked.data[1].examples))
    fed = rows[0].reshape(-1, rows[0].shape[-1])
    assert len(fed) == 9 * (3 * 3 + 1)
    gram = found["gram"][1].read("vision_model.encoder.layers.1.mlp.fc1.weight")
    torch.testing.assert_close(gram, fed.T @ fed / len(fed), rtol=1e-4, atol=1e-5)


def test_identity_follows_images_and_classes() -> None:
    (shape, _) = suite_examples(suite(), DOMAINS, "train", None)
    other = replace(shape.examples[0], image=encoded(photo(1)))
    sets = [
        shape,
        ExampleSet("another name", shape.examples, shape.labels, shape.templates),
        replace(shape, examples=(other, *shape.examples[1:])),
        replace(shape, labels=shape.labels[::-1]),
        replace(shape, templates=("a {}",)),
    ]
    digests = [examples.digest for examples in sets]
    assert digests[0] == digests[1] and len(set(digests)) == 4


def test_examples_of_the_other_kind_are_refused(folder: Path) -> None:
    from bench.data import check_data

    texts = ExampleSet("texts.jsonl", (Example("a text", label=0),))
    with pytest.raises(BadInput, match="reads images: run it on a suite of images"):
        check_data(replace(recipe(folder, "fisher"), data=(texts, texts)))
