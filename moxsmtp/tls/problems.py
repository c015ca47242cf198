"""
What is wrong with a server's TLS, in the words of reports.  RFC 8460 section 4.3.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from OpenSSL import SSL, crypto

from moxsmtp.names import Host
from moxsmtp.tls.identity import name_matches
from moxsmtp.tlsrpt import ResultType

__all__ = ["Problem", "certificate_problem", "handshake_problem"]

#: OpenSSL's X.509 errors that have a word of their own (X509_V_ERR_*).
_CERTIFICATE_ERRORS: Final[Mapping[int, ResultType]] = {
    9: ResultType.CERTIFICATE_EXPIRED,  # CERT_NOT_YET_VALID
    10: ResultType.CERTIFICATE_EXPIRED,  # CERT_HAS_EXPIRED
    2: ResultType.CERTIFICATE_NOT_TRUSTED,  # UNABLE_TO_GET_ISSUER_CERT
    18: ResultType.CERTIFICATE_NOT_TRUSTED,  # DEPTH_ZERO_SELF_SIGNED_CERT
    19: ResultType.CERTIFICATE_NOT_TRUSTED,  # SELF_SIGNED_CERT_IN_CHAIN
    20: ResultType.CERTIFICATE_NOT_TRUSTED,  # UNABLE_TO_GET_ISSUER_CERT_LOCALLY
    21: ResultType.CERTIFICATE_NOT_TRUSTED,  # UNABLE_TO_VERIFY_LEAF_SIGNATURE
    27: ResultType.CERTIFICATE_NOT_TRUSTED,  # CERT_UNTRUSTED
}

#: OpenSSL's words for what is no TLS at all.
_NO_RECORDS: Final = frozenset(
    {"wrong version number", "packet length too long", "record layer failure"}
)


@dataclass(frozen=True, slots=True)
class Problem:
    """@ivar reason: The C{failure-reason-code}; empty where the type says all."""

    type: ResultType
    reason: str = ""

    def __str__(self) -> str:
        return f"{self.type.value} ({self.reason})" if self.reason else self.type.value


def certificate_problem(
    errors: Sequence[tuple[int, int]], certificate: crypto.X509 | None, host: Host
) -> Problem | None:
    """
    Why a certificate is not that of C{host}, vouched for by a trusted
    authority (PKIX).  RFC 5280 section 6, RFC 9525.

    @param errors: Of OpenSSL, and how far above the server's own each is.
    @param certificate: The server's own; L{None}: it showed none.
    @return: L{None}: it is.
    """
    if certificate is None:
        return Problem(ResultType.CERTIFICATE_NOT_TRUSTED, "no-certificate")
    # Dates of what nobody vouches for say little.
    known = [_CERTIFICATE_ERRORS[code] for code, _ in errors if code in _CERTIFICATE_ERRORS]
    if ResultType.CERTIFICATE_NOT_TRUSTED in known:
        return Problem(ResultType.CERTIFICATE_NOT_TRUSTED)
    if known:
        return Problem(ResultType.CERTIFICATE_EXPIRED)
    if errors:
        return Problem(ResultType.VALIDATION_FAILURE, f"tls-x509-error-{errors[0][0]}")
    if not name_matches(certificate, host):
        return Problem(ResultType.CERTIFICATE_HOST_MISMATCH)
    return None


def handshake_problem(
    error: BaseException, alerts: Sequence[tuple[str, int]], *, timed_out: bool
) -> Problem:
    """
    Why a handshake failed.

    @param error: What ended the connection.
    @param alerts: Fatal ones, each with C{"local"} or C{"remote"}.
    """
    return Problem(ResultType.VALIDATION_FAILURE, _handshake_reason(error, alerts, timed_out))


def _handshake_reason(
    error: BaseException, alerts: Sequence[tuple[str, int]], timed_out: bool
) -> str:
    if timed_out:
        return "io-timeout-during-handshake"
    for side, number in alerts:
        if side == "remote":
            return f"tls-remote-alert-{number}"
    if not isinstance(error, SSL.Error):
        return "connection-closed-during-handshake"
    text = _openssl_words(error)
    if text in _NO_RECORDS:
        return "tls-record-header-error"
    if alerts:
        return f"tls-local-alert-{alerts[0][1]}"
    return f"tls-{text.replace(' ', '-')}" if text else "tls-error"


def _openssl_words(error: SSL.Error) -> str:
    """What OpenSSL says first: library, function and reason; the latter counts."""
    try:
        words = error.args[0][0][2]
    except (IndexError, TypeError):
        return ""
    return words if isinstance(words, str) else ""
