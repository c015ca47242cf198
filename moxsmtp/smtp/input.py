"""What has come and waits to be understood."""

from __future__ import annotations

__all__ = ["Input", "LineTooLong"]


class LineTooLong(ValueError):
    """There are more octets than a line may have; its end is not waited for."""


class Input:
    """Octets in order, cut into lines or taken by number."""

    __slots__ = ("_octets", "_position")

    def __init__(self) -> None:
        self._octets = b""
        self._position = 0

    def __len__(self) -> int:
        return len(self._octets) - self._position

    @property
    def has_line(self) -> bool:
        """Whether a complete line waits."""
        return self._octets.find(b"\n", self._position) >= 0

    def receive(self, data: bytes) -> None:
        """More has come."""
        if self._position:
            self._octets = self._octets[self._position :] + data
            self._position = 0
        else:
            self._octets = self._octets + data if self._octets else data

    def line(self, maximum: int) -> bytes | None:
        """
        The next line, without its end: LF, or CRLF (S-18).

        @param maximum: Octets that it may have with its end.
        @return: L{None}: it is not complete.
        @raise LineTooLong: See there; nothing was taken.
        """
        start = self._position
        end = self._octets.find(b"\n", start)
        # Without its end, a line of this length is one octet too long already.
        if (end + 1 if end >= 0 else len(self._octets) + 1) - start > maximum:
            raise LineTooLong
        if end < 0:
            return None
        self._position = end + 1
        line = self._octets[start:end]
        return line[:-1] if line.endswith(b"\r") else line

    def take(self, most: int) -> bytes:
        """At most so many octets."""
        start = self._position
        octets = self._octets[start : start + most]
        self._position = start + len(octets)
        return octets

    def take_all(self) -> bytes:
        """What waits; nothing does then."""
        rest, self._octets, self._position = self._octets[self._position :], b"", 0
        return rest

    def put_back(self, octets: bytes) -> None:
        """Of what was taken, this comes first again."""
        self._octets, self._position = octets + self._octets[self._position :], 0
