"""Publish a merge on the Hugging Face Hub: its files, a manifest without local folders, and a card with scores."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from bench.errors import BadInput
from bench.merging.card import model_card, shareable
from bench.merging.writer import MANIFEST
from bench.recipe import method_class
from results.scores import largest_pools
from results.store import Store

if TYPE_CHECKING:
    from bench.merging.merge import MergeResult

T = TypeVar("T")
CARD = "README.md"
SCORES = (
    "SELECT * FROM current_scores WHERE checkpoint = ? AND split = 'test' "
    "ORDER BY suite, benchmark, draw, metric, engine, dtype"
)


def check_push(repo: str) -> None:
    """Refuse before the merge what the Hub would refuse after it: a bad name, no login, no network wanted."""
    from huggingface_hub import constants, get_token
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(repo)
    except HFValidationError as error:
        raise BadInput(f"--push-to-hub {repo!r} is no repository id: {error}") from error
    if constants.HF_HUB_OFFLINE:
        raise BadInput("--push-to-hub needs the network, and HF_HUB_OFFLINE is set: unset it")
    if not get_token():
        raise BadInput(
            "--push-to-hub needs a token that may write: `hf auth login`, or set HF_TOKEN "
            "(https://huggingface.co/settings/tokens)"
        )


def push(result: MergeResult, repo: str, *, private: bool, db: Path) -> str:
    """Upload a merge in one commit to `repo`, made when it is not there; returns the repository's address."""
    from huggingface_hub import CommitOperationAdd, HfApi

    manifest = shareable(result.manifest)
    card = method_class(manifest["method"]).card
    written = {
        CARD: model_card(manifest, card, _stored_scores(db, manifest["fingerprint"])).encode(),
        MANIFEST: (json.dumps(manifest, indent=2) + "\n").encode(),
    }
    files = sorted(path for path in result.path.iterdir() if path.is_file() and path.name not in written)
    operations = [CommitOperationAdd(path.name, path) for path in files]
    operations += [CommitOperationAdd(name, data) for name, data in written.items()]
    api = HfApi()
    made = _asked(repo, lambda: api.create_repo(repo, private=private or None, exist_ok=True))
    _asked(
        repo,
        lambda: api.create_commit(made.repo_id, operations, commit_message=f"{result.manifest['label']}"),
    )
    return str(made)


def _stored_scores(db: Path, fingerprint: str) -> list[dict[str, Any]]:
    """Scores of the test split of this checkpoint, if it was ever evaluated into this database."""
    return largest_pools(Store(db).rows(SCORES, [fingerprint])) if db.exists() else []


def _asked(repo: str, ask: Callable[[], T]) -> T:
    """The Hub's answer, or BadInput with what to do about a refusal. The token is in no message."""
    from httpx2 import HTTPError
    from huggingface_hub.errors import HfHubHTTPError

    try:
        return ask()
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else 0
        raise BadInput(f"the Hub refused {repo} ({status}): {_advice(status)}") from error
    except (HTTPError, OSError) as error:
        raise BadInput(
            f"the Hub could not be reached ({type(error).__name__}). The merge is kept: the same command goes on."
        ) from error


def _advice(status: int) -> str:
    if status == 401:
        return "the token is not valid. `hf auth login` again, or set HF_TOKEN. The merge is kept."
    if status in (403, 404):
        return "the token may not write there. Check the name, and the token's rights. The merge is kept."
    return "try again later. The merge is kept: the same command goes on."
