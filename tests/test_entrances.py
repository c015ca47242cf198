"""Tests for L{moxsmtp.entrances}; they bind, but nothing travels."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from ipaddress import IPv4Address, ip_network
from pathlib import Path
from typing import Any

from OpenSSL import SSL
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol

from moxsmtp.config import LogLevel, LogSettings, Settings
from moxsmtp.entrances import Entrances, Hall
from moxsmtp.interfaces import IReceiver, Role
from moxsmtp.judge.limiters import Limiters
from moxsmtp.names import Domain
from moxsmtp.receive.connections import Connections
from moxsmtp.receive.entrance import Entrance
from moxsmtp.receive.session_log import SessionLog
from moxsmtp.receive.settings import (
    DelaySettings,
    ListenerSettings,
    ProxySettings,
    ServiceSettings,
    SubmissionSettings,
    TLSSettings,
    TLSVersion,
    UnknownName,
)
from moxsmtp.receive.tracing import Tracing
from moxsmtp.steady_timers import SteadyTimers
from moxsmtp.testing import MemoryMetrics
from moxsmtp.tls.ciphers import tls_info
from moxsmtp.tls.server import CertificateError
from tests.receive.wires import Told
from tests.running import LOOPBACK, RunningCase, Visitor
from tests.tls.hands import (
    client_context,
    made_pair,
    meet,
    resumable,
    served_name,
    shake_hands,
)


class EntrancesCase(RunningCase):
    """
    @ivar made: Receivers asked for: by role, and whether TLS is needed.
    @ivar names: The host names they were asked for with.
    """

    def setUp(self) -> None:
        """A hall."""
        super().setUp()
        self.made: list[tuple[Role, bool]] = []
        self.names: list[str] = []
        self.unchecked: list[Role] = []
        self.told = Told()

        def receivers(
            role: Role, hostname: Domain, requires_tls: bool, checked: bool
        ) -> Callable[[SessionLog], IReceiver]:
            self.made.append((role, requires_tls))
            self.unchecked += [role] if not checked else []
            self.names.append(hostname.ascii)
            return lambda _: self.told

        self.metrics = MemoryMetrics()
        self.hall = Hall(
            receivers,
            itertools.count(77),
            str,
            lambda n: b"r" * n,
            self.reactor,
            self.metrics,
            Limiters(),
        )
        pair = made_pair(str(self.folder / "tls"), "mx.ours.example", "mx.ours.example")
        self.files = TLSSettings(pair.certificate, pair.key)

    def listener(self, **others: Any) -> ListenerSettings:
        """All three services, with a certificate."""
        chosen: dict[str, Any] = {
            "name": "all",
            "addresses": (LOOPBACK,),
            "tls": self.files,
            "smtp": ServiceSettings(enabled=True, port=0),
            "submission": SubmissionSettings(enabled=True, port=0),
            "submissions": SubmissionSettings(enabled=True, port=0),
        }
        return ListenerSettings(**{**chosen, **others})

    def served(self, settings: Settings) -> Entrances:
        """Open."""
        entrances = Entrances(settings)
        self.addCleanup(entrances.unbind)
        entrances.serve(settings, self.hall)
        return entrances

    def opened(self, *listeners: ListenerSettings) -> Entrances:
        """Open, with these listeners."""
        return self.served(self.settings(listeners=listeners))

    def factory(self, number: int) -> Any:
        """What serves a socket, beneath TLS if there is any."""
        factory = self.reactor.ports[number].factory.wrapped
        return factory.wrappedFactory if isinstance(factory, TLSMemoryBIOFactory) else factory

    def entrance(self, number: int) -> Entrance:
        """As it is in force on a socket."""
        entrance: Entrance = self.factory(number).entrance
        return entrance

    def creator(self, number: int) -> Any:
        """What shakes hands on a socket."""
        return self.entrance(number).tls

    def visit(self, number: int = 0) -> tuple[str, list[str]]:
        """Greeting, and what EHLO is told."""
        visitor = Visitor(self.reactor, self.factory(number))
        greeting = visitor.reply()[0]
        return greeting, [line[4:] for line in visitor.say("EHLO client.example")]


class ServiceTests(EntrancesCase):
    """What a listener's settings come to."""

    def test_services(self) -> None:
        """Each service that is enabled has a socket on each address, others have none (S-1)."""
        entrances = self.opened(self.listener(submission=SubmissionSettings(port=0)))
        roles = [text.split()[0] for text in entrances.listening()]
        self.assertEqual(["smtp", "submissions"], roles)
        self.assertEqual(2, len(self.reactor.ports))

    def test_hostname(self) -> None:
        """Greeting and EHLO name the listener's host, or the server's if it has none (S-2)."""
        self.opened(
            self.listener(hostname="in.ours.example"),
            self.listener(name="other"),
        )
        for number, host in ((0, "in.ours.example"), (3, "mx.ours.example")):
            greeting, said = self.visit(number)
            self.assertEqual(host, greeting.split()[1])
            self.assertEqual(host, said[0].split()[0])
        self.assertEqual(["in.ours.example"] * 3 + ["mx.ours.example"] * 3, self.names)

    def test_pedantic(self) -> None:
        """A pedantic server reads commands by the letter, others do not (S-57, S-111)."""
        for number, pedantic in enumerate((False, True)):
            self.served(self.settings(listeners=(self.listener(),), pedantic=pedantic))
            self.assertEqual(pedantic, self.entrance(3 * number).station.pedantic)

    def test_clocks(self) -> None:
        """A clock that nobody sets tells how long things take, the other one what time it is."""
        SteadyTimers(self.reactor, steady=lambda: 7.0, is_at_home=lambda: True)
        self.opened(self.listener())
        entrance, before = self.entrance(0), self.reactor.seconds()
        self.reactor.rightNow += 86_400
        self.assertEqual((before, before + 86_400), (entrance.clock.seconds(), entrance.wall()))

    def test_size(self) -> None:
        """SIZE is the listener's, or 104857600 if it sets none (S-3)."""
        self.opened(self.listener(max_message_size=12345), self.listener(name="other"))
        self.assertIn("SIZE 12345", self.visit(0)[1])
        self.assertIn("SIZE 104857600", self.visit(3)[1])

    def test_clear_passwords(self) -> None:
        """Port 587 takes passwords in clear text if it is told to, and not otherwise (S-4)."""
        lenient = SubmissionSettings(enabled=True, port=0, no_require_starttls=True)
        self.opened(self.listener(), self.listener(name="lenient", submission=lenient))
        self.assertFalse([line for line in self.visit(1)[1] if line.startswith("AUTH")])
        self.assertTrue([line for line in self.visit(4)[1] if line.startswith("AUTH")])
        clear = [self.entrance(number).clear_passwords for number in range(6)]
        self.assertEqual([True, False, False, True, True, False], clear)

    def test_no_checks(self) -> None:
        """Mail is checked unless a listener says that somebody else does it."""
        self.opened(self.listener())
        self.assertEqual([], self.unchecked)
        filtered = ServiceSettings(enabled=True, port=0, no_checks=True)
        self.opened(self.listener(smtp=filtered))
        self.assertIn(Role.SMTP, self.unchecked)

    def test_requires_tls(self) -> None:
        """RCPT needs TLS where users are, and on port 25 if it is told so (S-4)."""
        strict = ServiceSettings(enabled=True, port=0, require_starttls=True)
        lenient = SubmissionSettings(enabled=True, port=0, no_require_starttls=True)
        self.opened(self.listener(), self.listener(name="other", smtp=strict, submission=lenient))
        self.assertEqual(
            [
                (Role.SMTP, False), (Role.SUBMISSION, True), (Role.SUBMISSIONS, True),
                (Role.SMTP, True), (Role.SUBMISSION, False), (Role.SUBMISSIONS, True),
            ],
            self.made,
        )  # fmt: skip

    def test_starttls(self) -> None:
        """STARTTLS is offered where there is a certificate, save on a port 25 without (S-8)."""
        without = ServiceSettings(enabled=True, port=0, no_starttls=True)
        self.opened(self.listener(), self.listener(name="other", smtp=without))
        self.opened(self.listener(tls=None))
        offered = ["STARTTLS" in self.visit(number)[1] for number in (0, 1, 3, 4, 6, 7)]
        self.assertEqual([True, True, False, True, False, False], offered)

    def test_tls_first(self) -> None:
        """Only port 465 begins with TLS: nobody is greeted there in clear text (S-1)."""
        self.opened(self.listener())
        wrapped = [
            isinstance(port.factory.wrapped, TLSMemoryBIOFactory) for port in self.reactor.ports
        ]
        self.assertEqual([False, False, True], wrapped)
        self.assertIs(Role.SUBMISSIONS, self.entrance(2).role)

    def test_no_clear_text(self) -> None:
        """
        Where a reload has taken the certificate away, a process that begins after it
        speaks with nobody on port 465, and counts nobody there (S-1).
        """
        missed: list[int] = []
        connections = Connections(10)
        self.patch(Connections, "missed", lambda _: missed.append(1))
        hall = replace(self.hall, connections=lambda *_: connections)
        Entrances(settings := self.settings(listeners=(self.listener(tls=None),))).serve(
            settings, hall
        )
        closed = self.reactor.ports[2].factory
        self.assertIsNone(closed.buildProtocol(None))
        self.assertEqual([1], missed)

    def test_tickets(self) -> None:
        """TLS sessions can be resumed where users are, and not on port 25 (S-4)."""
        self.opened(self.listener())
        self.assertEqual([False, True, True], [self.is_resumed(number) for number in range(3)])

    def is_resumed(self, first: int, then: int | None = None) -> bool:
        """Whether a socket goes on with a session that began there or on another one."""
        context = client_context()
        _, client = meet(self.creator(first), context)
        creator = self.creator(first if then is None else then)
        return tls_info(meet(creator, context, session=resumable(client))[0]).resumed

    def test_tickets_of_others(self) -> None:
        """Port 25 lets sessions be resumed if it is told to (S-4)."""
        lenient = ServiceSettings(enabled=True, port=0, session_tickets=True)
        self.opened(self.listener(smtp=lenient))
        self.assertTrue(self.is_resumed(0))

    def test_own_tickets(self) -> None:
        """No socket resumes the session of another, even of the same service (S-7)."""
        self.opened(self.listener(addresses=(LOOPBACK, IPv4Address("127.0.0.2"))))
        users = (2, 3, 4, 5)
        resumed = {(one, two) for one in users for two in users if self.is_resumed(one, two)}
        self.assertEqual({(one, one) for one in users}, resumed)

    def test_new_tickets(self) -> None:
        """Keys are made anew, and with that certificates read; bad ones change nothing (S-7)."""
        entrances = self.opened(self.listener())
        context = client_context()
        _, client = meet(self.creator(2), context)
        session = resumable(client)
        self.successResultOf(Deferred.fromCoroutine(entrances.renew_tickets()))
        ours, client = meet(self.creator(2), context, session=session)
        self.assertFalse(tls_info(ours).resumed)
        session = resumable(client)
        Path(self.files.certificate).write_text("half of it")
        self.successResultOf(Deferred.fromCoroutine(entrances.renew_tickets()))
        self.assertTrue(tls_info(meet(self.creator(2), context, session=session)[0]).resumed)

    def test_client_certificates(self) -> None:
        """Users may show a certificate unless the listener asks for none; servers never (S-36)."""
        mine = made_pair(str(self.folder / "tls"), "me")
        self.opened(
            self.listener(),
            self.listener(name="other", tls=replace(self.files, client_certificates=False)),
        )
        keys = [
            tls_info(meet(self.creator(number), client_context(pair=mine))[0]).client_key
            for number in range(6)
        ]
        self.assertEqual([False, True, True, False, False, False], [key != "" for key in keys])

    def test_strict_names(self) -> None:
        """Users of a strict listener ask for a host of ours or none, servers for any (S-5)."""
        strict = replace(self.files, sni=UnknownName.STRICT)
        self.opened(self.listener(tls=strict, hostname="in.ours.example"), self.listener(name="b"))

        def is_welcome(number: int, sni: bytes | None) -> bool:
            try:
                meet(self.creator(number), client_context(), sni=sni)
            except SSL.Error:
                return False
            return True

        for name in (None, b"mx.ours.example", b"in.ours.example"):
            self.assertTrue(all(is_welcome(number, name) for number in range(6)), name)
        unknown = [is_welcome(number, b"other.example") for number in range(6)]
        self.assertEqual([True, False, False, True, True, True], unknown)

    def test_versions(self) -> None:
        """The oldest version spoken is the listener's (S-6)."""
        newest = replace(self.files, minimum_version=TLSVersion.V1_3)
        self.opened(self.listener(), self.listener(name="new", tls=newest))
        context = client_context(SSL.TLS1_2_VERSION)
        meet(self.creator(0), context)
        for number in (3, 4, 5):
            self.assertRaises(SSL.Error, meet, self.creator(number), context)

    def test_connections(self) -> None:
        """A listener's sockets share one count of connections, its own (S-16)."""
        self.opened(self.listener(max_connections=1), self.listener(name="other"))
        self.assertEqual("220", Visitor(self.reactor, self.factory(0)).reply()[0][:3])
        self.assertEqual("421", Visitor(self.reactor, self.factory(1)).reply()[0][:3])
        self.assertEqual("220", Visitor(self.reactor, self.factory(3)).reply()[0][:3])

    def test_proxies(self) -> None:
        """
        From a listener's proxies a header comes before anything else, TLS too;
        a reload changes who is one.
        """
        proxy = ProxySettings(networks=(ip_network("127.0.0.0/8"),))
        entrances = self.opened(self.listener(proxy=proxy))
        header = b"PROXY TCP4 192.0.2.7 198.51.100.1 1 25\r\n"
        for number in (0, 2):
            visitor = Visitor(self.reactor, self.reactor.ports[number].factory)
            self.assertEqual(b"", visitor.transport.value())
            transport: Any = visitor.transport
            transport.setTcpNoDelay = lambda _on: None
            visitor.protocol.dataReceived(header)
            protocol = transport.protocol
            self.assertIs(protocol.transport, transport)
            is_tls = isinstance(protocol, TLSMemoryBIOProtocol)
            self.assertEqual(is_tls, number == 2)
            self.assertEqual(is_tls, not visitor.transport.value().startswith(b"220 "))
        entrances.reload(self.settings(listeners=(self.listener(),)), self.hall)
        visitor = Visitor(self.reactor, self.reactor.ports[0].factory)
        self.assertEqual("220", visitor.reply()[0][:3])

    def test_delays(self) -> None:
        """Delays, tracing and what else concerns sessions come from the settings (S-17, S-23)."""
        delays = DelaySettings(slow_client=timedelta(seconds=3), authentication=timedelta())
        smtp = ServiceSettings(
            enabled=True, port=0, greeting_delay=timedelta(seconds=2), no_require_tls=True
        )
        listeners = (self.listener(smtp=smtp),)
        log = LogSettings(level=LogLevel.TRACE_AUTH)
        entrances = self.served(self.settings(listeners=listeners, delays=delays, log=log))
        found = [
            (
                entrance.slow_delay.total_seconds(),
                entrance.authentication_delay.total_seconds(),
                entrance.greeting_delay.total_seconds(),
                entrance.offers_require_tls,
                entrance.tracing,
                entrance.debugging,
            )
            for entrance in map(self.entrance, range(3))
        ]
        users = (3.0, 0.0, 0.0, True, Tracing.CREDENTIALS, True)
        self.assertEqual([(3.0, 0.0, 2.0, False, Tracing.CREDENTIALS, True), users, users], found)
        entrances.reload(self.settings(listeners=listeners), self.hall)
        self.assertIs(Tracing.NONE, self.entrance(1).tracing)
        self.assertFalse(self.entrance(1).debugging)

    def test_limiters(self) -> None:
        """All sockets share what limits a network (S-12)."""
        self.opened(self.listener(), self.listener(name="other"))
        for number in range(6):
            self.assertIs(self.hall.limiters, self.entrance(number).limiters)

    def test_session_ids(self) -> None:
        """Sessions are numbered over all sockets (S-9)."""
        self.opened(self.listener())
        greetings = [self.visit(number)[0] for number in (0, 1, 0)]
        self.assertEqual([], self.told.contents)
        numbers = [client.session_id for client in self.told.clients]
        self.assertEqual([77, 78, 79], numbers, greetings)


