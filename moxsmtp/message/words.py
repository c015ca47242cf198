"""
Text of header fields as people read it: encoded words.  RFC 2047.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Final

from moxsmtp.message.charset import codec
from moxsmtp.message.writing import CONTROL

__all__ = ["decode_words", "readable"]

# encoded-word = "=?" charset ["*" language] "?" encoding "?" encoded-text "?="
# RFC 2047 section 2, RFC 2231 section 5.  Spaces in the text are let through.
_WORD: Final = re.compile(r"=\?([^?*\s]{1,40})(?:\*[^?\s]{0,40})?\?([BbQq])\?([^?]*)\?=")

_NOT_BASE64: Final = bytes(
    octet
    for octet in range(256)
    if octet not in b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
)


def readable(text: str) -> str:
    """C{text} with encoded words decoded; control characters from those become spaces."""
    return CONTROL.sub(" ", decode_words(text)).strip()


def decode_words(text: str) -> str:
    """
    Decode every encoded word; white space between two of them goes.

    A word in a charset that we do not know stays as it is.  Words of one
    charset that touch are decoded together, since some senders cut within a
    character.  The result may hold control characters.
    """
    if "=?" not in text:
        return text
    pieces: list[str] = []
    end = 0
    name: str | None = None
    octets = bytearray()
    for word in _WORD.finditer(text):
        gap = text[end : word.start()]
        end = word.end()
        read_by = codec(word[1])
        touching = name is not None and read_by is not None and not gap.strip(" \t\r\n")
        if not touching or read_by != name:
            if name is not None:
                pieces.append(octets.decode(name, "replace"))
                octets.clear()
            if not touching:
                pieces.append(gap)
        name = read_by
        if read_by is None:
            pieces.append(word[0])
        else:
            octets += _octets(word[2], word[3])
    if name is not None:
        pieces.append(octets.decode(name, "replace"))
    pieces.append(text[end:])
    return "".join(pieces)


def _octets(encoding: str, text: str) -> bytes:
    """The octets of one encoded word, as far as they can be read."""
    encoded = text.encode("utf-8", "replace")
    if encoding in "Qq":
        return binascii.a2b_qp(encoded, header=True)
    letters = encoded.partition(b"=")[0].translate(None, _NOT_BASE64)
    if len(letters) % 4 == 1:
        letters = letters[:-1]
    return base64.b64decode(letters + b"=" * (-len(letters) % 4))
