"""What a client hears whom nobody speaks with."""

from __future__ import annotations

import socket

from moxsmtp.interfaces import Role
from moxsmtp.smtp.reply import Reply

__all__ = ["refuse"]


def refuse(connection: socket.socket, role: Role, reply: Reply) -> None:
    """Say no, and close; where TLS comes first, without a word."""
    try:
        if role is not Role.SUBMISSIONS:
            connection.send(reply.encode(), socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
    except OSError:
        pass  # it has gone by itself
    finally:
        connection.close()
