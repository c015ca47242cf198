"""
TLS towards clients: what one socket does in its handshakes.

A context may not change once a connection used it, so a reload builds new ones
and swaps them in; connections under way keep theirs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from OpenSSL import SSL, crypto
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.protocols.tls import TLSMemoryBIOProtocol
from zope.interface import implementer

from moxsmtp.interfaces import IKeyJudge
from moxsmtp.names import Domain, InvalidName
from moxsmtp.tls.certificates import CertificateError, Certificates, KeyPair, use_pair
from moxsmtp.tls.ciphers import asked_for
from moxsmtp.tls.client_key import certificate_key
from moxsmtp.tls.openssl import NameAnswer, on_client_certificate, on_server_name

__all__ = ["VERSIONS", "CertificateError", "Manners", "ServerTLS"]

_OPTIONS: Final = SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION | SSL.OP_CIPHER_SERVER_PREFERENCE

#: The versions that can be the oldest one spoken (S-6).
VERSIONS: Final = {
    "1.0": SSL.TLS1_VERSION,
    "1.1": SSL.TLS1_1_VERSION,
    "1.2": SSL.TLS1_2_VERSION,
    "1.3": SSL.TLS1_3_VERSION,
}

#: TLS 1.0 and 1.1 sign with MD5 and SHA-1, which OpenSSL does at level 0 only.
_OLD_CIPHERS: Final = b"DEFAULT@SECLEVEL=0"

#: What OpenSSL says of octets that are no TLS record, and what we say of those
#: that are a ClientHello of SSL 2 (RFC 5246 appendix E.2).
_NO_RECORD: Final = "wrong version number"
_SSL2: Final = "ssl2 client hello"


@dataclass(frozen=True, slots=True, kw_only=True)
class Manners:
    """
    How a socket shakes hands (S-4, S-6).

    @ivar minimum_version: A key of L{VERSIONS}.
    @ivar tickets: Sessions can be resumed.
    @ivar asks_client: A certificate is requested of clients, who need none
        (S-36).  One that is shown is judged by whoever is behind the connection,
        if that is an L{IKeyJudge} (S-37); else any is taken.
    @ivar strict: Who asks for a name that we have no certificate for is refused
        (S-5).
    """

    minimum_version: str = "1.2"
    tickets: bool = False
    asks_client: bool = False
    strict: bool = False


def _new_context(minimum_version: str) -> SSL.Context:
    """What holds for every context, those chosen by name too."""
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(VERSIONS[minimum_version])
    context.set_options(_OPTIONS)
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    # Tickets are all that sessions are resumed from: a cache of ours would
    # grow with the clients, and TLS 1.3 would resume from it where tickets are
    # off (T-13).
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_session_id(b"moxsmtp")
    if VERSIONS[minimum_version] < SSL.TLS1_2_VERSION:
        context.set_cipher_list(_OLD_CIPHERS)
    return context


def _is_welcome(connection: SSL.Connection, certificate: crypto.X509) -> bool:
    """A client's certificate is only a key (S-36); that it has the key, OpenSSL sees."""
    if not isinstance(connection, _Connection) or connection.judge is None:
        return True
    if connection.is_welcome is None:
        connection.is_welcome = connection.judge.is_welcome(certificate_key(certificate))
    return connection.is_welcome


