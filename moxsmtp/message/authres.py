"""
Authentication-Results, written and removed.  RFC 8601.

What is written comes from strangers: domains, selectors, error texts.  None of
it can end a value, a comment or the field.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from unicodedata import normalize

from moxsmtp.message.tokens import comment_words, folded, one_line, quoted
from moxsmtp.message.words import decode_words
from moxsmtp.names import Domain, InvalidName, parse_domain

__all__ = ["MethodResult", "Property", "authentication_results", "without_own"]

#: No line goes on behind this column if a fold can help it (I-77).
_LAST_COLUMN: Final = 78

# Keyword = Ldh-str = *( ALPHA / DIGIT / "-" ) Let-dig; RFC 5321 section 4.1.2.
_KEYWORD: Final = re.compile(r"[A-Za-z0-9-]{0,62}[A-Za-z0-9]")

# value = token / quoted-string; RFC 2045 section 5.1: a token is ASCII without
# space, controls and tspecials.
_NO_TSPECIALS: Final = r"!#$%&'*+\-0-9A-Z^_`a-z{|}~"
_TOKEN: Final = re.compile(rf"[.{_NO_TSPECIALS}]++")

# [ [ local-part ] "@" ] domain-name; RFC 8601 section 2.2, with U-labels and
# UTF-8 local-parts of RFC 8616 section 5 and RFC 6532.
_LETTERS: Final = r"0-9A-Za-z\u00a1-\U0010ffff"
_LABEL: Final = rf"(?!-)[{_LETTERS}-]{{1,63}}+(?<!-)"
_ATOM: Final = rf"[{_NO_TSPECIALS}\u00a1-\U0010ffff]++"
_ADDRESS_LIKE: Final = re.compile(
    rf"(?>(?:(?:{_ATOM}(?>(?:\.{_ATOM})*))?@)?)({_LABEL}(?>(?:\.{_LABEL})+))"
)

#: Methods whose results are about one message each, by a piece of its signature.
_UNIQUE: Final = frozenset({"dkim"})

#: Comments nest so deep; a field with deeper ones counts as unreadable.
_DEPTH: Final = 5


def _nested_comment(depth: int) -> bytes:
    """A pattern that never goes back: what has begun as a comment is one, or nothing matches."""
    inner = b"|" + _nested_comment(depth - 1) if depth > 1 else b""
    return rb"\((?>(?:[^()\\]++|\\[\s\S]" + inner + rb")*)\)"


_CFWS: Final = rb"(?>(?:[ \t\r\n]++|" + _nested_comment(_DEPTH) + rb")*)"

#: Octets of a field that is read; with a longer one, reading would take memory.
_MAXIMUM_READ: Final = 1 << 16

#: Octets of an unreadable field that are searched; a longer one is nobody's loss.
_MAXIMUM_UNCLEAR: Final = 1 << 14

#: The same for all such fields of a message.
_MAXIMUM_UNCLEAR_IN_ALL: Final = 1 << 16

# authserv-id [ CFWS authres-version ], and what has to follow; RFC 8601 section 2.2.
_AUTHSERV_ID: Final = re.compile(
    _CFWS
    + rb"(?:([^\x00-\x20\x7f()<>@,;:\\\"/\[\]?=]++)"
    + rb'|"((?:[^"\\]++|\\[\s\S])*+)")'
    + rb"(?>(?:%s[0-9]++)?)%s(?:;|\Z)" % (_CFWS, _CFWS)
)
_QUOTED_PAIR: Final = re.compile(rb"\\([\s\S])")
_FOLD: Final = re.compile(rb"\r?\n(?=[ \t])")
_INNER_COMMENT: Final = re.compile(r"\([^()]*+\)")
#: Brackets that neither begin nor end a comment.
_QUOTED_BRACKET: Final = re.compile(r"\\[()\\]")
_NOT_IN_NAMES: Final = bytes(
    octet for octet in range(128) if not chr(octet).isalnum() and octet not in b"-."
)
_NOT_IN_UNICODE_NAMES: Final = re.compile(r"[^\w.-]++|_")

_NAME: Final = b"authentication-results"

#: Fields that are read: to read some ten thousands takes the reactor's time, and
#: no message has come through so many hosts.
_MOST_READ: Final = 500

# The field with its line end; white space before the colon is obsolete.
_FIELD: Final = re.compile(
    rb"^authentication-results[ \t]*+:([^\n]*+(?:\n[ \t][^\n]*+)*+)\n?",
    re.IGNORECASE | re.MULTILINE,
)
_END: Final = re.compile(rb"^\r?\n", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Property:
    """
    C{ptype.property=pvalue}.  RFC 8601 section 2.2.

    @ivar type: C{smtp}, C{header}, C{body} or C{policy}.
    @ivar value: Domains and addresses may have U-labels; written are A-labels
        where UTF-8 may not be, and else with those as a comment.
    @ivar comment: Stands in parentheses behind the value; empty: none does.
    """

    type: str
    name: str
    value: str
    comment: str = ""


@dataclass(frozen=True, slots=True)
class MethodResult:
    """
    What one method says.  RFC 8601 section 2.2.

    @ivar method: C{iprev}, C{dkim}, C{spf}, C{dmarc}, C{auth}.
    @ivar reason: Why; empty: not given.
    @ivar comment: For people; written only with a reason or a property (I-77).
    """

    method: str
    result: str
    reason: str = ""
    comment: str = ""
    properties: tuple[Property, ...] = ()


# -- written -----------------------------------------------------------------------------


def authentication_results(
    authserv_id: Domain, results: Sequence[MethodResult], *, smtputf8: bool
) -> bytes:
    """
    The field with its line end, one line or more for each result (I-76, I-77).

    @param results: Empty: C{none} is written, no method was used.
    @param smtputf8: The message is internationalized; only then there is
        anything but ASCII in the field.
    @raise ValueError: A method, result or property has a name that is no Keyword.
    """
    name = authserv_id.unicode if smtputf8 else authserv_id.ascii
    first = ["Authentication-Results:", name]
    if name != authserv_id.ascii:
        first.append(f"({authserv_id.ascii})")
    first[-1] += ";"
    if not results:
        first.append("none")
    lines = [folded(first, _LAST_COLUMN)]
    for number, result in enumerate(results, 1):
        line = _line if result.method in _UNIQUE else _kept_line
        lines.append(line(result, utf8=smtputf8, is_last=number == len(results)))
    return "\r\n\t".join(lines).encode() + b"\r\n"


def _line(result: MethodResult, *, utf8: bool, is_last: bool) -> str:
    tokens = _tokens(result, utf8=utf8)
    if not is_last:
        tokens[-1] += ";"
    # The TAB before it is a column.
    return folded(tokens, _LAST_COLUMN - 1)


#: Most results come again and again: of one sender all that are not in L{_UNIQUE}.
_kept_line = functools.lru_cache(maxsize=512)(_line)


def _tokens(result: MethodResult, *, utf8: bool) -> list[str]:
    """What one result is made of; folds may stand between any two."""
    tokens = [f"{_keyword(result.method)}={_keyword(result.result)}"]
    if result.reason or result.properties:
        tokens += comment_words(result.comment, utf8=utf8)
    if result.reason:
        reason = one_line(result.reason, utf8=utf8)
        tokens.append(f"reason={reason if _TOKEN.fullmatch(reason) else quoted(reason)}")
    for one in result.properties:
        start, name, ascii_name = _named(one.value)
        value = start + (name if utf8 else ascii_name)
        tokens.append(f"{_keyword(one.type)}.{_keyword(one.name)}={_value(value, utf8=utf8)}")
        if utf8 and name != ascii_name and ascii_name not in one.comment:
            tokens += comment_words(ascii_name, utf8=utf8)
        if one.comment:
            tokens += comment_words(one.comment, utf8=utf8)
    return tokens


@functools.lru_cache(maxsize=256)
def _keyword(text: str) -> str:
    if not _KEYWORD.fullmatch(text):
        raise ValueError(f"not a keyword: {text[:64]!r}")
    return text


def _named(value: str) -> tuple[str, str, str]:
    """What stands before a domain with U-labels; that domain; and its A-labels."""
    if not value.isascii():
        match = _ADDRESS_LIKE.fullmatch(value)
        if match is not None:
            try:
                return value[: match.start(1)], match[1], parse_domain(match[1]).ascii
            except InvalidName:
                pass
    return value, "", ""


def _value(text: str, *, utf8: bool) -> str:
    """
    A property's value on one line, quoted if it has to be.

    Only what is a domain or an address has characters beyond ASCII without
    quotes: RFC 6532 widens quoted strings and atoms, not tokens.
    """
    text = one_line(text, utf8=utf8)
    if _TOKEN.fullmatch(text) or (_ADDRESS_LIKE.fullmatch(text) and text.isprintable()):
        return text
    return quoted(text)


# -- removed -----------------------------------------------------------------------------


def without_own(section: bytes, authserv_id: Domain) -> bytes:
    """
    A header section without the Authentication-Results fields that claim to be
    ours (I-119).  RFC 8601 section 5.

    Such a field is known by its authserv-id in any spelling.  One that nobody
    can parse goes if our name is anywhere in it: another reader may see it as
    ours.  So do all behind the first L{_MOST_READ}, unread, and those that nobody
    can parse behind L{_MAXIMUM_UNCLEAR_IN_ALL} octets of such.

    @param section: With or without its empty line; behind that, nothing is
        looked at.
    @return: Everything else, octet by octet.
    """
    lower = section.lower()
    at = lower.find(_NAME)
    if at < 0:
        return section
    end = _END.search(section)
    limit = end.start() if end else len(section)
    kept: list[bytes] = []
    done = read = unclear = 0
    while 0 <= at < limit:
        field = _FIELD.match(section, at, limit)
        if field is None:
            at = lower.find(_NAME, at + len(_NAME))
            continue
        read += 1
        if read > _MOST_READ:
            kept += (section[done:at], _FIELD.sub(b"", section[at:limit]))
            done = limit
            break
        claimed = _claimed(field[1])
        if isinstance(claimed, bytes):
            unclear += len(claimed)
            is_ours = unclear > _MAXIMUM_UNCLEAR_IN_ALL or _mentions(claimed, authserv_id)
        else:
            is_ours = claimed == authserv_id
        if is_ours:
            kept.append(section[done : field.start()])
            done = field.end()
        at = lower.find(_NAME, field.end())
    return b"".join([*kept, section[done:]]) if done else section


def _claimed(value: bytes) -> Domain | bytes:
    """The authserv-id of a field; octets: it may be in there."""
    match = _AUTHSERV_ID.match(value) if len(value) <= _MAXIMUM_READ else None
    if match is None:
        return value
    token, inside = match.groups()
    octets: bytes = token if inside is None else _QUOTED_PAIR.sub(rb"\1", _FOLD.sub(b"", inside))
    text = octets.decode("utf-8", "replace").strip().removesuffix(".")
    try:
        return parse_domain(text)
    except InvalidName:
        return octets


def _mentions(octets: bytes, authserv_id: Domain) -> bool:
    """Whether our name shows once everything that does not belong to names is left out."""
    if len(octets) > _MAXIMUM_UNCLEAR:
        return True
    text = octets.decode("utf-8", "replace")
    bare = _QUOTED_BRACKET.sub("", text)
    for _ in range(_DEPTH):
        if ")" in bare:
            bare = _INNER_COMMENT.sub("", bare)
    names = {_squeezed(authserv_id.ascii), _squeezed(authserv_id.unicode)}
    return any(
        name in _squeezed(form) for form in {text, bare, decode_words(text)} for name in names
    )


def _squeezed(text: str) -> str:
    if text.isascii():
        return text.encode("ascii").translate(None, _NOT_IN_NAMES).decode("ascii").lower()
    text = normalize("NFKC", text).replace("\u3002", ".")
    return _NOT_IN_UNICODE_NAMES.sub("", text).casefold()
