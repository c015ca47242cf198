"""Certificates below authorities of the test's own."""

from __future__ import annotations

import datetime as dt
import functools
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier
from OpenSSL import SSL, crypto

__all__ = ["CLIENTS_ONLY", "NOW", "Issued", "issue", "server_context"]

#: A time at which what L{issue} makes is valid, if nothing else is said.
NOW = dt.datetime(2026, 6, 1, tzinfo=dt.UTC)

#: For an extended key usage.
CLIENTS_ONLY = (ExtendedKeyUsageOID.CLIENT_AUTH,)

_numbers = itertools.count(1)


@dataclass(frozen=True, eq=False)
class Issued:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @functools.cached_property
    def der(self) -> bytes:
        """The certificate."""
        return self.certificate.public_bytes(serialization.Encoding.DER)

    @functools.cached_property
    def pem(self) -> bytes:
        """The certificate."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @functools.cached_property
    def public(self) -> bytes:
        """SubjectPublicKeyInfo in DER."""
        return self.key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )


def issue(
    *names: str,
    by: Issued | None = None,
    is_authority: bool = False,
    subject: str = "",
    ends: dt.datetime = NOW + dt.timedelta(days=36_500),
    usages: Sequence[ObjectIdentifier] = (),
) -> Issued:
    """
    Make one.

    @param names: In its subjectAltName; none: it has none.
    @param by: Who signs; L{None}: it signs itself.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    named = x509.Name(
        [x509.NameAttribute(NameOID.COMMON_NAME, subject or f"number {next(_numbers)}")]
    )
    builder = (
        x509.CertificateBuilder()
        .subject_name(named)
        .issuer_name(named if by is None else by.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(dt.datetime(2020, 1, 1, tzinfo=dt.UTC))
        .not_valid_after(ends)
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
    )
    if names:
        builder = builder.add_extension(
            x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False
        )
    if usages:
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
    return Issued(builder.sign(key if by is None else by.key, hashes.SHA256()), key)


def server_context(leaf: Issued, *above: Issued) -> SSL.Context:
    """Of a server that shows these."""
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.use_certificate(crypto.X509.from_cryptography(leaf.certificate))
    context.use_privatekey(crypto.PKey.from_cryptography_key(leaf.key))
    for each in above:
        context.add_extra_chain_cert(crypto.X509.from_cryptography(each.certificate))
    return context
