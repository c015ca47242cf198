"""
Sessions that wait for the next message (Q-94).

A session is used again only where a new one would be the same: host, address,
port, source, EHLO name, transport, and what TLS had to fulfil, REQUIRETLS
included.  It waits half a minute at most, and carries a hundred messages at most.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from moxsmtp.names import IPAddress
from moxsmtp.outbound.connection import ESMTPClient
from moxsmtp.outbound.tls_policy import Demand
from moxsmtp.outbound.transport import Transport
from moxsmtp.outbound.verdict import Security

__all__ = ["MOST_MESSAGES", "Likeness", "Session", "Sessions"]

#: Seconds without a message.
_IDLE: Final = 30.0

#: Messages on one session, where nothing else is configured.
MOST_MESSAGES: Final = 100

#: Sessions that wait, over all hosts.
_MOST_WAITING: Final = 200


@dataclass(frozen=True, slots=True)
class Likeness:
    """
    What two sessions have to have in common.

    @ivar name: The host's.
    @ivar source: From where; L{None}: as the system chose.
    @ivar hostname: What EHLO says.
    @ivar transport: As it is configured: another login is another session.
    """

    name: str
    address: IPAddress
    port: int
    source: IPAddress | None
    hostname: str
    transport: Transport
    demand: Demand

    def __hash__(self) -> int:
        """Of what is quick to hash; whatever else differs, few sessions lead to one host."""
        return hash((self.name, self.port))


@dataclass(slots=True, eq=False)
class Session:
    """
    One that stands.

    @ivar security: Its TLS; L{None}: in the clear.
    @ivar messages: Handed over so far.
    """

    client: ESMTPClient
    likeness: Likeness
    security: Security | None = None
    messages: int = 0

    @property
    def is_to_be_repeated(self) -> bool:
        """TLS failed, and may be left out on a new connection (Q-60)."""
        return bool(self.client.exchange.tls_failed) and self.likeness.demand.may_fall_back


class Sessions:
    """Those that wait."""

    def __init__(self, clock: IReactorTime, *, most: int = _MOST_WAITING) -> None:
        """
        @param clock: One that nobody sets.
        @param most: However many hosts there are.
        """
        self._clock = clock
        self._most = most
        self._closed = False
        #: Since when each waits; the first one has waited longest.
        self._waiting: OrderedDict[Session, float] = OrderedDict()
        self._timer: IDelayedCall | None = None
        self._by_likeness: dict[Likeness, list[Session]] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def take(self, likenesses: Sequence[Likeness]) -> Session | None:
        """The one that has waited least, of the first likeness that there is one of."""
        for likeness in likenesses:
            while (session := self._last(likeness)) is not None:
                self._remove(session)
                if session.client.is_reusable:
                    return session
                # It has ended while it waited, which is nobody's failure.
                session.client.abort()
        return None

    def keep(self, session: Session, *, most: int = MOST_MESSAGES) -> None:
        """
        Let it wait, if it can be used again; else take leave.

        @param most: Messages that it may carry.
        """
        if self._closed or session.messages >= most or not session.client.is_reusable:
            session.client.leave()
            return
        if len(self._waiting) >= self._most:
            self._leave(next(iter(self._waiting)))
        self._waiting[session] = self._clock.seconds()
        if self._timer is None:
            self._timer = self._clock.callLater(_IDLE, self._leave_idle)
        self._by_likeness.setdefault(session.likeness, []).append(session)

    def close(self) -> None:
        """Take leave everywhere, and of each that is kept from now on."""
        self._closed = True
        for session in list(self._waiting):
            self._leave(session)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _leave_idle(self) -> None:
        """One timer serves all: when it ends, the first that has time left sets it anew."""
        self._timer = None
        for session, since in list(self._waiting.items()):
            idle = self._clock.seconds() - since
            if idle < _IDLE:
                self._timer = self._clock.callLater(_IDLE - idle, self._leave_idle)
                return
            self._leave(session)

    def _last(self, likeness: Likeness) -> Session | None:
        sessions = self._by_likeness.get(likeness)
        return sessions[-1] if sessions else None

    def _leave(self, session: Session) -> None:
        self._remove(session)
        session.client.leave()

    def _remove(self, session: Session) -> None:
        del self._waiting[session]
        sessions = self._by_likeness[session.likeness]
        sessions.remove(session)
        if not sessions:
            del self._by_likeness[session.likeness]
