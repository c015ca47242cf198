"""What a session asks of the one who runs it, each a value."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from moxsmtp.interfaces import PasswordAttempt
from moxsmtp.smtp.commands import Command, Verb
from moxsmtp.smtp.reply import Reply

__all__ = [
    "Challenge", "Content", "ContentEnd", "Event", "Exchange", "LoginAttempt", "LoginResult",
    "Refusal",
]  # fmt: skip


class LoginResult(enum.StrEnum):
    """How an AUTH came out; the words of the metric."""

    OK = "ok"
    BAD_CREDENTIALS = "badcreds"
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


@dataclass(frozen=True, slots=True)
class LoginAttempt:
    """
    A password to be verified; answer it with the outcome.

    @ivar variant: The mechanism in lower case.
    """

    variant: str
    attempt: PasswordAttempt


@dataclass(frozen=True, slots=True)
class Content:
    """More of the message.  Wants no answer."""

    octets: bytes


@dataclass(frozen=True, slots=True)
class ContentEnd:
    """
    The message is whole, or lost; answer it with what became of it.

    @ivar refusal: Answer this: the content cannot be taken.
    """

    refusal: Reply | None


Event = Command | Refusal | Challenge | LoginAttempt | Content | ContentEnd