class BindTests(EntrancesCase):
    """What cannot be had."""

    def test_all_or_none(self) -> None:
        """If one socket cannot be bound, none stays bound (S-1)."""
        taken = Entrances(self.settings())
        self.addCleanup(taken.unbind)
        port = int(taken.listening()[0].rpartition(":")[2])
        free = Entrances(self.settings())
        freed = int(free.listening()[0].rpartition(":")[2])
        free.unbind()
        listeners = (
            self.listener(smtp=ServiceSettings(enabled=True, port=freed)),
            self.listener(name="other", smtp=ServiceSettings(enabled=True, port=port)),
        )
        self.assertRaises(CannotListenError, Entrances, self.settings(listeners=listeners))
        again = Entrances(self.settings(listeners=listeners[:1]))
        again.unbind()

    def test_certificate(self) -> None:
        """A certificate that cannot be used is told."""
        bad = TLSSettings(certificate=str(self.folder / "none"), key=self.files.key)
        self.assertRaises(CertificateError, self.opened, self.listener(tls=bad))


class ReloadTests(EntrancesCase):
    """Other settings while connections come."""

    def as_bound(self, entrances: Entrances, listener: ListenerSettings) -> ListenerSettings:
        """The listener as if its ports had been written down."""
        smtp, submission, submissions = (
            int(text.rpartition(":")[2]) for text in entrances.listening()
        )
        return replace(
            listener,
            smtp=replace(listener.smtp, port=smtp),
            submission=replace(listener.submission, port=submission),
            submissions=replace(listener.submissions, port=submissions),
        )

    def reload(self, entrances: Entrances, *listeners: ListenerSettings) -> list[str]:
        """Obey these."""
        return list(entrances.reload(self.settings(listeners=listeners), self.hall))

    def test_obeyed(self) -> None:
        """The next connection meets the new limits, and no restart is needed."""
        entrances = self.opened(self.listener())
        before = self.as_bound(entrances, self.listener())
        after = replace(before, max_message_size=999, hostname="new.ours.example")
        self.assertEqual([], self.reload(entrances, replace(after, max_connections=2)))
        greeting, said = self.visit()
        self.assertIn("new.ours.example", greeting)
        self.assertIn("SIZE 999", said)
        self.assertEqual("220", Visitor(self.reactor, self.factory(0)).reply()[0][:3])
        self.assertEqual("421", Visitor(self.reactor, self.factory(0)).reply()[0][:3])

    def test_certificate(self) -> None:
        """The next connection is shown the new certificate; a bad one changes nothing (S-5)."""
        before = self.listener()
        entrances = self.opened(before)
        creator: Any = self.entrance(0).tls
        old = creator.serverConnectionForTLS(None).get_context()
        bad = TLSSettings(certificate=str(self.folder / "none"), key=self.files.key)
        smaller = replace(before, tls=bad, max_message_size=999)
        self.assertRaises(CertificateError, self.reload, entrances, smaller)
        self.assertIs(old, creator.serverConnectionForTLS(None).get_context())
        self.assertIn("SIZE 104857600", self.visit()[1])
        self.reload(entrances, before)
        self.assertIsNot(old, creator.serverConnectionForTLS(None).get_context())

    def test_starttls(self) -> None:
        """STARTTLS comes and goes with its settings, without a restart (S-8)."""
        entrances = self.opened(self.listener())
        before = self.as_bound(entrances, self.listener())
        after = replace(before, smtp=replace(before.smtp, no_starttls=True))
        self.assertEqual([], self.reload(entrances, after))
        self.assertNotIn("STARTTLS", self.visit(0)[1])
        self.assertEqual([], self.reload(entrances, before))
        self.assertIn("STARTTLS", self.visit(0)[1])
        meet(self.creator(0), client_context())

    def test_under_way(self) -> None:
        """Who is in the middle of a handshake gets the certificate that it began with (S-5)."""
        before = self.listener()
        entrances = self.opened(before)
        ours = self.creator(0).serverConnectionForTLS(None)
        other = made_pair(str(self.folder / "tls"), "new", "mx.ours.example")
        after = replace(self.files, certificate=other.certificate, key=other.key)
        self.reload(entrances, self.listener(tls=after))
        client = SSL.Connection(client_context(), None)
        shake_hands(ours, client)
        self.assertEqual("mx.ours.example", served_name(client))
        self.assertEqual("new", served_name(meet(self.creator(0), client_context())[1]))

    def test_restart(self) -> None:
        """Sockets that would have to come or go are told."""
        entrances = self.opened(self.listener())
        fewer = replace(self.as_bound(entrances, self.listener()), submissions=SubmissionSettings())
        other = self.listener(name="new", submission=SubmissionSettings())
        told = self.reload(entrances, fewer, other)
        self.assertEqual(
            [("all", "submissions"), ("new", "smtp"), ("new", "submissions")],
            sorted((text.split()[1].strip(","), text.split()[2]) for text in told),
        )


class CloseTests(EntrancesCase):
    """The end."""

    def test_closed(self) -> None:
        """Stopping closes every listening socket (S-15)."""
        entrances = self.opened(self.listener())
        self.successResultOf(Deferred.fromCoroutine(entrances.close()))
        self.assertEqual([False] * 3, [port.is_open for port in self.reactor.ports])

    def test_drained(self) -> None:
        """Who talks while we stop gets 421 to the next command, who comes at once (S-15)."""
        entrances = self.opened(self.listener())
        visitor = Visitor(self.reactor, self.factory(0))
        visitor.reply()
        closing = Deferred.fromCoroutine(entrances.close())
        self.assertNoResult(closing)
        self.assertEqual("421", visitor.code("NOOP"))
        late = Visitor(self.reactor, self.factory(0))
        self.assertEqual("421", late.reply()[0][:3])
        self.reactor.pump([3, 1])
        self.successResultOf(closing)
        self.assertFalse(any(port.is_open for port in self.reactor.ports))
