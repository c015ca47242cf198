"""Tests for L{moxsmtp.localserve}: what it is made of, and a whole one."""

from __future__ import annotations

import datetime as dt
import io
import stat
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from twisted.internet.defer import Deferred

from moxsmtp import dmarc, spf
from moxsmtp.config import ConfigError, Settings
from moxsmtp.dkim.key import parse_key_record
from moxsmtp.dns.records import LookupFailed, Question, RRType
from moxsmtp.interfaces import IReceiver, Login, PasswordAttempt, PasswordSecrets, Role, Validation
from moxsmtp.localserve import (
    ACCOUNT,
    ADDRESS,
    PASSWORD,
    Loopback,
    Ports,
    announcement,
    ensure_certificate,
    settings,
)
from moxsmtp.names import Domain
from moxsmtp.outbound.next_hop import FixedRoute
from moxsmtp.receive.settings import TLSSettings
from moxsmtp.service import Server, make_service
from moxsmtp.surroundings import Internet
from moxsmtp.tls.server import Manners, ServerTLS
from tests.receive.houses import CLIENT, session_log
from tests.running import LOOPBACK, STARTED, RunningCase, Visitor

NOW = dt.datetime.fromtimestamp(STARTED, dt.UTC)


class SettingsTests(RunningCase):
    """What it is told to be."""

    def test_ports(self) -> None:
        """Ports, account and separator are those of mox's localserve, on loopback only (Q-89)."""
        made = settings("/data")
        (listener,) = made.listeners
        self.assertEqual(
            [(True, 1025), (True, 1587), (True, 1465)],
            [
                (service.enabled, service.port)
                for service in (listener.smtp, listener.submission, listener.submissions)
            ],
        )
        self.assertEqual((LOOPBACK,), listener.addresses)
        self.assertEqual(((LOOPBACK,), 1080), (made.http.addresses, made.http.port))
        self.assertEqual(["mox@localhost"], [*made.accounts[0].addresses])
        self.assertEqual([("+",)], [domain.separators for domain in made.domains.values()])
        self.assertEqual("mox", made.default_account)

    def test_limits(self) -> None:
        """Nothing leaves the machine, so its account may send what it likes (S-94)."""
        account = settings("/data").accounts[0]
        self.assertEqual(
            (0, 0),
            (account.max_outgoing_messages_per_day, account.max_first_time_recipients_per_day),
        )

    def test_route(self) -> None:
        """All queued mail goes to its own port 25, wherever that is (Q-89)."""
        for ports, port in ((Ports(), 1025), (Ports(smtp=2525), 2525)):
            loopback = Loopback()
            made = settings("/data", ports)
            resolver = loopback.resolver(made, self.reactor, lambda _: False)
            route = loopback.route(made, resolver, self.reactor)
            self.assertEqual(FixedRoute(LOOPBACK, port, "localhost"), route)

    def test_resolver(self) -> None:
        """The DNS is not asked, and nothing is wrong with that (Q-89)."""
        loopback = Loopback()
        resolver = loopback.resolver(settings("/data"), self.reactor, lambda _: False)
        self.failureResultOf(resolver.lookup(Question("far.example", RRType.MX)), LookupFailed)
        trouble = Deferred.fromCoroutine(loopback.resolver_trouble(resolver))
        self.assertIsNone(self.successResultOf(trouble))
        self.successResultOf(resolver.close())

    def test_dmarc(self) -> None:
        """DMARC has no DNS to ask either: its outcome depends on nothing outside (I-114)."""
        loopback = Loopback()
        made = settings("/data")
        nobody = loopback.resolver(made, self.reactor, lambda _: False)
        checks = loopback.checks(made, nobody, self.reactor, lambda _: False)
        for author in ("localhost", "far.example"):
            judging = checks.dmarc((Domain(author),), spf.Result(spf.Status.NONE), ())
            found = self.successResultOf(Deferred.fromCoroutine(judging))
            self.assertIs(dmarc.Status.TEMPERROR, found.status)
            self.assertFalse(found.rejects)
            self.assertIn("localserve does not ask the DNS", found.problem)

    def test_announcement(self) -> None:
        """Who runs it is told each port, account, password, and where the data is."""
        made = settings("/some data", Ports(2001, 2002, 2003, 2004))
        text = Loopback().announcement(made)
        self.assertEqual(announcement("/some data", Ports(2001, 2002, 2003, 2004)), text)
        for told in ("2001", "2002", "2003", "2004", ADDRESS, PASSWORD, "/some data"):
            self.assertIn(told, text)
        self.assertIn("--cacert '/some data/localhost.crt'", text)


