"""Where a benchmark's rows are read: a local folder of JSON lines, or the Hugging Face Hub.

A local file is `<data_dir>/<benchmark>/<split>.jsonl` (`data_dir` may end in the benchmark's name). Without a
folder the Hub is asked, and the commit that was read is recorded. Nothing falls back silently: a folder that was
given and lacks the file is an error.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

from tasks.contract import Source
from tasks.errors import DataUnavailable

HUB_TIMEOUT_SECONDS = 15.0


@dataclass(frozen=True)
class HubDataset:
    """A dataset of the Hub: repository id and configuration."""

    repository: str
    config: str


def read_rows(
    benchmark: str, split: str, *, data_dir: Path | None, hub: HubDataset, fields: tuple[str, ...]
) -> tuple[list[dict[str, Any]], Source]:
    """The rows of one split and where they came from; each row has at least `fields`.

    Raises DataUnavailable when the file, the Hub or a field is missing.
    """
    if data_dir is None:
        rows, source = _from_hub(benchmark, split, hub)
    else:
        rows, source = _from_folder(benchmark, split, data_dir)
    for number, row in enumerate(rows, start=1):
        missing = [name for name in fields if name not in row]
        if missing:
            raise DataUnavailable(
                f"row {number} of {source.location} has no {', '.join(map(repr, missing))} "
                f"(it has {', '.join(map(repr, row))}); {benchmark} needs {', '.join(fields)} in every row"
            )
    return rows, source


def _from_folder(benchmark: str, split: str, data_dir: Path) -> tuple[list[dict[str, Any]], Source]:
    folder = Path(data_dir).expanduser()
    if folder.name != benchmark:  # the benchmark's own folder may be given as well
        folder = folder / benchmark
    path = folder / f"{split}.jsonl"
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataUnavailable(
            f"cannot read {path}: {error.strerror}. The data folder must hold {benchmark}/{split}.jsonl, "
            "one JSON object per line"
        ) from error
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
    return rows, Source(str(path), "blake2b:" + blake2b(content, digest_size=16).hexdigest())


def _from_hub(benchmark: str, split: str, hub: HubDataset) -> tuple[list[dict[str, Any]], Source]:
    from huggingface_hub import HfApi

    try:
        revision = HfApi().dataset_info(hub.repository, timeout=HUB_TIMEOUT_SECONDS).sha
        from datasets import load_dataset  # takes seconds: not before the Hub has answered

        rows = load_dataset(hub.repository, hub.config, split=split, revision=revision)
    except Exception as error:  # the Hub's clients raise a dozen unrelated types when there is no network
        reason = str(error).strip().split("\n")[0][:200] or type(error).__name__
        raise DataUnavailable(
            f"cannot read {hub.repository} ({hub.config}, {split}) from the Hugging Face Hub: {reason}. "
            f"Without a network give a local folder (--data-dir FOLDER) with {benchmark}/{split}.jsonl: "
            "one JSON object per line, with the columns of that dataset"
        ) from error
    return [dict(row) for row in rows], Source(f"{hub.repository}/{hub.config}", str(revision))
