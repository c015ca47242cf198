"""Why a TLS handshake with a client failed, in the words of the metric (S-114)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from OpenSSL import SSL

__all__ = ["handshake_failure", "handshake_trouble"]

# RFC 8446 section 6; OpenSSL tells alerts by text only.
_ALERTS: Final[Mapping[str, tuple[int, str]]] = {
    "close notify": (0, "close-notify"),
    "unexpected message": (10, "unexpected-message"),
    "bad record mac": (20, "bad-record-mac"),
    "record overflow": (22, "record-overflow"),
    "handshake failure": (40, "handshake-failure"),
    "no certificate": (41, "no-certificate"),
    "bad certificate": (42, "bad-certificate"),
    "unsupported certificate": (43, "unsupported-certificate"),
    "certificate revoked": (44, "certificate-revoked"),
    "certificate expired": (45, "certificate-expired"),
    "certificate unknown": (46, "certificate-unknown"),
    "illegal parameter": (47, "illegal-parameter"),
    "unknown ca": (48, "unknown-ca"),
    "access denied": (49, "access-denied"),
    "decode error": (50, "decode-error"),
    "decrypt error": (51, "decrypt-error"),
    "protocol version": (70, "protocol-version"),
    "insufficient security": (71, "insufficient-security"),
    "internal error": (80, "internal-error"),
    "inappropriate fallback": (86, "inappropriate-fallback"),
    "user cancelled": (90, "user-canceled"),
    "no renegotiation": (100, "no-renegotiation"),
    "missing extension": (109, "missing-extension"),
    "unsupported extension": (110, "unsupported-extension"),
    "certificate unobtainable": (111, "certificate-unobtainable"),
    "unrecognized name": (112, "unrecognized-name"),
    "bad certificate status response": (113, "bad-certificate-status-response"),
    "certificate required": (116, "certificate-required"),
    "no application protocol": (120, "no-application-protocol"),
}

# What OpenSSL says when the first octets are not those of a TLS record.
_NO_TLS: Final = frozenset(
    {"http request", "https proxy request", "wrong version number", "packet length too long",
     "record layer failure", "wrong ssl version"}
)  # fmt: skip
#: What our own end says of SSL 2, whose ClientHello OpenSSL takes for no TLS.
_SSL2: Final = "ssl2 client hello"
_VERSIONS: Final = frozenset(
    {"unsupported protocol", "no protocols available", "version too low", "unknown protocol"}
)


# "tlsv1 alert unknown ca", "tlsv1 unrecognized name"; OpenSSL 3 says "ssl/tls alert bad
# certificate" and OpenSSL 4 "tls alert bad certificate".
_ALERT = re.compile(r"(?:sslv3|tlsv1|tlsv13|ssl/tls|tls) (?:alert )?([a-z ]+)")


def handshake_failure(error: BaseException | None) -> str:
    """
    C{eof}, C{nottls}, C{sslv2}, C{unsupportedversions},
    C{alert-<number>-<name>} for one that the client sent, or C{other}.
    """
    if not isinstance(error, SSL.Error) or isinstance(error, SSL.SysCallError):
        return "eof"
    reasons = _reasons(error)
    if any("unexpected eof" in reason for reason in reasons):
        return "eof"
    return next(filter(None, map(_word, reasons)), "other")


def handshake_trouble(error: BaseException | None) -> str:
    """The same for people: what OpenSSL has to say of it."""
    word = handshake_failure(error)
    details = ", ".join(_reasons(error))
    return f"{word} ({details})" if details else word


def _reasons(error: BaseException | None) -> Sequence[str]:
    """OpenSSL's errors are lists of (library, function, reason)."""
    if not isinstance(error, SSL.Error) or not error.args or not isinstance(error.args[0], list):
        return ()
    return [entry[2] for entry in error.args[0] if entry[2]]


def _word(reason: str) -> str:
    """Empty: it means nothing to us."""
    if reason in _NO_TLS:
        return "nottls"
    if reason == _SSL2:
        return "sslv2"
    if reason in _VERSIONS:
        return "unsupportedversions"
    alert = _ALERT.fullmatch(reason)
    if alert is None or alert[1] not in _ALERTS:
        return ""
    number, name = _ALERTS[alert[1]]
    return f"alert-{number}-{name}"
