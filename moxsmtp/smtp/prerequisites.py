"""What must have come before a command (S-25, S-41).  RFC 5321 section 4.1.4."""

from __future__ import annotations

from typing import Final

from moxsmtp.interfaces import Client
from moxsmtp.smtp.commands import Verb
from moxsmtp.smtp.order import MISSING, TRANSITIONS, State
from moxsmtp.smtp.reply import Reply

__all__ = ["unmet"]

_NO_HELLO: Final = Reply(503, "5.1", "say EHLO or HELO first")
_NO_LOGIN: Final = Reply(530, "7.0", "log in first")
_NO_LOGIN_HERE: Final = Reply(503, "5.1", "nobody can log in here")
_LOGGED_IN: Final = Reply(503, "5.1", "logged in already")
_TOO_MANY_BAD: Final = Reply(550, "1.0", "too many messages were refused", close=True)

#: What makes a transaction; only users may where users hand in mail.
_TRANSACTION: Final = frozenset({Verb.MAIL, Verb.RCPT, Verb.DATA, Verb.BDAT})


def unmet(
    verb: Verb, state: State, client: Client, *, used_sasl: bool, is_nuisance: bool
) -> Reply | None:
    """
    Why a command is refused before its arguments are looked at; the first
    reason in the order of S-25.

    @param used_sasl: The client has logged in by AUTH, not only by its certificate.
    @param is_nuisance: Too many messages were refused, and none taken (S-56).
    """
    is_submission, is_logged_in = client.role.is_submission, client.login is not None
    reply = None
    if state is State.INITIAL and (state, verb) not in TRANSITIONS:
        reply = _NO_HELLO
    elif is_submission and not is_logged_in and verb in _TRANSACTION:
        reply = _NO_LOGIN
    elif verb is Verb.AUTH and (not is_submission or used_sasl):
        reply = _LOGGED_IN if is_submission else _NO_LOGIN_HERE
    elif verb is Verb.MAIL and is_nuisance:
        reply = _TOO_MANY_BAD
    elif (state, verb) not in TRANSITIONS:
        reply = Reply(503, "5.1", MISSING[state, verb])
    return reply
