"""The suite clip: classes and templates as published, and images from folders and from a Hub, the same from all."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from bench.identity import hash_of
from tasks.catalogue import resolve
from tasks.contract import Benchmark
from tasks.errors import DataUnavailable
from tests.bench.clip_models import encoded, photo
from tests.helpers.hub_datasets import commit_of, datasets_hub

BENCHMARKS = {benchmark.name: benchmark for benchmark in resolve("clip").benchmarks}
# FusionBench: classes, templates, images of the test split.
PUBLISHED = {
    "sun397": (397, 2, 19_850),
    "stanford_cars": (196, 8, 8_041),
    "resisc45": (45, 18, 6_300),
    "eurosat": (10, 3, 2_700),
    "svhn": (10, 1, 26_032),
    "gtsrb": (43, 3, 12_630),
    "mnist": (10, 1, 10_000),
    "dtd": (47, 8, 1_880),
}
# One prompt of each, by label and place of the template, as its published list has it.
PROMPTS = {
    "sun397": (0, 1, "a photo of the abbey."),
    "stanford_cars": (195, 3, "i love my smart fortwo Convertible 2012!"),
    "resisc45": (2, 7, "aerial imagery of a baseball diamond."),
    "eurosat": (2, 1, "a centered satellite photo of a brushland or shrubland."),
    "svhn": (7, 0, 'a photo of the number: "7".'),
    "gtsrb": (14, 2, 'a close up photo of a "stop" traffic sign.'),
    "mnist": (0, 0, 'a photo of the number: "0".'),
    "dtd": (40, 4, "a photo of the studded texture."),
}
COUNT = 40


@pytest.mark.parametrize("name", PUBLISHED)
def test_classes_templates_and_sizes(name: str) -> None:
    benchmark, (classes, templates, test) = BENCHMARKS[name], PUBLISHED[name]
    assert len(set(benchmark.labels)) == len(benchmark.labels) == classes
    assert len(set(benchmark.templates)) == len(benchmark.templates) == templates
    assert all(template.count("{}") == 1 for template in benchmark.templates)
    assert benchmark.sizes == {"test": test}
    label, place, prompt = PROMPTS[name]
    assert prompt in {template.replace("{}", benchmark.labels[label]) for template in benchmark.templates}
    if name != "resisc45":  # whose list goes round in another order
        assert benchmark.templates[place].replace("{}", benchmark.labels[label]) == prompt


def test_classes_stand_in_the_order_of_the_labels() -> None:
    """Where the sets' own raw names are sorted, their descriptive ones are not."""
    assert BENCHMARKS["eurosat"].labels[8:] == ("river", "lake or sea")
    assert BENCHMARKS["gtsrb"].labels[12:15] == (
        "white and yellow diamond priority road",
        "red and white upside down triangle yield right-of-way",
        "stop",
    )
    assert BENCHMARKS["stanford_cars"].labels[:2] == ("AM General Hummer SUV 2000", "Acura RL Sedan 2012")
    for name in ("resisc45", "dtd", "sun397"):
        assert list(BENCHMARKS[name].labels) == sorted(BENCHMARKS[name].labels)
    assert BENCHMARKS["svhn"].labels == BENCHMARKS["mnist"].labels == tuple("0123456789")


def rows(classes: int) -> list[tuple[bytes, int]]:
    """Picture files and labels."""
    return [(encoded(photo(i), "PNG").read(), (7 * i) % classes) for i in range(COUNT)]


def write_parquet(file: Path, found: Sequence[tuple[bytes, int]]) -> Path:
    """As the Hub has images: a structure of bytes and path."""
    images = [{"bytes": data, "path": None} for data, _ in found]
    file.parent.mkdir(parents=True, exist_ok=True)
    table = pyarrow.table({"image": images, "label": [label for _, label in found]})
    pyarrow.parquet.write_table(table, file)
    return file


def write_lines(folder: Path, split: str, found: Sequence[tuple[bytes, int]]) -> None:
    (folder / "images").mkdir(parents=True)
    lines = []
    for i, (data, label) in enumerate(found):
        (folder / "images" / f"{i}.png").write_bytes(data)
        lines.append(json.dumps({"image": f"images/{i}.png", "label": label}) + "\n")
    (folder / f"{split}.jsonl").write_text("".join(lines))


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What `datasets` makes of parquet files stays in the test's own folder."""
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")


def seen(benchmark: Benchmark, folder: Path) -> list[tuple[str, str, bytes]]:
    samples, _ = benchmark.load("test", folder)
    return [(hash_of(s), s.target, s.image.open().tobytes()) for s in samples if s.image]


