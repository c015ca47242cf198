"""Whether a certificate is that of a host.  RFC 9525."""

from __future__ import annotations

from typing import Final

from cryptography import x509
from OpenSSL import crypto
from service_identity import CertificateError, VerificationError
from service_identity.hazmat import DNS_ID, IPAddress_ID, verify_service_identity
from service_identity.pyopenssl import extract_patterns

from moxsmtp.names import AddressLiteral, Domain, Host

__all__ = ["UNREADABLE", "name_matches"]

#: What reading a certificate raises that OpenSSL takes, but that no authority would issue.
UNREADABLE: Final = (
    ValueError,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)


def name_matches(certificate: crypto.X509, host: Host) -> bool:
    """Whether the certificate's subjectAltName has C{host}; nothing else counts."""
    wanted: DNS_ID | IPAddress_ID
    match host:
        case Domain(ascii=name):
            wanted = DNS_ID(name)
        case AddressLiteral(address=address):
            wanted = IPAddress_ID(address)
    try:
        verify_service_identity(extract_patterns(certificate), [wanted], [])
    except (VerificationError, CertificateError, *UNREADABLE):
        return False
    return True
