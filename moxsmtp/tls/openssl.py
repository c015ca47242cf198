"""
What OpenSSL can do and pyOpenSSL has no words for.

All that is private of pyOpenSSL and used by us is used here.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Any

from OpenSSL import SSL, crypto

# Private, and the only way.
from OpenSSL.SSL import _ffi, _lib  # type: ignore[attr-defined]  # see above
from twisted.logger import Logger

__all__ = [
    "NameAnswer", "has_extended_master_secret", "is_resumed", "on_client_certificate",
    "on_server_name",
]  # fmt: skip

_log = Logger()


class NameAnswer(enum.Enum):
    """
    What a client is told that asked for a host (SNI).  RFC 6066 section 3.

    @cvar KNOWN: The host is here.
    @cvar IGNORED: Nothing: it sees what it gets.
    @cvar UNKNOWN: The fatal alert C{unrecognized_name}.
    """

    KNOWN = _lib.SSL_TLSEXT_ERR_OK
    IGNORED = _lib.SSL_TLSEXT_ERR_NOACK
    UNKNOWN = _lib.SSL_TLSEXT_ERR_ALERT_FATAL


def is_resumed(connection: SSL.Connection) -> bool:
    """Whether the handshake took up an earlier session."""
    return bool(_lib.SSL_session_reused(connection._ssl))  # noqa: SLF001 - see the module


def has_extended_master_secret(connection: SSL.Connection) -> bool:
    """Whether the session's secret depends on all of its handshake.  RFC 7627."""
    return bool(_lib.SSL_get_extms_support(connection._ssl) == 1)  # noqa: SLF001 - see the module


def on_server_name(context: SSL.Context, answer: Callable[[SSL.Connection], NameAnswer]) -> None:
    """
    Have C{answer} called in each handshake, also where no host is asked for.

    pyOpenSSL's own method for this cannot refuse a name.  C{context} has to live as long
    as its connections, whatever C{set_context} gives them.
    """
    mapping = SSL.Connection._reverse_mapping  # noqa: SLF001 - see the module

    def hear(ssl: Any, _alert: Any, _argument: Any) -> int:
        try:
            found = answer(mapping[ssl])
        except Exception:  # noqa: BLE001 - C would go on as if nothing had happened
            _log.failure("a host name could not be answered")
            found = NameAnswer.UNKNOWN
        value: int = found.value
        return value

    callback = _ffi.callback("int (*)(SSL *, int *, void *)", hear)
    context._tlsext_servername_callback = callback  # noqa: SLF001 - where pyOpenSSL keeps it
    _lib.SSL_CTX_set_tlsext_servername_callback(context._context, callback)  # noqa: SLF001 - see the module


def on_client_certificate(
    context: SSL.Context, is_welcome: Callable[[SSL.Connection, crypto.X509], bool]
) -> None:
    """
    Request a certificate of clients, and take the one that C{is_welcome} takes; whatever
    OpenSSL thinks of it, and of who signed it, does not count.  Who is not welcome hears the
    alert C{bad_certificate}, RFC 8446 section 6.2.

    C{is_welcome} may be asked several times in a handshake, and is not where a session is
    resumed.  pyOpenSSL's own method for this lets OpenSSL choose the alert, by what it thinks.
    """
    mapping = SSL.Connection._reverse_mapping  # noqa: SLF001 - see the module
    index = _lib.SSL_get_ex_data_X509_STORE_CTX_idx()

    def hear(_ok: int, store: Any) -> int:
        try:
            connection = mapping[_lib.X509_STORE_CTX_get_ex_data(store, index)]
            found = is_welcome(connection, _leaf(store))
        except Exception:  # noqa: BLE001 - C knows no exceptions, and nobody gets in by one
            _log.failure("a client's certificate could not be judged")
            found = False
        error = _lib.X509_V_OK if found else _lib.X509_V_ERR_CERT_REJECTED
        _lib.X509_STORE_CTX_set_error(store, error)
        return int(found)

    callback = _ffi.callback("int (*)(int, X509_STORE_CTX *)", hear)
    context._verify_callback = callback  # noqa: SLF001 - where pyOpenSSL keeps it
    _lib.SSL_CTX_set_verify(context._context, SSL.VERIFY_PEER, callback)  # noqa: SLF001 - see the module


def _leaf(store: Any) -> crypto.X509:
    """The client's own certificate, of those that it sent."""
    certificate = _lib.X509_STORE_CTX_get0_cert(store)
    _lib.X509_up_ref(certificate)
    found: crypto.X509 = crypto.X509._from_raw_x509_ptr(certificate)  # noqa: SLF001 - see the module
    return found
