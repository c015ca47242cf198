"""
Mail that is to leave later: HOLDFOR and HOLDUNTIL.  RFC 4865.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from moxsmtp.smtp.reply import Refused, Reply

__all__ = ["MAXIMUM_HOLD", "Hold", "future_release", "hold_for", "hold_until"]

#: How long mail may be held: 60 days (S-64).
MAXIMUM_HOLD: Final = timedelta(seconds=5_184_000)

_NOT_THEN: Final = Reply(554, "5.4", "mail can be held for at most 60 days from now on")

# future-release-integer = 1*9DIGIT, without zeros before it
_SECONDS: Final = re.compile(r"[1-9][0-9]{0,8}")

# Internet-date-time of RFC 3339 section 5.6, in UTC; RFC 4865 section 4.
_MOMENT: Final = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]++))?Z"
)


@dataclass(frozen=True, slots=True)
class Hold:
    """
    What a client asked for.

    @ivar request: As it is told in a DSN, C{for;3600}, C{until;2026-01-02T03:04:05Z}.
    @ivar until: Since when, or at which time, the mail may go.
    """

    request: str
    until: timedelta | datetime

    def release(self, now: datetime) -> datetime:
        """
        When the mail may go.

        @raise Refused: That is past, or too far away.
        """
        until = now + self.until if isinstance(self.until, timedelta) else self.until
        if not now <= until <= now + MAXIMUM_HOLD:
            raise Refused(_NOT_THEN, self.request)
        return until


def hold_for(text: str) -> Hold:
    """
    Read the value of HOLDFOR.

    @raise ValueError: It is none.
    """
    if not _SECONDS.fullmatch(text):
        raise ValueError("not a number of seconds")
    return Hold(f"for;{text}", timedelta(seconds=int(text)))


def hold_until(text: str) -> Hold:
    """
    Read the value of HOLDUNTIL.

    @raise ValueError: It is none.
    """
    match = _MOMENT.fullmatch(text)
    if match is None:
        raise ValueError("not a time in UTC")
    *numbers, fraction = match.groups()
    microseconds = int((fraction or "0")[:6].ljust(6, "0"))
    year, month, day, hour, minute, second = map(int, numbers)
    moment = datetime(year, month, day, hour, minute, second, microseconds, tzinfo=UTC)
    return Hold(f"until;{text}", moment)


def future_release(now: datetime) -> str:
    """How EHLO announces it (S-32): the longest time, and the last moment."""
    last = (now + MAXIMUM_HOLD).astimezone(UTC)
    return f"FUTURERELEASE {int(MAXIMUM_HOLD.total_seconds())} {last:%Y-%m-%dT%H:%M:%SZ}"
