"""
The order of commands, as a table.  RFC 5321 section 4.1.4, RFC 3030 section 2.

What is not in it is refused.  A session that has not said hello may do little;
a transaction begins with MAIL and ends with the end of data, RSET or a new hello.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Final

from moxsmtp.smtp.commands import Verb

__all__ = ["MISSING", "TRANSITIONS", "State"]


class State(enum.Enum):
    """Where a session stands."""

    INITIAL = enum.auto()  # no EHLO or HELO yet
    GREETED = enum.auto()
    MAIL = enum.auto()  # a sender, no recipients
    RCPT = enum.auto()  # a recipient at least
    CONTENT = enum.auto()  # behind 354
    CHUNKS = enum.auto()  # between two BDATs
    EXCHANGE = enum.auto()  # behind 334
    HANDSHAKE = enum.auto()  # TLS begins
    CLOSED = enum.auto()


_GREETED: Final = (State.GREETED, State.MAIL, State.RCPT, State.CHUNKS)

#: Where a command leads once it is accepted.  RFC 5321 section 4.1.4.
TRANSITIONS: Final[Mapping[tuple[State, Verb], State]] = {
    (State.GREETED, Verb.MAIL): State.MAIL,
    (State.MAIL, Verb.RCPT): State.RCPT,
    (State.RCPT, Verb.RCPT): State.RCPT,
    (State.RCPT, Verb.DATA): State.CONTENT,
    (State.RCPT, Verb.BDAT): State.CHUNKS,
    (State.CHUNKS, Verb.BDAT): State.CHUNKS,
    (State.GREETED, Verb.AUTH): State.GREETED,
    (State.GREETED, Verb.STARTTLS): State.HANDSHAKE,
    (State.MAIL, Verb.STARTTLS): State.HANDSHAKE,
    (State.RCPT, Verb.STARTTLS): State.HANDSHAKE,
    **{(state, verb): State.GREETED
       for state in (State.INITIAL, *_GREETED)
       for verb in (Verb.EHLO, Verb.HELO)},
    (State.INITIAL, Verb.RSET): State.INITIAL,
    **{(state, Verb.RSET): State.GREETED for state in _GREETED},
    **{(state, verb): state
       for state in (State.INITIAL, *_GREETED)
       for verb in (Verb.NOOP, Verb.HELP, Verb.VRFY, Verb.EXPN, Verb.QUIT)},
}  # fmt: skip

#: What is missing where a move is not in the table.
MISSING: Final[Mapping[tuple[State, Verb], str]] = {
    (State.GREETED, Verb.RCPT): "give MAIL first",
    (State.GREETED, Verb.DATA): "give MAIL first",
    (State.MAIL, Verb.DATA): "give RCPT first",
    (State.MAIL, Verb.MAIL): "a transaction is open already",
    (State.RCPT, Verb.MAIL): "a transaction is open already",
    (State.GREETED, Verb.BDAT): "give MAIL first",
    (State.MAIL, Verb.BDAT): "give RCPT first",
    (State.MAIL, Verb.AUTH): "not within a transaction",
    (State.RCPT, Verb.AUTH): "not within a transaction",
    **{(State.CHUNKS, verb): "a message is under way, end it with BDAT or RSET"
       for verb in (Verb.MAIL, Verb.RCPT, Verb.DATA, Verb.AUTH, Verb.STARTTLS)},
}  # fmt: skip
