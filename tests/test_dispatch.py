"""Tests for L{moxsmtp.dispatch}: mail, calls and hand-overs as they are joined."""

from __future__ import annotations

from collections.abc import Callable, Set
from datetime import UTC, datetime, timedelta
from typing import Any

from OpenSSL import SSL
from twisted.internet.testing import StringTransport

from moxsmtp import dispatch as dispatch_module
from moxsmtp import way_out
from moxsmtp.config import Settings
from moxsmtp.dispatch import Dispatch
from moxsmtp.interfaces import Account, HookTarget, Maildir
from moxsmtp.localserve import ensure_certificate
from moxsmtp.names import Host
from moxsmtp.outbound.attempt import Deliver
from moxsmtp.outbound.sessions import Sessions
from moxsmtp.outbound.settings import OutboundSettings
from moxsmtp.outbound.visit import Visits
from moxsmtp.parts import Parts
from moxsmtp.queue.change import Change
from moxsmtp.queue.filter import JobFilter
from moxsmtp.queue.mail import MailWork
from moxsmtp.queue.runner import Runner
from moxsmtp.queue.settings import QueueSettings
from moxsmtp.receive.settings import TLSSettings
from moxsmtp.steady_timers import SteadyTimers
from moxsmtp.tls.client import StrictTLS, client_context
from moxsmtp.webhooks.settings import WebhookSettings
from tests.running import Alone
from tests.test_parts import PartsCase, hook


class DispatchCase(PartsCase):
    """Over parts of their own."""

    def dispatch(self, settings: Settings) -> tuple[Parts, Dispatch]:
        """Stopped; the parts tell it."""
        parts = self.made(settings)
        return parts, Dispatch(parts)

    def start(self, service: Any) -> None:
        """Until the end of the test."""
        service.startService()

        def stop() -> None:
            stopped = service.stopService()
            self.reactor.advance(30)
            self.result(stopped)

        self.addCleanup(stop)

    def rested(self, runner: Runner[Any, Any]) -> None:
        """Start it and wait until it has nothing to do but to look again in 5 s."""
        self.start(runner)
        self.reactor.until(lambda: self.reactor.sleeps(5))
        self.reactor.advance(0.1)

    def dialed(self, count: int) -> Callable[[], bool]:
        """Whether so many connections were asked for."""
        return lambda: len(self.reactor.tcpClients) >= count


class QueueTests(DispatchCase):
    """Mail out."""

    def test_woken(self) -> None:
        """What is queued is tried at once, long before the queue is looked at again (Q-3)."""
        parts, dispatch = self.dispatch(self.settings())
        self.rested(dispatch.mail)
        self.add(parts, "a@far.example")
        self.reactor.advance(0.1)
        self.reactor.until(self.dialed(1))
        self.assertEqual([("127.0.0.1", 2525)], [each[:2] for each in self.reactor.tcpClients])

    def test_limit(self) -> None:
        """No more than C{max_deliveries} are under way at once (Q-9)."""
        parts, dispatch = self.dispatch(self.settings(queue=QueueSettings(max_deliveries=2)))
        self.add(parts, *(f"a@d{number}.example" for number in range(4)))
        self.start(dispatch.mail)
        self.reactor.until(self.dialed(2))
        self.settled(parts)
        self.assertEqual(2, len(self.reactor.tcpClients))

    def test_waiting(self) -> None:
        """Those that hear nothing for two seconds let others begin (Q-9)."""
        parts, dispatch = self.dispatch(self.settings(queue=QueueSettings(max_deliveries=2)))
        self.add(parts, *(f"a@d{number}.example" for number in range(4)))
        self.start(dispatch.mail)
        self.reactor.until(self.dialed(2))
        self.reactor.advance(2)
        self.settled(parts)
        self.reactor.until(self.dialed(4))

    def test_clocks(self) -> None:
        """
        A clock that nobody sets tells how long servers take (Q-68), the other one when a
        destination may be tried again (Q-93).
        """
        given: dict[str, Any] = {}

        def noting(name: str, made: Callable[..., Any]) -> Callable[..., Any]:
            def make(*ports: Any, **more: Any) -> Any:
                given[name] = (*ports, more.get("clock"), more.get("steady"))
                return made(*ports, **more)

            return make

        for made in (Deliver, Sessions, Visits):
            self.patch(way_out, made.__name__, noting(made.__name__, made))
        SteadyTimers(self.reactor, steady=lambda: 7.0, is_at_home=lambda: True)
        self.dispatch(self.settings())
        before = self.reactor.seconds()
        self.reactor.rightNow += 86_400
        told = {name: [each and each.seconds() for each in given[name]] for name in given}
        self.assertEqual(
            told,
            {
                "Deliver": [before + 86_400, before],
                "Sessions": [before, None, None],
                "Visits": [before, None],
            },
        )

    def test_unlimited(self) -> None:
        """By default far more than ten are (Q-9)."""
        parts, dispatch = self.dispatch(self.settings())
        self.add(parts, *(f"a@d{number}.example" for number in range(12)))
        self.start(dispatch.mail)
        self.reactor.until(self.dialed(12))

    def test_withdrawn(self) -> None:
        """What an administrator changes, ends or holds by a rule is not begun as it was (Q-23)."""
        heard: list[Set[int]] = []
        self.patch(MailWork, "withdraw", lambda _, numbers: heard.append(numbers))
        parts, _ = self.dispatch(self.settings())
        numbers = self.add(parts, *(f"a@d{number}.example" for number in range(3)))
        operations, everything = parts.queue_operations, JobFilter()
        self.result(operations.change(numbers[:1], everything, Change(transport="x")))
        self.result(operations.drop(numbers[:1], everything))
        self.result(operations.fail(numbers[1:2], everything))
        self.result(parts.hold_rules.add())
        first, second, *rest = ({number} for number in numbers)
        self.assertEqual([first, first, second, *rest], heard)

    def test_after_crash(self) -> None:
        """Whoever alone uses a store takes over at once what a dead process began (Q-10)."""
        settings = self.settings()
        dead = self.made(settings)
        self.add(dead, "a@far.example")
        now = dead.now()
        leases = dead.job_store.claim(1, now, now + timedelta(seconds=30), troubled=True)
        ((lease,)) = self.result(leases)
        later = now + timedelta(hours=1)
        self.assertIsNotNone(self.result(dead.job_store.take(lease, now, lambda _: later)))
        living = Dispatch(Parts(settings, Alone(), dead.engine, self.reactor))
        self.start(living.mail)
        self.reactor.until(self.dialed(1))

    def test_starttls(self) -> None:
        """Mail leaves under TLS where a server offers it."""
        parts, dispatch = self.dispatch(self.settings())
        self.add(parts, "a@far.example")
        self.start(dispatch.mail)
        self.reactor.until(self.dialed(1))
        protocol: Any = self.reactor.tcpClients[0][2].buildProtocol(None)
        transport = StringTransport()
        protocol.makeConnection(transport)
        protocol.dataReceived(b"220 far.example ESMTP\r\n")
        self.reactor.until(lambda: transport.value() == b"EHLO mx.ours.example\r\n")
        transport.clear()
        protocol.dataReceived(b"250-far.example\r\n250 STARTTLS\r\n")
        self.reactor.until(transport.value)
        self.assertEqual(b"STARTTLS\r\n", transport.value())


