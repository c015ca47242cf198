"""A message's content, on its way in and as it is kept."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass

from twisted.internet.defer import Deferred
from zope.interface import Interface

__all__ = ["IContent", "ISpool", "InsufficientStorage", "Spooled", "StorageUnavailable"]


class StorageUnavailable(Exception):
    """The store cannot be reached at present: locked too long, gone, closed."""


class InsufficientStorage(Exception):
    """There is no room for the content: disk full, quota, below C{minimum_free}."""


@dataclass(frozen=True, slots=True)
class Spooled:
    """
    A message's content, received whole, not yet anybody's.

    @ivar size: Octets, with CRLF line ends.
    @ivar header: The header section up to and with its empty line, or as much
        of it as fits in 1 MiB; without an empty line, the start of the content.
    @ivar has_8bit: An octet above 127 stands somewhere in it.
    @ivar inline: All of it, if it is small enough for the database.
    @ivar file: Otherwise the name of an fsynced file in the content folder.
    """

    size: int
    header: bytes
    has_8bit: bool
    inline: bytes | None = None
    file: str | None = None


class ISpool(Interface):
    """Takes one message's content while it streams in."""

    def write(data: bytes) -> Deferred[None] | None:
        """
        Take more.  L{None}: go on at once; else wait before the next call.

        @raise InsufficientStorage: directly or through the Deferred.
        """

    def finish() -> Awaitable[Spooled]:
        """The content is whole; if it is a file, it is on disk when this answers."""

    def abort() -> None:
        """Forget it; also after L{finish}, if nobody took it.  May be repeated."""


class IContent(Interface):
    """Stored content, read in pieces."""

    size: int

    def read(offset: int, length: int) -> Awaitable[bytes]:
        """At most C{length} octets from C{offset}; empty only at or behind the end."""
