"""An HTTP server on this machine, in a thread of its own, and what its handlers answer with."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler], **state: Any) -> Iterator[str]:
    """A running server: its address. Its handlers see `state` as attributes of their class."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (handler,), state))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Answering(BaseHTTPRequestHandler):
    """A handler that keeps connections and is silent; to HEAD it answers without the body."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments: Any) -> None:
        """Nothing on the test's output."""

    def send_json(self, status: int, value: Any, **headers: str) -> None:
        """An answer that is JSON."""
        self.send(status, json.dumps(value).encode(), **{"Content-Type": "application/json", **headers})

    def send(self, status: int, data: bytes, **headers: str) -> None:
        """An answer of these bytes; a client that has gone away is no error."""
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            try:
                self.wfile.write(data)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True
