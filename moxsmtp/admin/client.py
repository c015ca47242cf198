"""
The other end of the control socket, for programs without a reactor.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from typing import Any, Final

from moxsmtp.admin.wire import MAXIMUM_LINE, MAXIMUM_REQUEST, decoded, encoded, short_path

__all__ = ["CommandRefused", "NoServer", "call"]

#: Seconds without a sign of life.
_SILENCE: Final = 120.0


class NoServer(Exception):
    """Nobody listens, or not to us; the text is one line for people."""


class CommandRefused(Exception):
    """The server cannot do it; the text is its reason."""


def call(
    folder: str,
    command: str,
    arguments: Mapping[str, object],
    *,
    time_limit: float | None = _SILENCE,
    connect: Callable[[str], socket.socket] | None = None,
) -> Iterator[dict[str, Any]]:
    """
    Have a command carried out; gives what the server answers, as it comes.

    @param folder: The server's data folder.
    @param time_limit: Seconds that the server may be silent; L{None}: any time.
    @param connect: Opens the way to the server; its control socket by default.
    @raise NoServer: No server runs there, or it went away.
    @raise CommandRefused: It cannot do it.
    """
    request = encoded({"command": command, "arguments": arguments})
    if len(request) > MAXIMUM_REQUEST:
        raise CommandRefused("that is too much at once")
    with closing((connect or _connected)(folder)) as connection:
        connection.settimeout(time_limit)
        try:
            connection.sendall(request)
            yield from _answers(connection)
        except TimeoutError:
            raise NoServer(f"the server on {folder} does not answer") from None
        except OSError as error:
            raise NoServer(f"the server on {folder} went away: {error.strerror}") from None


def _connected(folder: str) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with short_path(folder) as path:
            connection.settimeout(_SILENCE)
            connection.connect(path)
    except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
        connection.close()
        raise NoServer(f"no server runs on {folder}") from None
    except OSError as error:
        connection.close()
        raise NoServer(f"cannot reach a server on {folder}: {error.strerror}") from None
    return connection


def _answers(connection: socket.socket) -> Iterator[dict[str, Any]]:
    with connection.makefile("rb") as lines:
        while line := lines.readline(MAXIMUM_LINE):
            try:
                entry = decoded(line)
            except ValueError:
                raise NoServer("what listens there is no moxsmtp") from None
            if "error" in entry and len(entry) == 1:
                raise CommandRefused(str(entry["error"]))
            if entry == {"done": True}:
                return
            yield entry
    raise NoServer("the server ended before it had answered")
