"""Images under zero-shot heads: against transformers' own CLIP model, and along the whole road."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from transformers import AutoTokenizer, CLIPImageProcessorPil, CLIPModel, CLIPVisionModel

from bench import run as road
from bench.alignment.align import align
from bench.as_is import evaluate_models, open_model
from bench.data import check_data
from bench.engines import load
from bench.engines.contract import Engine, Request
from bench.errors import BadInput
from bench.evaluation.experts import check_heads
from bench.merging.merge import Place, merge, quiet
from bench.models.checkpoint import Checkpoint
from bench.models.zero_shot import ZeroShot, head_of, pixels_of
from bench.recipe import build_recipe
from bench.suites import EvalOptions
from results.store import Store
from tasks.catalogue import suites
from tasks.contract import Sampling
from tasks.pictures import Encoded
from tests.bench.clip_models import CLASSES, TEMPLATES, encoded, photo, suite, write_base, write_tower

COUNT = 13


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`base` and a vision tower per domain."""
    made = tmp_path_factory.mktemp("clip")
    base = write_base(made / "base")
    for seed, domain in enumerate(CLASSES, 1):
        write_tower(made / domain, base, seed)
    return made


@pytest.fixture(autouse=True)
def _catalogue(monkeypatch: pytest.MonkeyPatch) -> None:
    """The suite of these tests, beside those of `tasks/`."""
    every = {**suites(), "seeing": suite(COUNT)}
    monkeypatch.setattr("tasks.catalogue.suites", lambda: every)


def requests() -> list[Request]:
    return [Request(str(i), f"image {i}", Sampling(1), i, encoded(photo(i))) for i in range(COUNT)]


def logits(engine: Engine, base: Path, domain: str) -> torch.Tensor:
    """[images, labels] of the engine, each checked to be of its largest logit."""
    head = ZeroShot(base, CLASSES[domain], TEMPLATES[domain])
    found = {c.request.id: c for group in engine.classify(requests(), head) for c in group}
    assert all(c.label == max(range(len(c.logits)), key=c.logits.__getitem__) for c in found.values())
    return torch.tensor([found[str(i)].logits for i in range(COUNT)])


def by_transformers(base: Path, tower: Path, domain: str) -> torch.Tensor:
    """[images, labels]: CLIP's own logits for one image and one text at a time, put together by hand.

    logits_per_image is scale times a cosine, so a class's mean embedding has the mean of its texts' cosines, over the
    length of that mean.
    """
    model = CLIPModel.from_pretrained(base).eval()
    model.vision_model.load_state_dict(CLIPVisionModel.from_pretrained(tower).state_dict())
    tokens, processor = AutoTokenizer.from_pretrained(base), CLIPImageProcessorPil.from_pretrained(base)
    rows = []
    with torch.inference_mode():
        for i in range(COUNT):
            pixels = processor(images=photo(i).convert("RGB"), return_tensors="pt")["pixel_values"]
            row = []
            for label in CLASSES[domain]:
                seen = [
                    model(**tokens(t.format(label), return_tensors="pt"), pixel_values=pixels)
                    for t in TEMPLATES[domain]
                ]
                length = torch.stack([s.text_embeds[0] for s in seen]).mean(0).norm()
                row.append(torch.stack([s.logits_per_image[0, 0] for s in seen]).mean() / length)
            rows.append(torch.stack(row))
    return torch.stack(rows)


@pytest.mark.parametrize("tower", ["base", "shape"])
def test_logits_are_those_of_transformers(tower: str, folder: Path) -> None:
    engine = load("hf", folder / tower, answers="images", batch_size=5)
    for domain in CLASSES:
        expected = by_transformers(folder / "base", folder / tower, domain)
        found = logits(engine, folder / "base", domain)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
        assert len(set(expected.argmax(-1).tolist())) > 1, "labels were to differ"
    assert engine.batch_size == 5 and load("hf", folder / tower, answers="images").batch_size == 128


