"""
The bodies of parts, decoded.  RFC 2045 section 6.

Everything streams: what is held at a time is one piece, whatever the size of
the part.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator
from typing import Final

from moxsmtp.message.charset import decoder
from moxsmtp.message.structure import Content, Part

__all__ = ["decoded", "decoded_size", "decoded_text", "pieces"]

#: Encoded octets that are taken at once.
_PIECE: Final = 1 << 16

_NOT_BASE64: Final = bytes(
    octet
    for octet in range(256)
    if octet not in b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="
)
# White space at the end of a quoted-printable line was added on the way.  The
# look behind keeps the time linear: a run is tried from its first octet only.
_ADDED: Final = re.compile(rb"(?<![ \t])[ \t]++(?=\r?\n)")


def pieces(content: Content, part: Part) -> Iterator[bytes]:
    """
    The decoded body of a part that is no multipart, in pieces.

    An unknown encoding passes as it is (RFC 2045 section 6.4 calls that opaque
    octets); so does what is no quoted-printable; what is no base64 is skipped.
    """
    if part.encoding == "base64":
        return _base64(content, part)
    if part.encoding == "quoted-printable":
        return _quoted_printable(content, part)
    return _raw(content, part)


def decoded_size(content: Content, part: Part) -> int:
    """How many octets the decoded body has; 0 for a multipart."""
    if part.is_multipart:
        return 0
    if part.encoding not in {"base64", "quoted-printable"}:
        return part.end - part.body
    return sum(len(piece) for piece in pieces(content, part))


def decoded(content: Content, part: Part, limit: int) -> bytes:
    """The first C{limit} octets of the decoded body."""
    taken = bytearray()
    for piece in pieces(content, part):
        taken += piece
        if len(taken) >= limit:
            break
    return bytes(taken[:limit])


def decoded_text(content: Content, part: Part, limit: int) -> str:
    """
    The body as text with LF line ends.

    @param limit: Octets that it may have in UTF-8; it is cut between characters.
    """
    reader = decoder(part.parameters.get("charset", ""))
    taken: list[str] = []
    room = limit
    held = ""
    for piece in pieces(content, part):
        text = held + reader.decode(piece)
        held = "\r" if text.endswith("\r") else ""
        text = _with_lf(text.removesuffix("\r"))
        size = len(text.encode("utf-8", "replace"))
        taken.append(text)
        room -= size
        if room <= 0:
            break
    else:
        taken.append(_with_lf(held + reader.decode(b"", final=True)))
    octets = "".join(taken).encode("utf-8", "replace")
    return octets[:limit].decode("utf-8", "ignore")


def _with_lf(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _raw(content: Content, part: Part) -> Iterator[bytes]:
    for position in range(part.body, part.end, _PIECE):
        yield bytes(content[position : min(position + _PIECE, part.end)])


def _base64(content: Content, part: Part) -> Iterator[bytes]:
    """RFC 2045 section 6.8: other characters are ignored, padding ends the data."""
    held = b""
    for encoded in _raw(content, part):
        letters, padding, _ = (held + encoded.translate(None, _NOT_BASE64)).partition(b"=")
        whole = len(letters) - len(letters) % 4
        held = letters[whole:]
        if whole:
            yield binascii.a2b_base64(letters[:whole])
        if padding:
            break
    if len(held) > 1:
        yield binascii.a2b_base64(held + b"=" * (4 - len(held)))


def _quoted_printable(content: Content, part: Part) -> Iterator[bytes]:
    """RFC 2045 section 6.7, line by line where lines are not longer than a piece."""
    held = b""
    for encoded in _raw(content, part):
        encoded = held + encoded  # noqa: PLW2901 what was held back goes in front
        cut = encoded.rfind(b"\n") + 1
        if not cut:
            escape = encoded.rfind(b"=", -2)
            cut = len(encoded) if escape < 0 else escape
        held = encoded[cut:]
        yield _from_quoted_printable(encoded[:cut])
    if held:
        yield _from_quoted_printable(held)


def _from_quoted_printable(lines: bytes) -> bytes:
    if any(added in lines for added in (b" \r\n", b"\t\r\n", b" \n", b"\t\n")):
        lines = _ADDED.sub(b"", lines)
    return binascii.a2b_qp(lines)