class CertificateTests(RunningCase):
    """The certificate it makes for itself."""

    def setUp(self) -> None:
        """There is none yet."""
        super().setUp()
        self.files = TLSSettings(
            str(self.folder / "localhost.crt"), str(self.folder / "localhost.key")
        )

    def test_made(self) -> None:
        """It is for localhost and its addresses, good now and for years, and usable."""
        ensure_certificate(self.files, NOW)
        ServerTLS([self.files], Domain("localhost"), Manners())
        made = x509.load_pem_x509_certificate(Path(self.files.certificate).read_bytes())
        names = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        self.assertEqual(["localhost"], names.get_values_for_type(x509.DNSName))
        addresses = [str(one) for one in names.get_values_for_type(x509.IPAddress)]
        self.assertEqual(["127.0.0.1", "::1"], addresses)
        self.assertLess(made.not_valid_before_utc, NOW)
        self.assertGreater(made.not_valid_after_utc, NOW + dt.timedelta(days=365))

    def test_private(self) -> None:
        """Nobody else may read the key, and nothing half-written is left beside it."""
        ensure_certificate(self.files, NOW)
        self.assertEqual(0o600, stat.S_IMODE(Path(self.files.key).stat().st_mode))
        names = sorted(path.name for path in self.folder.iterdir())
        self.assertEqual(["localhost.crt", "localhost.key"], names)

    def test_kept(self) -> None:
        """It stays the same, so that it may be trusted; half of it is no certificate."""
        ensure_certificate(self.files, NOW)
        key = Path(self.files.key).read_bytes()
        ensure_certificate(self.files, NOW)
        self.assertEqual(key, Path(self.files.key).read_bytes())
        Path(self.files.certificate).unlink()
        ensure_certificate(self.files, NOW)
        ServerTLS([self.files], Domain("localhost"), Manners())


class KeyTests(RunningCase):
    """The key that its mail is signed with."""

    def prepared(self) -> Settings:
        return Loopback().prepare(settings(str(self.folder)), NOW)

    def test_made(self) -> None:
        """Mail from localhost is signed with a key that nobody else may read (I-114)."""
        ((domain, signers),) = self.prepared().signers().items()
        self.assertEqual(
            [("localhost", "testsel")],
            [(signer.domain.ascii, signer.selector) for signer in signers],
        )
        self.assertEqual("localhost", domain.ascii)
        file = self.folder / "testsel._domainkey.localhost.pem"
        self.assertEqual(0o600, stat.S_IMODE(file.stat().st_mode))

    def test_record(self) -> None:
        """What the DNS would say of it is known, so that its signatures can be verified (I-114)."""
        records = self.prepared().key_records()
        self.assertEqual(["testsel._domainkey.localhost"], [*records])
        (record,) = records.values()
        key = parse_key_record(record.encode()).key
        self.assertIsInstance(key, Ed25519PublicKey)

    def test_kept(self) -> None:
        """The key is made once."""
        self.assertEqual(self.prepared().key_records(), self.prepared().key_records())

    def test_damaged(self) -> None:
        """A file that holds no key is named, with what to do, and left alone."""
        file = self.folder / "testsel._domainkey.localhost.pem"
        file.write_text("nothing")
        error = self.assertRaises(ConfigError, self.prepared)
        self.assertIn(f"{file}: ", str(error))
        self.assertIn("remove", str(error))
        self.assertEqual("nothing", file.read_text())


