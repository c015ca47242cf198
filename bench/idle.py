"""
Memory of idle connections.

C{python -m bench.idle [CONNECTIONS]}: each has said EHLO and waits, without TLS.
"""

from __future__ import annotations

import argparse
import socket
import tempfile
import time
from pathlib import Path

from bench.measure import allow_files, pss
from tests.peers.server import Layout, Server


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("connections", type=int, nargs="?", default=2000)
    count = parser.parse_args().connections
    allow_files(count + 1000)
    with tempfile.TemporaryDirectory(prefix="mox", ignore_cleanup_errors=True) as name:
        # More than half of the connections would be waited for less patiently.
        server = Server(Path(name), Layout(listener=f"max_connections = {3 * count}"))
        try:
            server.wait_until_up()
            # What the first sessions load and keep is no connection's.
            for connection in _connections(server, 50):
                connection.close()
            time.sleep(1)
            before = pss(server.process.pid)
            connections = _connections(server, count)
            time.sleep(1)
            after = pss(server.process.pid)
            for connection in connections:
                connection.close()
        finally:
            server.end()
    each = (after - before) / count
    print(
        f"{count} idle connections: {before} KiB before, {after} KiB with them, {each:.2f} KiB each"
    )


def _connections(server: Server, count: int) -> list[socket.socket]:
    """That many, greeted and greeting."""
    opened = []
    for _ in range(count):
        connection = socket.create_connection(("127.0.0.1", server.ports["smtp"]), 30)
        _expect(connection, b"220 ")
        connection.sendall(b"EHLO client.test\r\n")
        _expect(connection, b"250-")
        opened.append(connection)
    return opened


def _expect(connection: socket.socket, start: bytes) -> None:
    text = connection.recv(4096)
    if not text.startswith(start):
        raise SystemExit(f"refused: {text.decode(errors='replace')}")


if __name__ == "__main__":
    main()
