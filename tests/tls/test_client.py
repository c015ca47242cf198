"""TLS towards servers of every kind."""

from __future__ import annotations

import contextlib
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from OpenSSL import SSL, crypto
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from moxsmtp.names import AddressLiteral, Host, parse_domain
from moxsmtp.tls.client import OpportunisticTLS, StrictTLS, client_context, name_matches
from tests.outbound.servers import ServerCreator, certificate

HOST = parse_domain("mx.there.example")


def shake(client: SSL.Connection, server: SSL.Connection) -> bool:
    """Whether the two agree; carries the alerts too."""
    client.set_connect_state()
    server.set_accept_state()
    agreed = True
    for _ in range(4):
        for one, other in ((client, server), (server, client)):
            try:
                one.do_handshake()
            except SSL.WantReadError:
                pass
            except SSL.Error:
                agreed = False
            with contextlib.suppress(SSL.WantReadError):
                other.bio_write(one.bio_read(65_536))
    return agreed


class CreatorTestCase(SynchronousTestCase):
    """Handshakes in memory."""

    def shaken(self, creator: Any, server: ServerCreator) -> bool:
        """Whether the handshake succeeds."""
        connection = creator.clientConnectionForTLS(None)
        return shake(connection, server.serverConnectionForTLS(None))

    def trusted(self, *names: str) -> str:
        """A PEM file with the certificate for C{names}."""
        path = Path(self.mktemp())
        path.write_bytes(crypto.dump_certificate(crypto.FILETYPE_PEM, certificate(*names)[0]))
        return str(path)


class OpportunisticTests(CreatorTestCase):
    """For mail."""

    def test_interface(self) -> None:
        """It makes client connections."""
        creator = OpportunisticTLS(client_context(strict=False), HOST)
        self.assertTrue(verifyObject(IOpenSSLClientConnectionCreator, creator))

    def test_any_certificate(self) -> None:
        """Signed by nobody, for another name, without a name: taken, and what is wrong noted."""
        context = client_context(strict=False)
        for names in ((), ("other.example",), ("mx.there.example",)):
            creator = OpportunisticTLS(context, HOST)
            self.assertTrue(self.shaken(creator, ServerCreator(*names)))
            self.assertEqual(creator.errors, [(18, 0)])  # X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT
            self.assertEqual(creator.alerts, [])

    def test_name_indication(self) -> None:
        """SNI has the host's name, and nothing for an address (RFC 6066 section 3)."""
        context = client_context(strict=False)
        literal = AddressLiteral(ip_address("192.0.2.1"))
        hosts: dict[Host, bytes | None] = {HOST: b"mx.there.example", literal: None}
        for host, name in hosts.items():
            server = ServerCreator()
            self.shaken(OpportunisticTLS(context, host), server)
            assert server.connection is not None
            self.assertEqual(server.connection.get_servername(), name)

    def test_versions(self) -> None:
        """TLS 1.2 will do; nothing older."""
        context = client_context(strict=False)
        for version, agreed in ((SSL.TLS1_2_VERSION, True), (SSL.TLS1_1_VERSION, False)):
            server = ServerCreator()
            server.context.set_cipher_list(b"ALL@SECLEVEL=0")
            server.context.set_min_proto_version(SSL.TLS1_VERSION)
            server.context.set_max_proto_version(version)
            creator = OpportunisticTLS(context, HOST)
            self.assertIs(self.shaken(creator, server), agreed)

    def test_alerts(self) -> None:
        """A fatal alert is noted, with its number and who sent it."""
        server = ServerCreator()
        server.context.set_verify(
            SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, lambda *_: True
        )
        server.context.set_max_proto_version(SSL.TLS1_2_VERSION)
        creator = OpportunisticTLS(client_context(strict=False), HOST)
        self.assertFalse(self.shaken(creator, server))
        self.assertEqual(creator.alerts, [("remote", 40)])


class StrictTests(CreatorTestCase):
    """For HTTPS."""

    def test_interface(self) -> None:
        """It makes client connections."""
        self.assertTrue(
            verifyObject(
                IOpenSSLClientConnectionCreator, StrictTLS(client_context(strict=True), HOST)
            )
        )

    def test_trusted(self) -> None:
        """A trusted certificate for the name is accepted."""
        names = ("mx.there.example",)
        context = client_context(strict=True, certificates=self.trusted(*names))
        self.assertTrue(self.shaken(StrictTLS(context, HOST), ServerCreator(*names)))

    def test_untrusted(self) -> None:
        """A certificate that no authority vouches for fails the handshake."""
        context = client_context(strict=True, certificates=self.trusted("other.example"))
        self.assertFalse(self.shaken(StrictTLS(context, HOST), ServerCreator("mx.there.example")))

    def test_wrong_name(self) -> None:
        """Trusted, but for another name or for none: the handshake fails."""
        for names in (("other.example",), ()):
            context = client_context(strict=True, certificates=self.trusted(*names))
            self.assertFalse(self.shaken(StrictTLS(context, HOST), ServerCreator(*names)))

    def test_many_hosts(self) -> None:
        """One context serves many connections, each judged by its own host."""
        names = ("mx.there.example", "*.wild.example")
        context = client_context(strict=True, certificates=self.trusted(*names))
        expected = {
            "mx.there.example": True, "a.wild.example": True, "wild.example": False,
            "a.b.wild.example": False, "there.example": False,
        }  # fmt: skip
        self.assertEqual(
            {
                name: self.shaken(StrictTLS(context, parse_domain(name)), ServerCreator(*names))
                for name in expected
            },
            expected,
        )


class NameTests(SynchronousTestCase):
    """RFC 9525."""

    def test_common_name(self) -> None:
        """The common name counts for nothing, with or without a subjectAltName."""
        for names in ((), ("other.example",)):
            self.assertFalse(name_matches(certificate(*names)[0], HOST))

    def test_address(self) -> None:
        """A name in the certificate does not vouch for an address."""
        literal = AddressLiteral(ip_address("192.0.2.1"))
        self.assertFalse(name_matches(certificate("mx.there.example")[0], literal))
