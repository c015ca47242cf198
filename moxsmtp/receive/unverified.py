"""
Mail through a port that makes no checks: a filter, or another mail server of the
same site, stands in front of it and has made them.  What they would say of that
server's own address means nothing.
"""

from __future__ import annotations

from typing import Final

from moxsmtp import dkim, dmarc, iprev, spf
from moxsmtp.message.header import Header
from moxsmtp.receive.verification import Authentication

__all__ = ["Unverified"]

_NOTHING: Final = Authentication(
    iprev.Result(iprev.Status.PERMERROR),
    spf.Result(spf.Status.NONE),
    dkim.Results(()),
    dmarc.Result(dmarc.Status.NONE),
    is_made=False,
)


class Unverified:
    """Takes the place of a L{moxsmtp.receive.verification.Verification}."""

    async def sender_passes(self) -> bool:
        """There is nothing to say against anybody."""
        return True

    def header_complete(self, section: bytes, header: Header) -> None:
        """It is not looked at."""

    def body(self, octets: bytes) -> None:
        """Nobody reads it."""

    async def identities(self) -> None:
        """There are none."""

    async def authentication(self) -> Authentication:
        """Nothing, in every part."""
        return _NOTHING

    def cancel(self) -> None:
        """Nothing is under way."""
