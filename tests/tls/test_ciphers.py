"""Names of cipher suites."""

from __future__ import annotations

from dataclasses import replace

from OpenSSL import SSL
from twisted.trial.unittest import SynchronousTestCase

from moxsmtp.interfaces import TLSInfo
from moxsmtp.tls.ciphers import iana_name, tls_info
from tests.outbound.servers import ServerCreator
from tests.tls.test_client import shake


def handshake(*, version: int, ciphers: bytes, sni: bytes | None = None) -> SSL.Connection:
    """The server's end of a handshake in memory."""
    server_context = ServerCreator("mx.there.example").context
    server_context.set_max_proto_version(version)
    client_context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    client_context.set_cipher_list(ciphers)
    server, client = SSL.Connection(server_context), SSL.Connection(client_context)
    if sni is not None:
        client.set_tlsext_host_name(sni)
    if not shake(client, server):
        raise AssertionError("no handshake")
    return server


class CipherTests(SynchronousTestCase):
    """OpenSSL's names and IANA's."""

    def test_names(self) -> None:
        """Suites of TLS 1.2 get IANA's names; those of TLS 1.3 have them; others stay."""
        expected = {
            "ECDHE-RSA-AES128-GCM-SHA256": "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
            "ECDHE-ECDSA-CHACHA20-POLY1305": "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
            "AES256-SHA": "TLS_RSA_WITH_AES_256_CBC_SHA",
            "TLS_AES_128_GCM_SHA256": "TLS_AES_128_GCM_SHA256",
            "NEVER-HEARD-OF": "NEVER-HEARD-OF",
        }
        self.assertEqual({name: iana_name(name) for name in expected}, expected)

    def test_every_suite_of_ours(self) -> None:
        """Whatever our contexts can agree on has a registered name."""
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        context.set_cipher_list(b"DEFAULT@SECLEVEL=1")
        suites = SSL.Connection(context, None).get_cipher_list()
        names = [iana_name(suite) for suite in suites if "PSK" not in suite and "SRP" not in suite]
        self.assertGreater(len(names), 10)
        self.assertEqual([name for name in names if not name.startswith("TLS_")], [])

    def test_handshake(self) -> None:
        """Version and suite of a real handshake."""
        connection = handshake(version=SSL.TLS1_2_VERSION, ciphers=b"ECDHE-ECDSA-AES256-GCM-SHA384")
        info = tls_info(connection)
        self.assertEqual(
            replace(info, channel_binding=None),
            TLSInfo("TLS1.2", "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"),
        )
        newer = tls_info(handshake(version=SSL.TLS1_3_VERSION, ciphers=b"DEFAULT"))
        self.assertEqual(newer.version, "TLS1.3")
        self.assertTrue(newer.cipher.startswith("TLS_"))

    def test_host(self) -> None:
        """The host asked for is told in A-labels, whatever its spelling; nonsense is none."""
        expected = {
            b"MX.Example.org": "mx.example.org",
            b"mx.example.org.": "mx.example.org",
            "b\xfccher.example".encode(): "xn--bcher-kva.example",
            b"xn--bcher-kva.example": "xn--bcher-kva.example",
            b"a b\r\n": "",
            b"\xff\xfe": "",
            b"192.0.2.1": "",
        }
        told = {
            name: tls_info(handshake(version=SSL.TLS1_3_VERSION, ciphers=b"DEFAULT", sni=name)).sni
            for name in expected
        }
        self.assertEqual(told, expected)

    def test_secrets(self) -> None:
        """The channel binding is there, and never shown."""
        info = tls_info(handshake(version=SSL.TLS1_3_VERSION, ciphers=b"DEFAULT"))
        binding = info.channel_binding
        assert binding is not None
        self.assertEqual(32, len(binding.data))
        self.assertNotIn(repr(binding.data), repr(info))
        self.assertNotIn("data", repr(binding))

    def test_no_handshake(self) -> None:
        """Before a handshake there is nothing to tell."""
        with self.assertRaises(ValueError):
            tls_info(SSL.Connection(SSL.Context(SSL.TLS_CLIENT_METHOD), None))
