"""Names of cipher suites."""

from __future__ import annotations

from OpenSSL import SSL
from twisted.trial.unittest import SynchronousTestCase

from moxsmtp.interfaces import TLSInfo
from moxsmtp.tls.ciphers import iana_name, tls_info
from tests.outbound.servers import ServerCreator
from tests.tls.test_client import shake


def handshake(*, version: int, ciphers: bytes) -> SSL.Connection:
    """The client's end of a handshake in memory."""
    server_context = ServerCreator("mx.there.example").context
    server_context.set_max_proto_version(version)
    client_context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    client_context.set_cipher_list(ciphers)
    server, client = SSL.Connection(server_context), SSL.Connection(client_context)
    if not shake(client, server):
        raise AssertionError("no handshake")
    return client


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
        self.assertEqual(
            tls_info(connection), TLSInfo("TLS1.2", "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384")
        )
        newer = tls_info(handshake(version=SSL.TLS1_3_VERSION, ciphers=b"DEFAULT"))
        self.assertEqual(newer.version, "TLS1.3")
        self.assertTrue(newer.cipher.startswith("TLS_"))

    def test_no_handshake(self) -> None:
        """Before a handshake there is nothing to tell."""
        with self.assertRaises(ValueError):
            tls_info(SSL.Connection(SSL.Context(SSL.TLS_CLIENT_METHOD), None))
