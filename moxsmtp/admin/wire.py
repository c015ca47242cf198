"""
What passes through the control socket: JSON objects, one a line.

The client sends one request, C{{"command": "mail.list", "arguments": {...}}}.
The server answers with any number of objects and ends with C{{"done": true}} or
C{{"error": "what is wrong"}}.  Octets are sent in base64 pieces.
"""

from __future__ import annotations

import json
import os
import sys
from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

__all__ = [
    "MAXIMUM_LINE", "MAXIMUM_REQUEST", "PIECE", "SOCKET", "decoded", "encoded", "octets",
    "piece", "short_path",
]  # fmt: skip

#: The socket's name in the data folder.
SOCKET: Final = "control.sock"

#: Octets of a request, its line end included.
MAXIMUM_REQUEST: Final = 64 * 1024

#: Octets of an answer's line.  Generous: a job's history with long replies fits.
MAXIMUM_LINE: Final = 4 * 1024 * 1024

#: Octets of content in one line; a multiple of three, so that no padding is needed.
PIECE: Final = 48 * 1024

#: Octets that C{sun_path} holds, less the NUL behind them.
_LONGEST: Final = 103 if sys.platform == "darwin" else 107


def encoded(entry: Mapping[str, object]) -> bytes:
    """One line."""
    return json.dumps(entry, ensure_ascii=True).encode("ascii") + b"\n"


def decoded(line: bytes) -> dict[str, Any]:
    """
    Read one line.

    @raise ValueError: It is no JSON object.
    """
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        raise ValueError("not JSON") from None
    if not isinstance(entry, dict):
        raise ValueError("not a JSON object")  # noqa: TRY004 - what was sent is at fault
    return entry


def piece(content: bytes) -> dict[str, object]:
    """Some octets of content."""
    return {"piece": b64encode(content).decode("ascii")}


def octets(entry: Mapping[str, Any]) -> bytes:
    """@raise ValueError: There are none in it."""
    return b64decode(entry.get("piece", "*"), validate=True)


@contextmanager
def short_path(folder: str) -> Iterator[str]:
    """
    A name of the socket that fits into a socket's address.  Where the plain
    one is too long, Linux has another way to it, open as long as this context.

    @raise OSError: The name is too long, or the folder cannot be entered.
    """
    plain = str(Path(folder) / SOCKET)
    if len(os.fsencode(plain)) <= _LONGEST:
        yield plain
        return
    if not sys.platform.startswith("linux"):
        reason = f"the name of the control socket has more than {_LONGEST} octets"
        raise OSError(0, f"{reason}; choose a data folder with a shorter name", plain)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}/{SOCKET}"
    finally:
        os.close(descriptor)
