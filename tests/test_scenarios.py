"""
One message all the way, through the real parts joined in memory: handed in by a
user, queued, carried by our client to our server, stored.
"""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from typing import Any

from twisted.internet.address import IPv4Address as TCPAddress
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.test.iosim import FakeTransport, IOPump, connect

from moxsmtp.interfaces import IContent, Role
from moxsmtp.names import IPAddress
from moxsmtp.outbound.attempt import Deliver
from moxsmtp.outbound.content import Forms
from moxsmtp.outbound.next_hop import FixedRoute
from moxsmtp.outbound.route import NO_ROUTING, Router
from moxsmtp.outbound.security import TLSPolicies
from moxsmtp.outbound.sessions import Sessions
from moxsmtp.outbound.visit import Visits
from moxsmtp.outbound.ways import Environment
from moxsmtp.queue.job import Attempt, Batch, Delivered, Failed, Job
from moxsmtp.queue.shaping import Shaper
from moxsmtp.receive.connections import Connections
from moxsmtp.receive.delivery import Delivery
from moxsmtp.receive.entrance import Entrance
from moxsmtp.receive.factory import ESMTPFactory
from moxsmtp.receive.settings import TimeLimits
from moxsmtp.receive.submission import Submission
from moxsmtp.testing import MemoryResolver
from moxsmtp.tls.ciphers import tls_info
from moxsmtp.tls.client import client_context
from tests.outbound.test_attempt import Memory
from tests.receive.houses import USER, HouseTestCase, session_log

CONTENT = (
    b"From: Alice <alice@ours.example>\r\nMessage-ID: <1@ours.example>\r\n"
    b"Date: Sun, 1 Mar 2026 12:00:00 +0000\r\nSubject: dots\r\n\r\n"
    b".\r\n..\r\nbefore\r\n.after\r\n" + b"x" * 998 + b"\r\n" + b"long text\r\n" * 20_000
)


class _Bytes:
    """Content in memory."""

    def __init__(self, data: bytes) -> None:
        self.size = len(data)
        self._data = data

    def read(self, offset: int, length: int) -> Deferred[bytes]:
        return succeed(self._data[offset : offset + length])


class WayTests(HouseTestCase):
    """A user's message to another user of the same server."""

    def setUp(self) -> None:
        super().setUp()
        self.clock = Clock()
        self.pumps: list[IOPump] = []
        self.factory = ESMTPFactory(
            Entrance(
                listener="test",
                role=Role.SMTP,
                hostname=self.house.hostname,
                maximum_size=1 << 20,
                clear_passwords=True,
                limits=TimeLimits(),
                tls=None,
                tls_info=tls_info,
                receiver=lambda log: Delivery(
                    self.house,
                    log,
                    hostname=self.house.hostname,
                    tls_required=False,
                    unknown_delay=timedelta(),
                    clock=self.clock,
                ),
                connections=Connections(10),
                session_ids=itertools.count(1),
                reply_id=self.house.reply_id,
                clock=self.clock,
                metrics=self.metrics,
            )
        )

    def dial(
        self, protocol: Protocol, address: IPAddress, port: int, seconds: float
    ) -> Deferred[None]:
        """Connect a client to a server of ours, by wires in memory."""
        server = self.factory.buildProtocol(None)
        here: IAddress = TCPAddress("TCP", "192.0.2.9", 40000)
        there: IAddress = TCPAddress("TCP", str(address), port)
        self.pumps.append(
            connect(
                server,
                FakeTransport(server, isServer=True, hostAddress=there, peerAddress=here),
                protocol,
                FakeTransport(protocol, isServer=False, hostAddress=here, peerAddress=there),
            )
        )
        return succeed(None)

    def carry(self, batch: Batch) -> Attempt:
        """Deliver a batch, to the end."""
        contents = dict(enumerate((content for _, content in self.queue.jobs), 1))

        def forms(batch: Batch) -> Forms:
            opened: IContent = _Bytes(contents[batch.leader.content])  # type: ignore[assignment]  # it has what it takes
            return Forms(opened)

        def unneeded(*_: object) -> Any:
            raise AssertionError("everything goes to one server, directly")

        route = FixedRoute(IPv4Address("192.0.2.1"), 25)
        deliver = Deliver(
            router=Router(lambda: NO_ROUTING),
            environment=Environment(
                route=route,
                policies=TLSPolicies(
                    resolver=MemoryResolver({}),
                    policies=None,
                    context=client_context(strict=False),
                    clock=self.clock,
                    now=lambda: datetime(2026, 3, 1, tzinfo=UTC),
                    metrics=self.metrics,
                ),
                hostname="mx.ours.example",
                connect=self.dial,
                through=unneeded,
                login=unneeded,
                metrics=self.metrics,
            ),
            visits=Visits(clock=self.clock, sessions=Sessions(self.clock), metrics=self.metrics),
            shaper=Shaper(),
            clock=self.clock,
            forms=forms,
            metrics=self.metrics,
            records=Memory(),
        )
        attempt = Deferred.fromCoroutine(deliver.attempt(batch))
        for _ in range(5000):
            if attempt.called:
                break
            for pump in self.pumps:
                pump.pump()
            self.clock.advance(0)
        return self.successResultOf(attempt)

    def queued(self) -> tuple[Job, ...]:
        """What is in the queue, as its storage would give it."""
        now = datetime(2026, 3, 1, tzinfo=UTC)
        return tuple(
            Job(
                id=number,
                base_id=0,
                account=job.account,
                reverse_path=job.reverse_path,
                forward_path=job.forward_path,
                queued=now,
                next_attempt=now,
                content=number,
                size=len(job.prefix) + len(content),
                prefix=job.prefix,
                attempts=1,
            )
            for number, (job, content) in enumerate(self.queue.jobs, 1)
        )

    def test_delivered(self) -> None:
        """
        Every octet that was handed in arrives, dots and long lines included,
        behind the fields of both ways through us (Q-8).
        """
        submission = Submission(self.house, session_log(USER), tls_required=True)
        self.send(submission, USER, CONTENT, "alice@ours.example", "mike@ours.example")
        attempt = self.carry(Batch(self.queued(), datetime(2026, 3, 1, tzinfo=UTC)))
        self.assertIsInstance(attempt.outcomes[1], Delivered)
        ((message, content),) = self.store.messages
        self.assertTrue(content.endswith(CONTENT))
        self.assertEqual(2, (message.prefix + content).count(b"Received: "))
        self.assertEqual("mike", message.account)

    def test_refused(self) -> None:
        """What the server refuses for good comes back as such, with its words (Q-32)."""
        submission = Submission(self.house, session_log(USER), tls_required=True)
        self.send(submission, USER, CONTENT, "alice@ours.example", "eve@away.example")
        attempt = self.carry(Batch(self.queued(), datetime(2026, 3, 1, tzinfo=UTC)))
        failed = attempt.outcomes[1]
        assert isinstance(failed, Failed)
        self.assertEqual((True, 550, "1.1"), (failed.permanent, failed.code, failed.status))
        self.assertIn("not relayed", failed.reply)
        self.assertEqual([], self.store.messages)
