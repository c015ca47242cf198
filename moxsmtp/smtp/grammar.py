"""
Command lines into commands.  RFC 5321 section 4.1.1, RFC 3030, RFC 4954, RFC 6531.

Arguments are everything behind the verb, with the space before them.  Patterns
never backtrack, so that a line costs what its length says.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

from moxsmtp.names import Host, InvalidName, parse_domain, parse_host
from moxsmtp.smtp.address import (
    MAXIMUM_LOCAL_PART,
    STANDARD_LOCAL_PART,
    InvalidPath,
    Path,
    parse_mailbox,
)
from moxsmtp.smtp.commands import (
    Auth,
    Bdat,
    Command,
    Data,
    Ehlo,
    Expn,
    Helo,
    Help,
    Mail,
    Noop,
    Quit,
    Rcpt,
    Rset,
    StartTLS,
    Verb,
    Vrfy,
)
from moxsmtp.smtp.dialect import BadSyntax, Dialect
from moxsmtp.smtp.parameters import mail_parameters, rcpt_parameters
from moxsmtp.smtp.reply import Refused, Reply

__all__ = ["VERBS", "BadSyntax", "Dialect", "command"]

#: The verb of a line, in upper case, into the verb that it is.
VERBS: Final[Mapping[bytes, Verb]] = {verb.value.encode(): verb for verb in Verb}

#: Octets of a path with its angle brackets.  RFC 5321 section 4.5.3.1.3.
_MAXIMUM_PATH: Final = 256

# Path = "<" [ A-d-l ":" ] Mailbox ">"; what stands between the brackets is read later.
_FROM = re.compile(r" FROM:( ?)<([^>]*+)>", re.ASCII | re.IGNORECASE)
_TO = re.compile(r" TO:( ?)<([^>]*+)>", re.ASCII | re.IGNORECASE)

# A-d-l = At-domain *( "," At-domain ), then ":"
_SOURCE_ROUTE = re.compile(r"(@[^@,:<>\s]++(?>(?:,@[^@,:<>\s]++)*)):")

# "AUTH" SP sasl-mech [SP initial-response]; more spaces are put up with (S-44).
_AUTH = re.compile(r" ([A-Z0-9_-]{1,20})(?>(?: ++([^ ]++))?)")

_STRICT_AUTH = re.compile(r" ([A-Z0-9_-]{1,20})(?>(?: ([^ ]++))?)")

# bdat-cmd = "BDAT" SP chunk-size [ SP end-marker ]; chunk-size = 1*DIGIT.
# No more digits than SIZE may have (RFC 1870 section 3).
_BDAT = re.compile(r" ([0-9]{1,20})( LAST)?+", re.ASCII | re.IGNORECASE)

# The grammar says: String = Atom / Quoted-string
_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]++"
_QUOTED = r'"(?:[ !#-\[\]-~]|\\[ -~])*+"'
_STRING = re.compile(rf" (?:{_ATOM}|{_QUOTED})")
_UTF8_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\u0080-\U0010ffff-]++"
_UTF8_QUOTED = r'"(?:[ !#-\[\]-~\u0080-\U0010ffff]|\\[ -~])*+"'
_UTF8_STRING = re.compile(rf" (?:{_UTF8_ATOM}|{_UTF8_QUOTED}) SMTPUTF8", re.ASCII | re.IGNORECASE)


def command(verb: Verb, arguments: bytes, dialect: Dialect) -> Command:
    """
    The command that a line is.

    @raise BadSyntax: The arguments are not those of this verb (S-26).
    @raise Refused: They are well-formed, but not taken, for another reply.
    """
    if verb is Verb.HELP:
        return Help()
    if dialect.submission:
        # Users' programs call themselves what they like (S-29).
        if verb is Verb.EHLO and not dialect.pedantic:
            return Ehlo(None)
        if verb is Verb.HELO and not dialect.pedantic:
            return Helo(None)
    else:
        arguments = arguments.rstrip(b" \t")
    simple = _SIMPLE.get(verb)
    if simple is not None:
        if arguments:
            raise BadSyntax(arguments.decode("utf-8", "backslashreplace"))
        return simple
    try:
        text = arguments.decode("utf-8")
    except UnicodeDecodeError:
        raise BadSyntax(arguments.decode("utf-8", "backslashreplace")) from None
    return _READERS[verb](text, dialect)


def _ehlo(text: str, dialect: Dialect) -> Command:
    if text.startswith(" ["):
        # What follows a literal is ignored (S-29).
        literal = text[1:].partition(" ")[0]
        return Ehlo(_host(literal, text))
    return Ehlo(_helo_domain(text, dialect))


def _helo(text: str, dialect: Dialect) -> Command:
    return Helo(_helo_domain(text, dialect))


def _helo_domain(text: str, _dialect: Dialect) -> Host:
    if not text.startswith(" ") or not text.isascii():
        raise BadSyntax(text)
    try:
        return parse_domain(text[1:])
    except InvalidName:
        raise BadSyntax(text) from None


def _host(literal: str, text: str) -> Host:
    try:
        return parse_host(literal)
    except InvalidName:
        raise BadSyntax(text) from None


def _mail(text: str, dialect: Dialect) -> Command:
    match = _beginning(_FROM, text, dialect)
    # The path comes last: only then it is known whether it may be in UTF-8 (S-57).
    fields = mail_parameters(text, match.end(), dialect)
    written = match.group(2)
    if not written:
        return Mail(None, **fields)
    return Mail(_path(written, 550, dialect, smtputf8="smtputf8" in fields), **fields)


def _rcpt(text: str, dialect: Dialect) -> Command:
    match = _beginning(_TO, text, dialect)
    fields = rcpt_parameters(text, match.end(), dialect)
    written = match.group(2)
    if written.isascii() and written.lower() == "postmaster":
        return Rcpt(Path("postmaster", None), **fields)
    return Rcpt(_path(written, 553, dialect, smtputf8=dialect.smtputf8), **fields)


def _beginning(pattern: re.Pattern[str], text: str, dialect: Dialect) -> re.Match[str]:
    """The path in its brackets, and a space before it only if we are not pedantic (S-57)."""
    match = pattern.match(text)
    if match is None or (dialect.pedantic and match.group(1)):
        raise BadSyntax(text)
    return match


def _path(written: str, code: int, dialect: Dialect, *, smtputf8: bool) -> Path:
    """
    What stood between the angle brackets; a source route is dropped (S-105).

    @param code: Refuses non-ASCII without SMTPUTF8; RFC 6531 section 3.5.
    """
    if len(written.encode()) + 2 > _MAXIMUM_PATH:
        raise BadSyntax(f"<{written}>")
    text = written
    if text.startswith("@"):
        text = _without_route(written, smtputf8=smtputf8)
    longest = STANDARD_LOCAL_PART if dialect.pedantic else MAXIMUM_LOCAL_PART
    try:
        path = parse_mailbox(text, longest=longest)
    except InvalidPath:
        raise BadSyntax(f"<{written}>") from None
    if not text.isascii():
        if not smtputf8:
            if not text.rpartition("@")[0].isascii():
                raise Refused(Reply(code, "6.7", "SMTPUTF8 is needed for this address"))
            raise BadSyntax(f"<{written}>")
        # With A-labels it may be longer, and has to be written so.
        if max(len(path.ascii.encode()), len(path.unicode.encode())) + 2 > _MAXIMUM_PATH:
            raise BadSyntax(f"<{written}>")
    return path


def _without_route(written: str, *, smtputf8: bool) -> str:
    match = _SOURCE_ROUTE.match(written)
    if match is None or not (smtputf8 or match.group().isascii()):
        raise BadSyntax(f"<{written}>")
    for hop in match.group(1).split(","):
        try:
            parse_domain(hop[1:])
        except InvalidName:
            raise BadSyntax(f"<{written}>") from None
    return written[match.end() :]


def _auth(text: str, dialect: Dialect) -> Command:
    match = (_STRICT_AUTH if dialect.pedantic else _AUTH).fullmatch(text)
    if match is None:
        raise BadSyntax("")  # It may hold a password, and goes into the log.
    return Auth(match.group(1), match.group(2))


def _bdat(text: str, _dialect: Dialect) -> Command:
    match = _BDAT.fullmatch(text)
    if match is None:
        raise BadSyntax(text)
    return Bdat(int(match[1]), match[2] is not None)


def _noop(text: str, _dialect: Dialect) -> Command:
    if text and not _STRING.fullmatch(text):
        raise BadSyntax(text)
    return Noop()


def _vrfy(text: str, _dialect: Dialect) -> Command:
    return Vrfy() if _is_enquiry(text) else _unread(text)


def _expn(text: str, _dialect: Dialect) -> Command:
    return Expn() if _is_enquiry(text) else _unread(text)


def _is_enquiry(text: str) -> bool:
    """RFC 5321 section 4.1.1.6, RFC 6531 section 3.7.4.2."""
    return bool(_STRING.fullmatch(text) or _UTF8_STRING.fullmatch(text))


def _unread(text: str) -> Command:
    raise BadSyntax(text)


#: Verbs without arguments.
_SIMPLE: Final[Mapping[Verb, Command]] = {
    Verb.DATA: Data(),
    Verb.RSET: Rset(),
    Verb.QUIT: Quit(),
    Verb.STARTTLS: StartTLS(),
}

_READERS: Final[Mapping[Verb, Callable[[str, Dialect], Command]]] = {
    Verb.EHLO: _ehlo,
    Verb.HELO: _helo,
    Verb.MAIL: _mail,
    Verb.RCPT: _rcpt,
    Verb.AUTH: _auth,
    Verb.BDAT: _bdat,
    Verb.NOOP: _noop,
    Verb.VRFY: _vrfy,
    Verb.EXPN: _expn,
}
