"""
What an SMTP client is to hand over, what became of it, and what to do next:
the values of L{moxsmtp.smtp.exchange}.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace
from datetime import timedelta

from moxsmtp.smtp.address import Path
from moxsmtp.smtp.notification import Wishes
from moxsmtp.smtp.remote_reply import RemoteReply

__all__ = [
    "Accepted", "AwaitReply", "BeginTLS", "Fate", "Idle", "Mailing", "Over", "Refusal",
    "SendContent", "StartTLS", "Step", "Write",
]  # fmt: skip

# -- what is to be sent ----------------------------------------------------------------


class StartTLS(enum.Enum):
    """Whether a session is to be encrypted; how well, is judged after the handshake."""

    NEVER = "never"
    IF_OFFERED = "if offered"
    #: The command is given even where it is not announced: who hides it gains nothing.
    ALWAYS = "always"
    #: Before the greeting.  RFC 8314 section 3.
    IMMEDIATE = "immediate"


@dataclass(frozen=True, slots=True)
class Mailing:
    """
    A message and who is to have it.

    @ivar size: Octets of the content.
    @ivar smtputf8: The message needs SMTPUTF8 whatever its addresses are.
    @ivar wishes: What the sender wants to hear of each recipient, in their
        order; empty: of none anything.  What concerns the message stands in
        the first.
    @ivar require_tls: It must travel under REQUIRETLS (RFC 8689).
    @ivar alternative_size: Octets of the same message in UTF-8, which goes to a
        server that takes 8BITMIME and SMTPUTF8; L{None}: there is no such form.
    """

    reverse_path: Path | None
    forward_paths: tuple[Path, ...]
    size: int
    has_8bit: bool = False
    smtputf8: bool = False
    wishes: tuple[Wishes, ...] = ()
    require_tls: bool = False
    alternative_size: int | None = None

    def __post_init__(self) -> None:
        if self.wishes and len(self.wishes) != len(self.forward_paths):
            raise ValueError("wishes are for each recipient, or there are none")

    @property
    def needs_smtputf8(self) -> bool:
        """RFC 6531 section 3.2."""
        paths = (self.reverse_path, *self.forward_paths)
        return self.smtputf8 or any(path is not None and path.needs_smtputf8 for path in paths)

    @property
    def in_one_form(self) -> Mailing:
        """The same where there is no other form."""
        return replace(self, alternative_size=None)

    @property
    def in_utf8(self) -> Mailing | None:
        """The other form, as a mailing of its own."""
        if self.alternative_size is None:
            return None
        return replace(
            self, size=self.alternative_size, has_8bit=True, smtputf8=True, alternative_size=None
        )


# -- what became of it -----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Accepted:
    """
    @ivar status: Subject and detail of the enhanced status code, or empty.
    @ivar handed_on: The server was told the sender's wishes, and reports from
        now on.  RFC 3461 section 5.2.2.
    """

    reply: RemoteReply
    status: str = ""
    handed_on: bool = False


@dataclass(frozen=True, slots=True)
class Refusal:
    """
    @ivar permanent: Trying again is of no use.
    @ivar error: For people.
    @ivar code: The server's, or one of ours; 0 if there is none.
    @ivar status: Subject and detail of the enhanced status code, or empty.
    @ivar reply: L{None} if the server did not say it.
    @ivar elsewhere: It is this host that will not.  However permanent that is,
        the other hosts of the destination are to be asked (Q-61, Q-95).
    """

    permanent: bool
    error: str
    code: int = 0
    status: str = ""
    reply: RemoteReply | None = None
    elsewhere: bool = False


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
    """Send the content in whole lines, dots stuffed, but not yet its end."""


@dataclass(frozen=True, slots=True)
class Idle:
    """Nothing, until there is another mailing or the session is to be left."""


@dataclass(frozen=True, slots=True)
class Over:
    """Close the connection.  @ivar clean: Nothing is left to be said."""

    clean: bool


Step = Write | AwaitReply | BeginTLS | SendContent | Idle | Over
