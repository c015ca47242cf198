"""A domain that hangs, and one that does not."""

from __future__ import annotations

import socket
import threading
import time

from bench.client import Letter, letter, send
from bench.sink import Sink
from tests.peers.process import free_port, until
from tests.peers.server import ADDRESS, Layout, ServerTestCase
from tests.peers.unbound import Unbound

_RELAY = """\
[[relay]]
name = "here"
networks = ["127.0.0.0/8"]
max_messages_per_hour = 0
"""


class Hole:
    """Accepts connections and never says a word."""

    def __init__(self, address: str, port: int) -> None:
        self._server = socket.create_server((address, port), backlog=200)
        self._held: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                self._held.append(self._server.accept()[0])
            except OSError:
                return

    def end(self) -> None:
        """Let go."""
        self._server.close()
        for each in self._held:
            each.close()


class HangingTests(ServerTestCase):
    """One bad domain never delays another."""

    programs = ("unbound",)

    def test_good_ones_leave(self) -> None:
        """5000 messages to a domain that hangs, 100 to a good one: these leave within 60 s."""
        bad, good = "127.0.1.2", "127.0.1.3"
        port = free_port(bad, good)
        records = "".join(
            f"{name} IN MX 1 mx.{name}\nmx.{name} IN A {address}\n"
            for name, address in (("bad", bad), ("good", good))
        )
        unbound = Unbound(self.folder / "unbound", {"there.test": records})
        self.addCleanup(unbound.end)
        hole, sink = Hole(bad, port), Sink(good, port)
        self.addCleanup(hole.end)
        self.addCleanup(sink.end)
        shaping = "[[queue.shaping]]\nconnections = 4\n"
        server = self.start(
            Layout(
                rest=_RELAY,
                tables={
                    "queue": f"outbound_port = {port}\n{shaping}",
                    "resolver": f'servers = [{{ address = "127.0.0.1", port = {unbound.port} }}]',
                },
            )
        )
        self.give(server.ports["smtp"], "bad.there.test", 5000)
        begun = time.monotonic()
        self.give(server.ports["smtp"], "good.there.test", 100)
        until(
            lambda: len(sink.receipts) == 100,
            within=max(1.0, begun + 60 - time.monotonic()),
            what="the good ones have left",
            log=server.log,
        )

    def give(self, port: int, domain: str, count: int) -> None:
        """Hand in so many messages for it."""
        text = f"From: {ADDRESS}\r\nSubject: hello\r\n\r\ntext\r\n".encode()
        letters: list[Letter] = [letter(ADDRESS, f"r{n}@{domain}", text) for n in range(count)]
        send(port, letters, sessions=8)
