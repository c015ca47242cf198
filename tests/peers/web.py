"""An HTTP server that takes webhooks."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

__all__ = ["Call", "WebServer"]


@dataclass(frozen=True, slots=True)
class Call:
    """
    One request.

    @ivar headers: By names in lower case, as they are in no case.
    """

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def payload(self) -> Any:
        """The body read as JSON."""
        return json.loads(self.body)


class WebServer:
    """
    Answers POST with the statuses of C{script}, then with 200.

    @ivar calls: What was asked, in order of arrival.
    """

    def __init__(self, address: str = "127.0.0.1", script: Sequence[int] = ()) -> None:
        self.calls: list[Call] = []
        left = list(script)
        lock = threading.Lock()
        calls = self.calls

        class Answer(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
                with lock:
                    headers = {name.lower(): value for name, value in self.headers.items()}
                    calls.append(Call(self.path, headers, body))
                    status = left.pop(0) if left else 200
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer((address, 0), Answer)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        host, port = self._server.server_address[:2]
        self.url = f"http://{host!s}:{port}"

    def end(self) -> None:
        """Stop it."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)
