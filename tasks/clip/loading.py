"""Images of one classification, from a local folder or the Hub, read one at a time: no set is held in memory.

A local folder holds `<benchmark>/<split>.parquet` (or `<split>-*.parquet`) with the columns of the Hub, `image` and
`label`, or `<benchmark>/<split>.jsonl`, whose rows name an image file beside it and its label. `data_dir` may end in
the benchmark's name. Nothing falls back silently.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any

from tasks.contract import Example, Sample, Source
from tasks.errors import DataUnavailable
from tasks.pictures import Encoded
from tasks.sources import HubDataset, counted, hub_dataset, read_rows

VALIDATION_SHARE = 10  # one in so many of the training images
SEED = 0
MOST_EXAMPLES = 1024  # statistics look at some hundreds: no split is read through for their identity


@dataclass(frozen=True)
class Labelled:
    """An image with the index of its class; `index` is its place in the source's split."""

    index: int
    image: Encoded
    label: int


@dataclass(frozen=True)
class ImageSet:
    """Where the images of a benchmark are. `sizes` counts those of the source's own splits, where they are known.

    Train and validation share the source's train split: of a seeded order the last tenth is validation.
    """

    name: str
    hub: HubDataset
    labels: tuple[str, ...]
    sizes: dict[str, int]

    def load(self, split: str, data_dir: Path | None) -> tuple[list[Sample], Source]:
        """The samples of a split, in the source's order. Raises DataUnavailable for what cannot be read."""
        found, source = self.images(split, data_dir)
        if split in self.sizes:
            source = counted(source, self.name, split, len(found), self.sizes[split], "images")
        return [self._sample(split, one) for one in found], source

    def examples(self, split: str, data_dir: Path | None) -> list[Example]:
        """At most MOST_EXAMPLES labelled images of "train" or "validation", in a seeded order."""
        if split not in ("train", "validation"):
            raise ValueError(f"no examples of split {split!r}: statistics may use 'train' or 'validation'")
        found, _ = self.images(split, data_dir)
        chosen = random.Random(SEED).sample(found, min(MOST_EXAMPLES, len(found)))
        return [Example("", label=one.label, image=one.image) for one in chosen]

    def images(self, split: str, data_dir: Path | None) -> tuple[list[Labelled], Source]:
        """The images of a split; train and validation are parts of the source's train split."""
        found, source = self._read("test" if split == "test" else "train", data_dir)
        if split == "test":
            return found, source
        order = random.Random(SEED).sample(range(len(found)), len(found))
        cut = len(found) - len(found) // VALIDATION_SHARE
        chosen = sorted(order[:cut] if split == "train" else order[cut:])
        return [found[index] for index in chosen], source

    def _read(self, split: str, data_dir: Path | None) -> tuple[list[Labelled], Source]:
        if data_dir is None:
            rows, source = _of_hub(self.name, split, self.hub)
        else:
            folder = Path(data_dir).expanduser()
            folder = folder if folder.name == self.name else folder / self.name
            files = sorted([*folder.glob(f"{split}.parquet"), *folder.glob(f"{split}-*.parquet")])
            rows, source = _of_parquet(files) if files else _of_lines(self.name, split, data_dir, folder)
        labels = [self._label(number, label, source) for number, label in enumerate(rows.labels)]
        return [
            Labelled(index, Encoded(partial(rows.read, index)), label) for index, label in enumerate(labels)
        ], source

    def _label(self, index: int, label: Any, source: Source) -> int:
        if isinstance(label, str) and label in self.labels:
            return self.labels.index(label)
        if isinstance(label, bool) or not isinstance(label, int) or not 0 <= label < len(self.labels):
            raise DataUnavailable(
                f"row {index + 1} of {source.location} has the label {label!r}, and {self.name} has "
                f"{len(self.labels)} classes, 0 to {len(self.labels) - 1}"
            )
        return label

    def _sample(self, split: str, one: Labelled) -> Sample:
        id = f"{self.name}-{split}-{one.index:05d}"
        return Sample(
            id, f"image {one.index} of {self.name} ({split})", self.labels[one.label], image=one.image
        )


@dataclass(frozen=True)
class _Rows:
    """Labels in order, and how the bytes of the image of a row are read."""

    labels: Sequence[Any]
    read: Callable[[int], bytes]


def _of_hub(name: str, split: str, hub: HubDataset) -> tuple[_Rows, Source]:
    instead = f"{name}/{split}.parquet (columns image and label), or {name}/{split}.jsonl beside image files"
    found, source = hub_dataset(hub, split, instead)
    return _of_table(found, source), source


def _of_parquet(files: Sequence[Path]) -> tuple[_Rows, Source]:
    from datasets import load_dataset
    from datasets.exceptions import DatasetGenerationError

    digest = blake2b(digest_size=16)
    for file in files:
        with file.open("rb") as opened:
            while block := opened.read(1 << 20):
                digest.update(block)
    source = Source(
        str(files[0]) if len(files) == 1 else str(files[0].parent), f"blake2b:{digest.hexdigest()}"
    )
    try:
        found = load_dataset("parquet", data_files=[str(file) for file in files], split="train")
    except (DatasetGenerationError, OSError, ValueError) as error:
        raise DataUnavailable(f"{source.location} cannot be read as parquet: {error}") from error
    return _of_table(found, source), source


def _of_table(found: Any, source: Source) -> _Rows:
    """A table with the columns image and label, left where it lies."""
    from datasets import Image

    lacking = [name for name in ("image", "label") if name not in found.column_names]
    if lacking:
        raise DataUnavailable(
            f"{source.location} has no column {lacking[0]!r} (it has {', '.join(found.column_names)})"
        )
    images = found.select_columns(["image"]).cast_column("image", Image(decode=False))

    def read(index: int) -> bytes:
        image = images[index]["image"]
        return image["bytes"] if image["bytes"] is not None else Path(image["path"]).read_bytes()

    return _Rows(found["label"][:], read)


def _of_lines(name: str, split: str, data_dir: Path, folder: Path) -> tuple[_Rows, Source]:
    rows, source = read_rows(
        name, split, data_dir=data_dir, hub=HubDataset(name), fields=(("image",), ("label",))
    )
    files = [folder / str(row["image"]) for row in rows]
    missing = [file for file in files if not file.is_file()]
    if missing:
        raise DataUnavailable(
            f"{source.location} names {len(missing)} images that are not there: {missing[0]}"
        )
    return _Rows([row["label"] for row in rows], lambda index: files[index].read_bytes()), source
