"""A Hugging Face checkpoint on disk, read by headers first and by pieces later; never loaded whole."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import BadInput
from bench.models.stored import Stored, gather, read_header, read_stored

if TYPE_CHECKING:
    from torch import Tensor

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
MAX_OPEN = 32  # files of one model that stay open
# What belongs to a model beside its weights and its config.
COMPANIONS = (
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
    "chat_template.jinja",
    "chat_template.json",
    "preprocessor_config.json",
)
ZOO = Path(__file__).parent.parent / "zoo" / "models"


class _Descriptor:
    """An open file that closes itself when nobody uses it any more."""

    def __init__(self, file: Path) -> None:
        self.number = os.open(file, os.O_RDONLY | os.O_CLOEXEC)

    def __del__(self) -> None:
        if (number := getattr(self, "number", None)) is not None:
            os.close(number)


class Checkpoint:
    """A folder with config.json and safetensors weights. Opening it reads the config and the headers only."""

    def __init__(self, path: Path, name: str | None = None) -> None:
        self.path = path
        self.name = name or path.name
        self.config = _config(path)
        self.tensors: Mapping[str, Stored] = gather(map(read_header, _weight_files(path)))
        self._open: dict[Path, _Descriptor] = {}
        self._lock = threading.Lock()

    @property
    def is_local(self) -> bool:
        """Whether the files lie on this machine."""
        return True

    def small_file(self, name: str) -> bytes | None:
        """A companion's bytes, None where the model has none of that name."""
        file = self.path / name
        return file.read_bytes() if file.is_file() else None

    @property
    def model_type(self) -> str:
        """`model_type` of the config."""
        return str(self.config.get("model_type", "missing"))

    @property
    def tied(self) -> bool:
        """Whether the LM head shares the embedding's storage."""
        return bool(self.config.get("tie_word_embeddings", self.model_type == "gpt2"))

    @cached_property
    def n_parameters(self) -> int:
        """Number of stored elements."""
        return sum(prod(t.shape) for t in self.tensors.values())

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors."""
        return sum(t.nbytes for t in self.tensors.values())

    @contextmanager
    def opened(self, file: Path) -> Iterator[int]:
        """Descriptor of one of the model's files: the last ones used stay open, for all threads."""
        with self._lock:
            found = self._open.pop(file, None) or _Descriptor(file)
            self._open[file] = found
            if len(self._open) > MAX_OPEN:
                del self._open[next(iter(self._open))]
        yield found.number

    def read(self, name: str, start: int = 0, stop: int | None = None) -> Tensor:
        """A flat run of a tensor's elements, in its stored dtype."""
        return read_stored(self.tensors[name], start, stop)


def open_checkpoint(spec: str) -> Checkpoint:
    """A model of this machine, or of the Hub after its download."""
    return Checkpoint(locate(spec), spec)


def locate(spec: str) -> Path:
    """The folder of a model given as a path, as `zoo:NAME`, or as a Hub id (downloaded into the Hub's cache)."""
    return local_folder(spec) or _download(spec)


def local_folder(spec: str) -> Path | None:
    """The folder of a model that is here, None for what can only be a Hub id."""
    if spec.startswith("zoo:"):
        return _zoo(spec.removeprefix("zoo:"))
    path = Path(spec).expanduser()
    if path.is_dir():
        return path.resolve()
    if spec.startswith((".", "/", "~")) or spec.count("/") != 1:
        raise BadInput(
            f"no checkpoint at {spec!r}: the folder does not exist. Give a folder, a Hub id or zoo:NAME."
        )
    return None


def _zoo(name: str) -> Path:
    from bench.errors import unknown

    known = [p.name for p in ZOO.iterdir() if p.is_dir()] if ZOO.is_dir() else []
    if name not in known:
        raise unknown("zoo model", name, known)
    return ZOO / name


def _download(repo: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    wanted = ["*.json", "*.safetensors", "*.txt", "*.model", "*.jinja"]
    try:
        return Path(snapshot_download(repo, allow_patterns=wanted))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise BadInput(
            f"no folder {repo!r} here, and the Hub gave no model of that id ({type(error).__name__}: "
            f"{str(error).splitlines()[0]}). Check the name, the network, or give a local folder."
        ) from error


def _config(path: Path) -> dict[str, Any]:
    file = path / "config.json"
    if not file.is_file():
        raise BadInput(f"no checkpoint at {path}: config.json is missing")
    return parse_config(file.read_bytes(), file)


def parse_config(data: bytes, file: Path) -> dict[str, Any]:
    """A config.json; `file` is how errors call it."""
    try:
        config = json.loads(data)
    except ValueError as error:
        raise BadInput(f"{file} is not JSON: {error}") from error
    if not isinstance(config, dict):
        raise BadInput(f"{file} holds {type(config).__name__}, not an object")
    return config


def _weight_files(path: Path) -> list[Path]:
    index = path / INDEX
    if index.is_file():
        names = shards_of(index.read_bytes(), index)
        missing = [name for name in names if not (path / name).is_file()]
        if missing or not names:
            raise BadInput(f"{index} lists shards that are not there: {missing or 'none at all'}")
        return [path / name for name in names]
    if (path / SINGLE).is_file():
        return [path / SINGLE]
    pickles = [p.name for p in path.glob("*.bin")] + [p.name for p in path.glob("*.pt*")]
    if pickles:
        raise BadInput(
            f"{path} holds pickled weights only ({pickles[0]}), which can run code when read and are refused. "
            f"Convert them: AutoModelForCausalLM.from_pretrained(DIR).save_pretrained(OUT, safe_serialization=True)"
        )
    raise BadInput(f"no weights at {path}: expected {SINGLE} or {INDEX}")


def shards_of(data: bytes, index: Path) -> list[str]:
    """File names that an index lists, all of its own folder; `index` is how errors call it."""
    try:
        names = sorted(set(map(str, json.loads(data)["weight_map"].values())))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadInput(f"{index} is damaged ({type(error).__name__}: {error})") from error
    outside = [name for name in names if Path(name).name != name]
    if outside:
        raise BadInput(f"{index} points outside its folder: {outside[0]!r}")
    return names
