"""Files that the configuration names: certificates, keys, secrets."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509 import load_pem_x509_certificates

from moxsmtp.config.mistakes import Findings, KeyPath
from moxsmtp.receive.settings import TLSFiles

__all__ = [
    "check_authorities", "check_tls", "content", "password", "secret", "warn_of_readers",
]  # fmt: skip

#: Octets read of a file at most; certificates and secrets are far smaller.
_LIMIT = 1024 * 1024


def content(name: str, fail: Callable[[str], None]) -> bytes | None:
    """What is in a file, or the first MiB of it; L{None}: C{fail} has heard why not."""
    try:
        with Path(name).open("rb") as file:
            return file.read(_LIMIT)
    except OSError as error:
        fail(f"cannot read {name}: {error.strerror or error}")
        return None


def check_tls(files: TLSFiles, at: KeyPath, findings: Findings) -> None:
    """Certificate and key can be read and belong together."""
    chain = content(files.certificate, lambda text: findings.add((*at, "certificate"), text))
    pem = content(files.key, lambda text: findings.add((*at, "key"), text))
    certificate = key = None
    if chain is not None:
        try:
            certificate = load_pem_x509_certificates(chain)[0].public_key()
        except ValueError:
            text = f"{files.certificate} holds no PEM certificate; give one, its chain behind it"
            findings.add((*at, "certificate"), text)
    if pem is not None:
        try:
            key = _working(pem).public_key()
        except TypeError:
            findings.add((*at, "key"), f"{files.key} has a pass phrase; give the key without one")
        except ValueError:
            findings.add((*at, "key"), f"{files.key} holds no PEM private key")
        except InvalidSignature:
            findings.add((*at, "key"), f"{files.key} is damaged: what it signs is not valid")
    if certificate is None or key is None:
        return
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if certificate.public_bytes(*form) != key.public_bytes(*form):
        text = f"is not the key of the first certificate in {files.certificate}"
        findings.add((*at, "key"), text)


def _working(pem: bytes) -> PrivateKeyTypes:
    """
    A private key.

    @raise InvalidSignature: It is none in effect.
    """
    # To prove that the parts of an RSA key are prime takes forty times as long as to
    # use it, which shows whether they belong together.
    key = load_pem_private_key(pem, password=None, unsafe_skip_rsa_key_validation=True)
    if isinstance(key, RSAPrivateKey):
        made = key.sign(b"", PKCS1v15(), SHA256())
        key.public_key().verify(made, b"", PKCS1v15(), SHA256())
    return key


def check_authorities(name: str, at: KeyPath, findings: Findings) -> None:
    """Certificates can be read from a file."""
    pem = content(name, lambda text: findings.add(at, text))
    if pem is None:
        return
    try:
        load_pem_x509_certificates(pem)
    except ValueError:
        findings.add(at, f"{name} holds no PEM certificates; give those of the authorities")


def warn_of_readers(name: str, at: KeyPath, findings: Findings) -> None:
    """A warning if others than its owner may read a file."""
    try:
        mode = Path(name).stat().st_mode
    except OSError:  # gone since it was read
        return
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        findings.warn(at, f"others may read {name}; chmod 600 it")


def secret(name: str, at: KeyPath, findings: Findings) -> str:
    """
    The first line of a file.  A warning if others than its owner may read it.

    @return: Empty if there is none, which is reported.
    """
    text = _first_line(name, at, findings)
    if text is not None and not (text and text.isascii() and text.isprintable()):
        findings.add(at, f"the first line of {name} is no header value in ASCII")
        return ""
    return text or ""


def password(name: str, at: KeyPath, findings: Findings) -> str:
    """Likewise, but it may have any characters that can be typed."""
    text = _first_line(name, at, findings)
    if text is not None and not (text and text.isprintable()):
        findings.add(at, f"the first line of {name} is no password in UTF-8")
        return ""
    return text or ""


def _first_line(name: str, at: KeyPath, findings: Findings) -> str | None:
    """L{None}: it cannot be read, which is reported; empty: nothing that is UTF-8."""
    octets = content(name, lambda text: findings.add(at, text))
    if octets is None:
        return None
    warn_of_readers(name, at, findings)
    try:
        return (octets.splitlines() or [b""])[0].decode("utf-8").strip()
    except UnicodeDecodeError:
        return ""