class HookTests(DispatchCase):
    """Webhooks."""

    def setUp(self) -> None:
        """Accounts with webhooks."""
        super().setUp()
        target = HookTarget("http://127.0.0.1:8080/")
        self.accounts = tuple(
            Account(name, addresses=(f"{name}@ours.example",), incoming_webhook=target)
            for name in ("alice", "bob", "carol")
        )

    def test_woken(self) -> None:
        """A call is made at once, long before the queue is looked at again (Q-75)."""
        parts, dispatch = self.dispatch(self.settings(accounts=self.accounts))
        self.rested(dispatch.hooks)
        self.deliver(parts, "bob", hook("bob", "http://127.0.0.1:8080/"))
        self.reactor.advance(0.1)
        self.reactor.until(self.dialed(1))

    def test_limit(self) -> None:
        """No more than C{max_calls} are under way at once (Q-75)."""
        webhooks = WebhookSettings(max_calls=2)
        parts, dispatch = self.dispatch(self.settings(accounts=self.accounts, webhooks=webhooks))
        for number in range(4):
            self.deliver(parts, "bob", hook("bob", f"http://127.0.0.1:{8080 + number}/"))
        self.start(dispatch.hooks)
        self.reactor.until(self.dialed(2))
        self.settled(parts)
        self.assertEqual(2, len(self.reactor.tcpClients))

    def test_strict(self) -> None:
        """
        HTTPS is spoken under the strict rules, not under those for mail (Q-73), and
        trusts whom the operator names, if he names any.
        """
        made: list[tuple[SSL.Context, bool]] = []
        used: list[bool] = []
        trusted: list[str | None] = []

        def context(*, strict: bool, certificates: str | None = None) -> SSL.Context:
            made.append((client_context(strict=strict), strict))
            if strict:
                trusted.append(certificates)
            return made[-1][0]

        def tls(given: SSL.Context, host: Host) -> StrictTLS:
            used.extend(strict for each, strict in made if each is given)
            return StrictTLS(given, host)

        self.patch(dispatch_module, "client_context", context)
        self.patch(dispatch_module, "StrictTLS", tls)
        name = self.mktemp()
        ensure_certificate(TLSSettings(name, f"{name}.key"), datetime(2026, 3, 1, tzinfo=UTC))
        outbound = OutboundSettings(certificates=name)
        parts, dispatch = self.dispatch(self.settings(accounts=self.accounts, outbound=outbound))
        self.deliver(parts, "bob", hook("bob", "https://127.0.0.1:8443/"))
        self.start(dispatch.hooks)
        self.reactor.until(self.dialed(1))
        self.assertEqual([True], used)
        self.assertEqual([name], trusted)


class MaildirTests(DispatchCase):
    """Hand-overs."""

    def test_woken(self) -> None:
        """Mail goes into a Maildir as soon as it is stored."""
        folder = self.folder / "mail"
        alice = Account("alice", addresses=("alice@ours.example",), maildir=Maildir(str(folder)))
        parts, dispatch = self.dispatch(self.settings(accounts=(alice,)))
        self.start(dispatch.hand_over)
        self.settled(parts)
        self.deliver(parts, "alice")
        self.reactor.until(lambda: list(folder.glob("new/*")))
