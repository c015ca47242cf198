"""Tests for L{moxsmtp.tls.server}."""

from __future__ import annotations

import contextlib
import gc
import weakref
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from OpenSSL import SSL, crypto
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from moxsmtp.interfaces import IKeyJudge
from moxsmtp.names import Domain
from moxsmtp.receive.handshake import handshake_failure, handshake_trouble
from moxsmtp.tls import server as module
from moxsmtp.tls.ciphers import tls_info
from moxsmtp.tls.client_key import key_fingerprint
from moxsmtp.tls.server import Manners, ServerTLS
from tests.tls.hands import (
    Pair,
    client_context,
    made_pair,
    meet,
    resumable,
    served_name,
)

HOST = Domain("mx.example")

#: What a client says that speaks SSL 2 only, or would.
SSL2_HELLO = bytes.fromhex(
    "802e0103010015000000100000040000050100800700c00600400200800000030300000102"
)


@implementer(IKeyJudge)
@dataclass
class Judge:
    """
    Has one answer; L{None}: it breaks.

    @ivar asked: The keys that it was asked for.
    """

    answer: bool | None
    asked: list[str] = field(default_factory=list)

    def is_welcome(self, client_key: str) -> bool:
        self.asked.append(client_key)
        if self.answer is None:
            raise ValueError("a bug")
        return self.answer


@dataclass
class Behind:
    """As Twisted's protocol for TLS."""

    wrappedProtocol: object


def meet_to_read(server: ServerTLS, context: SSL.Context, judge: Judge) -> SSL.Connection:
    """
    A handshake, and the client's first read.  @return: The server's end.

    @raise SSL.Error: An alert was heard.
    """
    ours = server.serverConnectionForTLS(Behind(judge))
    client = SSL.Connection(context, None)
    ours.set_accept_state()
    client.set_connect_state()
    for _ in range(4):
        for end, other in ((client, ours), (ours, client)):
            # What the server says of its own failure is not what the client hears.
            with contextlib.suppress(SSL.WantReadError if end is client else SSL.Error):
                end.do_handshake()
            with contextlib.suppress(SSL.WantReadError):
                other.bio_write(end.bio_read(65536))
    with contextlib.suppress(SSL.WantReadError):
        client.read(1)
    return ours


class ServerTLSCase(SynchronousTestCase):
    """A server for C{mx.example}."""

    def setUp(self) -> None:
        self.folder = self.mktemp()
        self.pair = made_pair(self.folder, "mx.example", "mx.example")

    def server(self, *others: Pair, **manners: object) -> ServerTLS:
        """With these certificates besides."""
        return ServerTLS([self.pair, *others], HOST, Manners(**manners))  # type: ignore[arg-type]  # its keywords

    def resumed(self, first: ServerTLS, then: ServerTLS, version: int) -> bool:
        """Whether a session of one server is taken up by another."""
        context = client_context(version)
        _, client = meet(first, context)
        server, _ = meet(then, context, session=resumable(client))
        return tls_info(server).resumed


