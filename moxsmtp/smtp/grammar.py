"""
Command lines into commands.  RFC 5321 section 4.1.1, RFC 4954, RFC 6531.

Arguments are everything behind the verb, with the space before them.  Patterns
never backtrack, so that a line costs what its length says.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from moxsmtp.names import Host, InvalidName, parse_domain, parse_host
from moxsmtp.smtp.address import InvalidPath, Path, parse_mailbox
from moxsmtp.smtp.commands import (
    Auth,
    BodyType,
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
from moxsmtp.smtp.reply import Refused, Reply

__all__ = ["VERBS", "BadSyntax", "Dialect", "command"]

#: The verb of a line, in upper case, into the verb that it is.
VERBS: Final[Mapping[bytes, Verb]] = {verb.value.encode(): verb for verb in Verb}

#: Octets of a path with its angle brackets.  RFC 5321 section 4.5.3.1.3.
_MAXIMUM_PATH: Final = 256

_UNKNOWN_PARAMETER: Final = Reply(555, "3.3", "parameter not known here")
_REPEATED_PARAMETER: Final = Reply(501, "5.4", "parameter given twice")
_NO_SUCH_BODY: Final = Reply(555, "5.4", "BODY can be 7BIT or 8BITMIME")

# Path = "<" [ A-d-l ":" ] Mailbox ">"; what stands between the brackets is read later.
_FROM = re.compile(r" FROM: ?<([^>]*)>", re.ASCII | re.IGNORECASE)
_TO = re.compile(r" TO: ?<([^>]*)>", re.ASCII | re.IGNORECASE)

# A-d-l = At-domain *( "," At-domain ), then ":"
_SOURCE_ROUTE = re.compile(r"(@[^@,:<>\s]++(?:,@[^@,:<>\s]++)*+):")

# esmtp-param = esmtp-keyword ["=" esmtp-value]
_PARAMETER = re.compile(r" ([A-Za-z0-9][A-Za-z0-9-]*+)(?:=([!-<>-~\u0080-\U0010ffff]++))?+")
_SIZE = re.compile(r"[0-9]{1,20}")

# xtext = *( %d33-42 / %d44-60 / %d62-126 / "+" two upper-case hexadecimal digits ); RFC 3461
_XTEXT = re.compile(r"(?:[!-*,-<>-~]|\+[0-9A-F]{2})++")

# "AUTH" SP sasl-mech [SP initial-response]; more spaces are put up with (S-44).
_AUTH = re.compile(r" ([A-Z0-9_-]{1,20})(?: ++([^ ]++))?+")

# The grammar says: String = Atom / Quoted-string
_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]++"
_QUOTED = r'"(?:[ !#-\[\]-~]|\\[ -~])*+"'
_STRING = re.compile(rf" (?:{_ATOM}|{_QUOTED})")
_UTF8_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\u0080-\U0010ffff-]++"
_UTF8_QUOTED = r'"(?:[ !#-\[\]-~\u0080-\U0010ffff]|\\[ -~])*+"'
_UTF8_STRING = re.compile(rf" (?:{_UTF8_ATOM}|{_UTF8_QUOTED}) SMTPUTF8", re.ASCII | re.IGNORECASE)


class BadSyntax(ValueError):
    """
    A known verb with arguments that are not its own.

    @ivar rest: What was not understood.
    """

    def __init__(self, rest: str) -> None:
        super().__init__(rest)
        self.rest = rest


@dataclass(frozen=True, slots=True)
class Dialect:
    """
    What a line means depends on where it was said.

    @ivar submission: Nothing may stand behind the arguments, and the name given
        with HELO and EHLO is ignored; elsewhere spaces and tabs may (S-26, S-29).
    @ivar smtputf8: The transaction's MAIL had SMTPUTF8.
    """

    submission: bool
    smtputf8: bool = False


def command(verb: Verb, arguments: bytes, dialect: Dialect) -> Command:
    """
    The command that a line is.

    @raise BadSyntax: The arguments are not those of this verb (S-26).
    @raise Refused: They are well-formed, but not taken, for another reply.
    """
    if verb is Verb.HELP:
        return Help()
    if dialect.submission:
        if verb is Verb.EHLO:
            return Ehlo(None)
        if verb is Verb.HELO:
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


def _mail(text: str, _dialect: Dialect) -> Command:
    match = _FROM.match(text)
    if match is None:
        raise BadSyntax(text)
    # The path comes last: only then it is known whether it may be in UTF-8 (S-57).
    given = _parameters(text, match.end())
    size = body = None
    smtputf8 = False
    for keyword, value in given.items():
        if keyword == "SIZE":
            size = _size(keyword, value)
        elif keyword == "BODY":
            body = _body(value)
        elif keyword == "SMTPUTF8":
            if value is not None:
                raise BadSyntax(f"{keyword}={value}")
            smtputf8 = True
        elif keyword == "AUTH":
            _check_auth(value)
        else:
            raise Refused(_UNKNOWN_PARAMETER, keyword)
    if not smtputf8 and not text.isascii() and not text[match.end() :].isascii():
        raise BadSyntax(text[match.end() :])
    written = match.group(1)
    path = _path(written, 550, smtputf8=smtputf8) if written else None
    return Mail(path, size, body, smtputf8)


def _rcpt(text: str, dialect: Dialect) -> Command:
    match = _TO.match(text)
    if match is None:
        raise BadSyntax(text)
    for keyword in _parameters(text, match.end()):
        raise Refused(_UNKNOWN_PARAMETER, keyword)
    written = match.group(1)
    if written.isascii() and written.lower() == "postmaster":
        return Rcpt(Path("postmaster", None))
    return Rcpt(_path(written, 553, smtputf8=dialect.smtputf8))


def _parameters(text: str, position: int) -> dict[str, str | None]:
    """Parameters by keyword in upper case, in order.  RFC 5321 section 4.1.1.11."""
    given: dict[str, str | None] = {}
    while position < len(text):
        match = _PARAMETER.match(text, position)
        if match is None:
            raise BadSyntax(text[position:])
        keyword = match.group(1).upper()
        if keyword in given:
            raise Refused(_REPEATED_PARAMETER, keyword)
        given[keyword] = match.group(2)
        position = match.end()
    return given


def _size(keyword: str, value: str | None) -> int:
    """RFC 1870 section 4."""
    if value is None or not _SIZE.fullmatch(value):
        raise BadSyntax(f"{keyword}={value or ''}")
    return int(value)


def _body(value: str | None) -> BodyType:
    """RFC 6152."""
    try:
        # Only ASCII has two cases here: some letters of others become ASCII in upper case.
        return BodyType(value.upper() if value and value.isascii() else "")
    except ValueError:
        raise Refused(_NO_SUCH_BODY) from None


def _check_auth(value: str | None) -> None:
    """
    RFC 4954 section 5: who is said to have written this.  We believe nobody, so
    only the form matters (S-61, S-108).
    """
    if value is None or (value != "<>" and not _XTEXT.fullmatch(value)):
        raise BadSyntax(f"AUTH={value or ''}")


def _path(written: str, code: int, *, smtputf8: bool) -> Path:
    """
    What stood between the angle brackets; a source route is dropped (S-105).

    @param code: Refuses non-ASCII without SMTPUTF8; RFC 6531 section 3.5.
    """
    if len(written.encode()) + 2 > _MAXIMUM_PATH:
        raise BadSyntax(f"<{written}>")
    text = written
    if text.startswith("@"):
        text = _without_route(written, smtputf8=smtputf8)
    try:
        path = parse_mailbox(text)
    except InvalidPath:
        raise BadSyntax(f"<{written}>") from None
    if not smtputf8 and not text.isascii():
        if not text.rpartition("@")[0].isascii():
            raise Refused(Reply(code, "6.7", "SMTPUTF8 is needed for this address"))
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


def _auth(text: str, _dialect: Dialect) -> Command:
    match = _AUTH.fullmatch(text)
    if match is None:
        raise BadSyntax("")  # It may hold a password, and goes into the log.
    return Auth(match.group(1), match.group(2))


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
    Verb.NOOP: _noop,
    Verb.VRFY: _vrfy,
    Verb.EXPN: _expn,
}
