"""Tests for L{moxsmtp.tls.server}."""

from __future__ import annotations

import contextlib
import datetime as dt
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from OpenSSL import SSL
from twisted.trial.unittest import SynchronousTestCase

from moxsmtp.tls.server import CertificateError, ServerTLS, server_context


def certificate_files(folder: str, name: str) -> dict[str, str]:
    """A key of its own and a certificate for C{name}, as files."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    start = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(start)
        .not_valid_after(start + dt.timedelta(days=36500))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    Path(folder).mkdir(exist_ok=True)
    files = {"certificate": f"{folder}/{name}.crt", "key": f"{folder}/{name}.key"}
    Path(files["certificate"]).write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    Path(files["key"]).write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return files


def shake_hands(server: SSL.Connection, client: SSL.Connection) -> None:
    """Carry octets between two ends in memory until both are content."""
    server.set_accept_state()
    client.set_connect_state()
    done: set[SSL.Connection] = set()
    for _ in range(10):
        for end, other in ((client, server), (server, client)):
            try:
                end.do_handshake()
                done.add(end)
            except SSL.WantReadError:
                pass
            with contextlib.suppress(SSL.WantReadError):
                other.bio_write(end.bio_read(65536))
        if len(done) == 2:
            return
    raise AssertionError("the handshake never ended")


class ServerTLSTests(SynchronousTestCase):
    """Contexts from files, and what they serve."""

    def setUp(self) -> None:
        folder = self.mktemp()
        self.files = certificate_files(folder, "mx.example")
        self.others = certificate_files(folder, "other.example")

    def served_name(self, tls: ServerTLS, sni: bytes | None) -> str:
        """The common name of the certificate that a client is shown."""
        server = tls.serverConnectionForTLS(None)  # type: ignore[arg-type]  # not looked at
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        client = SSL.Connection(context, None)
        if sni is not None:
            client.set_tlsext_host_name(sni)
        shake_hands(server, client)
        certificate = client.get_peer_certificate(as_cryptography=True)
        assert certificate is not None
        return str(certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)

    def test_names(self) -> None:
        """The listener's certificate is served with any SNI and without (S-4)."""
        tls = ServerTLS(server_context(**self.files, tickets=True))
        names = (None, b"mx.example", b"unknown.example")
        self.assertEqual(["mx.example"] * 3, [self.served_name(tls, name) for name in names])

    def test_replaced(self) -> None:
        """After a reload new connections are served the new certificate."""
        tls = ServerTLS(server_context(**self.files, tickets=True))
        tls.replace(server_context(**self.others, tickets=True))
        self.assertEqual("other.example", self.served_name(tls, None))

    def test_tickets(self) -> None:
        """Without tickets no session of a client is ever resumed, with them it is (S-4)."""
        resumed = {}
        for tickets in (False, True):
            tls = ServerTLS(server_context(**self.files, tickets=tickets))
            context = SSL.Context(SSL.TLS_CLIENT_METHOD)
            context.set_max_proto_version(SSL.TLS1_2_VERSION)
            ids = []
            session = None
            for _ in range(2):
                server = tls.serverConnectionForTLS(None)  # type: ignore[arg-type]  # not looked at
                client = SSL.Connection(context, None)
                if session is not None:
                    client.set_session(session)
                shake_hands(server, client)
                session = client.get_session()
                ids.append(client.master_key())
                # What is dropped without a goodbye may not be resumed.
                client.set_shutdown(SSL.SENT_SHUTDOWN | SSL.RECEIVED_SHUTDOWN)
            resumed[tickets] = ids[0] == ids[1]
        self.assertEqual({False: False, True: True}, resumed)

    def test_old_versions(self) -> None:
        """TLS 1.1 is not spoken."""
        tls = ServerTLS(server_context(**self.files, tickets=False))
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        context.set_cipher_list(b"ALL:@SECLEVEL=0")
        context.set_min_proto_version(SSL.TLS1_VERSION)
        context.set_max_proto_version(SSL.TLS1_1_VERSION)
        client = SSL.Connection(context, None)
        server = tls.serverConnectionForTLS(None)  # type: ignore[arg-type]  # not looked at
        self.assertRaises(SSL.Error, shake_hands, server, client)

    def test_mistakes(self) -> None:
        """A missing or foreign file is named, with what is wrong."""
        empty = self.mktemp()
        Path(empty).write_text("not PEM")
        cases = {
            "missing certificate": {**self.files, "certificate": "/nonexistent/c"},
            "missing key": {**self.files, "key": "/nonexistent/k"},
            "no PEM": {**self.files, "certificate": empty},
            "mismatch": {**self.files, "key": self.others["key"]},
        }
        texts = {}
        for name, files in cases.items():
            error = self.assertRaises(CertificateError, server_context, **files, tickets=True)
            texts[name] = str(error)
        self.assertIn("/nonexistent/c: no usable certificate", texts["missing certificate"])
        self.assertIn("/nonexistent/k: no usable key", texts["missing key"])
        self.assertIn(f"{empty}: no usable certificate", texts["no PEM"])
        self.assertIn("mismatch", texts["mismatch"])
