"""
What listeners obey.  Loaded by C{moxsmtp.config}; every default is stated in
C{docs/moxsmtp.toml} too, and a test compares them.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from datetime import timedelta
from ipaddress import IPv4Network, IPv6Network
from typing import Final

from moxsmtp.names import Domain, IPAddress

__all__ = [
    "MAXIMUM_MESSAGE_SIZE", "DelaySettings", "ListenerSettings", "ProxySettings",
    "ServiceSettings", "SubmissionSettings", "TLSFiles", "TLSSettings", "TLSVersion",
    "TimeLimits", "UnknownName",
]  # fmt: skip

#: Octets; S-3.
MAXIMUM_MESSAGE_SIZE: Final = 104_857_600


class TLSVersion(enum.StrEnum):
    """Of the protocol."""

    V1_0 = "1.0"
    V1_1 = "1.1"
    V1_2 = "1.2"
    V1_3 = "1.3"


class UnknownName(enum.StrEnum):
    """What becomes of who asks for a host that no certificate is there for (S-5)."""

    FALLBACK = "fallback"
    STRICT = "strict"


@dataclass(frozen=True, slots=True)
class TLSFiles:
    """
    PEM files: the certificate with its chain, leaf first, and its key.

    @ivar names: Hosts that it is shown for, with or without C{*.} in front;
        empty: those in the certificate.
    """

    certificate: str
    key: str
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TLSSettings(TLSFiles):
    """
    TLS of a listener (S-4 to S-8).

    @ivar other: More certificates: of other names, or of another kind of key.
    @ivar sni: For submission and submissions; on port 25 unknown names are
        always fallen back from (S-4).
    @ivar minimum_version: The oldest one spoken (S-6).
    @ivar client_certificates: Submission and submissions request one (S-36).
    """

    other: tuple[TLSFiles, ...] = ()
    sni: UnknownName = UnknownName.FALLBACK
    minimum_version: TLSVersion = TLSVersion.V1_2
    client_certificates: bool = True

    @property
    def pairs(self) -> tuple[TLSFiles, ...]:
        """All certificates."""
        return (TLSFiles(self.certificate, self.key, self.names), *self.other)


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeLimits:
    """
    How long a peer is waited for (S-16, RFC 5321 section 4.5.3.2).

    @ivar command: For the next command.
    @ivar command_busy: The same once more than half of the listener's
        connections are in use.
    @ivar data_block: For more of a message.
    @ivar data: For the whole of DATA, its processing included.
    @ivar write: For a peer to take what we write.
    """

    command: timedelta = timedelta(minutes=5)
    command_busy: timedelta = timedelta(seconds=30)
    data_block: timedelta = timedelta(minutes=3)
    data: timedelta = timedelta(minutes=30)
    write: timedelta = timedelta(seconds=30)
    tls_handshake: timedelta = timedelta(seconds=60)


@dataclass(frozen=True, slots=True, kw_only=True)
class DelaySettings:
    """
    How long those are kept waiting who give trouble (S-17); none of it outlasts
    the server.

    @ivar slow_client: Between two octets to a client that is served slowly,
        and before each read from it.
    @ivar authentication: For each failure to log in beyond the third (S-42).
    @ivar unknown_recipient: Before mail for nobody is refused.
    """

    slow_client: timedelta = timedelta(seconds=1)
    authentication: timedelta = timedelta(seconds=1)
    unknown_recipient: timedelta = timedelta(seconds=5)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxySettings:
    """
    Proxies in front of a listener.

    @ivar networks: From these, each connection begins with a header of the
        PROXY protocol; from others it never does.
    """

    networks: tuple[IPv4Network | IPv6Network, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSettings:
    """
    Port 25 of a listener (S-1, S-4).

    @ivar require_starttls: RCPT is refused without TLS.
    @ivar no_starttls: STARTTLS is not offered even where TLS is configured (S-8).
    @ivar session_tickets: Sessions of TLS can be resumed (S-4).
    @ivar no_require_tls: REQUIRETLS is not offered (S-4).
    @ivar greeting_delay: Before the greeting, to see who cannot wait for it.
    @ivar dnsbls: Lists of addresses (DNSBL), in the order in which they are
        asked (I-72); by whoever judges a message, and never before.
    @ivar no_checks: Who comes here has been checked by a filter or another
        mail server in front, and is asked nothing of the DNS.
    """

    enabled: bool = False
    port: int = 25
    require_starttls: bool = False
    no_starttls: bool = False
    session_tickets: bool = False
    no_require_tls: bool = False
    greeting_delay: timedelta = timedelta()
    dnsbls: tuple[Domain, ...] = ()
    no_checks: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmissionSettings:
    """
    Port 587 or 465 of a listener (S-1, S-4).

    @ivar no_require_starttls: Port 587 only: logging in and sending is
        possible in clear text.
    """

    enabled: bool = False
    port: int = 0
    no_require_starttls: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerSettings:
    """
    A named set of addresses with up to three services on each (S-1).

    @ivar hostname: Announced in greeting and EHLO; empty: the global one (S-2).
    @ivar max_message_size: Octets; 0 means L{MAXIMUM_MESSAGE_SIZE} (S-3).
    @ivar max_connections: Open at once, over all of its sockets.
    """

    name: str
    addresses: tuple[IPAddress, ...]
    hostname: str = ""
    max_message_size: int = 0
    max_connections: int = 1000
    tls: TLSSettings | None = None
    smtp: ServiceSettings = field(default_factory=ServiceSettings)
    submission: SubmissionSettings = field(default_factory=lambda: SubmissionSettings(port=587))
    submissions: SubmissionSettings = field(default_factory=lambda: SubmissionSettings(port=465))
    limits: TimeLimits = field(default_factory=TimeLimits)
    proxy: ProxySettings = field(default_factory=ProxySettings)
