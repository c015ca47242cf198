"""
What an SMTP client is to hand over, what became of it, and what to do next:
the values of L{moxsmtp.smtp.exchange}.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from moxsmtp.smtp.address import Path
from moxsmtp.smtp.remote_reply import RemoteReply

__all__ = [
    "Accepted", "AwaitReply", "BeginTLS", "Fate", "Mailing", "Over", "Refusal", "SendContent",
    "Step", "Write",
]  # fmt: skip

# -- what is to be sent ----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Mailing:
    """
    A message and who is to have it.

    @ivar size: Octets of the content.
    @ivar smtputf8: The message needs SMTPUTF8 whatever its addresses are.
    """

    reverse_path: Path | None
    forward_paths: tuple[Path, ...]
    size: int
    has_8bit: bool = False
    smtputf8: bool = False

    @property
    def needs_smtputf8(self) -> bool:
        """RFC 6531 section 3.2."""
        paths = (self.reverse_path, *self.forward_paths)
        return self.smtputf8 or any(path is not None and path.needs_smtputf8 for path in paths)


# -- what became of it -----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Accepted:
    """@ivar status: Subject and detail of the enhanced status code, or empty."""

    reply: RemoteReply
    status: str = ""


@dataclass(frozen=True, slots=True)
class Refusal:
    """
    @ivar permanent: Trying again is of no use.
    @ivar error: For people.
    @ivar code: The server's, or one of ours; 0 if there is none.
    @ivar status: Subject and detail of the enhanced status code, or empty.
    @ivar reply: L{None} if the server did not say it.
    """

    permanent: bool
    error: str
    code: int = 0
    status: str = ""
    reply: RemoteReply | None = None


Fate = Accepted | Refusal


# -- what is to be done ----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Write:
    """Send this."""

    octets: bytes


@dataclass(frozen=True, slots=True, eq=False)
class AwaitReply:
    """
    Wait for more octets.  The same object again: C{limit} counts from the
    first time, so that a server cannot stretch it by sending a little.
    """

    limit: timedelta


@dataclass(frozen=True, slots=True)
class BeginTLS:
    """Start TLS, then call L{Exchange.secured}."""


@dataclass(frozen=True, slots=True)
class SendContent:
    """Send the content and its end, dots stuffed."""


@dataclass(frozen=True, slots=True)
class Over:
    """Close the connection.  @ivar clean: Nothing is left to be said."""

    clean: bool


Step = Write | AwaitReply | BeginTLS | SendContent | Over
