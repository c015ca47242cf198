"""
HMAC-MD5 from the states that its key leaves behind.  RFC 1321, RFC 2104.

The key is hashed before anything else, so two states of MD5 stand for it: what
CRAM-MD5 needs can be kept without keeping the password (RFC 2195 section 3).
C{hashlib} neither gives such a state nor goes on from one; this does, for one
short message at a time.
"""

from __future__ import annotations

import math
import struct
from typing import Final

__all__ = ["BLOCK", "hmac_md5", "key_states"]

#: Octets that MD5 takes at once.
BLOCK: Final = 64

_INNER: Final = 0x36
_OUTER: Final = 0x5C
_MASK: Final = 0xFFFFFFFF
_INITIAL: Final = struct.pack("<4I", 0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476)

_SHIFTS: Final = ((7, 12, 17, 22), (5, 9, 14, 20), (4, 11, 16, 23), (6, 10, 15, 21))

#: RFC 1321 section 3.4: of each step the constant, its word of the block, and its shift.
_STEPS: Final = tuple(
    tuple(
        (
            int(abs(math.sin(16 * turn + step + 1)) * 2**32) & _MASK,
            (factor * step + offset) % 16,
            _SHIFTS[turn][step % 4],
        )
        for step in range(16)
    )
    for turn, (factor, offset) in enumerate(((1, 0), (5, 1), (3, 5), (7, 0)))
)


def key_states(key: bytes) -> tuple[bytes, bytes]:
    """
    What a key leaves in the inner and the outer hash.  RFC 2104 section 4.

    @param key: 64 octets at most; of a longer one, its MD5 is the key.
    @return: 16 octets each.
    """
    if len(key) > BLOCK:
        raise ValueError("the key is longer than a block")
    padded = key.ljust(BLOCK, b"\0")
    return (
        _compressed(_INITIAL, bytes(octet ^ _INNER for octet in padded)),
        _compressed(_INITIAL, bytes(octet ^ _OUTER for octet in padded)),
    )


def hmac_md5(inner: bytes, outer: bytes, message: bytes) -> bytes:
    """The 16 octets that go with a message, by the states of L{key_states}."""
    return _finished(outer, _finished(inner, message))


def _finished(state: bytes, message: bytes) -> bytes:
    """Go on from the state behind one block to the end.  RFC 1321 section 3.1."""
    padded = message + b"\x80" + bytes(-(len(message) + 9) % BLOCK)
    padded += struct.pack("<Q", 8 * (BLOCK + len(message)))
    for start in range(0, len(padded), BLOCK):
        state = _compressed(state, padded[start : start + BLOCK])
    return state


def _compressed(state: bytes, block: bytes) -> bytes:
    """RFC 1321 section 3.4."""
    words = struct.unpack("<16I", block)
    a, b, c, d = before = struct.unpack("<4I", state)
    for turn, steps in enumerate(_STEPS):
        for constant, word, shift in steps:
            if turn == 0:
                mixed = (b & c) | (~b & d)
            elif turn == 1:
                mixed = (d & b) | (~d & c)
            elif turn == 2:
                mixed = b ^ c ^ d
            else:
                mixed = c ^ (b | (~d & _MASK))
            total = (a + mixed + constant + words[word]) & _MASK
            a, d, c = d, c, b
            b = (b + (total << shift | total >> (32 - shift))) & _MASK
    after = (a, b, c, d)
    return struct.pack("<4I", *((x + y) & _MASK for x, y in zip(before, after, strict=True)))
