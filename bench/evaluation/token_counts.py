"""A second length: tokens of every response under one fixed tokenizer, which makes different models comparable.

Counted from what is stored; no model is needed, and what was counted once is not counted again.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import BadInput
from bench.hashes import hash_file
from results.scores import UNWRITTEN

if TYPE_CHECKING:
    from results.spool import Spool
    from results.store import Store

CHUNK = 1024  # responses between two writes


class FixedTokenizer:
    """A tokenizer of a folder, a Hub model or `zoo:NAME`; `id` is its name and a hash of its tokenizer.json.

    Raises BadInput where there is no tokenizer.json.
    """

    def __init__(self, spec: str) -> None:
        self.file = _file(spec)
        name = self.file.parent.name if spec in (".", "..") else spec.rstrip("/").split("/")[-1]
        self.id = f"{name.removeprefix('zoo:')}:{hash_file(self.file)[:8]}"

    @cached_property
    def _tokenizer(self) -> Any:
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_file(str(self.file))
        tokenizer.no_truncation()  # a tokenizer.json may say that long texts are cut, or short ones filled up
        tokenizer.no_padding()
        return tokenizer

    def count(self, texts: list[str]) -> list[int]:
        """The number of tokens of each text, special tokens not added."""
        return [len(found.ids) for found in self._tokenizer.encode_batch(texts, add_special_tokens=False)]


def _file(spec: str) -> Path:
    from bench.models.checkpoint import local_folder

    path = Path(spec).expanduser()
    if path.is_file() and path.name == "tokenizer.json":
        return path
    folder = local_folder(spec)
    if folder is None:
        return _download(spec)
    if not (folder / "tokenizer.json").is_file():
        raise BadInput(f"--fixed-tokenizer {spec}: there is no tokenizer.json in {folder}")
    return folder / "tokenizer.json"


def _download(repo: str) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(hf_hub_download(repo, "tokenizer.json"))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise BadInput(
            f"--fixed-tokenizer {repo}: no such folder, and the Hub gave no tokenizer.json "
            f"({type(error).__name__}: {str(error).splitlines()[0]}). Check the name or the network."
        ) from error


def token_counts(
    tokenizer: FixedTokenizer, ids: Iterable[str], *, store: Store, spool: Spool
) -> dict[str, int]:
    """The length of every stored response of `ids` under `tokenizer`; those not counted before are spooled."""
    wanted, counts = list(dict.fromkeys(ids)), dict[str, int]()
    for start in range(0, len(wanted), CHUNK):
        group = wanted[start : start + CHUNK]
        known = store.fetch("token_counts", group, tokenizer=tokenizer.id)
        counts |= {row["response_id"]: row["n_tokens"] for row in known}
        missing = [id for id in group if id not in counts]
        if not missing:
            continue
        rows = [row for row in store.fetch("responses", missing) if row["finish_reason"] not in UNWRITTEN]
        new = dict(
            zip((r["response_id"] for r in rows), tokenizer.count([r["text"] for r in rows]), strict=True)
        )
        spool.append_many(
            "token_counts",
            [{"response_id": id, "tokenizer": tokenizer.id, "n_tokens": n} for id, n in new.items()],
        )
        counts |= new
    return counts
