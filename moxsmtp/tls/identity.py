"""Whether a certificate is that of a host.  RFC 9525."""

from __future__ import annotations

from OpenSSL import crypto
from service_identity import CertificateError, VerificationError
from service_identity.hazmat import DNS_ID, IPAddress_ID, verify_service_identity
from service_identity.pyopenssl import extract_patterns

from moxsmtp.names import AddressLiteral, Domain, Host

__all__ = ["name_matches"]


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
    except (VerificationError, CertificateError, ValueError):
        return False
    return True
