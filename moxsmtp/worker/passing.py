"""
Connections on their way from the process that accepts them to the one that
speaks with the client: a file descriptor with a few octets beside it, over a
pair of sockets that keeps each message whole.  unix(7), SCM_RIGHTS.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

__all__ = ["Arrival", "receive_connections", "send_connection", "socket_pair"]

_FORM: Final = struct.Struct("!HQ")

#: Connections taken in one turn.
_TURN: Final = 64


@dataclass(frozen=True, slots=True)
class Arrival:
    """
    @ivar door: Which of the server's doors it came through.
    @ivar number: Of its session (S-9).
    """

    door: int
    number: int


def socket_pair() -> tuple[socket.socket, socket.socket]:
    """Neither end ever blocks."""
    pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in pair:
        end.setblocking(False)
    return pair


def send_connection(channel: socket.socket, descriptor: int, arrival: Arrival) -> None:
    """
    The sender's descriptor stays its own.

    @raise BlockingIOError: There is no room now.
    @raise OSError: It is no use.
    """
    socket.send_fds(channel, [_FORM.pack(arrival.door, arrival.number)], [descriptor])


def receive_connections(channel: socket.socket) -> Iterator[tuple[Arrival, int]]:
    """
    Those that are there, at most so many as are good for one turn.

    @return: Each with its descriptor, now the caller's; -1: it was lost, as this
        process has too many files open.
    @raise EOFError: The sender is gone.
    """
    for _ in range(_TURN):
        try:
            octets, descriptors, _flags, _address = socket.recv_fds(channel, _FORM.size, 1)
        except BlockingIOError:
            return
        if len(octets) != _FORM.size:
            for each in descriptors:
                os.close(each)
            raise EOFError
        arrival = Arrival(*_FORM.unpack(octets))
        yield arrival, descriptors[0] if descriptors else -1
