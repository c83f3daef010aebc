"""A Hugging Face Hub of our own on this machine: the few endpoints that reading headers and uploading need.

It serves folders as repositories, with ranges, and takes commits as the real one does: small files in the commit,
large ones through the LFS batch. `requests` holds what was asked and how many bytes of each file went out.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.helpers.local_server import Answering, serving

SHA = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Hub:
    """The server's state. `files` holds what was uploaded; `token` is the one that may write."""

    repositories: dict[str, Path] = field(default_factory=dict)
    token: str | None = None
    ranges: bool = True
    requests: list[tuple[str, str, int]] = field(default_factory=list)
    created: dict[str, dict[str, Any]] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    endpoint: str = ""
    _objects: dict[str, bytes] = field(default_factory=dict)

    def sent(self, name: str) -> int:
        """Bytes of files of this name that went out."""
        return sum(count for _, path, count in self.requests if path.endswith(name))


@contextmanager
def hub(**repositories: Path) -> Iterator[Hub]:
    """A running server; `org__name=folder` is the repository org/name."""
    state = Hub({name.replace("__", "/"): folder for name, folder in repositories.items()})
    with serving(_Handler, hub=state) as state.endpoint:
        yield state


class _Handler(Answering):
    hub: Hub

    def do_GET(self) -> None:
        path = self.path.split("?")[0]
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/[^/]+)?", path):
            self._info(found.group(1))
        elif found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/[^/]+/(.+\.safetensors)", path):
            # As the real one: weights lie elsewhere.
            self.send(302, b"", Location=f"{self.hub.endpoint}/stored/{found.group(1)}/{found.group(2)}")
        elif found := re.fullmatch(r"/(?:stored/([^/]+/[^/]+)|([^/]+/[^/]+)/resolve/[^/]+)/(.+)", path):
            self._file(found.group(1) or found.group(2), found.group(3))
        else:
            self.send_json(404, {"error": f"no {path}"})

    do_HEAD = do_GET

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.hub.requests.append((self.command, self.path, len(body)))
        if self.headers.get("Authorization") != f"Bearer {self.hub.token}":
            self.send_json(401, {"error": "Invalid username or password."})
        elif self.path == "/api/repos/create":
            self._create(json.loads(body))
        elif self.path == "/api/validate-yaml":
            self.send_json(200, {"errors": [], "warnings": []})
        elif "/preupload/" in self.path:
            asked = json.loads(body)["files"]
            modes = [
                {"path": f["path"], "uploadMode": _mode(f["path"]), "shouldIgnore": False} for f in asked
            ]
            self.send_json(200, {"files": modes})
        elif self.path.endswith("/info/lfs/objects/batch"):
            self._batch(json.loads(body))
        elif "/commit/" in self.path:
            self._commit(body)
        else:
            self.send_json(404, {"error": f"no {self.path}"})

    def do_PUT(self) -> None:
        data = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.hub.requests.append((self.command, self.path, len(data)))
        self.hub._objects[hashlib.sha256(data).hexdigest()] = data
        self.send_json(200, {})

    def _info(self, repo: str) -> None:
        self.hub.requests.append((self.command, self.path, 0))
        if repo in self.hub.created:
            self.send_json(
                200, {"id": repo, "sha": SHA, "siblings": [{"rfilename": name} for name in self.hub.files]}
            )
        elif repo not in self.hub.repositories:
            self.send_json(404, {"error": "Repository not found"}, **{"X-Error-Code": "RepoNotFound"})
        else:
            names = sorted(file.name for file in self.hub.repositories[repo].iterdir())
            self.send_json(200, {"id": repo, "sha": SHA, "siblings": [{"rfilename": name} for name in names]})

    def _file(self, repo: str, name: str) -> None:
        file = self.hub.repositories[repo] / name
        if not file.is_file():
            self.send_json(404, {"error": "Entry not found"}, **{"X-Error-Code": "EntryNotFound"})
            return
        data, asked = file.read_bytes(), re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        part, status, headers = data, 200, {}
        if asked and self.hub.ranges:
            start, stop = int(asked.group(1)), min(int(asked.group(2)) + 1, len(data))
            part, status = data[start:stop], 206
            headers = {"Content-Range": f"bytes {start}-{stop - 1}/{len(data)}"}
        self.send(status, part, **headers)

    def _create(self, asked: dict[str, Any]) -> None:
        repo = f"{asked['organization']}/{asked['name']}"
        self.hub.created[repo] = asked
        self.send_json(200, {"url": f"{self.hub.endpoint}/{repo}", "id": repo})

    def _batch(self, asked: dict[str, Any]) -> None:
        objects = []
        for one in asked["objects"]:
            href = f"{self.hub.endpoint}/upload/{one['oid']}"
            objects.append({**one, "actions": {"upload": {"href": href}}})
        self.send_json(200, {"transfer": "basic", "objects": objects})

    def _commit(self, body: bytes) -> None:
        for line in body.decode().splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "file":
                self.hub.files[value["path"]] = base64.b64decode(value["content"])
            elif entry["key"] == "lfsFile":
                self.hub.files[value["path"]] = self.hub._objects[value["oid"]]
        repo = self.path.removeprefix("/api/models/").split("/commit/")[0]
        where = f"{self.hub.endpoint}/{repo}/commit/{SHA}"
        self.send_json(200, {"commitUrl": where, "commitOid": SHA, "success": True})

    def send(self, status: int, data: bytes, **headers: str) -> None:
        """The answer, and a note of the bytes of a file that went out."""
        super().send(status, data, **headers)
        if self.command == "GET" and ("/resolve/" in self.path or "/stored/" in self.path):
            self.hub.requests.append((self.command, self.path, len(data)))


def _mode(path: str) -> str:
    return "lfs" if path.endswith(".safetensors") else "regular"
