"""Where a benchmark's rows are read: a local folder of JSON lines, or the Hugging Face Hub.

A local file is `<data_dir>/<benchmark>/<split>.jsonl` (`data_dir` may end in the benchmark's name). Without a
folder the Hub is asked, and the commit that was read is recorded. Nothing falls back silently: a folder that was
given and lacks the file is an error.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

from tasks.contract import Source
from tasks.errors import DataUnavailable

HUB_TIMEOUT_SECONDS = 15.0
# Names that a column has in one copy or another of a dataset; the first that a row has is taken.
Columns = tuple[str, ...]


@dataclass(frozen=True)
class HubDataset:
    """A dataset of the Hub: repository id, configuration, and the names of its splits where they are not ours."""

    repository: str
    config: str | None = None
    splits: Mapping[str, str] = field(default_factory=dict)


def read_rows(
    benchmark: str,
    split: str,
    *,
    data_dir: Path | None,
    hub: HubDataset,
    fields: Sequence[Columns],
    folders: Sequence[str] = (),
) -> tuple[list[dict[str, Any]], Source]:
    """The rows of one split and where they came from; each row has one column of each of `fields`.

    `folders` are other names that the local folder may have; the source remarks on it.
    Raises DataUnavailable when the file, the Hub or a field is missing.
    """
    if data_dir is None:
        rows, source = _from_hub(benchmark, split, hub)
    else:
        rows, source = _from_folder((benchmark, *folders), split, data_dir)
    for number, row in enumerate(rows, start=1):
        missing = [names for names in fields if not any(name in row for name in names)]
        if missing:
            needed = ", ".join(" or ".join(names) for names in fields)
            raise DataUnavailable(
                f"row {number} of {source.location} has no "
                f"{', '.join(' or '.join(map(repr, names)) for names in missing)} "
                f"(it has {', '.join(map(repr, row))}); {benchmark} needs {needed} in every row"
            )
    return rows, source


def counted(source: Source, benchmark: str, split: str, n: int, size: int, what: str = "rows") -> Source:
    """The source of a split of `size` rows, with a remark where it holds fewer.

    Raises DataUnavailable where it holds none, or more: it is another dataset.
    """
    if n > size or n == 0:
        raise DataUnavailable(
            f"{source.location} holds {n} {what} of {benchmark}, which has {size} ({split}): it is another dataset"
        )
    if n == size:
        return source
    held = f"{benchmark}: {source.location} holds {n} {what}"
    remark = f"{held}, the benchmark has {size}: scores are of a part"
    return replace(source, remarks=(*source.remarks, remark))


@contextmanager
def in_row(number: int, source: Source) -> Iterator[None]:
    """Says of what cannot be read which row it stands in, counted from 1."""
    try:
        yield
    except DataUnavailable as error:
        raise DataUnavailable(f"row {number} of {source.location}: {error}") from error


def text_of(row: Mapping[str, Any], column: str) -> str:
    """A column that must hold a text."""
    found = row.get(column)
    if not isinstance(found, str) or not found.strip():
        raise DataUnavailable(f"{column} is a text, this one is {found!r}")
    return found


def _from_folder(names: Sequence[str], split: str, data_dir: Path) -> tuple[list[dict[str, Any]], Source]:
    path, name = _file(names, split, Path(data_dir).expanduser())
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataUnavailable(
            f"cannot read {path}: {error.strerror}. The data folder must hold "
            f"{' or '.join(f'{name}/{split}.jsonl' for name in names)}, one JSON object per line"
        ) from error
    rows = _rows(content, path)
    remarks = () if name == names[0] else (f"{names[0]} was read from the folder {name} ({path})",)
    return rows, Source(str(path), "blake2b:" + blake2b(content, digest_size=16).hexdigest(), remarks)


def _file(names: Sequence[str], split: str, folder: Path) -> tuple[Path, str]:
    """The file to read, and which of `names` its folder has; the first where none is there."""
    if folder.name in names:  # the benchmark's own folder may be given as well
        return folder / f"{split}.jsonl", folder.name
    found = next((name for name in names if (folder / name / f"{split}.jsonl").is_file()), names[0])
    return folder / found / f"{split}.jsonl", found


def _rows(content: bytes, path: Path) -> list[dict[str, Any]]:
    rows = []
    for number, line in enumerate(content.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise DataUnavailable(f"{path}, line {number} is not JSON: {error}") from error
        if not isinstance(row, dict):
            raise DataUnavailable(f"{path}, line {number} is not a JSON object but {type(row).__name__}")
        rows.append(row)
    if not rows:
        raise DataUnavailable(f"{path} holds no rows; it must hold one JSON object per line")
    return rows


def _from_hub(benchmark: str, split: str, hub: HubDataset) -> tuple[list[dict[str, Any]], Source]:
    rows, source = hub_dataset(
        hub, split, f"{benchmark}/{split}.jsonl: one JSON object per line, with the columns of that dataset"
    )
    return [dict(row) for row in rows], source


def hub_dataset(hub: HubDataset, split: str, instead: str) -> tuple[Any, Source]:
    """A split as it lies in the Hub's cache (`datasets.Dataset`), and the commit that was read.

    `instead` says which local file does without the Hub. Raises DataUnavailable.
    """
    from huggingface_hub import HfApi

    theirs = hub.splits.get(split, split)
    place = "/".join(part for part in (hub.repository, hub.config) if part)
    try:
        revision = HfApi().dataset_info(hub.repository, timeout=HUB_TIMEOUT_SECONDS).sha
        from datasets import load_dataset  # takes seconds: not before the Hub has answered

        rows = load_dataset(hub.repository, hub.config, split=theirs, revision=revision)
    except Exception as error:  # the Hub's clients raise a dozen unrelated types when there is no network
        reason = str(error).strip().split("\n")[0][:200] or type(error).__name__
        raise DataUnavailable(
            f"cannot read {place} ({theirs}) from the Hugging Face Hub: {reason}. "
            f"Without a network give a local folder (--data-dir FOLDER) with {instead}"
        ) from error
    return rows, Source(place, str(revision))
