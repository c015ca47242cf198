"""Domains that hang, and some that do not."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Sequence

from bench.client import Letter, Sessions, letter
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
        self._server = socket.create_server((address, port), backlog=1000)
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
        self.hold(["bad"], ["good"], shaping="[[queue.shaping]]\nconnections = 4\n")
        self.give(["bad"], 5000)
        self.leave("good", 100)

    def test_many_silent_ones(self) -> None:
        """
        A thousand domains that hang, each with a message, and then one that does not,
        first with mail that is due when all of those are, then with mail that comes
        while they hang: it leaves within 60 s.
        """
        silent = [f"bad{number}" for number in range(1000)]
        self.hold(silent, ["good", "other"])
        self.give(silent, 1)
        self.leave("good", 1)
        self.leave("other", 1)
        self.leave("good", 1)

    def hold(self, silent: Sequence[str], awake: Sequence[str], *, shaping: str = "") -> None:
        """A server, and these domains around it."""
        bad, good = "127.0.1.2", "127.0.1.3"
        port = free_port(bad, good)
        records = "".join(
            f"{name} IN MX 1 mx.{name}\nmx.{name} IN A {address}\n"
            for names, address in ((silent, bad), (awake, good))
            for name in names
        )
        unbound = Unbound(self.folder / "unbound", {"there.test": records})
        self.addCleanup(unbound.end)
        hole, self.sink = Hole(bad, port), Sink(good, port)
        self.addCleanup(hole.end)
        self.addCleanup(self.sink.end)
        self.server = self.start(
            Layout(
                rest=_RELAY,
                tables={
                    "queue": f"outbound_port = {port}\n{shaping}",
                    "resolver": f'servers = [{{ address = "127.0.0.1", port = {unbound.port} }}]',
                },
            )
        )

    def leave(self, domain: str, count: int) -> None:
        """Hand in so many messages for it, which leave within a minute."""
        begun = time.monotonic()
        wanted = len(self.sink.receipts) + count
        self.give([domain], count)
        until(
            lambda: len(self.sink.receipts) == wanted,
            within=max(1.0, begun + 60 - time.monotonic()),
            what=f"those to {domain} have left",
            log=self.server.log,
        )

    def give(self, domains: Sequence[str], count: int) -> None:
        """Hand in so many messages for each."""
        text = f"From: {ADDRESS}\r\nSubject: hello\r\n\r\ntext\r\n".encode()
        letters: list[Letter] = [
            letter(ADDRESS, f"r{n}@{domain}.there.test", text)
            for domain in domains
            for n in range(count)
        ]
        _ = Sessions(self.server.ports["smtp"], sessions=8).send(letters)
