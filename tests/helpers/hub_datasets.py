"""Datasets on a Hugging Face Hub of our own on this machine: what `datasets` asks when it reads JSON lines."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from tests.helpers.local_server import Answering, serving

Files = Mapping[str, Path]  # path in the repository, and the file here
REVISION = r"(?:refs/convert/parquet|[^/]+)"  # every revision has the same files


def commit_of(files: Files) -> str:
    """The commit of a repository: another one for other contents."""
    digest = hashlib.sha1()
    for name, file in sorted(files.items()):
        digest.update(name.encode() + file.read_bytes())
    return digest.hexdigest()


def jsonl(folder: Path, rows: Path, *, config: str = "default", split: str = "test") -> dict[str, Path]:
    """A dataset repository of one split: a card that names the configuration, and the JSON lines."""
    folder.mkdir(parents=True, exist_ok=True)
    card = folder / "README.md"
    card.write_text(
        f"---\nconfigs:\n- config_name: {config}\n  data_files:\n"
        f"  - split: {split}\n    path: data/{split}.jsonl\n---\n"
    )
    return {"README.md": card, f"data/{split}.jsonl": rows}


@contextmanager
def datasets_hub(repositories: Mapping[str, Files]) -> Iterator[tuple[str, list[str]]]:
    """A running server: its address, and what it was asked. `repositories` maps org/name to the files."""
    asked: list[str] = []
    with serving(_Handler, repositories=repositories, asked=asked) as endpoint:
        yield endpoint, asked


class _Handler(Answering):
    repositories: Mapping[str, Files]
    asked: list[str]

    def do_GET(self) -> None:
        path = unquote(self.path.split("?")[0])
        self.asked.append(f"{self.command} {path}")
        if found := re.fullmatch(rf"/api/datasets/([^/]+/[^/]+)(?:/revision/{REVISION})?", path):
            self._answer(found.group(1), self._info)
        elif found := re.fullmatch(rf"/api/datasets/([^/]+/[^/]+)/tree/{REVISION}(?:/(.*))?", path):
            self._answer(
                found.group(1), lambda files, _: self.send_json(200, _entries(files, found.group(2) or ""))
            )
        elif found := re.fullmatch(rf"/datasets/([^/]+/[^/]+)/resolve/{REVISION}/(.+)", path):
            self._answer(found.group(1), lambda files, commit: self._file(files.get(found.group(2)), commit))
        else:
            self.send_json(404, {"error": f"no {path}"})

    do_HEAD = do_GET

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        self.asked.append(f"POST {self.path}")
        found = re.fullmatch(
            rf"/api/datasets/([^/]+/[^/]+)/paths-info/{REVISION}", unquote(self.path.split("?")[0])
        )
        if found is None:
            self.send_json(404, {"error": f"no {self.path}"})
            return
        wanted = _wanted(body)
        self._answer(
            found.group(1),
            lambda files, _: self.send_json(
                200, [entry for entry in _entries(files, "") if entry["path"] in wanted]
            ),
        )

    def _answer(self, repository: str, answer: Any) -> None:
        files = self.repositories.get(repository)
        if files is None:
            self.send_json(404, {"error": "Repository not found"}, **{"X-Error-Code": "RepoNotFound"})
        else:
            answer(files, commit_of(files))

    def _info(self, files: Files, commit: str) -> None:
        siblings = [{"rfilename": name} for name in files]
        self.send_json(200, {"id": "x/y", "sha": commit, "siblings": siblings, "tags": [], "private": False})

    def _file(self, file: Path | None, commit: str) -> None:
        if file is None:
            self.send_json(404, {"error": "Entry not found"}, **{"X-Error-Code": "EntryNotFound"})
            return
        data = file.read_bytes()
        part, status = data, 200
        headers = {"ETag": f'"{hashlib.sha1(data).hexdigest()}"', "X-Repo-Commit": commit}
        if ranged := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")):
            start, stop = int(ranged.group(1)), int(ranged.group(2) or len(data) - 1) + 1
            part, status = data[start:stop], 206
            headers["Content-Range"] = f"bytes {start}-{min(stop, len(data)) - 1}/{len(data)}"
        self.send(status, part, **headers)


def _entries(files: Files, below: str) -> list[dict[str, Any]]:
    """Every file and folder of a repository, as the tree and the paths-info endpoints list them."""
    entries: list[dict[str, Any]] = [
        {
            "type": "file", "path": name, "size": file.stat().st_size,
            "oid": hashlib.sha1(file.read_bytes()).hexdigest(),
        }
        for name, file in files.items()
    ]  # fmt: skip
    folders = sorted({name.rsplit("/", 1)[0] for name in files if "/" in name})
    entries += [{"type": "directory", "path": name, "size": 0, "oid": "0" * 40} for name in folders]
    return [entry for entry in entries if not below or entry["path"].startswith(f"{below}/")]


def _wanted(body: str) -> list[str]:
    """Paths of a paths-info request, sent as JSON or as a form."""
    from urllib.parse import parse_qs

    try:
        paths = json.loads(body)["paths"]
    except ValueError:
        paths = parse_qs(body).get("paths", [])
    return [paths] if isinstance(paths, str) else list(paths)
