"""What the entrances share, made from the parts of a server."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Final, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool

from moxsmtp.entrances import Hall
from moxsmtp.parts import Parts
from moxsmtp.periodic import Periodic
from moxsmtp.receive.connections import Connections
from moxsmtp.receive.credentials import Disguise, KeyCheck
from moxsmtp.receive.passwords import Pretence, hash_of_nobody
from moxsmtp.smtp.reply_id import ReplyIds
from moxsmtp.way_in import receivers

__all__ = ["find_reply_ids", "in_hashing_thread", "key_watch", "make_hall"]

T = TypeVar("T")

#: Octets of the installation's secret: a key of 16 and a prefix of 8 (S-10).
_REPLY_ID_SECRET: Final = 24

#: Octets of what secrets of unknown users are made from.
_PRETENCE_SECRET: Final = 32

#: Between looks at the keys of client certificates, which another process may have changed.
_LOOK: Final = timedelta(seconds=2)


async def find_reply_ids(parts: Parts) -> ReplyIds:
    """Those of this installation (S-10)."""
    secret = await parts.identity.secret("reply_id", lambda: secrets.token_bytes(_REPLY_ID_SECRET))
    return ReplyIds(secret[:16], secret[16:])


async def make_hall(
    parts: Parts,
    reply_ids: ReplyIds,
    session_ids: Iterator[int],
    connections: Callable[[str, int], Connections] = lambda _, maximum: Connections(maximum),
) -> Hall:
    """@param connections: See L{Hall}."""
    # Before anybody shows one.
    await parts.client_keys.look()
    disguise = Disguise(
        hash_of_nobody(),
        Pretence(
            await parts.identity.secret(
                "login_pretence", lambda: secrets.token_bytes(_PRETENCE_SECRET)
            )
        ),
    )
    return Hall(
        receivers=receivers(parts, reply_ids, disguise),
        session_ids=session_ids,
        reply_id=reply_ids.encode,
        random_bytes=secrets.token_bytes,
        reactor=parts.reactor,
        metrics=parts.metrics,
        limiters=parts.limiters,
        objection=KeyCheck(parts.accounts, parts.client_keys).objection,
        connections=connections,
    )


def key_watch(parts: Parts) -> Periodic:
    """Keeps handshakes up to date about the keys of clients, in each process that has any."""
    return Periodic(
        "keys of client certificates",
        parts.client_keys.look,
        first=_LOOK,
        interval=_LOOK,
        clock=parts.reactor,
    )


def in_hashing_thread(parts: Parts, make: Callable[[str], T], password: str) -> Deferred[T]:
    """What is made of a password takes long on purpose."""
    return deferToThreadPool(parts.reactor, parts.engine.hashing, make, password)
