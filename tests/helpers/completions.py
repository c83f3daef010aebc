"""A completions server of our own on this machine, which can be told to fail.

It speaks what /v1/models and /v1/completions need, as vLLM does, over real sockets. Its answer to a prompt is the
prompt backwards, one token for a character. `fault(prompt, attempt)` says what goes wrong with
the n-th attempt (from 1) to ask this prompt; `seen` holds every request that came, `peak` how many were under way at
once.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

# drop: close without a word; half: break off within the answer; hang: answer too late; or a status with headers.
Fault = str | tuple[int, dict[str, str], Any] | None


@dataclass
class Completions:
    """The server's state. `tokens` reads a prompt, `letter` is the token of a character; `by` is the server's name in
    /v1/models; `reply` may change an answer before it is sent."""

    tokens: Callable[[str], list[int]]
    letter: Callable[[str], int]
    by: str = "vllm"
    names: tuple[str, ...] = ("tiny",)
    root: str | None = None
    context: int | None = 128
    end: int = 1
    seconds: float = 0.0
    fault: Callable[[str, int], Fault] = lambda prompt, attempt: None
    reply: Callable[[dict[str, Any]], dict[str, Any]] = lambda answer: answer
    url: str = ""
    seen: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    attempts: Counter[str] = field(default_factory=Counter)
    answered: Counter[str] = field(default_factory=Counter)
    peak: int = 0
    _now: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _server: ThreadingHTTPServer | None = None

    def start(self, port: int = 0) -> None:
        """Listen; on the port of before when it is started again."""
        handler = type("Handler", (_Handler,), {"state": self})
        self._server = _Server(("127.0.0.1", port), handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        """Die: connections are refused from now on, and open ones are cut."""
        with self._lock:
            server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()
            for connection in list(server.open):
                _cut(connection)

    @property
    def port(self) -> int:
        """Where it listens or listened."""
        return int(self.url.rsplit(":", 1)[1].split("/")[0])

    def enter(self, body: dict[str, Any], headers: dict[str, str]) -> Fault:
        """Note a request; what is to go wrong with it."""
        with self._lock:
            self._now += 1
            self.peak = max(self.peak, self._now)
            self.seen.append(body)
            self.headers.append(headers)
            self.attempts[body["prompt"]] += 1
            return self.fault(body["prompt"], self.attempts[body["prompt"]])

    def leave(self) -> None:
        """Note that a request is over."""
        with self._lock:
            self._now -= 1

    def answer(self, body: dict[str, Any]) -> dict[str, Any]:
        """The prompt backwards, cut at the budget; otherwise ended by the end token."""
        prompt = self.tokens(body["prompt"])
        text = body["prompt"][::-1][: body["max_tokens"]]
        whole = len(text) < body["max_tokens"]
        ids = [self.letter(character) for character in text] + ([self.end] if whole else [])
        choice = {
            "index": 0,
            "text": text,
            "finish_reason": "stop" if whole else "length",
            "stop_reason": None,
        }
        if body.get("return_token_ids"):
            choice |= {"token_ids": ids, "prompt_token_ids": prompt}
        if "logprobs" in body:
            choice["logprobs"] = {"token_logprobs": [-0.25] * len(ids)}
        usage = {"prompt_tokens": len(prompt), "completion_tokens": len(ids)}
        return self.reply({"object": "text_completion", "choices": [choice], "usage": usage})


@contextmanager
def completions(tokenizer: Any, **settings: Any) -> Iterator[Completions]:
    """A running server with the tokenizer of the model that it pretends to serve."""
    state = Completions(
        lambda text: tokenizer(text)["input_ids"], tokenizer.convert_tokens_to_ids, **settings
    )
    state.start()
    try:
        yield state
    finally:
        state.stop()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, *arguments: Any) -> None:
        self.open: set[socket.socket] = set()
        super().__init__(*arguments)

    def get_request(self) -> tuple[Any, Any]:
        connection, place = super().get_request()
        self.open.add(connection)
        return connection, place

    def shutdown_request(self, request: Any) -> None:
        self.open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing on the test's output: connections are cut on purpose."""


class _Handler(BaseHTTPRequestHandler):
    state: Completions
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments: Any) -> None:
        """Nothing on the test's output."""

    def do_GET(self) -> None:
        models = [
            {"id": name, "object": "model", "owned_by": self.state.by, "root": self.state.root or name}
            | ({"max_model_len": self.state.context} if self.state.context else {})
            for name in self.state.names
        ]
        found = self.path == "/v1/models"
        self._send(
            200 if found else 404, {"object": "list", "data": models} if found else {"detail": "Not Found"}
        )

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        fault = self.state.enter(body, dict(self.headers))
        try:
            time.sleep(self.state.seconds)
            if fault == "drop":
                _cut(self.connection)
            elif fault == "half":
                self.send_response(200)
                self.send_header("Content-Length", "1000")
                self.end_headers()
                self.wfile.write(b'{"object": "text_comp')
                self.wfile.flush()
                _cut(self.connection)
            elif isinstance(fault, tuple):
                self._send(fault[0], fault[2], fault[1])
            else:
                time.sleep(3.0 if fault == "hang" else 0.0)
                self._send(200, self.state.answer(body))
                self.state.answered[body["prompt"]] += 1
        finally:
            self.state.leave()

    def _send(self, status: int, value: Any, headers: dict[str, str] | None = None) -> None:
        data = value.encode() if isinstance(value, str) else json.dumps(value).encode()
        self.send_response(status)
        for name, text in {**(headers or {}), "Content-Length": str(len(data))}.items():
            self.send_header(name, text)
        self.end_headers()
        self.wfile.write(data)


def _cut(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
