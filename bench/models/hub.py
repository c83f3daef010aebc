"""A model on the Hub, known by its config and its safetensors headers: range requests, and no file on this disk."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from bench.errors import BadInput
from bench.models.checkpoint import (
    INDEX,
    SINGLE,
    Checkpoint,
    local_folder,
    open_checkpoint,
    parse_config,
    shards_of,
)
from bench.models.stored import Stored, gather, header_length, parse_header

FIRST = 1 << 17  # bytes of the first request: most headers fit
MAX_FILE = 1 << 26  # bytes of a config, index or tokenizer: a larger one is refused
TIMEOUT = 30.0  # seconds without an answer


def open_headers(spec: str) -> Checkpoint:
    """A model to plan with: of the Hub only headers are fetched, unless the network is switched off."""
    from huggingface_hub import constants

    if local_folder(spec) is not None or constants.HF_HUB_OFFLINE:
        return open_checkpoint(spec)
    return HubCheckpoint(spec)


class HubCheckpoint(Checkpoint):
    """Config and headers of one revision of a Hub model. Its weights cannot be read."""

    def __init__(self, repo: str) -> None:
        from huggingface_hub import HfApi

        self.path, self.name = Path(repo), repo
        info = _asked(repo, lambda: HfApi().model_info(repo, timeout=TIMEOUT))
        self.revision = str(info.sha)
        self._files = {sibling.rfilename for sibling in info.siblings or ()}
        config = self.small_file("config.json")
        if config is None:
            raise BadInput(f"no checkpoint in {repo} on the Hub: config.json is missing")
        self.config = parse_config(config, self.path / "config.json")
        self.tensors = gather(map(self._header, self._shards()))

    @property
    def is_local(self) -> bool:
        """Never: the Hub has the files."""
        return False

    def small_file(self, name: str) -> bytes | None:
        """A companion's bytes, held in memory; None where the repository has none of that name.

        BadInput for one of more than MAX_FILE bytes.
        """
        if name not in self._files:
            return None
        data, size = self._get(name, None)
        if len(data) > MAX_FILE:
            raise BadInput(
                f"{self.path / name} on the Hub has {size:,} bytes, more than the {MAX_FILE:,} that are held in "
                "memory to plan with: download the model and give its folder"
            )
        return data

    def read(self, name: str, start: int = 0, stop: int | None = None) -> Any:
        """Raises BadInput: planning reads no weights."""
        raise BadInput(f"the weights of {self.name} are on the Hub: nothing was downloaded")

    def _shards(self) -> list[str]:
        if (index := self.small_file(INDEX)) is not None:
            names = shards_of(index, self.path / INDEX)
            if missing := [name for name in names if name not in self._files]:
                raise BadInput(f"{self.path / INDEX} lists shards that are not there: {missing}")
            return names
        if SINGLE not in self._files:
            raise BadInput(f"no safetensors weights in {self.name} on the Hub: expected {SINGLE} or {INDEX}")
        return [SINGLE]

    def _header(self, name: str) -> list[Stored]:
        file = self.path / name
        data, size = self._get(name, (0, FIRST))
        length = header_length(data[:8], file, size)
        if len(data) < 8 + length:
            data += self._get(name, (len(data), 8 + length))[0]
        return parse_header(data[8 : 8 + length], file, size)

    def _get(self, name: str, part: tuple[int, int] | None) -> tuple[bytes, int]:
        """A file's bytes [start, stop), or all of a small one (of a larger one MAX_FILE + 1); and the whole file's
        size."""
        from huggingface_hub import hf_hub_url
        from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

        url = hf_hub_url(self.name, name, revision=self.revision)
        start, stop = part or (0, MAX_FILE + 1)
        headers = {**build_hf_headers(), "Accept-Encoding": "identity"}
        headers |= {"Range": f"bytes={start}-{stop - 1}"} if part else {}

        def get() -> tuple[bytes, int]:
            with get_session().stream("GET", url, headers=headers, timeout=TIMEOUT) as response:
                hf_raise_for_status(response)
                # A server that ignores ranges must not send us gigabytes: only the wanted part is taken.
                skipped = start if response.status_code == 200 else 0
                data = _first(response.iter_bytes(1 << 16), skipped + stop - start)
                return data[skipped:], _size(response.headers, len(data))

        return _asked(self.name, get)


def _first(chunks: Any, wanted: int) -> bytes:
    data = bytearray()
    for chunk in chunks:
        data += chunk
        if len(data) >= wanted:
            break
    return bytes(data[:wanted])


def _size(headers: Any, received: int) -> int:
    """Size of the whole file, from the answer to a part or to all of it."""
    of = re.fullmatch(r"bytes \d+-\d+/(\d+)", headers.get("Content-Range", ""))
    return int(of.group(1)) if of else int(headers.get("Content-Length", received))


def _asked(repo: str, ask: Any) -> Any:
    """The Hub's answer, or BadInput with its reason."""
    from httpx2 import HTTPError

    try:
        return ask()
    except (HTTPError, OSError, ValueError) as error:
        said = str(error).strip().splitlines() or [""]
        raise BadInput(
            f"no folder {repo!r} here, and the Hub gave no model of that id ({type(error).__name__}: {said[0]}). "
            "Check the name, the network, your login for a private model, or give a local folder."
        ) from error
