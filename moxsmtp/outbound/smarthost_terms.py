"""What sessions with a smarthost obey (Q-44, Q-45), beside its TLS."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Final

from moxsmtp.interfaces import ChannelBinding
from moxsmtp.outbound.transport import Smarthost
from moxsmtp.smtp.sasl_client import ClientMechanism, choose

__all__ = ["SETUP_LIMIT", "login_to", "transaction_limit"]

#: From the connection to the last reply before MAIL: greeting, TLS, login.
SETUP_LIMIT: Final = timedelta(seconds=60)

_TRANSACTION: Final = timedelta(seconds=60)
_MEBIBYTE: Final = 1 << 20


def transaction_limit(size: int) -> timedelta:
    """From MAIL to the reply to the message: a minute, and a second for each MiB that is begun."""
    return _TRANSACTION + timedelta(seconds=-(-size // _MEBIBYTE))


def login_to(
    transport: Smarthost, random_bytes: Callable[[int], bytes]
) -> Callable[[frozenset[str], ChannelBinding | None], ClientMechanism | None] | None:
    """
    How to log in: given what the server offers and what its TLS can be bound
    to, with which mechanism.  L{None}: not at all.

    That no mechanism is in common, and that the server refuses, are transient
    failures: a wrong password is ours to put right, and no fault of the
    recipient's (Q-44).
    """
    if not transport.username:
        return None

    def login(offered: frozenset[str], binding: ChannelBinding | None) -> ClientMechanism | None:
        return choose(
            transport.mechanisms,
            offered,
            username=transport.username,
            password=transport.password,
            binding=binding,
            random_bytes=random_bytes,
        )

    return login
