"""
Dates in messages.  RFC 5322 sections 3.3 and 4.3.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from typing import Final

__all__ = ["format_date", "parse_date"]

_MONTHS: Final = (
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
)  # fmt: skip
_NUMBERS: Final = {name.lower(): number for number, name in enumerate(_MONTHS, 1)}

#: Hours from UTC.  Other names of zones mean nothing certain and read as UTC,
#: as RFC 5322 section 4.3 advises.
_ZONES: Final = {
    "edt": -4, "est": -5, "cdt": -5, "cst": -6, "mdt": -6, "mst": -7, "pdt": -7, "pst": -8,
}  # fmt: skip

#: Characters of a date that are looked at.
_MAXIMUM: Final = 128

# date-time = [ day-of-week "," ] day month year hour ":" minute [ ":" second ] zone
# Comments have been cut off before; a missing zone is forgiven.
_DATE: Final = re.compile(
    r"(?:[A-Za-z]{3,9}(?:\s++(?>(?:,\s++)?)|,\s++)|[A-Za-z]{3},)?"
    r"([0-9]{1,2})[\s-]++([A-Za-z]{3,9})\.?[\s-]++([0-9]{2,4})\s++"
    r"([0-9]{1,2}):([0-9]{2})(?::([0-9]{2})(?:\.[0-9]{1,9})?)?"
    r"(?:\s*([+-][0-9]{4})|\s+([A-Za-z]{1,5}))?"
)


def format_date(when: datetime) -> str:
    """C{2 Jan 2026 15:04:05 +0000}: no weekday, no leading zero, numeric zone (S-88)."""
    return (
        f"{when.day} {_MONTHS[when.month - 1]} {when.year:04}"
        f" {when.hour:02}:{when.minute:02}:{when.second:02} {_written_zone(when)}"
    )


def _written_zone(when: datetime) -> str:
    if when.tzinfo is UTC:
        return "+0000"
    offset = when.utcoffset()
    if offset is None:
        raise ValueError("a date in a message has a zone")
    minutes = round(offset.total_seconds() / 60)
    sign = "-" if minutes < 0 else "+"
    hours, minutes = divmod(abs(minutes), 60)
    return f"{sign}{hours:02}{minutes:02}"


def parse_date(text: str) -> datetime | None:
    """
    Read a Date field; years of two and three digits and named zones too.

    @return: Aware; L{None} if it is no date or lies outside of the calendar.
    """
    found = _DATE.fullmatch(text[:_MAXIMUM].partition("(")[0].strip())
    if found is None:
        return None
    day, name, year, hour, minute, second, zone, zone_name = found.groups()
    month = _NUMBERS.get(name[:3].lower())
    offset = _offset(zone, zone_name)
    if month is None or offset is None:
        return None
    try:
        return datetime(
            _year(year),
            month,
            int(day),
            int(hour),
            int(minute),
            min(int(second or 0), 59 if second == "60" else 99),
            tzinfo=offset,
        )
    except ValueError:
        return None


def _year(digits: str) -> int:
    """RFC 5322 section 4.3: 00 to 49 are of this century, three digits count from 1900."""
    number = int(digits)
    if len(digits) == 2:
        return number + (2000 if number < 50 else 1900)
    return number + 1900 if len(digits) == 3 else number


def _offset(zone: str | None, name: str | None) -> timezone | None:
    if zone is None:
        hours = _ZONES.get((name or "").lower(), 0)
        return timezone(timedelta(hours=hours)) if hours else UTC
    hours, minutes = int(zone[1:3]), int(zone[3:5])
    if hours > 23 or minutes > 59:
        return None
    distance = timedelta(hours=hours, minutes=minutes)
    return timezone(-distance if zone[0] == "-" else distance) if distance else UTC
