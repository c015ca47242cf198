"""The connections of one socket: what they obey, and how they end together."""

from __future__ import annotations

from dataclasses import replace
from typing import Final, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall

from moxsmtp.receive.entrance import Entrance, Seconds

__all__ = ["Company", "Member"]

#: Seconds for what is under way when we stop (S-15), and for cutting it.
_DRAIN: Final = 3.0
_CUT: Final = 1.0


class Member(Protocol):
    """A connection, as the others know it."""

    def hurry(self) -> None:
        """Keep nobody waiting on purpose."""

    def abort(self) -> None:
        """Stop whatever is under way, and the connection."""


class Company:
    """
    Those that are open now.

    @ivar is_draining: No command is carried out any more.
    @ivar seconds: How long is waited, for those that are open too.
    @ivar tracing: How much is written down, of those too.
    @ivar debugging: So with what matters only then.
    """

    def __init__(self, entrance: Entrance) -> None:
        self.is_draining = False
        self._open: set[Member] = set()
        self._drained: Deferred[None] | None = None
        self._cut: IDelayedCall | None = None
        self.obey(entrance)

    def obey(self, entrance: Entrance) -> None:
        """
        Other settings for the connections to come; only time limits and
        tracing hold for those that are open too.  Listener and role stay the
        same.
        """
        self.entrance = entrance
        self.station = entrance.station
        self.circumstances = entrance.circumstances
        self.seconds = Seconds.of(entrance)
        self.tracing = entrance.tracing
        self.debugging = entrance.debugging

    def joined(self, member: Member) -> None:
        """A connection is there."""
        entrance = self.entrance
        self._open.add(member)
        entrance.metrics.count("mox_smtpserver_connection_total", kind=self.circumstances.kind)
        self._move(1)

    def left(self, member: Member) -> None:
        """A connection is gone."""
        self._open.discard(member)
        self._move(-1)
        if not self._open:
            self._finish()

    def _move(self, step: int) -> None:
        entrance = self.entrance
        entrance.metrics.move(
            "moxsmtp_connections", step, listener=entrance.listener, protocol=entrance.role.value
        )

    def drain(self) -> Deferred[None]:
        """
        Stop (S-15): new connections and next commands get 421; after three
        seconds, what is left is cut.  Stop listening only then.

        @return: Fires when no connection is left, or a second after the cut.
        """
        self.is_draining = True
        if self._drained is not None:
            raise RuntimeError("draining already")
        drained: Deferred[None] = Deferred()
        self._drained = drained
        self.seconds = replace(self.seconds, slow=0.0)
        for member in list(self._open):
            member.hurry()
        if self._open:
            self._cut = self.entrance.clock.callLater(_DRAIN, self._cut_all)
        else:
            self._finish()
        return drained

    def _cut_all(self) -> None:
        self._cut = self.entrance.clock.callLater(_CUT, self._finish)
        for member in list(self._open):
            member.abort()

    def _finish(self) -> None:
        drained, self._drained = self._drained, None
        if self._cut is not None and self._cut.active():
            self._cut.cancel()
        if drained is not None:
            drained.callback(None)
