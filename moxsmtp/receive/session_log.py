"""Lines of the log that belong to a session (S-9)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from moxsmtp.smtp.session import Session

__all__ = ["SessionLog"]

_log: Final = Logger()


class SessionLog:
    """
    Writes lines with the session's number, the client's address, the seconds since
    its last line, and the user.
    """

    __slots__ = ("_address", "_clock", "_last", "_session", "_wall")

    def __init__(
        self, clock: IReactorTime, session: Session, wall: Callable[[], float] | None = None
    ) -> None:
        """
        @param clock: For the seconds between two lines.
        @param wall: What time it is; L{None}: C{clock} knows.
        """
        self._clock = clock
        self._wall = clock.seconds if wall is None else wall
        self._session = session
        self._last = clock.seconds()
        self._address = ""

    def write(self, level: Any, text: str, **fields: object) -> None:
        """
        Log a line.

        @param level: One of L{twisted.logger.LogLevel}'s, whose type has no
            name for mypy.
        @param text: A format over C{fields}.
        """
        now = self._clock.seconds()
        client = self._session.client
        fields["session"] = client.session_id
        self._address = self._address or str(client.address)
        fields["client"] = self._address
        fields["delta"] = round(now - self._last, 6)
        if client.login is not None:
            fields["username"] = client.login.address
        self._last = now
        # What Logger.emit makes, which also sorts all levels to see that this is one.
        fields.update(
            log_logger=_log,
            log_level=level,
            log_namespace=_log.namespace,
            log_source=None,
            log_format=text,
            log_time=self._wall(),
        )
        _log.observer(fields)
