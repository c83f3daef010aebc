"""Asking a server that may be away for a while: what is worth another attempt, when, and for how long."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from bench.errors import BadInput

if TYPE_CHECKING:
    from httpx2 import AsyncClient, Response

BUSY = {408, 425, 429}  # beside every status from 500 on but one
NOT_IMPLEMENTED = 501
SHOWN = 600  # characters of a server's message
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Retry:
    """How long a request is tried, in seconds.

    The pause after the k-th failure is `first` * 2^(k-1), at most `most`, of which a random part of up to a half is
    left out, so that many requests do not come back at the same moment. `patience` counts from the first failure.
    """

    first: float = 0.5
    most: float = 30.0
    patience: float = 300.0

    def pause(self, failures: int) -> float:
        """Seconds to wait after so many failures in a row."""
        return min(self.most, self.first * 2 ** min(failures - 1, 30)) * random.uniform(0.5, 1.0)


class Failure(Exception):
    """An attempt that may go better later; `after` is when the server asks to come back, seconds from now."""

    def __init__(self, why: str, after: float | None = None) -> None:
        super().__init__(why)
        self.after = after


class Refused(BadInput):
    """A request that the server understood and will not answer."""


async def post(
    client: AsyncClient,
    url: str,
    body: dict[str, Any],
    retry: Retry,
    check: Callable[[dict[str, Any]], None] = lambda answer: None,
) -> dict[str, Any]:
    """The server's JSON answer; tried again while the server is away, busy (429, 408) or failing (5xx).

    `check` raises Failure for an answer that is worth another attempt. Raises BadInput when nothing helps, and
    Refused at once, with the server's message, for a request that it refuses.
    """
    failures, started = 0, 0.0
    while True:
        try:
            answer = await _attempt(client, url, body)
            check(answer)
            return answer
        except Failure as failure:
            failures += 1
            started = started or time.monotonic()
            wait = failure.after if failure.after is not None else retry.pause(failures)
            waited = time.monotonic() - started
            if waited + wait > retry.patience:
                raise BadInput(_gave_up(url, failures, waited, failure)) from failure
            if failures == 1:
                logger.warning("%s: %s; trying again for up to %.0f s", url, failure, retry.patience)
            await asyncio.sleep(wait)


async def _attempt(client: AsyncClient, url: str, body: dict[str, Any]) -> dict[str, Any]:
    from httpx2 import TransportError

    try:
        response = await client.post(url, json=body)
    except TransportError as error:
        raise Failure(f"{type(error).__name__} {error}".strip()) from error
    return checked(response, url)


def checked(response: Response, url: str) -> dict[str, Any]:
    """The JSON object of an answer. Raises Failure for what may pass, Refused for what will not."""
    status = response.status_code
    if status in BUSY or (status >= 500 and status != NOT_IMPLEMENTED):
        raise Failure(f"HTTP {status} {message(response)}", _retry_after(response.headers.get("Retry-After")))
    if status >= 300:
        hint = {
            401: " (the key is read from the environment variable OPENAI_API_KEY)",
            404: " (--server-url is the address up to and with /v1)",
        }.get(status, "")
        raise Refused(f"{url} refused the request with HTTP {status}: {message(response)}{hint}")
    try:
        found = response.json()
    except ValueError as error:
        raise Failure(f"an answer that is no JSON: {message(response)}") from error
    if not isinstance(found, dict):
        raise BadInput(f"{url} answered with {str(found)[:SHOWN]!r}: this is no OpenAI-compatible server")
    return found


def message(response: Response) -> str:
    """What the server says is wrong, wherever it puts it; never the key, should it repeat that."""
    text = response.text
    try:
        body = response.json()
        found = body.get("error", body) if isinstance(body, dict) else body
        if isinstance(found, dict):
            found = found.get("message") or found.get("detail") or found
        text = found if isinstance(found, str) else str(found)
    except ValueError:
        pass
    key = response.request.headers.get("Authorization", "").removeprefix("Bearer ")
    return (text.replace(key, "***") if key else text).strip()[:SHOWN]


def _retry_after(value: str | None) -> float | None:
    """Seconds from now: the header holds them, or a date (RFC 9110, 10.2.3); None when it holds neither."""
    if value is None:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None


def _gave_up(url: str, failures: int, waited: float, failure: Failure) -> str:
    asked = f" and asks to wait {failure.after:.0f} s" if failure.after is not None else ""
    return (
        f"{url} did not answer: {failures} attempts in {waited:.0f} s, the last one: {failure}{asked}. "
        "What was finished is kept: when the server runs again, the same command goes on from there"
    )
