"""Certificates in files, and handshakes in memory."""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID
from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator

__all__ = [
    "Pair", "client_context", "made_pair", "meet", "resumable", "served_name",
    "shake_hands",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Pair:
    """@ivar public: SubjectPublicKeyInfo in DER."""

    certificate: str
    key: str
    names: Sequence[str] = ()
    public: bytes = b""


def made_pair(
    folder: str,
    subject: str,
    *hosts: str,
    rsa_bits: int = 0,
    names: Sequence[str] = (),
    own_key: ec.EllipticCurvePrivateKey | None = None,
    issuer: tuple[str, ec.EllipticCurvePrivateKey] | None = None,
) -> Pair:
    """
    A key of its own and a certificate for C{hosts}, as files.

    @param subject: Its common name, and the name of the files.
    @param issuer: Who signs it, by name and key; L{None}: it does so itself.
    @param names: Of the pair itself; see L{moxsmtp.tls.certificates.KeyPair}.
    """
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
    if own_key is not None:
        key = own_key
    elif rsa_bits:
        key = rsa.generate_private_key(65537, rsa_bits)
    else:
        key = ec.generate_private_key(ec.SECP256R1())
    name = _named(subject)
    start = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name if issuer is None else _named(issuer[0]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + dt.timedelta(days=36500))
    )
    if hosts:
        extension = x509.SubjectAlternativeName([x509.DNSName(host) for host in hosts])
        builder = builder.add_extension(extension, critical=False)
    made = builder.sign(key if issuer is None else issuer[1], hashes.SHA256())
    Path(folder).mkdir(exist_ok=True)
    pair = Pair(
        f"{folder}/{subject}.crt",
        f"{folder}/{subject}.key",
        names,
        key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
    )
    Path(pair.certificate).write_bytes(made.public_bytes(Encoding.PEM))
    Path(pair.key).write_bytes(
        key.private_bytes(
            Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return pair


def _named(subject: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)])


def client_context(
    version: int | None = None, *, ciphers: bytes = b"", pair: Pair | None = None
) -> SSL.Context:
    """
    One that trusts everybody.

    @param version: The only one spoken; L{None}: any.
    @param pair: The client's own certificate.
    """
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    if version is not None:
        context.set_min_proto_version(version)
        context.set_max_proto_version(version)
    if ciphers:
        context.set_cipher_list(ciphers)
    if pair is not None:
        context.use_certificate_file(pair.certificate)
        context.use_privatekey_file(pair.key)
    return context


def shake_hands(server: SSL.Connection, client: SSL.Connection) -> None:
    """
    Carry octets between two ends in memory until both are content.

    @raise SSL.Error: They are not: that of the client, if it heard an alert.
    """
    server.set_accept_state()
    client.set_connect_state()
    done: set[SSL.Connection] = set()
    failure: SSL.Error | None = None
    for _ in range(10):
        for end, other in ((client, server), (server, client)):
            try:
                end.do_handshake()
                done.add(end)
            except SSL.WantReadError:
                pass
            except SSL.Error as error:
                failure = error
            with contextlib.suppress(SSL.WantReadError):
                other.bio_write(end.bio_read(65536))
        if failure is not None and client not in done:
            with contextlib.suppress(SSL.WantReadError):
                client.do_handshake()
            raise failure
        if len(done) == 2:
            return
    raise AssertionError("the handshake never ended")


def meet(
    creator: IOpenSSLServerConnectionCreator,
    context: SSL.Context,
    *,
    sni: bytes | None = None,
    session: SSL.Session | None = None,
    behind: object = None,
) -> tuple[SSL.Connection, SSL.Connection]:
    """
    A handshake.  @return: The server's end and the client's.

    @param behind: Passed for Twisted's protocol for TLS.
    @raise SSL.Error: There is none.
    """
    server = creator.serverConnectionForTLS(behind)  # type: ignore[arg-type]  # hardly looked at
    client = SSL.Connection(context, None)
    if sni is not None:
        client.set_tlsext_host_name(sni)
    if session is not None:
        client.set_session(session)
    shake_hands(server, client)
    # Tickets of TLS 1.3 follow the handshake.
    with contextlib.suppress(SSL.WantReadError):
        client.read(1)
    return server, client


def resumable(client: SSL.Connection) -> SSL.Session:
    """The session of a client that hangs up as it should."""
    session = client.get_session()
    assert session is not None
    # What is dropped without a goodbye may not be resumed.
    client.set_shutdown(SSL.SENT_SHUTDOWN | SSL.RECEIVED_SHUTDOWN)
    return session


def served_name(client: SSL.Connection) -> str:
    """The common name of the certificate that a client was shown."""
    certificate = client.get_peer_certificate(as_cryptography=True)
    assert certificate is not None
    return str(certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)