class NameTests(ServerTLSCase):
    """SNI."""

    def test_interface(self) -> None:
        """It makes server connections."""
        self.assertTrue(verifyObject(IOpenSSLServerConnectionCreator, self.server()))

    def test_fallback(self) -> None:
        """Without SNI, and for names that nobody has, the host's certificate is shown (S-5)."""
        other = made_pair(self.folder, "other", "other.example")
        for names in ((self.pair, other), (other, self.pair)):
            server = ServerTLS(names, HOST, Manners())
            expected = {
                None: "mx.example",
                b"mx.example": "mx.example",
                b"unknown.example": "mx.example",
                b"\xff nonsense": "mx.example",
                b"other.example": "other",
                b"OTHER.Example": "other",
            }
            shown = {
                name: served_name(meet(server, client_context(), sni=name)[1]) for name in expected
            }
            self.assertEqual(expected, shown)

    def test_strict(self) -> None:
        """A strict socket ends the handshake for names that nobody has, by alert 112 (S-5)."""
        server = self.server(strict=True)
        for version in (SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION):
            for name in (b"unknown.example", b"\xff nonsense", b"a.mx.example"):
                error = self.assertRaises(
                    SSL.Error, meet, server, client_context(version), sni=name
                )
                self.assertEqual("alert-112-unrecognized-name", handshake_failure(error))
            for known in (None, b"mx.example"):
                _, client = meet(server, client_context(version), sni=known)
                self.assertEqual("mx.example", served_name(client))

    def test_refused_name(self) -> None:
        """Whoever reads the log of a strict socket finds the name that was asked for."""
        server = self.server(strict=True)
        for name, shown in ((b"unknown.example", "unknown.example"), (b"\r\n\xff", r"\r\n\xff")):
            client = SSL.Connection(client_context(), None)
            client.set_tlsext_host_name(name)
            client.set_connect_state()
            self.assertRaises(SSL.WantReadError, client.do_handshake)
            ours = server.serverConnectionForTLS(None)
            ours.set_accept_state()
            ours.bio_write(client.bio_read(65536))
            error = self.assertRaises(SSL.Error, ours.do_handshake)
            self.assertIn(f"no certificate is for the host '{shown}'", handshake_trouble(error))

    def test_told(self) -> None:
        """The name is told afterwards, also one that was fallen back from."""
        for name in (b"mx.example", b"unknown.example"):
            server, _ = meet(self.server(), client_context(), sni=name)
            self.assertEqual(name.decode(), tls_info(server).sni)

    def test_chosen_keeps_manners(self) -> None:
        """A certificate chosen by name changes nothing else: versions, request, tickets (S-4)."""
        other = made_pair(self.folder, "other", "other.example")
        server = self.server(other, minimum_version="1.3", asks_client=True)
        self.assertRaises(
            SSL.Error, meet, server, client_context(SSL.TLS1_2_VERSION), sni=b"other.example"
        )
        context = client_context(pair=self.pair)
        ours, client = meet(server, context, sni=b"other.example")
        self.assertNotEqual("", tls_info(ours).client_key)
        again, _ = meet(server, context, sni=b"other.example", session=resumable(client))
        self.assertFalse(tls_info(again).resumed)

    def test_outlives_reload(self) -> None:
        """A connection under way keeps what it began with, and is not harmed by its end."""
        other = made_pair(self.folder, "other", "other.example")
        server = self.server(other)
        old = weakref.ref(server._store)
        context = client_context()
        ours = server.serverConnectionForTLS(None)
        theirs = SSL.Connection(context, None)
        theirs.set_tlsext_host_name(b"other.example")
        theirs.set_connect_state()
        self.assertRaises(SSL.WantReadError, theirs.do_handshake)
        server.obey(ServerTLS([self.pair], HOST, Manners()))
        gc.collect()
        ours.set_accept_state()
        ours.bio_write(theirs.bio_read(65536))
        self.assertRaises(SSL.WantReadError, ours.do_handshake)
        theirs.bio_write(ours.bio_read(65536))
        theirs.do_handshake()
        self.assertEqual("other", served_name(theirs))
        del ours
        gc.collect()
        self.assertIsNone(old())


class VersionTests(ServerTLSCase):
    """S-6."""

    def spoken(self, minimum: str) -> list[str]:
        """The versions that a server agrees to, oldest first."""
        server = self.server(minimum_version=minimum)
        found = []
        for version in (
            SSL.TLS1_VERSION,
            SSL.TLS1_1_VERSION,
            SSL.TLS1_2_VERSION,
            SSL.TLS1_3_VERSION,
        ):
            old = version < SSL.TLS1_2_VERSION
            context = client_context(version, ciphers=b"ALL:@SECLEVEL=0" if old else b"")
            try:
                ours, _ = meet(server, context, sni=b"mx.example")
            except SSL.Error:
                continue
            found.append(tls_info(ours).version)
        return found

    def test_default(self) -> None:
        """TLS 1.2 is the oldest version by default (S-6)."""
        self.assertEqual("1.2", Manners().minimum_version)

    def test_minimum(self) -> None:
        """Each setting of the oldest version allows that one and the newer ones (S-6)."""
        versions = ["TLS1.0", "TLS1.1", "TLS1.2", "TLS1.3"]
        for number, minimum in enumerate(("1.0", "1.1", "1.2", "1.3")):
            self.assertEqual(versions[number:], self.spoken(minimum))


class SessionTests(ServerTLSCase):
    """Resumption."""

    def test_tickets(self) -> None:
        """With tickets sessions are resumed, without them never (S-4, T-13)."""
        for version in (SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION):
            for tickets in (False, True):
                server = self.server(tickets=tickets)
                self.assertIs(tickets, self.resumed(server, server, version))

    def test_no_cache(self) -> None:
        """Nothing is kept for clients that take no tickets, so nothing is resumed for them."""
        server = self.server(tickets=True)
        context = client_context(SSL.TLS1_2_VERSION)
        context.set_options(SSL.OP_NO_TICKET)
        _, client = meet(server, context)
        ours, _ = meet(server, context, session=resumable(client))
        self.assertFalse(tls_info(ours).resumed)

    def test_own_keys(self) -> None:
        """A ticket of one socket is nothing to another (S-7)."""
        for version in (SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION):
            one, other = self.server(tickets=True), self.server(tickets=True)
            self.assertFalse(self.resumed(one, other, version))

    def test_sockets_of_names(self) -> None:
        """Tickets are those of the socket, whichever certificate was chosen by name (S-7)."""
        other = made_pair(self.folder, "other", "other.example")
        server = self.server(other, tickets=True)
        context = client_context()
        _, client = meet(server, context, sni=b"other.example")
        ours, _ = meet(server, context, sni=b"other.example", session=resumable(client))
        self.assertTrue(tls_info(ours).resumed)

    def test_new_keys(self) -> None:
        """A renewed server has other ticket keys than before, and resumes its own (S-7)."""
        server = self.server(tickets=True)
        context = client_context()
        _, client = meet(server, context)
        session = resumable(client)
        server.obey(server.renewed())
        ours, client = meet(server, context, session=session)
        self.assertFalse(tls_info(ours).resumed)
        ours, _ = meet(server, context, session=resumable(client))
        self.assertTrue(tls_info(ours).resumed)


