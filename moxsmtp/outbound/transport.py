"""
By which ways mail may leave, and for what: transports and routes (Q-43).

A B{transport} says how the next hop is reached; a B{route} says which mail
takes which transport.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Final

from moxsmtp.names import Domain, Host, IPAddress

__all__ = [
    "DEFAULT_MECHANISMS", "DIRECT", "Direct", "Fail", "Families", "Route", "Smarthost",
    "SmarthostTLS", "Socks", "Transport", "is_transport_name",
]  # fmt: skip

#: In the order in which they are wanted, the password never sent (Q-44).
DEFAULT_MECHANISMS: Final = (
    "SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-1", "CRAM-MD5",
)  # fmt: skip


class Families(enum.StrEnum):
    """Which addresses of a host are connected to."""

    BOTH = "both"
    IPV4 = "ipv4"
    IPV6 = "ipv6"

    def admits(self, address: IPAddress) -> bool:
        """Whether an address is of these."""
        return self is Families.BOTH or self is (
            Families.IPV4 if address.version == 4 else Families.IPV6
        )


@dataclass(frozen=True, slots=True)
class Direct:
    """To the mail servers of the recipient's domain.  @ivar name: Empty: by default."""

    name: str = ""
    families: Families = Families.BOTH


#: What is done where no route says otherwise.
DIRECT: Final = Direct()


@dataclass(frozen=True, slots=True)
class Socks:
    """
    As L{Direct}, but connections are made by a SOCKS5 proxy.  RFC 1928.

    @ivar address: Of the proxy.
    @ivar remote_hostname: Of the host that the proxy is on, as EHLO says it.
    @ivar ipv4: From which the proxy connects, as it was configured: told to
        whoever compares them with an SPF record, and bound to nothing here.
    @ivar ipv6: Likewise.
    """

    name: str
    address: Host
    port: int
    remote_hostname: Domain
    ipv4: tuple[IPAddress, ...] = ()
    ipv6: tuple[IPAddress, ...] = ()


class SmarthostTLS(enum.StrEnum):
    """How much a smarthost's TLS is worth."""

    #: From the first octet, the certificate verified.
    IMMEDIATE = "immediate"
    #: STARTTLS is always issued, the certificate verified.
    STARTTLS = "starttls"
    #: STARTTLS is always issued, nothing verified.
    STARTTLS_UNVERIFIED = "starttls-unverified"
    #: In the clear.
    NONE = "none"

    @property
    def port(self) -> int:
        """Where such a service usually listens."""
        return 465 if self is SmarthostTLS.IMMEDIATE else 587

    @property
    def is_verified(self) -> bool:
        """The certificate has to be that of the host (PKIX)."""
        return self in {SmarthostTLS.IMMEDIATE, SmarthostTLS.STARTTLS}


@dataclass(frozen=True, slots=True)
class Smarthost:
    """
    Everything goes to one server, that delivers it.

    @ivar username: Empty: without logging in.
    @ivar mechanisms: Of SASL, the one most wanted first; by their names.
    """

    name: str
    host: Host
    port: int
    tls: SmarthostTLS
    username: str = ""
    password: str = field(default="", repr=False)
    mechanisms: tuple[str, ...] = DEFAULT_MECHANISMS


@dataclass(frozen=True, slots=True)
class Fail:
    """
    Nothing leaves: each attempt fails at once.

    @ivar code: 4xx or 5xx.
    @ivar message: At most 256 printable characters of ASCII.
    """

    name: str
    code: int = 554
    message: str = ""


Transport = Direct | Socks | Smarthost | Fail


@dataclass(frozen=True, slots=True)
class Route:
    """
    Which mail takes a transport (Q-43).  All conditions have to hold.

    @ivar from_domains: Patterns of A-labels: C{example.com} is itself,
        C{.example.com} also all below it, C{.} no domain, as in C{<>}.  Empty:
        any.
    @ivar to_domains: Likewise, of the recipient.
    @ivar minimum_attempts: So many have failed before.
    @ivar transport: Its name.
    """

    from_domains: tuple[str, ...]
    to_domains: tuple[str, ...]
    minimum_attempts: int
    transport: str


def is_transport_name(text: str) -> bool:
    """Whether a transport may be called so: a word for command lines, logs and metrics."""
    return 0 < len(text) <= 64 and all(c.isascii() and (c.isalnum() or c in "._-") for c in text)
