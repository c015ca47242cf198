"""What a server and its workers tell each other: objects of JSON, their length in front."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

__all__ = ["BadFrame", "Frames", "Message", "framed"]

Message = Mapping[str, Any]

#: Octets of a length.
_LENGTH: Final = 4

#: Octets of a message at most: the settings of some hundred thousand accounts.
LIMIT: Final = 256 * 1024 * 1024


class BadFrame(ValueError):
    """What came is no message."""


def framed(message: Message) -> bytes:
    """@raise BadFrame: It is too long."""
    octets = json.dumps(message, separators=(",", ":")).encode("ascii")
    if len(octets) > LIMIT:
        raise BadFrame(f"a message of {len(octets)} octets")
    return len(octets).to_bytes(_LENGTH, "big") + octets


class Frames:
    """Takes octets, cut anywhere, and gives messages."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._octets = bytearray()

    def feed(self, octets: bytes) -> Sequence[Message]:
        """
        What is whole by now.

        @raise BadFrame: It will never be; nothing more is to be fed.
        """
        self._octets += octets
        found: list[Message] = []
        at = 0
        while len(self._octets) - at >= _LENGTH:
            start = at + _LENGTH
            length = int.from_bytes(self._octets[at:start], "big")
            if length > self._limit:
                raise BadFrame(f"a message of {length} octets")
            if len(self._octets) - start < length:
                break
            at = start + length
            found.append(_read(bytes(self._octets[start:at])))
        del self._octets[:at]
        return found


def _read(octets: bytes) -> Message:
    try:
        message = json.loads(octets)
    except (ValueError, RecursionError):
        raise BadFrame("no JSON") from None
    if not isinstance(message, dict) or not isinstance(message.get("kind"), str):
        raise BadFrame("no message")
    return message
