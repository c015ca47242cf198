"""The host of an MTA-STS policy: HTTPS on port 443 of an address of this machine."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.peers.certificate import Certificate

__all__ = ["Page", "PolicyHost", "policy"]

PATH = "/.well-known/mta-sts.txt"


def policy(mode: str = "enforce", *hosts: str, age: int = 86400) -> str:
    """The text of one."""
    names = "".join(f"mx: {host}\r\n" for host in hosts)
    return f"version: STSv1\r\nmode: {mode}\r\n{names}max_age: {age}\r\n"


@dataclass(frozen=True, slots=True)
class Page:
    """
    What is answered.

    @ivar drip: Seconds between the octets of the body.
    """

    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    drip: float = 0


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    host: PolicyHost

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        certificate = self.host.certificate
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate.file, certificate.key)
        # The handshake is for the connection's own thread.
        wrapped = context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        return wrapped, address

    def handle_error(self, *_: object) -> None:
        """A client that does not like the certificate is no error."""


class PolicyHost:
    """
    @ivar certificate: Shown to new connections.
    @ivar page: Answered at the path of policies; there is nothing else.
    @ivar asked: The host and path of each request.
    @ivar sent: Octets of bodies that went out.
    """

    def __init__(self, address: str, certificate: Certificate) -> None:
        """@raise OSError: Port 443 of the address cannot be had."""
        self.certificate = certificate
        self.page = Page()
        self.asked: list[str] = []
        self.sent = 0
        host = self

        class Answer(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                host.asked.append(f"{self.headers['Host']}{self.path}")
                page = host.page if self.path == PATH else Page(status=404)
                self.send_response(page.status)
                for name, value in page.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(page.body)))
                self.end_headers()
                step = 1 if page.drip else 65536
                for start in range(0, len(page.body), step):
                    self.wfile.write(page.body[start : start + step])
                    host.sent += step
                    time.sleep(page.drip)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = _Server((address, 443), Answer)
        self._server.host = self
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Stop it."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)
