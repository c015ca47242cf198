"""
TLS towards servers: one context for the process, judged by who connects.

Mail is sent under opportunistic TLS (RFC 7435): whatever the server shows is
taken, and what is wrong with it is noted.  HTTPS is strict.  Twisted's own
C{optionsForClientTLS} serves neither: with a certificate that has no
subjectAltName it accepts any name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from OpenSSL import SSL, crypto
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.protocols.tls import TLSMemoryBIOProtocol
from zope.interface import implementer

from moxsmtp.names import Domain, Host
from moxsmtp.tls.identity import name_matches

__all__ = ["OpportunisticTLS", "StrictTLS", "client_context", "name_matches"]

_OPTIONS: Final = SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION
#: Many mail servers still use 1024-bit DH parameters; clear text is no better.
_OPPORTUNISTIC_CIPHERS: Final = b"DEFAULT@SECLEVEL=1"
#: Certificates that a server's chain may have above its own; each costs a signature.
_LONGEST_CHAIN: Final = 12
#: An alert that ends the connection.  RFC 8446 section 6.2.
_FATAL: Final = 2


def client_context(*, strict: bool, certificates: str | None = None) -> SSL.Context:
    """
    A context for many connections, TLS 1.2 and later.

    @param strict: For HTTPS; else for opportunistic TLS.
    @param certificates: PEM file of the authorities to trust; L{None}: those
        of the system.
    """
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_options(_OPTIONS)
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_verify_depth(_LONGEST_CHAIN)
    if not strict:
        context.set_cipher_list(_OPPORTUNISTIC_CIPHERS)
    if certificates is None:
        context.set_default_verify_paths()
    else:
        context.load_verify_locations(certificates)
    return context


@implementer(IOpenSSLClientConnectionCreator)
class OpportunisticTLS:
    """
    Makes one connection that verifies nothing.

    @ivar errors: What was wrong with the certificates: OpenSSL's X.509 error
        and how far above the leaf.
    @ivar alerts: Fatal alerts, each with C{"local"} or C{"remote"}.
    @ivar ends: The TLS connection that was made, whose ends are those of TCP.
    """

    def __init__(
        self, context: SSL.Context, host: Host, alerted: Callable[[], None] = lambda: None
    ) -> None:
        """
        @param host: Whom we ask for, in SNI (RFC 6066 section 3: names only).
        @param alerted: Told of each fatal alert of the server.
        """
        self._context = context
        self._alerted = alerted
        self.ends: TLSMemoryBIOProtocol | None = None
        self._host = host
        self.errors: list[tuple[int, int]] = []
        self.alerts: list[tuple[str, int]] = []

    def clientConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """See C{IOpenSSLClientConnectionCreator}."""
        self.ends = tlsProtocol
        connection = _connection(self._context, self._host)
        connection.set_verify(SSL.VERIFY_PEER, self._verify)
        connection.set_info_callback(self._note)
        return connection

    def _verify(
        self, connection: SSL.Connection, certificate: crypto.X509, error: int, depth: int, ok: int
    ) -> bool:
        del connection, certificate, ok
        if error:
            self.errors.append((error, depth))
        return True

    def _note(self, connection: SSL.Connection, where: int, value: int) -> None:
        del connection
        if where & SSL.SSL_CB_ALERT and value >> 8 == _FATAL:
            side = "remote" if where & SSL.SSL_CB_READ else "local"
            self.alerts.append((side, value & 0xFF))
            if side == "remote":
                self._alerted()


@implementer(IOpenSSLClientConnectionCreator)
class StrictTLS:
    """
    Makes connections whose handshake fails unless a trusted authority vouches
    for C{host}.  RFC 9110 section 4.3.4, RFC 9525.
    """

    def __init__(self, context: SSL.Context, host: Host) -> None:
        self._context = context
        self._host = host

    def clientConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:  # noqa: ARG002 -- the interface passes it
        """See C{IOpenSSLClientConnectionCreator}."""
        connection = _connection(self._context, self._host)
        connection.set_verify(SSL.VERIFY_PEER, self._verify)
        return connection

    def _verify(
        self, connection: SSL.Connection, certificate: crypto.X509, error: int, depth: int, ok: int
    ) -> bool:
        del connection, error
        return bool(ok) and (depth > 0 or name_matches(certificate, self._host))


def _connection(context: SSL.Context, host: Host) -> SSL.Connection:
    connection = SSL.Connection(context, None)
    if isinstance(host, Domain):
        connection.set_tlsext_host_name(host.ascii.encode("ascii"))
    return connection
