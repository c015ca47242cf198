"""
Content on its way out: dot transparency, strict CRLF.  RFC 5321 sections 2.3.8
and 4.5.2.
"""

from __future__ import annotations

__all__ = ["BareLineEnd", "DotStuffer", "in_lines", "stuffed"]


class BareLineEnd(ValueError):
    """The content has a CR or an LF by itself, which must never be sent."""


def in_lines(text: bytes) -> bytes:
    """
    A whole content that ends as its last line does.

    @raise BareLineEnd: It is not made of lines.
    """
    ends = text.count(b"\r\n")
    if text.count(b"\r") != ends or text.count(b"\n") != ends:
        raise BareLineEnd("the content has a bare CR or LF")
    return text if not text or text.endswith(b"\n") else text + b"\r\n"


def stuffed(text: bytes) -> bytes:
    """What is sent behind DATA for content that is L{in_lines}, its end included."""
    first = b"." if text.startswith(b".") else b""
    return b"".join((first, text.replace(b"\r\n.", b"\r\n.."), b".\r\n"))


class DotStuffer:
    """
    Content in, what is sent behind DATA out, in pieces of any size.

    A bare CR or LF is found before the piece that holds it leaves.
    """

    def __init__(self) -> None:
        self._at_line_start = True
        self._carriage_return = False

    def encode(self, data: bytes) -> bytes:
        """@raise BareLineEnd: See there; nothing may follow."""
        if self._carriage_return:
            data = b"\r" + data
        # Its line feed may stand in the next piece.
        self._carriage_return = data.endswith(b"\r")
        if self._carriage_return:
            data = data[:-1]
        if not data:
            return b""
        ends = data.count(b"\r\n")
        if data.count(b"\r") != ends or data.count(b"\n") != ends:
            raise BareLineEnd("the content has a bare CR or LF")
        stuffed = data.replace(b"\r\n.", b"\r\n..")
        if self._at_line_start and data.startswith(b"."):
            stuffed = b"." + stuffed
        self._at_line_start = data.endswith(b"\n")
        return stuffed

    def finish(self) -> bytes:
        """
        The end of data, on a line of its own.

        @raise BareLineEnd: The content ends in a CR.
        """
        if self._carriage_return:
            raise BareLineEnd("the content ends in a bare CR")
        return b".\r\n" if self._at_line_start else b"\r\n.\r\n"
