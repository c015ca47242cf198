"""A certificate authority of a test's own."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.peers.certificate import Certificate

__all__ = ["Authority"]

_DAY = timedelta(days=1)


class Authority:
    """@ivar file: Its certificate, for those who are to trust it."""

    def __init__(self, folder: Path, name: str = "authority") -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._count = 0
        self.file = folder / f"{name}.pem"
        certificate = self._builder(self._name, self._key).add_extension(
            x509.BasicConstraints(ca=True, path_length=None), critical=True
        )
        self.file.write_bytes(self._signed(certificate))

    def issue(self, *names: str, expired: bool = False) -> Certificate:
        """A certificate for hosts of these names."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
        builder = self._builder(subject, key, age=9 * _DAY if expired else timedelta(hours=1))
        alternatives = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
        self._count += 1
        path = self._folder / f"{self.file.stem}-{self._count}"
        made = Certificate(path.with_suffix(".pem"), path.with_suffix(".key"))
        made.file.write_bytes(self._signed(builder.add_extension(alternatives, critical=False)))
        made.key.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        made.key.chmod(0o600)
        return made

    def _builder(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        age: timedelta = timedelta(hours=1),
    ) -> x509.CertificateBuilder:
        begin = datetime.now(UTC) - age  # noqa: TID251 - certificates are judged by the real time
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(begin)
            .not_valid_after(begin + _DAY)
        )

    def _signed(self, builder: x509.CertificateBuilder) -> bytes:
        made = builder.sign(self._key, hashes.SHA256())
        return made.public_bytes(serialization.Encoding.PEM)