class ClientCertificateTests(ServerTLSCase):
    """S-36."""

    def key(self, server: ServerTLS, context: SSL.Context) -> str:
        """What is told of the client's key."""
        return tls_info(meet(server, context)[0]).client_key

    def test_requested(self) -> None:
        """Whoever has a certificate shows it where one is requested, and only there (S-36)."""
        mine = made_pair(self.folder, "me")
        for version in (SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION):
            context = client_context(version, pair=mine)
            self.assertNotEqual("", self.key(self.server(asks_client=True), context))
            self.assertEqual("", self.key(self.server(), context))

    def test_optional(self) -> None:
        """Who has none is welcome too (S-36)."""
        self.assertEqual("", self.key(self.server(asks_client=True), client_context()))

    def test_any(self) -> None:
        """Weak, expired and unknown ones are taken: they are judged later (S-36)."""
        weak = made_pair(self.folder, "weak", rsa_bits=1024)
        context = client_context(ciphers=b"ALL:@SECLEVEL=0", pair=weak)
        self.assertNotEqual("", self.key(self.server(asks_client=True), context))

    def test_chain(self) -> None:
        """Certificates above the client's own are not followed, and do not keep it out (S-36)."""
        key = ec.generate_private_key(ec.SECP256R1())
        mine = made_pair(self.folder, "me", issuer=("above", key))
        context = client_context(pair=mine)
        for name, issuer in (("above", "higher"), ("higher", "top"), ("top", "top")):
            above = made_pair(self.folder, name, own_key=key, issuer=(issuer, key))
            octets = Path(above.certificate).read_bytes()
            context.add_extra_chain_cert(crypto.load_certificate(crypto.FILETYPE_PEM, octets))
        judge = Judge(True)
        meet(self.server(asks_client=True), context, behind=Behind(judge))
        self.assertEqual([key_fingerprint(mine.public)], judge.asked)
        asked: list[object] = []

        def note(*given: object) -> bool:
            asked.append(given)
            return True

        self.patch(module, "_is_welcome", note)
        found = self.key(self.server(asks_client=True), context)
        self.assertEqual(key_fingerprint(mine.public), found)
        # It is eleven times, where OpenSSL looks at all of them.
        self.assertLess(len(asked), 6)

    def test_resumed(self) -> None:
        """A resumed session has the certificate of the first one (S-39, T-8)."""
        mine = made_pair(self.folder, "me")
        server = self.server(asks_client=True, tickets=True)
        for version in (SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION):
            context = client_context(version, pair=mine)
            ours, client = meet(server, context)
            again, _ = meet(server, context, session=resumable(client))
            first, then = tls_info(ours), tls_info(again)
            self.assertEqual((False, True), (first.resumed, then.resumed))
            self.assertEqual(first.client_key, then.client_key)
            self.assertNotEqual("", then.client_key)


