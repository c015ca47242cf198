"""
Full TLS handshakes for each second of a processor that the server uses.

C{python -m bench.handshakes [TRIALS] [--count N] [--clients N]}: a certificate with
a P-256 key, no session is resumed.  A connection is counted as a whole: accepted,
secured, greeted, closed; on port 25 with EHLO and STARTTLS.  The row without TLS
tells what a connection costs before its handshake.
"""

from __future__ import annotations

import argparse
import multiprocessing
import socket
import ssl
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.measure import cpu_seconds
from tests.peers.server import Layout, Server

#: Seconds after which a run has failed.
_PATIENCE: Final = 60

#: Connections that wake a server up before it is measured.
_FIRST: Final = 50


@dataclass(frozen=True, slots=True)
class Cell:
    """@ivar version: L{None}: no TLS."""

    name: str
    service: str
    version: ssl.TLSVersion | None


CELLS: Final = (
    Cell("submissions, TLS 1.3", "submissions", ssl.TLSVersion.TLSv1_3),
    Cell("submissions, TLS 1.2", "submissions", ssl.TLSVersion.TLSv1_2),
    Cell("smtp, STARTTLS, TLS 1.3", "smtp", ssl.TLSVersion.TLSv1_3),
    Cell("smtp, EHLO, no TLS", "smtp", None),
)


def visit(port: int, cell: Cell, count: int) -> None:
    """
    Connect so often, one after the other.

    @raise RuntimeError: We are not welcome.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if cell.version is not None:
        context.minimum_version = context.maximum_version = cell.version
    for _ in range(count):
        with socket.create_connection(("127.0.0.1", port), _PATIENCE) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if cell.service == "submissions":
                with context.wrap_socket(connection) as secure:
                    _hear(secure, b"220 ")
                continue
            _hear(connection, b"220 ")
            connection.sendall(b"EHLO client.test\r\n")
            _hear(connection, b"250-")
            if cell.version is not None:
                connection.sendall(b"STARTTLS\r\n")
                _hear(connection, b"220 ")
                context.wrap_socket(connection).close()


def _hear(connection: socket.socket, start: bytes) -> None:
    text = connection.recv(4096)
    if not text.startswith(start):
        raise RuntimeError(f"refused: {text.decode(errors='replace')}")


def run(server: Server, cell: Cell, count: int, clients: int) -> tuple[float, float]:
    """@return: Connections a second, and for each second of a processor of the server's."""
    port, share = server.ports[cell.service], count // clients
    processes = [
        multiprocessing.get_context("spawn").Process(target=visit, args=(port, cell, share))
        for _ in range(clients)
    ]
    begun, used = time.perf_counter(), cpu_seconds(server.process.pid)
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        if process.exitcode:
            raise SystemExit("a client failed")
    seconds = time.perf_counter() - begun
    return share * clients / seconds, share * clients / (cpu_seconds(server.process.pid) - used)


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("trials", type=int, nargs="?", default=3)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--clients", type=int, default=4)
    given = parser.parse_args()
    found: dict[str, list[tuple[float, float]]] = {cell.name: [] for cell in CELLS}
    with tempfile.TemporaryDirectory(prefix="mox", ignore_cleanup_errors=True) as name:
        server = Server(Path(name), Layout(tables=_UNLIMITED))
        try:
            server.wait_until_up()
            for cell in CELLS:
                visit(server.ports[cell.service], cell, _FIRST)
            for _ in range(given.trials):
                for cell in CELLS:
                    found[cell.name].append(run(server, cell, given.count, given.clients))
        finally:
            server.end()
    print(f"{'':26}{'a second':>12}{'a CPU second':>16}")
    for cell in CELLS:
        pace, each = (statistics.median(column) for column in zip(*found[cell.name], strict=True))
        print(f"{cell.name:26}{pace:12.0f}{each:16.0f}")


#: One address connects far more often than any but a bench does.
_UNLIMITED: Final = {"limits": 'limits_exempt = ["127.0.0.0/8"]'}


if __name__ == "__main__":
    main()