def test_folders_give_the_same_samples(tmp_path: Path) -> None:
    benchmark, found = BENCHMARKS["gtsrb"], rows(43)
    write_parquet(tmp_path / "one/gtsrb/test.parquet", found)
    write_parquet(tmp_path / "two/gtsrb/test-00000-of-00002.parquet", found[:25])
    write_parquet(tmp_path / "two/gtsrb/test-00001-of-00002.parquet", found[25:])
    write_lines(tmp_path / "three/gtsrb", "test", found)
    one = seen(benchmark, tmp_path / "one")
    assert one == seen(benchmark, tmp_path / "two/gtsrb") == seen(benchmark, tmp_path / "three")
    assert [target for _, target, _ in one] == [benchmark.labels[label] for _, label in found]
    assert [pixels for _, _, pixels in one] == [photo(i).convert("RGB").tobytes() for i in range(COUNT)]
    _, source = benchmark.load("test", tmp_path / "one")
    assert (
        source.revision.startswith("blake2b:")
        and "holds 40 images, the benchmark has 12630" in source.remarks[0]
    )


def test_validation_is_a_tenth_of_train(tmp_path: Path) -> None:
    write_parquet(tmp_path / "mnist/train.parquet", rows(10))
    benchmark = BENCHMARKS["mnist"]
    assert benchmark.examples
    train, validation = (benchmark.examples(split, tmp_path) for split in ("train", "validation"))
    digests = [{e.image.digest for e in part if e.image} for part in (train, validation)]
    assert [len(part) for part in digests] == [36, 4] and not digests[0] & digests[1]
    again = benchmark.examples("train", tmp_path)
    assert [e.image.digest for e in train if e.image] == [e.image.digest for e in again if e.image]
    with pytest.raises(ValueError, match="no examples of split 'test'"):
        benchmark.examples("test", tmp_path)


def test_what_is_wrong_with_a_folder_is_said(tmp_path: Path) -> None:
    benchmark = BENCHMARKS["eurosat"]
    with pytest.raises(DataUnavailable, match="eurosat/test.jsonl"):
        benchmark.load("test", tmp_path)
    write_parquet(tmp_path / "high/eurosat/test.parquet", [*rows(10)[:3], (rows(10)[0][0], 10)])
    with pytest.raises(
        DataUnavailable, match="row 4 of .* has the label 10, and eurosat has 10 classes, 0 to 9"
    ):
        benchmark.load("test", tmp_path / "high")
    other = tmp_path / "other/eurosat"
    other.mkdir(parents=True)
    pyarrow.parquet.write_table(pyarrow.table({"img": [b""], "label": [0]}), other / "test.parquet")
    with pytest.raises(DataUnavailable, match="has no column 'image' .it has img, label."):
        benchmark.load("test", tmp_path / "other")
    write_lines(tmp_path / "lines/eurosat", "test", rows(10)[:2])
    (tmp_path / "lines/eurosat/images/1.png").unlink()
    with pytest.raises(DataUnavailable, match="names 1 images that are not there"):
        benchmark.load("test", tmp_path / "lines")
    (tmp_path / "bad/eurosat").mkdir(parents=True)
    (tmp_path / "bad/eurosat/test.parquet").write_bytes(b"no parquet")
    with pytest.raises(DataUnavailable, match="cannot be read as parquet"):
        benchmark.load("test", tmp_path / "bad")


READ = """
import json
from bench.identity import hash_of
from tasks.catalogue import resolve
[benchmark] = resolve("svhn").benchmarks
samples, source = benchmark.load("test", None)
print(json.dumps([[[hash_of(s), s.target] for s in samples], source.location, source.revision]))
"""


def test_the_hub_gives_the_same_samples(tmp_path: Path) -> None:
    """A Hub on this machine; in a process of its own, because the Hub's clients take their settings at import."""
    import os

    root = Path(__file__).resolve().parents[2]
    file = write_parquet(tmp_path / "data/svhn/test.parquet", rows(10))
    card = tmp_path / "README.md"
    card.write_text(
        "---\nconfigs:\n- config_name: cropped_digits\n  data_files:\n"
        "  - split: test\n    path: data/test.parquet\n---\n"
    )
    repository = {"README.md": card, "data/test.parquet": file}
    with datasets_hub({"ufldl-stanford/svhn": repository}) as (endpoint, _):
        settings = {"HF_ENDPOINT": endpoint, "HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "0", "HF_TOKEN": "",
                    "HF_DATASETS_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1", "PYTHONPATH": str(root)}  # fmt: skip
        done = subprocess.run([sys.executable, "-c", READ], env={**os.environ, **settings}, capture_output=True,
                              text=True, timeout=300, cwd=tmp_path)  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: Any = json.loads(done.stdout)
    expected = [[document, target] for document, target, _ in seen(BENCHMARKS["svhn"], tmp_path / "data")]
    assert found == [expected, "ufldl-stanford/svhn/cropped_digits", commit_of(repository)]