def test_an_image_is_cut_and_scaled_as_clip_does(folder: Path) -> None:
    """Shortest edge to 24 pixels by PIL's bicubic filter, the middle square, CLIP's mean and deviation; by hand."""
    mean, deviation = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
    processor = CLIPImageProcessorPil.from_pretrained(folder / "base")
    for width, height in ((48, 96), (90, 48), (24, 24), (12, 12)):
        image = photo(8).resize((width, height)).convert("RGB")
        short = min(width, height)
        size = (width * 24 // short, height * 24 // short)
        small = image.resize(size, Image.Resampling.BICUBIC)
        left, top = (size[0] - 24) // 2, (size[1] - 24) // 2
        cut = torch.tensor(list(small.crop((left, top, left + 24, top + 24)).tobytes())).view(24, 24, 3)
        expected = (cut / 255 - torch.tensor(mean)) / torch.tensor(deviation)
        torch.testing.assert_close(
            pixels_of(processor, [image])[0], expected.permute(2, 0, 1), rtol=0, atol=1e-5
        )


def test_a_head_is_computed_once_and_kept(folder: Path, tmp_path: Path) -> None:
    asked = ZeroShot(folder / "base", CLASSES["shape"], TEMPLATES["shape"], "mark", tmp_path / "heads")
    head = head_of(asked)
    torch.testing.assert_close(head.norm(dim=-1), torch.ones(3))
    (kept,) = (tmp_path / "heads").iterdir()
    assert kept == asked.file and torch.equal(load_file(kept)["head"], head)
    gone = ZeroShot(tmp_path / "no model", asked.labels, asked.templates, "mark", asked.cache)
    assert torch.equal(head_of(gone), head), "the model was opened again"
    others = [
        ZeroShot(asked.model, asked.labels, asked.templates, "other", asked.cache),
        ZeroShot(asked.model, asked.labels[::-1], asked.templates, "mark", asked.cache),
        ZeroShot(asked.model, asked.labels, asked.templates[::-1], "mark", asked.cache),
    ]
    assert len({other.file for other in others} | {asked.file}) == 4


def test_a_merge_has_the_vision_tower_alone(folder: Path, tmp_path: Path) -> None:
    """The mean of the towers, computed here; nothing else of the base is written, and transformers loads it."""
    recipe = build_recipe(
        "task_arithmetic", {"lambda": 0.5}, str(folder / "base"), [str(folder / d) for d in CLASSES]
    )
    assert {target.action for target in align(recipe).targets} == {"merge"}
    merge(recipe, tmp_path / "merged", Place(tmp_path / "runs"))
    base = {
        n: t for n, t in load_file(folder / "base/model.safetensors").items() if n.startswith("vision_model.")
    }
    towers = [load_file(folder / domain / "model.safetensors") for domain in CLASSES]
    found = load_file(tmp_path / "merged/model.safetensors")
    assert list(found) == list(base)
    for name, start in base.items():
        own = [tower[name.removeprefix("vision_model.")] for tower in towers]
        torch.testing.assert_close(found[name], start + 0.5 * sum(tensor - start for tensor in own))
    loaded, info = CLIPVisionModel.from_pretrained(tmp_path / "merged", output_loading_info=True)
    assert not any(info.values()) and type(loaded) is CLIPVisionModel
    assert (tmp_path / "merged/preprocessor_config.json").is_file()


def test_the_whole_road_of_images(folder: Path, tmp_path: Path) -> None:
    """Base, experts and a merge; labels under the base's texts, and what is stored is not asked again."""
    common = {"runs": tmp_path, "db": tmp_path / "leaderboard.duckdb", "say": quiet}
    options, parents = EvalOptions(suite="seeing"), [str(folder / domain) for domain in CLASSES]

    def run() -> road.RunReport:
        return road.run(
            ["average"],
            options,
            models=None,
            base=str(folder / "base"),
            experts=parents,
            settings=[],
            **common,
        )

    report = run()
    rows = Store(tmp_path / "leaderboard.duckdb").rows(
        "SELECT r.*, c.name, c.path FROM responses r JOIN checkpoints c USING (checkpoint)"
    )
    assert len(rows) == 4 * 2 * COUNT and {row["finish_reason"] for row in rows} == {"label"}
    for name in ("base", "expert:shape", "average"):
        path = next(Path(row["path"]) for row in rows if row["name"] == name)
        for domain, labels in CLASSES.items():
            expected = by_transformers(folder / "base", path, domain).argmax(-1)
            told = {row["sample_id"]: row["text"] for row in rows
                    if row["name"] == name and row["benchmark"] == f"tiny_{domain}"}  # fmt: skip
            assert told == {f"i{i}": labels[label] for i, label in enumerate(expected.tolist())}
    assert len(list((tmp_path / "heads").iterdir())) == 2, "one head a benchmark"
    shutil.rmtree(tmp_path / "heads")
    again = run()
    assert not (tmp_path / "heads").exists() and any("responses reused" in said for said in again.summary)
    # Not whole rows: the last digit of a paired error follows the order in which a query happens to read.
    first, second = (
        [(row.name, row.rank, row.accuracy) for row in one.board.rows] for one in (report, again)
    )
    assert first == second
    merged = next(row["path"] for row in rows if row["name"] == "average")
    alone = evaluate_models([merged], options, models=None, rescore=False, **common)
    assert any("all 26 responses reused" in said for said in alone.summary)


def test_what_cannot_be_asked_is_refused(folder: Path, tmp_path: Path) -> None:
    shape, _ = suite().benchmarks
    with pytest.raises(BadInput, match=r"shape .* is no full CLIP model"):
        check_heads([shape], {}, Checkpoint(folder / "shape"))
    blind = shutil.copytree(folder / "base", tmp_path / "blind")
    (blind / "preprocessor_config.json").unlink()
    with pytest.raises(BadInput, match="no preprocessor_config.json"):
        check_heads([shape], {}, Checkpoint(blind))
    engine = load("hf", folder / "shape", answers="images")
    with pytest.raises(BadInput, match="reads no texts"):
        next(engine.generate([]))
    head = ZeroShot(folder / "base", CLASSES["shape"], TEMPLATES["shape"])
    with pytest.raises(BadInput, match="has no image"):
        list(engine.classify([Request("r", "a text", Sampling(1), 0)], head))
    half = Encoded(lambda: encoded(photo(0)).read()[:60])
    torn = Request("r", "image 7", Sampling(1), 0, half)
    with pytest.raises(BadInput, match="'image 7': the image cannot be read"):
        list(engine.classify([torn], head))
    alone = {"models": None, "rescore": False, "runs": tmp_path, "db": tmp_path / "l.duckdb", "say": quiet}
    with pytest.raises(BadInput, match="no full CLIP model"):
        evaluate_models([str(folder / "shape")], EvalOptions(suite="seeing"), **alone)


@pytest.mark.parametrize("method", ["fim_ta", "fim_ties", "acm_ta", "aim", "sens"])
def test_statistics_of_texts_are_refused(method: str, folder: Path) -> None:
    recipe = build_recipe(method, {}, str(folder / "base"), [str(folder / domain) for domain in CLASSES])
    with pytest.raises(BadInput, match="reads images, no texts"):
        check_data(recipe)


def test_a_base_counts_what_is_merged(folder: Path) -> None:
    tower = open_model(str(folder / "base"))
    assert (
        tower.n_parameters
        == open_model(str(folder / "shape")).n_parameters
        < Checkpoint(tower.path).n_parameters
    )
