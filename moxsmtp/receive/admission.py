"""Whether there is a place for a connection (S-11, S-12)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from twisted.internet.interfaces import IDelayedCall

from moxsmtp.interfaces import Client
from moxsmtp.receive.entrance import Entrance
from moxsmtp.smtp.reply import Reply

__all__ = ["SHUTTING_DOWN", "TOO_EARLY", "TOO_MANY", "Admission"]

SHUTTING_DOWN: Final = Reply(421, "3.2", "shutting down, try again later", close=True)
TOO_EARLY: Final = Reply(554, "5.0", "you spoke before you were greeted", close=True)

_TOO_OFTEN: Final = Reply(421, "7.0", "too many connections a minute, try again later", close=True)
_TOO_MANY_FAILURES: Final = Reply(
    421, "7.0", "too many failures to log in, try again later", close=True
)
_TOO_MANY_OPEN: Final = Reply(
    421, "7.0", "too many connections from your network, try again later", close=True
)
TOO_MANY: Final = Reply(421, "7.0", "too many connections, try again later", close=True)


class Admission:
    """
    One connection's place: among those of the listener from its first octet
    on, among those of its network once it is about to be greeted.
    """

    __slots__ = ("_client", "_entrance", "_has_place", "_is_counted", "_silence")

    def __init__(self, entrance: Entrance, client: Client) -> None:
        self._entrance = entrance
        self._client = client
        self._has_place = entrance.connections.acquire()
        self._is_counted = False
        self._silence: IDelayedCall | None = None

    def refusal(self, *, is_draining: bool) -> Reply | None:
        """
        Why it is not greeted but sent away; the first reason counts (S-11).
        Who is sent away for a later one has been counted as a new connection.
        """
        if is_draining:
            return SHUTTING_DOWN
        limiters, address = self._entrance.limiters, self._client.address
        if not limiters.is_exempt(address):
            seconds = self._entrance.clock.seconds()
            if not limiters.count_connection(address, seconds):
                return _TOO_OFTEN
            if self._client.role.is_submission and not limiters.may_log_in(address, seconds):
                self._entrance.metrics.count(
                    "mox_authentication_ratelimited_total", kind="submission"
                )
                return _TOO_MANY_FAILURES
            self._is_counted = limiters.open(address)
            if not self._is_counted:
                return _TOO_MANY_OPEN
        return None if self._has_place else TOO_MANY

    # -- before the greeting ---------------------------------------------------------

    @property
    def is_listening(self) -> bool:
        """The client is expected to be silent."""
        return self._silence is not None

    def listens(self, seconds: float, welcome: Callable[[], None]) -> bool:
        """
        @param welcome: Called if it has been silent for so long.
        @return: C{False}: it is to be welcomed at once.
        """
        if not seconds or self._entrance.limiters.is_exempt(self._client.address):
            return False

        def greet() -> None:
            self._silence = None
            welcome()

        self._silence = self._entrance.clock.callLater(seconds, greet)
        return True

    def hear(self) -> None:
        """It has been heard, or nobody listens any more: it is not welcomed."""
        silence, self._silence = self._silence, None
        if silence is not None:
            silence.cancel()

    # -- the end -----------------------------------------------------------------------

    def leave(self) -> None:
        """The connection is gone; its places are free, those that it had."""
        self.hear()
        if self._has_place:
            self._has_place = False
            self._entrance.connections.release()
        if self._is_counted:
            self._is_counted = False
            self._entrance.limiters.close(self._client.address)