class Localserve(RunningCase):
    """A whole one."""

    def served(self, *, pedantic: bool = False) -> Server:
        """On ports of the system's choice."""
        folder = self.folder / "data"
        made: Settings = settings(str(folder), Ports(0, 0, 0, 0), pedantic=pedantic)
        made = replace(made, store=replace(made.store, minimum_free=0))
        self.terminal = io.StringIO()
        self.patch(sys, "__stdout__", self.terminal)
        gave_up: list[BaseException] = []
        server = make_service(made, Loopback(), self.reactor, gave_up.append)
        self.running(server)
        self.assertEqual([], gave_up)
        return server

    def login(self, password: str) -> Login | None:
        """On the submission port."""
        entrance = self.ports[1].factory.wrapped.entrance
        self.assertIs(Role.SUBMISSION, entrance.role)
        receiver: IReceiver = entrance.receiver(session_log())
        client = replace(CLIENT, role=Role.SUBMISSION)
        return self.result(receiver.authenticate(client, PasswordAttempt("", ADDRESS, password)))

    def test_pedantic(self) -> None:
        """Told to be pedantic, all of it is, and looks at the whole of MIME (S-111)."""
        self.served(pedantic=True)
        for port in self.ports[:2]:
            entrance = port.factory.wrapped.entrance
            self.assertTrue(entrance.station.pedantic)
            house = entrance.receiver(session_log()).house
            self.assertEqual((True, True), (house.pedantic, house.strict_mime))

    def test_lenient(self) -> None:
        """Otherwise it takes what programs send, and so does a pedantic server's MIME (S-111)."""
        self.served()
        house = self.ports[0].factory.wrapped.entrance.receiver(session_log()).house
        self.assertEqual((False, False), (house.pedantic, house.strict_mime))
        self.assertFalse(Internet().strict_mime)

    def test_announced(self) -> None:
        """Whoever started it is told so once it works."""
        self.served()
        self.assertIn(PASSWORD, self.terminal.getvalue())

    def test_password(self) -> None:
        """Its account has the password that everybody knows, from the first start on (Q-89)."""
        self.served()
        self.assertIsNone(self.login("wrong"))
        self.assertEqual(Login(ACCOUNT, ADDRESS), self.login(PASSWORD))

    def test_password_kept(self) -> None:
        """A password that was set since stays (Q-89)."""
        server = self.served()
        hashes: Any = server._parts.hashes
        self.result(hashes.set_password_secrets(ACCOUNT, PasswordSecrets("another")))
        self.stop(server)
        self.reactor.ports.clear()
        again = self.served()
        kept = again._parts.hashes.password_secrets(ACCOUNT)
        self.assertEqual(PasswordSecrets("another"), self.result(kept))

    def test_rehearsal(self) -> None:
        """Local-parts ask for failures, anybody else is taken for mox (S-109)."""
        self.served()
        visitor = Visitor(self.reactor, self.ports[0].factory)
        visitor.reply()
        visitor.say("EHLO client.example")
        self.assertEqual("452", visitor.send("rcptto452@localhost"))
        self.assertEqual("250", visitor.send("anybody@far.example"))

    def test_certificate(self) -> None:
        """TLS is offered with a certificate that is there from the first start on."""
        self.served()
        visitor = Visitor(self.reactor, self.ports[0].factory)
        visitor.reply()
        self.assertIn("250-STARTTLS", visitor.say("EHLO client.example"))
        self.assertTrue((self.folder / "data" / "localhost.crt").exists())

    def test_checks(self) -> None:
        """Mail that its own domain sends from this machine has SPF; no DNS is asked (I-114)."""
        server = self.served()
        visitor = Visitor(self.reactor, self.ports[0].factory)
        visitor.reply()
        visitor.say("EHLO client.example")
        self.assertEqual("250", visitor.send(ADDRESS, sender=ADDRESS))
        (message,) = self.result(server._parts.mail_store.list_messages(ACCOUNT))
        self.assertIs(Validation.PASS, message.provenance.mail_from)
