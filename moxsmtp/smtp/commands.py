"""
The commands of RFC 5321 section 4.1.1, RFC 3030, RFC 3207 and RFC 4954 as values.

Each was read whole by L{moxsmtp.smtp.grammar}: its fields are decoded and
within the limits of the grammar, not checked against any policy.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from moxsmtp.names import Host
from moxsmtp.smtp.address import Path
from moxsmtp.smtp.future_release import Hold
from moxsmtp.smtp.notification import UNSAID, Notify, ReturnContent

__all__ = [
    "Auth", "Bdat", "BodyType", "Command", "Data", "Ehlo", "Expn", "Helo", "Help", "Mail", "Noop",
    "Quit", "Rcpt", "Rset", "StartTLS", "Verb", "Vrfy",
]  # fmt: skip


class Verb(enum.StrEnum):
    """What a command line begins with."""

    HELO = "HELO"
    EHLO = "EHLO"
    STARTTLS = "STARTTLS"
    AUTH = "AUTH"
    MAIL = "MAIL"
    RCPT = "RCPT"
    DATA = "DATA"
    BDAT = "BDAT"
    RSET = "RSET"
    VRFY = "VRFY"
    EXPN = "EXPN"
    HELP = "HELP"
    NOOP = "NOOP"
    QUIT = "QUIT"


class BodyType(enum.StrEnum):
    """The BODY parameter of MAIL.  RFC 6152."""

    SEVEN_BIT = "7BIT"
    EIGHT_BIT = "8BITMIME"


@dataclass(frozen=True, slots=True)
class Helo:
    """@ivar name: L{None} where a submission client's argument is ignored (S-29)."""

    name: Host | None
    verb = Verb.HELO


@dataclass(frozen=True, slots=True)
class Ehlo:
    """@ivar name: L{None} where a submission client's argument is ignored (S-29)."""

    name: Host | None
    verb = Verb.EHLO


@dataclass(frozen=True, slots=True)
class StartTLS:
    """RFC 3207."""

    verb = Verb.STARTTLS


@dataclass(frozen=True, slots=True)
class Auth:
    """
    RFC 4954 section 4.  The initial response is the mechanism's to decode: it
    may not be wanted at all.

    @ivar mechanism: As sent: upper-case letters, digits, hyphen, underscore.
    @ivar initial_response: As sent, base64 or C{=}; L{None} if there was none.
    """

    mechanism: str
    initial_response: str | None
    verb = Verb.AUTH


@dataclass(frozen=True, slots=True)
class Mail:
    """
    @ivar reverse_path: L{None} for the null reverse-path.
    @ivar size: Octets declared by SIZE (RFC 1870), L{None} if none were.
    @ivar body: L{None} if not given.
    @ivar require_tls: REQUIRETLS was given (RFC 8689).
    @ivar hold: Until when the mail is to be held; L{None}: not at all (RFC 4865).
    @ivar returns: RET.  @ivar envelope_id: ENVID, decoded (RFC 3461).
    """

    reverse_path: Path | None
    size: int | None = None
    body: BodyType | None = None
    smtputf8: bool = False
    require_tls: bool = False
    hold: Hold | None = None
    returns: ReturnContent = ReturnContent.UNSET
    envelope_id: str = ""
    verb = Verb.MAIL


@dataclass(frozen=True, slots=True)
class Rcpt:
    """
    RFC 5321 section 4.1.1.3; a source route has been dropped.

    @ivar notify: NOTIFY.
    @ivar original_recipient: ORCPT, its address decoded: C{rfc822;a@b.example} (RFC 3461).
    """

    forward_path: Path
    notify: Notify = UNSAID
    original_recipient: str = ""
    verb = Verb.RCPT


@dataclass(frozen=True, slots=True)
class Data:
    """RFC 5321 section 4.1.1.4."""

    verb = Verb.DATA


@dataclass(frozen=True, slots=True)
class Bdat:
    """
    RFC 3030 section 2.

    @ivar size: Octets that follow.
    @ivar last: The message ends with them.
    """

    size: int
    last: bool
    verb = Verb.BDAT


@dataclass(frozen=True, slots=True)
class Rset:
    """RFC 5321 section 4.1.1.5."""

    verb = Verb.RSET


@dataclass(frozen=True, slots=True)
class Vrfy:
    """RFC 5321 section 4.1.1.6; what was asked for is not kept."""

    verb = Verb.VRFY


@dataclass(frozen=True, slots=True)
class Expn:
    """RFC 5321 section 4.1.1.7; what was asked for is not kept."""

    verb = Verb.EXPN


@dataclass(frozen=True, slots=True)
class Help:
    """RFC 5321 section 4.1.1.8."""

    verb = Verb.HELP


@dataclass(frozen=True, slots=True)
class Noop:
    """RFC 5321 section 4.1.1.9."""

    verb = Verb.NOOP


@dataclass(frozen=True, slots=True)
class Quit:
    """RFC 5321 section 4.1.1.10."""

    verb = Verb.QUIT


Command = (
    Helo
    | Ehlo
    | StartTLS
    | Auth
    | Mail
    | Rcpt
    | Data
    | Bdat
    | Rset
    | Vrfy
    | Expn
    | Help
    | Noop
    | Quit
)
