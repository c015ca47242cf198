"""How durations, sizes, addresses and names are written in a file."""

from __future__ import annotations

import re
from datetime import timedelta
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from moxsmtp.interfaces import INBOX
from moxsmtp.mailbox.names import folder_directory
from moxsmtp.names import Domain, IPAddress, parse_domain

__all__ = [
    "domain", "duration", "mailbox", "network", "network_address", "octets", "plain_text",
]  # fmt: skip

_DURATION = re.compile(
    r"(?=.)(?:([0-9]+)w)?(?:([0-9]+)d)?(?:([0-9]+)h)?(?:([0-9]+)m)?(?:([0-9]+(?:\.[0-9]+)?)s)?"
)
_SIZE = re.compile(r"([0-9]{1,18})\s*([KMGT]iB|[kMGT]?B)")
_FACTORS = {
    "B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
    "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40,
}  # fmt: skip

#: Ten years; longer is a slip of the pen, and C{callLater} and dates stay in range.
_LONGEST = timedelta(days=3660)

#: Octets of a folder's name in a Maildir; file systems take 255, and readers add to it.
_LONGEST_FOLDER = 200


def duration(value: object) -> timedelta:
    """C{"1h30m"}, C{"7d"}, or seconds.  @raise ValueError: It is neither."""
    seconds: float
    if isinstance(value, str) and len(value) < 40 and (match := _DURATION.fullmatch(value)):
        weeks, days, hours, minutes = (int(part or 0) for part in match.groups()[:4])
        seconds = ((weeks * 7 + days) * 24 + hours) * 3600 + minutes * 60 + float(match[5] or 0)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        seconds = value
    else:
        raise ValueError('not a duration; write "90s", "5m", "1h30m", "7d" or a number of seconds')
    if not 0 <= seconds <= _LONGEST.total_seconds():
        raise ValueError("a duration is between 0 and ten years")
    return timedelta(seconds=seconds)


def octets(value: object) -> int:
    """C{"256MiB"} or a number of octets.  @raise ValueError: It is neither."""
    if isinstance(value, str) and (match := _SIZE.fullmatch(value)):
        value = int(match[1]) * _FACTORS[match[2]]
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63:
        return value
    raise ValueError('not a size; write "64KiB", "256MiB", "2GiB" or a number of octets')


def network_address(value: object) -> IPAddress:
    """An address without a zone.  @raise ValueError: It is none."""
    text = value if isinstance(value, str) else ""
    if "%" in text:
        raise ValueError("an address with a zone cannot be used; write it without the % part")
    try:
        return ip_address(text)
    except ValueError:
        raise ValueError('not an IP address; write "192.0.2.1" or "2001:db8::1"') from None


def network(value: object) -> IPv4Network | IPv6Network:
    """A network, the bits behind its prefix zero.  @raise ValueError: It is none."""
    if not isinstance(value, str) or "%" in value:
        raise ValueError('not a network; write "10.1.0.0/16" or "fd00:1::/32"')
    try:
        return ip_network(value)
    except ValueError:
        pass
    try:
        right = ip_network(value, strict=False)
    except ValueError:
        raise ValueError('not a network; write "10.1.0.0/16" or "fd00:1::/32"') from None
    raise ValueError(f'bits are set behind the prefix; write "{right}"')


def domain(value: object) -> Domain:
    """A domain in any spelling.  @raise ValueError: It is none."""
    try:
        return parse_domain(value if isinstance(value, str) else "")
    except ValueError as error:
        raise ValueError(f'not a domain: {error}; write it like "mx.example.org"') from None


def plain_text(value: str) -> str:
    """Text that may go into headers, paths and logs.  @raise ValueError: It may not."""
    if not all(character.isprintable() for character in value):
        raise ValueError("control characters are not allowed here")
    return value


def mailbox(value: str) -> str:
    """
    The name of a mailbox; the Inbox in our spelling, for it has none of its own (RFC 3501
    section 5.1).  @raise ValueError: None can have it.
    """
    name = plain_text(value)
    if name.lower() == INBOX.lower():
        return INBOX
    if not all(level.strip() for level in re.split(r"[/.]", name)):
        raise ValueError('is empty, or a level of it is; write "Inbox", or "Reports/DMARC"')
    if len(folder_directory(name).encode()) > _LONGEST_FOLDER:
        raise ValueError(f"too long; its folder's name may have {_LONGEST_FOLDER} octets")
    return name
