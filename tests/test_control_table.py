"""Tests for L{moxsmtp.control_table}: commands over the parts of a server, as they are joined."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from moxsmtp.admin.control import Command, CommandFailed
from moxsmtp.config import Settings
from moxsmtp.control_table import control_table
from moxsmtp.dispatch import Dispatch
from moxsmtp.dns.records import MX, TLSA, Answer, Question, Record, RRType
from moxsmtp.interfaces import IOwnResolver, IResolver
from moxsmtp.names import Domain
from moxsmtp.outbound.next_hop import NextHops
from moxsmtp.outbound.route import Routing
from moxsmtp.outbound.transport import Direct
from moxsmtp.smtp.reply_id import ReplyIds
from moxsmtp.testing import MemoryResolver
from tests.running import Alone
from tests.test_parts import PartsCase, hook

_ZONE: Mapping[tuple[str, RRType], tuple[Record, ...]] = {
    ("there.example", RRType.CNAME): (),
    ("there.example", RRType.MX): (MX(10, "mx.there.example"),),
    ("mx.there.example", RRType.CNAME): (),
    ("mx.there.example", RRType.A): ("192.0.2.1",),
    ("mx.there.example", RRType.AAAA): (),
    ("_25._tcp.mx.there.example", RRType.TLSA): (TLSA(3, 1, 1, b"of no use"),),
}


@implementer(IOwnResolver)
class _Signed(MemoryResolver):
    """It knows there.example, whose zone is signed."""

    def __init__(self) -> None:
        super().__init__(
            {Question(*key): Answer(records, authentic=True) for key, records in _ZONE.items()}
        )

    def close(self) -> Deferred[None]:
        """See L{IOwnResolver}."""
        return succeed(None)


class _Outside(Alone):
    """Mail leaves as the DNS says."""

    def resolver(
        self, settings: Settings, reactor: Any, is_public_suffix: Callable[[Domain], bool]
    ) -> IOwnResolver:
        """One for there.example."""
        return _Signed()

    def route(self, settings: Settings, resolver: IResolver, reactor: Any) -> Any:
        """By MX."""
        return NextHops(resolver=resolver, clock=reactor, randbelow=lambda _: 0)


class ControlTableTests(PartsCase):
    """What an operator asks of a server that runs."""

    surroundings = _Outside

    def setUp(self) -> None:
        """A table."""
        super().setUp()
        self.parts = self.made(self.settings())
        self.dispatch = Dispatch(self.parts)
        self.table: Mapping[str, Command] = control_table(
            self.parts, self.dispatch, ReplyIds(bytes(16), bytes(8))
        )

    def run_command(self, name: str, **arguments: object) -> Sequence[Mapping[str, object]]:
        """What it tells."""
        sent: list[Mapping[str, object]] = []

        async def send(entry: Mapping[str, object]) -> None:
            sent.append(entry)

        self.result(self.table[name](arguments, send))
        return sent

    async def ignore(self, entry: Mapping[str, object]) -> None:
        """It goes nowhere."""

    def test_route_counts_nothing(self) -> None:
        """Whoever asks for the route makes no delivery: DANE's metrics stay as they are (Q-91)."""
        before = self.parts.metrics.exposition()
        self.assertIn(b"mox_queue_destination_dane_starttlsunverified_total 0.0", before)
        (entry,) = self.run_command("route", to="bob@there.example")
        self.assertIn("TLSA", str(entry["steps"]) + str(entry["hosts"]))
        counted = [
            line
            for line in self.parts.metrics.exposition().splitlines()
            if line.startswith((b"mox_queue_", b"moxsmtp_queue_")) and line not in before
        ]
        self.assertEqual(counted, [])

    def test_transports_in_force(self) -> None:
        """A transport can be forced once a reload has brought it, and no other (Q-23)."""
        self.add(self.parts, "bob@there.example")
        arguments = {"numbers": [1], "to_transport": "extra"}

        async def refused() -> str:
            try:
                await self.table["queue.transport"](arguments, self.ignore)
            except CommandFailed as error:
                return str(error)
            return ""

        self.assertIn("no transport is called extra; none is", self.result(refused()))
        self.parts.routing = Routing(transports={"extra": Direct("extra")})
        self.assertEqual(self.run_command("queue.transport", **arguments), [{"id": 1}])

    def test_hooks(self) -> None:
        """Webhook calls are found, and scheduling one wakes whoever makes it (Q-23)."""
        woken: list[bool] = []
        self.patch(self.dispatch.hooks, "wake", lambda: woken.append(True))
        self.table = control_table(self.parts, self.dispatch, ReplyIds(bytes(16), bytes(8)))
        self.deliver(self.parts, "alice", hook("alice", "http://192.0.2.7/"))
        (entry,) = self.run_command("hook.list", event="failed")
        self.assertEqual(entry["url"], "http://192.0.2.7/")
        woken.clear()
        self.assertEqual(self.run_command("hook.schedule", all=True, at="now"), [{"id": 1}])
        self.assertEqual(woken, [True])
        self.assertEqual(self.run_command("hook.cancel", numbers=[1]), [{"id": 1}])
        self.assertEqual(self.run_command("hook.list"), [])
