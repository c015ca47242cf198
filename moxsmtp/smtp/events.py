"""What a session asks of the one who runs it, each a value."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final

from moxsmtp.interfaces import CertificateAttempt, Login, PasswordAttempt
from moxsmtp.smtp.commands import Command, Verb
from moxsmtp.smtp.login_secrets import SecretsWanted
from moxsmtp.smtp.reply import Reply

__all__ = [
    "ENDS", "NO_COMMANDS", "UNANSWERED", "Challenge", "ChunkBegin", "ChunkEnd", "Content",
    "ContentEnd", "Event", "Exchange", "LoginAttempt", "LoginProven", "LoginResult", "Refusal",
    "SecretsRequest",
]  # fmt: skip


class LoginResult(enum.StrEnum):
    """How an AUTH came out; the words of the metric."""

    OK = "ok"
    BAD_CREDENTIALS = "badcreds"
    BAD_CHANNEL_BINDING = "badchanbind"
    ABORTED = "aborted"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Exchange:
    """
    An AUTH that is over.

    @ivar variant: The mechanism in lower case; empty if we do not know it.
    """

    variant: str
    result: LoginResult


@dataclass(frozen=True, slots=True)
class Refusal:
    """
    A line that the session itself refuses; answer it with C{reply}.

    @ivar verb: L{None} if there was none that we know.
    @ivar reason: For the log.
    @ivar exchange: Set if this ended an AUTH.
    """

    verb: Verb | None
    reply: Reply
    reason: str = ""
    exchange: Exchange | None = None


@dataclass(frozen=True, slots=True)
class Challenge:
    """The next step of a SASL exchange; answer it with C{reply}, which is a 334."""

    reply: Reply
    verb = Verb.AUTH


@dataclass(frozen=True, slots=True)
class LoginAttempt:
    """
    A password or certificate to be verified; answer it with the outcome.

    @ivar variant: The mechanism in lower case.
    """

    variant: str
    attempt: PasswordAttempt | CertificateAttempt
    verb = Verb.AUTH


@dataclass(frozen=True, slots=True)
class SecretsRequest:
    """
    A claim that is verified with secrets of ours; C{supply} them, then answer
    what comes in its place.

    @ivar variant: The mechanism in lower case.
    """

    variant: str
    wanted: SecretsWanted
    verb = Verb.AUTH


@dataclass(frozen=True, slots=True)
class LoginProven:
    """
    The client has proven who it is; answer it with what C{log_in} gives.

    @ivar variant: The mechanism in lower case.
    """

    variant: str
    login: Login
    verb = Verb.AUTH


@dataclass(frozen=True, slots=True)
class ChunkBegin:
    """More of the message is on its way, behind a BDAT.  Wants no answer."""


@dataclass(frozen=True, slots=True)
class Content:
    """More of the message.  Wants no answer."""

    octets: bytes


@dataclass(frozen=True, slots=True)
class ChunkEnd:
    """
    A chunk is whole, and not the last; answer it with what became of it.

    @ivar size: Octets of it.
    """

    size: int
    verb = Verb.BDAT


@dataclass(frozen=True, slots=True)
class ContentEnd:
    """
    The message is whole, or lost; answer it with what became of it.

    @ivar refusal: Answer this: the content cannot be taken.
    @ivar verb: What it came with.
    """

    refusal: Reply | None
    verb: Verb = Verb.DATA


Event = (
    Command
    | Refusal
    | Challenge
    | SecretsRequest
    | LoginAttempt
    | LoginProven
    | ChunkBegin
    | Content
    | ChunkEnd
    | ContentEnd
)

# Tuples, for a union would be made anew at each look.

#: Events that want no answer.
UNANSWERED: Final = (Content, ChunkBegin)

#: Events whose command came before them.
ENDS: Final = (ContentEnd, ChunkEnd)

#: Events that are no commands.
NO_COMMANDS: Final = (
    Refusal, Challenge, SecretsRequest, LoginAttempt, LoginProven, ChunkBegin, Content, ChunkEnd,
    ContentEnd,
)  # fmt: skip
