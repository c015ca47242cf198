"""
Failures on demand, for people who test their programs against localserve.

A local-part says what shall become of the mail: C{x-permerror@...} is refused
with 550, C{mailfrom451@...} as a sender with 451, and so on (S-109, S-110).
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Final

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from zope.interface import implementer

from moxsmtp.receive.policy import IPolicy
from moxsmtp.smtp.address import Path
from moxsmtp.smtp.reply import Refused, Reply

__all__ = ["Rehearsal", "rehearsed_code"]

#: How long the local-part C{timeout} makes a client wait.
TIMEOUT: Final = timedelta(hours=1)


def rehearsed_code(local_part: str) -> int | None:
    """
    The reply code that a local-part asks for by its end.

    @return: 400 to 599; 0 for a time-out; L{None} if it asks for nothing.
    """
    if local_part.endswith("temperror"):
        return 451
    if local_part.endswith("permerror"):
        return 550
    if local_part.endswith("timeout"):
        return 0
    digits = local_part[-3:]
    if len(digits) == 3 and digits.isascii() and digits.isdigit() and "400" <= digits <= "599":
        return int(digits)
    return None


@implementer(IPolicy)
class Rehearsal:
    """
    Refuses what a local-part asks to be refused; all else passes.  Nobody is
    sent a DSN for it: who rehearses sees the reply.
    """

    reason = "localserve"
    reports_refusals = False

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock

    async def sender(self, path: Path | None) -> None:
        """Local-parts that begin with C{mailfrom} fail at MAIL."""
        if path is not None and path.local_part.startswith("mailfrom"):
            await self._rehearse(path, timeout_status="3.0")

    async def recipient(self, path: Path) -> None:
        """Local-parts that begin with C{rcptto} fail at RCPT."""
        if path.local_part.startswith("rcptto"):
            await self._rehearse(path, timeout_status="3.0")

    async def submission(self, recipients: Iterable[Path]) -> None:
        """
        Any other fails once the message is there.  Those that begin with
        C{queue} fail later, when the queue hands them to our own port 25 (Q-90).
        """
        for path in recipients:
            if not path.local_part.startswith("queue"):
                await self._rehearse(path, timeout_status="3.0")

    async def delivery(self, recipient: Path) -> None:
        """Just before a message would be stored."""
        await self._rehearse(recipient, timeout_status="0.0")

    async def _rehearse(self, path: Path, *, timeout_status: str) -> None:
        code = rehearsed_code(path.local_part)
        if code is None:
            return
        if code == 0:
            await deferLater(self._clock, TIMEOUT.total_seconds())
            raise Refused(Reply(451, timeout_status, "timing out, as the local-part asks"))
        raise Refused(Reply(code, "0.0", "failing, as the local-part asks"))
