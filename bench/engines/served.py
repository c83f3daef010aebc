"""What a server serves: asked once, before anything is answered."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bench.engines.retry import Failure, checked
from bench.errors import BadInput, unknown

KEY = "OPENAI_API_KEY"
KNOWN = ("vllm", "sglang")  # they name themselves in /v1/models, and take more than the standard's fields
ATTEMPTS = 3
PAUSE = 1.0  # seconds
ANSWERS_WITHIN = 30.0  # seconds
LOCAL = {"localhost", "127.0.0.1", "::1"}


@dataclass(frozen=True)
class Served:
    """A served model: its name there, who serves it (of `KNOWN`, else None), and its context in tokens if told."""

    url: str
    name: str
    by: str | None
    context: int | None

    @property
    def family(self) -> str:
        """The engine family in a response's identity: `server:vllm`, `server:sglang`, else `server`."""
        return f"server:{self.by}" if self.by else "server"


def check_one_model(engine: str, models: int) -> None:
    """Refuse to have one server answer for several models: every row would be the served one's."""
    if engine == "server" and models > 1:
        raise BadInput(
            f"engine server answers with the one model that it serves, and {models} are to be evaluated: serve and "
            "evaluate one after the other (of a merge: `bench merge`, serve its folder, `bench eval --model FOLDER`)"
        )


def address(url: str | None) -> str:
    """The address up to and with /v1, without a slash at its end. Raises BadInput for what is none."""
    if not url:
        raise BadInput("engine server needs an address: --server-url http://HOST:PORT/v1")
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise BadInput(f"--server-url {url}: write http://HOST:PORT/v1 or https://HOST/v1")
    return url.rstrip("/") if parts.path.strip("/") else f"{parts.scheme}://{parts.netloc}/v1"


def connection(url: str) -> dict[str, Any]:
    """How to connect: the key goes into a header and nowhere else; a local server is not asked through a proxy."""
    key = os.environ.get(KEY)
    return {
        "headers": {"Authorization": f"Bearer {key}"} if key else {},
        "trust_env": urlsplit(url).hostname not in LOCAL,
    }


@cache
def served(url: str, asked: str | None, path: Path) -> Served:
    """The model that `url` serves for the checkpoint at `path`; `asked` is its name there, None where it is clear.

    Raises BadInput when there is no such server, when several models are served and none is named, and when the one
    served comes from another folder of this machine.
    """
    models = _models(url)
    found = _chosen(models, asked, path, url)
    by = found.get("owned_by")
    context = found.get("max_model_len")
    return Served(
        url=url,
        name=found["id"],
        by=by if by in KNOWN else None,
        context=context if isinstance(context, int) and context > 0 else None,
    )


def _models(url: str) -> list[dict[str, Any]]:
    import httpx2

    why = ""
    with httpx2.Client(timeout=ANSWERS_WITHIN, **connection(url)) as client:
        for attempt in range(ATTEMPTS):
            time.sleep(PAUSE if attempt else 0)
            try:
                body = checked(client.get(f"{url}/models"), f"{url}/models")
            except (httpx2.TransportError, Failure) as error:
                why = (
                    f"{type(error).__name__} {error}"
                    if isinstance(error, httpx2.TransportError)
                    else str(error)
                )
                continue
            models = [
                m for m in body.get("data") or [] if isinstance(m, dict) and isinstance(m.get("id"), str)
            ]
            if not models:
                raise BadInput(f"{url}/models names no model: is this an OpenAI-compatible server?")
            return models
    raise BadInput(f"no server answers at {url} ({why}): start one, for example `vllm serve MODEL`")


def _chosen(models: list[dict[str, Any]], asked: str | None, path: Path, url: str) -> dict[str, Any]:
    names = [model["id"] for model in models]
    if asked is not None:
        if asked not in names:
            raise unknown(f"model served at {url}", asked, names)
        return models[names.index(asked)]
    own = [model for model in models if _is(model, path)]
    if len(own) == 1:
        return own[0]
    if len(models) > 1:
        raise BadInput(f"{url} serves several models, say which with --served-model: {', '.join(names)}")
    root = str(models[0].get("root") or names[0])
    if Path(root).is_absolute() and Path(root).is_dir():
        raise BadInput(
            f"{url} serves {root}, and {path} is to be evaluated: serve that, or, when both hold the same weights, "
            f"say so with --served-model {names[0]}"
        )
    return models[0]


def _is(model: dict[str, Any], path: Path) -> bool:
    """Whether a served model comes from the folder at `path`."""
    places = {Path(str(model.get(key) or "")).expanduser() for key in ("root", "id")}
    return any(place.is_absolute() and place.is_dir() and place.samefile(path) for place in places)
