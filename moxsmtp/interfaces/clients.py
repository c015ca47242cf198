"""Who talks to us."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

from zope.interface import Interface

from moxsmtp.names import Host, IPAddress

__all__ = ["ChannelBinding", "Client", "Hello", "IKeyJudge", "Login", "Role", "TLSInfo"]


class Role(enum.StrEnum):
    """What a listening socket is for."""

    SMTP = "smtp"
    SUBMISSION = "submission"
    SUBMISSIONS = "submissions"

    @property
    def is_submission(self) -> bool:
        """Whether users hand in mail here (RFC 6409), with TLS from the start or not."""
        return self is not Role.SMTP


@dataclass(frozen=True, slots=True)
class ChannelBinding:
    """
    What only the two ends of a TLS connection know of it.  RFC 5056.

    @ivar type: C{tls-unique} (RFC 5929 section 3) or C{tls-exporter} (RFC 9266).
    @ivar data: Never to be shown.
    """

    type: str
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class TLSInfo:
    """
    What a handshake agreed on.

    @ivar version: C{TLS1.2} or C{TLS1.3}; C{TLS1.0} and C{TLS1.1} where they
        are allowed.
    @ivar cipher: The IANA name of the cipher suite.
    @ivar channel_binding: L{None} where there is none that can be trusted: a
        session of TLS 1.2 or older, resumed without extended master secret
        (RFC 7627).
    @ivar client_key: Of the client's certificate: SHA-256 of the
        SubjectPublicKeyInfo as it was sent, in base64url without padding (43
        characters); empty if there is no certificate.  Nobody has vouched for it.
    @ivar sni: The host that the client asked for, as lower-case A-labels; empty
        if it named none, or no domain.
    @ivar resumed: The session is that of an earlier connection, its client's
        certificate too.
    """

    version: str
    cipher: str
    channel_binding: ChannelBinding | None = None
    client_key: str = ""
    sni: str = ""
    resumed: bool = False


@dataclass(frozen=True, slots=True)
class Login:
    """@ivar address: What the user logged in with, as an address in Unicode."""

    account: str
    address: str


@dataclass(frozen=True, slots=True)
class Hello:
    """@ivar extended: EHLO, not HELO.  @ivar name: L{None} if it was ignored (S-29)."""

    name: Host | None
    extended: bool


@dataclass(frozen=True, slots=True)
class Client:
    """
    The other end of a session, as far as it is known by now.

    @ivar session_id: The connection's number, 64 bits (S-9).
    @ivar login: Who hands in mail: by SASL, else by certificate.
    @ivar certificate: Who the key of the TLS certificate is registered for (S-37).
    """

    session_id: int
    role: Role
    address: IPAddress
    local_address: IPAddress
    hello: Hello | None = None
    tls: TLSInfo | None = None
    login: Login | None = None
    certificate: Login | None = None


class IKeyJudge(Interface):
    """
    The protocol of a connection, where it has an opinion of the key of a TLS client
    certificate before the handshake is done.
    """

    def is_welcome(client_key: str) -> bool:
        """
        Whether the handshake may go on.  Asked at most once a connection, and not
        where a session is resumed; that the client has the private key may not be
        proven yet.  It answers at once: nothing else goes on meanwhile.

        @param client_key: As L{TLSInfo.client_key}.
        @return: C{False}: the client hears the alert C{bad_certificate}.
        """
