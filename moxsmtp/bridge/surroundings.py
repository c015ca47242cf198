"""What C{twisted.mail} says, in our words, and what our checks need that it has not."""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address
from typing import Any, Final

from twisted.logger import Logger
from twisted.mail.smtp import Address
from zope.interface import implementer

from moxsmtp.interfaces import IMetrics
from moxsmtp.names import Host, InvalidName, IPAddress, parse_host
from moxsmtp.receive.session_log import SessionLog
from moxsmtp.smtp.address import InvalidPath, Path, parse_mailbox

__all__ = ["Log", "Uncounted", "client_of", "path_of"]

_log: Final = Logger()

#: Characters of an address of MAIL that are shown, if it is none that we can read.
_SHOWN: Final = 128


def client_of(helo: tuple[bytes | None, bytes | str]) -> tuple[IPAddress | None, Host | None]:
    """The client's address, L{None} if it has none; and the name that it gave."""
    name, peer = helo
    try:
        address = ip_address(peer.decode("ascii", "replace") if isinstance(peer, bytes) else peer)
    except ValueError:
        return None, None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    words = (name or b"").split(None, 1)
    try:
        return address, parse_host(words[0].decode("utf-8", "replace")) if words else None
    except InvalidName:
        return address, None


def path_of(origin: Address) -> Path | None:
    """The reverse-path; one that we cannot read is all local-part."""
    text = bytes(origin).decode("utf-8", "replace")
    if not text:
        return None
    try:
        return parse_mailbox(text)
    except InvalidPath:
        return Path(text[:_SHOWN], None)


class Log(SessionLog):
    """Where checks log what is not of a session of ours."""

    __slots__ = ()

    def __init__(self) -> None:
        """There is no session to be told."""

    def write(self, level: Any, text: str, **fields: object) -> None:
        """Log a line."""
        _log.emit(level, text, **fields)


@implementer(IMetrics)
class Uncounted:
    """Metrics that nobody wants."""

    def count(self, name: str, **labels: str) -> None:
        """See L{IMetrics.count}."""

    def observe(self, name: str, seconds: float, **labels: str) -> None:
        """See L{IMetrics.observe}."""

    def move(self, name: str, step: int, **labels: str) -> None:
        """See L{IMetrics.move}."""
