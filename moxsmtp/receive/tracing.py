"""
What is said on a connection, for the log, line by line (S-23).

Not what the socket brings, but what the session makes of it: so a line is known
for what it is before it is written down, and nothing that was encrypted ever is.
"""

from __future__ import annotations

import base64
import enum
import re
from typing import Final

from twisted.logger import LogLevel

from moxsmtp.receive.session_log import SessionLog
from moxsmtp.smtp.events import ChunkEnd, Content, ContentEnd, Event, Refusal
from moxsmtp.smtp.session import Session, State

__all__ = ["Trace", "Tracing"]

#: Stands for what may not be seen.
_HIDDEN: Final = "***"
_DATA: Final = "..."

# The command and its mechanism.
_AUTH: Final = re.compile(rb"AUTH [A-Z0-9_-]{1,20}(?![^ ])", re.IGNORECASE)

#: What LOGIN asks a name with: "Username:".
_NAME_WANTED: Final = b"334 VXNlcm5hbWU6\r\n"

#: Octets of content in one line of the log.
_PIECE: Final = 4096


class Tracing(enum.IntEnum):
    """How much is written down of what is said; each level has all of those before it."""

    NONE = 0
    #: All but passwords and messages.
    TRACE = 1
    #: Passwords too.
    CREDENTIALS = 2
    #: Messages too.
    DATA = 3


class Trace:
    """Writes down one connection."""

    __slots__ = ("_asks_name", "_has_tried_login", "_log", "_session")

    def __init__(self, session: Session, log: SessionLog) -> None:
        self._session = session
        self._log = log
        #: The last reply asked for a login name.
        self._asks_name = False
        #: A login was tried on this connection.
        self._has_tried_login = False

    def heard(self, event: Event, level: Tracing) -> None:
        """An event, before it is answered: the line that it was, or a piece of content."""
        if isinstance(event, Content):
            if level < Tracing.DATA:
                self._write("C", _DATA)
                return
            octets = event.octets
            for start in range(0, len(octets), _PIECE):
                self._write("C", _printable(octets[start : start + _PIECE]))
        elif not isinstance(event, ChunkEnd | ContentEnd):
            line = self._session.line
            redacted = self._redacted(line, event)
            self._write("C", redacted if level < Tracing.CREDENTIALS else _printable(line))

    def said(self, octets: bytes) -> None:
        """Replies, as they leave."""
        for line in octets.splitlines():
            self._write("S", _printable(line))
        self._asks_name = octets == _NAME_WANTED

    def _write(self, who: str, text: str) -> None:
        self._log.write(LogLevel.debug, "{who}: {line}", who=who, line=text)

    def _redacted(self, line: bytes, event: Event) -> str:
        """
        A line without what may be a password, wherever it stands: an AUTH that
        is refused may have one, and so may every line behind it that is no command.
        """
        asked_name, self._asks_name = self._asks_name, False
        if self._session.state is State.EXCHANGE:
            self._has_tried_login = True
            is_shown = line == b"*" or (asked_name and _is_name(line))
            return _printable(line) if is_shown else _HIDDEN
        if line[:4].upper() == b"AUTH":
            self._has_tried_login = True
            match = _AUTH.match(line)
            shown = match[0] if match is not None else b"AUTH"
            rest = line[len(shown) + 1 :]
            is_login = shown[5:].upper() == b"LOGIN"
            is_shown = shown == line or (is_login and _is_name(rest))
            return _printable(line) if is_shown else f"{_printable(shown)} {_HIDDEN}"
        if self._has_tried_login and isinstance(event, Refusal) and event.verb is None:
            return _HIDDEN
        return _printable(line)


def _is_name(response: bytes) -> bool:
    """Whether this can be a login name; what has a NUL in it is a password's company."""
    try:
        return b"\0" not in base64.b64decode(response, validate=True)
    except ValueError:
        return False


def _printable(octets: bytes) -> str:
    """ASCII on one line: whatever a terminal might obey is an escape."""
    return octets.decode("latin-1").encode("unicode_escape").decode("ascii")