class JudgeTests(ServerTLSCase):
    """Whoever is behind the connection judges the client's key."""

    def setUp(self) -> None:
        super().setUp()
        self.mine = made_pair(self.folder, "me")
        self.weak = made_pair(self.folder, "weak", rsa_bits=1024)
        signer = ec.generate_private_key(ec.SECP256R1())
        self.signed = made_pair(self.folder, "signed", issuer=("somebody", signer))

    def test_port(self) -> None:
        """The judge is one."""
        self.assertTrue(verifyObject(IKeyJudge, Judge(True)))

    def test_unwelcome(self) -> None:
        """
        One that is not welcome ends the handshake by the alert bad_certificate, 42, whoever
        signed it; in TLS 1.3 the client hears it with its first read (S-37).
        """
        for version in (SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION):
            for pair in (self.mine, self.weak, self.signed):
                judge = Judge(False)
                context = client_context(version, ciphers=b"ALL:@SECLEVEL=0", pair=pair)
                error = self.assertRaises(
                    SSL.Error, meet_to_read, self.server(asks_client=True), context, judge
                )
                self.assertEqual("alert-42-bad-certificate", handshake_failure(error))
                self.assertEqual([key_fingerprint(pair.public)], judge.asked)

    def test_welcome(self) -> None:
        """One that is welcome is taken, whatever OpenSSL thinks of it (S-37)."""
        for version in (SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION):
            for pair in (self.mine, self.weak, self.signed):
                judge = Judge(True)
                context = client_context(version, ciphers=b"ALL:@SECLEVEL=0", pair=pair)
                ours = meet_to_read(self.server(asks_client=True), context, judge)
                self.assertEqual([tls_info(ours).client_key], judge.asked)

    def test_not_asked(self) -> None:
        """Nobody is asked where no certificate is shown, or none was requested (S-36)."""
        for pair, asks in ((None, True), (self.mine, False)):
            judge = Judge(False)
            meet_to_read(self.server(asks_client=asks), client_context(pair=pair), judge)
            self.assertEqual([], judge.asked)

    def test_resumed(self) -> None:
        """Nobody is asked where a session is resumed: that is for later (S-39)."""
        server = self.server(asks_client=True, tickets=True)
        for version in (SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION):
            context = client_context(version, pair=self.mine)
            _, client = meet(server, context, behind=Behind(Judge(True)))
            judge = Judge(False)
            ours, _ = meet(server, context, session=resumable(client), behind=Behind(judge))
            self.assertTrue(tls_info(ours).resumed)
            self.assertEqual([], judge.asked)

    def test_name(self) -> None:
        """It makes no difference which host was asked for (S-5)."""
        other = made_pair(self.folder, "other", "other.example")
        for verdict in (True, False):
            judge = Judge(verdict)
            server = self.server(other, asks_client=True)
            context = client_context(SSL.TLS1_2_VERSION, pair=self.mine)
            with contextlib.suppress(SSL.Error):
                meet(server, context, sni=b"other.example", behind=Behind(judge))
            self.assertEqual([key_fingerprint(self.mine.public)], judge.asked)

    def test_bug(self) -> None:
        """A judge that breaks lets nobody in."""
        context = client_context(SSL.TLS1_2_VERSION, pair=self.mine)
        error = self.assertRaises(
            SSL.Error, meet_to_read, self.server(asks_client=True), context, Judge(None)
        )
        self.assertEqual("alert-42-bad-certificate", handshake_failure(error))
        self.assertEqual(1, len(self.flushLoggedErrors(ValueError)))

    def test_freed(self) -> None:
        """Nothing of a connection that was refused stays."""
        server = self.server(asks_client=True)
        context = client_context(SSL.TLS1_2_VERSION, pair=self.mine)
        gc.collect()
        gc.disable()
        self.addCleanup(gc.enable)
        ours = server.serverConnectionForTLS(Behind(Judge(False)))
        gone = weakref.ref(ours)
        client = SSL.Connection(context, None)
        ours.set_accept_state()
        client.set_connect_state()
        failed = []
        for end, other in ((client, ours), (ours, client)) * 2:
            try:
                end.do_handshake()
            except SSL.WantReadError:
                other.bio_write(end.bio_read(65536))
            except SSL.Error:
                failed.append(end is ours)
        self.assertEqual([True], failed)
        del ours, end, other
        self.assertIsNone(gone())


class FailureTests(ServerTLSCase):
    """What clients do instead (S-114)."""

    def failure(self, octets: bytes, *, pieces: bool = False) -> str:
        """The word for what a client does that sends this."""
        server = self.server().serverConnectionForTLS(None)
        server.set_accept_state()
        for octet in [bytes([value]) for value in octets] if pieces else [octets]:
            server.bio_write(octet)
            try:
                server.do_handshake()
            except SSL.WantReadError:
                continue
            except SSL.Error as error:
                return handshake_failure(error)
        return "nothing"

    def test_no_tls(self) -> None:
        """Clear text and SSL 2 are told apart from TLS that we do not speak (S-114)."""
        expected = {
            b"EHLO client.example\r\n": "nottls",
            b"GET / HTTP/1.1\r\n": "nottls",
            SSL2_HELLO: "sslv2",
            b"\x16\x03\0\0\x2f\x01\0\0\x2b\x03\0"
            + bytes(34)
            + b"\x04\0\5\0\4\1\0": "unsupportedversions",
        }
        self.assertEqual(expected, {octets: self.failure(octets) for octets in expected})
        told = {octets: self.failure(octets, pieces=True) for octets in expected}
        self.assertEqual(expected, told)

    def test_old_version(self) -> None:
        """A client that speaks old versions only is told as such (S-114)."""
        context = client_context(SSL.TLS1_1_VERSION, ciphers=b"ALL:@SECLEVEL=0")
        client = SSL.Connection(context, None)
        client.set_connect_state()
        self.assertRaises(SSL.WantReadError, client.do_handshake)
        self.assertEqual("unsupportedversions", self.failure(client.bio_read(65536)))
