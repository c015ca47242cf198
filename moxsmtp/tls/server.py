"""
TLS towards clients: contexts made from files, and what a handshake agreed on.

A context may not change once a connection used it, so a reload builds new ones
and swaps them in; connections under way keep theirs.
"""

from __future__ import annotations

from typing import Final

from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.protocols.tls import TLSMemoryBIOProtocol
from zope.interface import implementer

__all__ = ["CertificateError", "ServerTLS", "server_context"]

_OPTIONS: Final = SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION | SSL.OP_CIPHER_SERVER_PREFERENCE


class CertificateError(ValueError):
    """A certificate and key cannot be used; the text says which and why."""


def server_context(*, certificate: str, key: str, tickets: bool) -> SSL.Context:
    """
    A context for TLS 1.2 and later (S-6).

    @param certificate: PEM file: the leaf first, then its chain.
    @param key: PEM file.
    @param tickets: Whether sessions can be resumed.  Without, the session
        cache is off too, for TLS 1.3 would resume from it.
    @raise CertificateError: A file cannot be read, or they do not belong together.
    """
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_options(_OPTIONS)
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    context.set_session_id(b"moxsmtp")
    if not tickets:
        context.set_options(SSL.OP_NO_TICKET)
        context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    try:
        context.use_certificate_chain_file(certificate)
    except (SSL.Error, OSError) as error:
        raise CertificateError(f"{certificate}: no usable certificate: {_why(error)}") from None
    try:
        context.use_privatekey_file(key)
        context.check_privatekey()
    except (SSL.Error, OSError) as error:
        raise CertificateError(f"{key}: no usable key for {certificate}: {_why(error)}") from None
    return context


def _why(error: Exception) -> str:
    if isinstance(error, OSError):
        return error.strerror or "cannot be read"
    # OpenSSL's errors are lists of (library, function, reason).
    reasons = [entry[2] for entry in error.args[0]] if error.args else []
    return ", ".join(reason for reason in reasons if reason) or "not PEM"


@implementer(IOpenSSLServerConnectionCreator)
class ServerTLS:
    """
    Makes the server's end of TLS connections for one socket.

    Without SNI, and for any name, the listener's certificate is served: with
    certificates from files strict and fallback are the same (S-5).
    """

    def __init__(self, context: SSL.Context) -> None:
        self._context = context

    def replace(self, context: SSL.Context) -> None:
        """Serve new connections with another certificate."""
        self._context = context

    def serverConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:  # noqa: ARG002 - the interface passes it
        """Called by Twisted for each connection."""
        return SSL.Connection(self._context, None)