class _Connection(SSL.Connection):
    """
    The server's end of one connection.

    @ivar store: Kept as long as the connection: its callback is in use.
    @ivar judge: Says what to think of the client's key; L{None}: nobody does.
    @ivar is_welcome: What it said, being asked once.
    @ivar refused: The host that was asked for in vain.
    """

    def __init__(self, store: _Store, judge: IKeyJudge | None) -> None:
        super().__init__(store.base, None)
        self.store = store
        self.judge = judge
        self.is_welcome: bool | None = None
        self.refused: bytes | None = None
        self._first = b""

    def bio_write(self, buf: bytes | bytearray | memoryview[int]) -> int:
        """Take octets from the peer."""
        if len(self._first) < 3:
            self._first += bytes(buf[:3])
        return super().bio_write(buf)

    def recv(self, bufsiz: int, flags: int | None = None) -> bytes:
        """
        Read what the peer has said.

        @raise SSL.Error: One that knows nothing of this connection: Twisted keeps what an
            abrupt end raises, until garbage is collected, and with it 50 KiB of OpenSSL's.
        """
        try:
            return super().recv(bufsiz, flags)
        except SSL.SysCallError as error:
            del self
            raise error.with_traceback(None)  # noqa: B904 - it is the same one

    def do_handshake(self) -> None:
        """Go on with the handshake, and say why it fails where OpenSSL does not know."""
        try:
            super().do_handshake()
        except SSL.WantReadError:
            raise
        except SSL.Error as error:
            reasons = {entry[2] for entry in error.args[0]} if error.args else set()
            if self.refused is not None:
                name = ascii(self.refused)[1:]
                raise SSL.Error([("", "", f"no certificate is for the host {name}")]) from None
            if _NO_RECORD in reasons and self._is_ssl2():
                raise SSL.Error([("", "", _SSL2)]) from None
            raise

    def _is_ssl2(self) -> bool:
        """Whether it began with a ClientHello of SSL 2 (S-114)."""
        return len(self._first) > 2 and bool(self._first[0] & 0x80) and self._first[2] == 1


class _Store:
    """
    The certificates of a socket, and the context that its connections begin with.

    @ivar base: Tickets, versions and the request for a certificate are always
        its; another context, chosen by name, gives its certificates only.
    """

    def __init__(self, pairs: Sequence[KeyPair], host: Domain, manners: Manners) -> None:
        self.is_strict = manners.strict
        self._certificates = Certificates(
            pairs, host, lambda: _new_context(manners.minimum_version)
        )
        self.base = _new_context(manners.minimum_version)
        if not manners.tickets:
            self.base.set_options(SSL.OP_NO_TICKET)
        if manners.asks_client:
            on_client_certificate(self.base, _is_welcome)
            # Nobody vouches for it, so its chain is not followed.
            self.base.set_verify_depth(0)
        for pair in self._certificates.standard:
            use_pair(self.base, pair)
        on_server_name(self.base, self._answer)

    def _answer(self, connection: SSL.Connection) -> NameAnswer:
        """S-5."""
        try:
            host = asked_for(connection)
        except InvalidName:
            return self._unknown(connection)
        if host is None:
            return NameAnswer.IGNORED
        context = self._certificates.context_for(host)
        if context is None:
            return self._unknown(connection)
        connection.set_context(context)
        return NameAnswer.KNOWN

    def _unknown(self, connection: SSL.Connection) -> NameAnswer:
        if not self.is_strict:
            return NameAnswer.IGNORED
        if isinstance(connection, _Connection):
            connection.refused = connection.get_servername()
        return NameAnswer.UNKNOWN


@implementer(IOpenSSLServerConnectionCreator)
class ServerTLS:
    """
    Makes the server's end of TLS connections for one socket, whose ticket keys
    are its own (S-7).
    """

    def __init__(self, pairs: Sequence[KeyPair], host: Domain, manners: Manners) -> None:
        """
        @param pairs: At least one certificate.
        @param host: Whose certificate is shown to those who ask for no name.
        @raise CertificateError: One cannot be used.
        """
        self._given = pairs, host, manners
        self._store = _Store(pairs, host, manners)

    def renewed(self) -> ServerTLS:
        """
        The same with new ticket keys, its files read again; see L{obey}.

        @raise CertificateError: They cannot be used any more.
        """
        return ServerTLS(*self._given)

    def obey(self, other: ServerTLS) -> None:
        """Let the connections to come be as those of C{other}, which is used up."""
        self._given, self._store = other._given, other._store

    def serverConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol | Any) -> SSL.Connection:
        """Called by Twisted for each connection."""
        behind = getattr(tlsProtocol, "wrappedProtocol", None)
        return _Connection(self._store, behind if IKeyJudge.providedBy(behind) else None)
