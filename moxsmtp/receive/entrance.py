"""What the connections of one socket have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from ipaddress import ip_address

from OpenSSL import SSL
from twisted.internet.interfaces import IAddress, IOpenSSLServerConnectionCreator, IReactorTime

from moxsmtp.interfaces import IMetrics, IReceiver, Role, TLSInfo
from moxsmtp.judge.limiters import Limiters
from moxsmtp.names import Domain, IPAddress
from moxsmtp.receive.circumstances import Circumstances
from moxsmtp.receive.connections import Connections
from moxsmtp.receive.session_log import SessionLog
from moxsmtp.receive.settings import TimeLimits
from moxsmtp.receive.tracing import Tracing
from moxsmtp.smtp.sasl import Terms
from moxsmtp.smtp.session import Station

__all__ = ["Entrance", "Seconds", "address_of", "host_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entrance:
    """
    What a listener's service needs to know and to ask (S-1).

    @ivar listener: Its name, a label of the metrics.
    @ivar hostname: In greeting and EHLO (S-2).
    @ivar maximum_size: Octets of a message (S-3).
    @ivar clear_passwords: PLAIN and LOGIN are possible without TLS (S-4).
    @ivar tls: Makes connections for STARTTLS; L{None}: it is not offered.  Where
        TLS comes first, the socket is wrapped in it already.
    @ivar tls_info: What a handshake agreed on.
    @ivar receiver: Makes one for each connection, given where it may log.
    @ivar connections: Shared with the listener's other sockets.
    @ivar session_ids: Shared by all sockets of the server (S-9).
    @ivar reply_id: A session's number in its opaque form (S-10).
    @ivar clock: For how long things take; nobody sets it.
    @ivar wall_clock: Knows what time it is; L{None}: the other one does.
    @ivar offers_require_tls: REQUIRETLS can be obeyed (S-4).
    @ivar limiters: Shared by all sockets of the server (S-12).
    @ivar authentication_delay: For each failure too many (S-42).
    @ivar slow_delay: Between two octets, for those who gave trouble (S-17).
    @ivar greeting_delay: Before the greeting, to see who cannot wait.
    @ivar tracing: How much of what is said goes into the log (S-23).
    @ivar debugging: Connections that come and go are worth a line each, which
        would cost more than their limits do even if the log dropped it.
    @ivar objection: See L{Circumstances}.
    @ivar terms: What logging in rests on; L{None}: nobody can.
    @ivar pedantic: What many clients do against the grammar is refused (S-111).
    """

    listener: str
    role: Role
    hostname: Domain
    maximum_size: int
    clear_passwords: bool
    limits: TimeLimits
    tls: IOpenSSLServerConnectionCreator | None
    tls_info: Callable[[SSL.Connection], TLSInfo]
    receiver: Callable[[SessionLog], IReceiver]
    connections: Connections
    session_ids: Iterator[int]
    reply_id: Callable[[int], str]
    clock: IReactorTime
    metrics: IMetrics
    offers_require_tls: bool = True
    limiters: Limiters = field(default_factory=Limiters)
    authentication_delay: timedelta = timedelta(seconds=1)
    slow_delay: timedelta = timedelta(seconds=1)
    greeting_delay: timedelta = timedelta()
    tracing: Tracing = Tracing.NONE
    debugging: bool = True
    objection: Callable[[str], str] = lambda _: ""
    terms: Terms | None = None
    pedantic: bool = False
    wall_clock: IReactorTime | None = None

    @property
    def wall(self) -> Callable[[], float]:
        """Seconds since 1970."""
        return (self.wall_clock or self.clock).seconds

    @property
    def station(self) -> Station:
        """What concerns the sessions."""
        return Station(
            hostname=self.hostname.ascii,
            maximum_size=self.maximum_size,
            offers_tls=self.tls is not None,
            clear_passwords=self.clear_passwords,
            reply_id=self.reply_id,
            offers_require_tls=self.offers_require_tls,
            now=lambda: datetime.fromtimestamp(self.wall(), UTC),
            terms=self.terms,
            pedantic=self.pedantic,
        )

    @property
    def circumstances(self) -> Circumstances:
        """What concerns the conversations."""
        return Circumstances(
            kind="submission" if self.role.is_submission else "smtp",
            clock=self.clock,
            wall=self.wall,
            metrics=self.metrics,
            authentication_delay=self.authentication_delay.total_seconds(),
            data_limit=self.limits.data.total_seconds(),
            limiters=self.limiters,
            objection=self.objection,
        )


@dataclass(frozen=True, slots=True)
class Seconds:
    """L{TimeLimits} and delays as clocks understand them."""

    command: float
    busy: float
    block: float
    write: float
    handshake: float
    slow: float
    greeting: float

    @classmethod
    def of(cls, entrance: Entrance) -> Seconds:
        """Those of an entrance."""
        limits = entrance.limits
        return cls(
            command=limits.command.total_seconds(),
            busy=limits.command_busy.total_seconds(),
            block=limits.data_block.total_seconds(),
            write=limits.write.total_seconds(),
            handshake=limits.tls_handshake.total_seconds(),
            slow=entrance.slow_delay.total_seconds(),
            greeting=entrance.greeting_delay.total_seconds(),
        )


def host_of(address: IAddress) -> IPAddress:
    """Of one end of a TCP connection, without the zone of a link-local address."""
    return address_of(getattr(address, "host", ""))


@lru_cache(maxsize=1024)
def address_of(host: str) -> IPAddress:
    """Of a host as the system writes it, without the zone of a link-local address."""
    return ip_address(host.partition("%")[0])
