"""Tests for L{moxsmtp.admin.health}."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping

from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionLost
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from moxsmtp.admin.health import Check, monitoring_site


def content() -> Awaitable[str | None]:
    return succeed(None)


async def exposition() -> bytes:
    """Of one counter."""
    return b"mox_panic_total 0\n"


class MonitoringTests(SynchronousTestCase):
    """What monitors are answered."""

    def setUp(self) -> None:
        self.clock = Clock()

    def ask(self, path: str, checks: Mapping[str, Check] | None = None) -> StringTransport:
        """Send one request; the transport holds what was answered so far."""
        site = monitoring_site(exposition=exposition, checks=checks or {}, clock=self.clock)
        protocol = site.buildProtocol(None)
        transport = StringTransport()
        protocol.makeConnection(transport)
        protocol.dataReceived(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        self.protocol = protocol
        return transport

    def answer(self, transport: StringTransport) -> tuple[int, bytes]:
        """Status and body."""
        head, _, body = transport.value().partition(b"\r\n\r\n")
        return int(head.split(b" ")[1]), body

    def test_metrics(self) -> None:
        """/metrics is the exposition, in Prometheus's content type."""
        transport = self.ask("/metrics")
        self.assertEqual((200, b"mox_panic_total 0\n"), self.answer(transport))
        self.assertIn(b"text/plain; version=0.0.4", transport.value())

    def test_alive(self) -> None:
        """/healthz says so as long as anybody can."""
        self.assertEqual((200, b"alive\n"), self.answer(self.ask("/healthz")))

    def test_unknown(self) -> None:
        """There is nothing else."""
        self.assertEqual(404, self.answer(self.ask("/admin"))[0])

    def test_ready(self) -> None:
        """/readyz is 200 once every check is content."""
        status, body = self.answer(self.ask("/readyz", {"database": content}))
        self.assertEqual((200, True), (status, b"ready\n" in body))

    def test_not_ready(self) -> None:
        """/readyz names each check that is not content, and why."""
        checks: dict[str, Check] = {
            "database": lambda: succeed("locked"),
            "resolver": lambda: succeed("no answer"),
            "other": content,
        }
        status, body = self.answer(self.ask("/readyz", checks))
        self.assertEqual(503, status)
        self.assertIn(b"database: locked\nresolver: no answer\n", body)
        self.assertNotIn(b"other", body)

    def test_patience(self) -> None:
        """A check that never answers counts as failed after a while."""
        transport = self.ask("/readyz", {"database": Deferred})
        self.assertEqual(b"", transport.value())
        self.clock.advance(5)
        status, body = self.answer(transport)
        self.assertEqual((503, True), (status, b"database: no answer\n" in body))

    def test_gone(self) -> None:
        """A client that goes away ends the checks, and nothing is logged."""
        cancelled: list[bool] = []
        waiting: Deferred[str | None] = Deferred(lambda _: cancelled.append(True))
        self.ask("/readyz", {"database": lambda: waiting})

        self.protocol.connectionLost(Failure(ConnectionLost()))
        self.assertEqual([True], cancelled)
        self.assertEqual([], self.flushLoggedErrors())

    def test_broken_check(self) -> None:
        """A check with a bug is logged, and counts as failed."""

        def broken() -> Awaitable[str | None]:
            raise RuntimeError("bug")

        status, body = self.answer(self.ask("/readyz", {"database": broken}))
        self.assertEqual((503, True), (status, b"database: the check failed" in body))
        self.assertEqual(1, len(self.flushLoggedErrors(RuntimeError)))
