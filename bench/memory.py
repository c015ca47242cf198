"""
Memory while a large message comes in, is stored, and leaves.

The client that submits it has logged in before: Argon2 takes 19 MiB for the 30 ms
of a login, whatever comes after.

C{python -m bench.memory [MIB]}
"""

from __future__ import annotations

import argparse
import socket
import ssl
import tempfile
from base64 import b64encode
from pathlib import Path

from bench.measure import peak_rss, reset_peak_rss
from bench.sink import Sink
from tests.peers.process import free_port, until
from tests.peers.server import ADDRESS, PASSWORD, Layout, Server

_SINK = "127.0.0.2"
_LINE = b"x" * 76 + b"\r\n"


class Client:
    """A connection that sends content from a generator: it needs no memory itself."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._lines = connection.makefile("rb")
        self.reply()

    def reply(self) -> bytes:
        """The last line of a reply; it must be a good one."""
        while True:
            line = self._lines.readline()
            if line[:1] not in b"23" or not line:
                raise SystemExit(f"refused: {line!r}")
            if line[3:4] != b"-":
                return line

    def say(self, text: str) -> None:
        """A command and its reply."""
        self._socket.sendall(f"{text}\r\n".encode())
        self.reply()

    def send(self, sender: str, recipient: str, octets: int) -> None:
        """A transaction."""
        self.say(f"MAIL FROM:<{sender}> SIZE={octets}")
        self.say(f"RCPT TO:<{recipient}>")
        self.say("DATA")
        self._socket.sendall(f"From: {sender}\r\nSubject: large\r\n\r\n".encode())
        block = _LINE * 1000
        for _ in range(octets // len(block)):
            self._socket.sendall(block)
        self.say(".")

    def close(self) -> None:
        """Hang up."""
        self.say("QUIT")
        self._lines.close()
        self._socket.close()


def _submission(server: Server) -> Client:
    plain = socket.create_connection(("localhost", server.ports["submissions"]), 120)
    context = ssl.create_default_context(cafile=str(server.certificate.file))
    client = Client(context.wrap_socket(plain, server_hostname="localhost"))
    client.say("EHLO client.test")
    client.say("AUTH PLAIN " + b64encode(f"\0{ADDRESS}\0{PASSWORD}".encode()).decode())
    return client


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("mebibytes", type=int, nargs="?", default=50)
    octets = parser.parse_args().mebibytes * 1024 * 1024
    port = free_port(_SINK)
    sink = Sink(_SINK, port)
    with tempfile.TemporaryDirectory(prefix="mox", ignore_cleanup_errors=True) as name:
        layout = Layout(tables={"queue": f"outbound_port = {port}"})
        server = Server(Path(name), layout)
        try:
            server.wait_until_up()
            server.set_password()
            pid = server.process.pid
            # What the first messages load and keep is not the large one's.
            for size in (1000, 1000, 200_000):
                _in_and_out(server, sink, _submission(server), size)
                print(f"after {size} octets in and out: {peak_rss(pid)} KiB at most", flush=True)
            outward = _submission(server)
            reset_peak_rss(pid)
            before = peak_rss(pid)
            _in_and_out(server, sink, outward, octets)
            after = peak_rss(pid)
        finally:
            server.end()
            sink.end()
    print(
        f"{octets} octets in, stored, and out: {before} KiB resident before,"
        f" {after} KiB at most, {(after - before) / 1024:.1f} MiB more"
    )


def _in_and_out(server: Server, sink: Sink, outward: Client, octets: int) -> None:
    """A message for an account, and one that leaves."""
    before = len(sink.receipts)
    connection = socket.create_connection(("127.0.0.1", server.ports["smtp"]), 120)
    inward = Client(connection)
    inward.say("EHLO client.test")
    inward.send("peer@there.test", ADDRESS, octets)
    inward.close()
    outward.send(ADDRESS, f"user@[{_SINK}]", octets)
    outward.close()
    until(lambda: len(sink.receipts) > before, within=120, what="it left the queue", log=server.log)


if __name__ == "__main__":
    main()
