"""
Lists of addresses in header fields.  RFC 5322 section 3.4, RFC 6532, RFC 6854.

What is no address stays in the list as a L{Mailbox} without path, so that
"exactly one address" can be told from "one address and something else".
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from moxsmtp.message.header import Header, unfolded
from moxsmtp.message.words import readable
from moxsmtp.message.writing import CONTROL
from moxsmtp.names import Host, InvalidName, parse_domain, parse_host
from moxsmtp.smtp.address import MAXIMUM_LOCAL_PART, Path

__all__ = [
    "MAXIMUM_AUTHOR", "MAXIMUM_FROM", "MAXIMUM_LIST", "FromFields", "Mailbox", "addresses",
    "author_of", "from_fields", "parse_addresses",
]  # fmt: skip

#: Characters of a list that are read; what stands behind is no address.
MAXIMUM_LIST: Final = 1 << 16

#: The same for the author, whom every message has us read.
MAXIMUM_AUTHOR: Final = 1 << 12

#: Octets of a From field that are unfolded.
MAXIMUM_FROM: Final = 1 << 15


@dataclass(frozen=True, slots=True)
class Mailbox:
    """
    One entry of an address list.

    @ivar name: The display name for people, or else the comment; may be empty.
    @ivar path: L{None} if the entry is no address.
    @ivar text: What stands in place of the address, as written.
    """

    name: str
    path: Path | None
    text: str = ""

    @property
    def address(self) -> str:
        """For people: with U-labels; as written if it is no address."""
        return self.path.unicode if self.path else self.text


#: Characters of a list that may be a usual one.
_USUAL_LENGTH: Final = 512

# What most people's From looks like: C{Alice Example <alice@example.org>}, the name
# in quotes, or the address alone.  Nothing in it can mean anything else.
_USUAL: Final = re.compile(
    r"(?:(?:(?P<name>[A-Za-z0-9](?:[A-Za-z0-9]| [A-Za-z0-9])*+)"
    r'|"(?P<quoted>[ !#-\[\]-~]*+)") (?P<bracket><))?'
    r"(?P<local>[A-Za-z0-9_+-](?:[A-Za-z0-9_+-]|\.[A-Za-z0-9_+-])*+)@(?P<domain>[A-Za-z0-9.-]++)"
    r"(?(bracket)>)"
)


@functools.lru_cache(maxsize=1024)
def _usual(value: str) -> Mailbox | None:
    """
    The one entry of a usual list; L{None}: it takes a real reader.

    Who writes, writes again.
    """
    match = _USUAL.fullmatch(value)
    if match is None or len(match["local"]) > MAXIMUM_LOCAL_PART:
        return None
    try:
        path = Path(match["local"], parse_domain(match["domain"]))
    except InvalidName:
        return None
    return Mailbox(match["name"] or (match["quoted"] or "").strip(), path)


def parse_addresses(value: str, limit: int = MAXIMUM_LIST) -> tuple[Mailbox, ...]:
    """
    Read an address list.  Groups give their members; empty places are allowed
    (RFC 5322 section 4.4).  The time is linear.

    @param value: Unfolded.
    @param limit: Characters that are read; longer lists end with a L{Mailbox}
        that is no address.
    """
    usual = _usual(value) if len(value) <= min(limit, _USUAL_LENGTH) else None
    if usual is not None:
        return (usual,)
    lost = value[limit:]
    found = _Reader().read(value[:limit])
    return (*found, Mailbox("", None, readable(lost[:80]))) if lost else tuple(found)


def addresses(header: Header, name: str) -> tuple[Mailbox, ...]:
    """The entries of every field of that name, as far as L{MAXIMUM_LIST} reaches."""
    found: list[Mailbox] = []
    room = MAXIMUM_LIST
    for value in header.values(name):
        found += parse_addresses(value, room)
        room -= len(value) + 1
        if room <= 0:
            break
    return tuple(found)


@dataclass(frozen=True, slots=True)
class FromFields:
    """
    What the From fields of a header section say.

    @ivar count: How many there are.
    @ivar mailboxes: Of the first; what is not read of it is no address.
    @ivar text: Of all of them, unfolded.
    @ivar is_cut: There is more than has been read.
    """

    count: int
    mailboxes: tuple[Mailbox, ...]
    text: str
    is_cut: bool


def from_fields(header: Header) -> FromFields:
    """Read who wrote the message.  RFC 5322 section 3.6.2."""
    fields = header.raw("From")
    if not fields:
        return FromFields(0, (), "", is_cut=False)
    if len(fields) == 1 and len(fields[0]) <= _USUAL_LENGTH:
        return _usual_field(fields[0])
    return _read_from(fields)


def _read_from(fields: Sequence[bytes]) -> FromFields:
    """@param fields: One at least."""
    text = unfolded(fields[0][:MAXIMUM_FROM])
    found = parse_addresses(text, MAXIMUM_AUTHOR)
    is_cut = len(fields[0]) > MAXIMUM_FROM
    if is_cut:
        found = (*found, Mailbox("", None))
    is_cut |= len(text) > MAXIMUM_AUTHOR
    if len(fields) > 1:
        text = unfolded(b", ".join(fields)[:MAXIMUM_FROM])
    return FromFields(len(fields), found, text, is_cut)


@functools.lru_cache(maxsize=1024)
def _usual_field(field: bytes) -> FromFields:
    """A message's author is asked for more than once, and writes again."""
    return _read_from((field,))


def author_of(header: Header) -> Mailbox | None:
    """The author, if there is one From field with one good address (I-6)."""
    fields = from_fields(header)
    found = fields.mailboxes
    return found[0] if fields.count == 1 and len(found) == 1 and found[0].path else None


# -- tokens -----------------------------------------------------------------------------


class _Token(NamedTuple):
    """
    @ivar kind: C{atom}, C{quoted}, C{literal}, or the special itself.
    @ivar text: Decoded if it was quoted.
    @ivar spaced: White space or a comment stood before it.
    """

    kind: str
    text: str
    spaced: bool


# atext of RFC 5322 section 3.2.3 with UTF8-non-ascii of RFC 6532; obsolete
# control characters make no atom.
_TOKEN: Final = re.compile(
    r"(?P<white>[ \t\r\n]++)"
    r"|(?P<atom>[A-Za-z0-9!#$%&'*+/=?^_`{|}~\u00a0-\U0010ffff-]++)"
    r'|"(?P<quoted>(?:[^"\\]++|\\.)*+)(?P<end>"?)'
    r"|(?P<literal>\[[^\[\]\\\r\n]*+\])"
    r"|(?P<special>.)",
    re.DOTALL,
)
_IN_COMMENT: Final = re.compile(r"[^()\\]++|\\.?|[()]", re.DOTALL)
_PAIR: Final = re.compile(r"\\(.)", re.DOTALL)


@dataclass(slots=True)
class _Entry:
    """What has been read of one mailbox."""

    phrase: list[_Token] = field(default_factory=list)
    angle: list[_Token] | None = None
    closed: bool = False
    broken: bool = False
    comment: str = ""
    start: int = 0


class _Reader:
    """Reads one list, token by token."""

    def __init__(self) -> None:
        self._found: list[Mailbox] = []
        self._entry = _Entry()
        self._in_group = False

    def read(self, text: str) -> list[Mailbox]:
        position = 0
        spaced = False
        while position < len(text):
            token = _TOKEN.match(text, position)
            if token is None:
                raise AssertionError("some alternative matches each character")
            position = token.end()
            kind = token.lastgroup
            if kind == "white":
                spaced = True
                continue
            if kind == "special" and token[0] == "(":
                position = self._read_comment(text, position)
                spaced = True
                continue
            if kind == "end":
                self._entry.broken |= not token["end"]
                self._take(_Token("quoted", _PAIR.sub(r"\1", token["quoted"]), spaced))
            elif kind == "special":
                self._punctuate(_Token(token[0], token[0], spaced), text, position)
            else:
                self._take(_Token(str(kind), token[0], spaced))
            spaced = False
        if self._entry.angle is not None and not self._entry.closed:
            self._entry.broken = True
        self._finish(text, position + 1)
        return self._found

    def _read_comment(self, text: str, position: int) -> int:
        """@return: Where the comment ends; comments nest."""
        depth, start = 1, position
        while depth:
            piece = _IN_COMMENT.match(text, position)
            if piece is None:
                self._entry.broken = True
                return position
            position = piece.end()
            if piece[0] == "(":
                depth += 1
            elif piece[0] == ")":
                depth -= 1
        self._entry.comment = text[start : position - 1]
        return position

    def _take(self, token: _Token) -> None:
        entry = self._entry
        if entry.angle is None:
            entry.phrase.append(token)
        elif not entry.closed:
            entry.angle.append(token)
        else:
            entry.broken = True

    def _punctuate(self, token: _Token, text: str, position: int) -> None:
        entry = self._entry
        in_angle = entry.angle is not None and not entry.closed
        if token.kind == "<" and entry.angle is None:
            entry.angle = []
        elif token.kind == ">" and in_angle:
            entry.closed = True
        elif token.kind in ",;" and not in_angle:
            self._finish(text, position)
            self._in_group &= token.kind != ";"
        elif token.kind == ":" and entry.angle is None and not self._in_group:
            self._in_group = True
            if not _is_phrase(entry.phrase):
                # No name of a group, and perhaps an address to others.
                self._found.append(
                    Mailbox("", None, readable(text[entry.start : position - 1][:200]))
                )
            self._entry = _Entry(broken=entry.broken, start=position)
        else:
            self._take(token)

    def _finish(self, text: str, position: int) -> None:
        """The entry ends before the character that ends at C{position}."""
        entry, self._entry = self._entry, _Entry(start=position)
        if not entry.phrase and entry.angle is None and not entry.broken:
            return
        if entry.angle is None:
            name = readable(_PAIR.sub(r"\1", entry.comment))
            tokens: Sequence[_Token] = entry.phrase
        else:
            name = _display_name(entry.phrase) or readable(_PAIR.sub(r"\1", entry.comment))
            tokens = _without_route(entry.angle)
        good = not entry.broken and (entry.angle is None or _is_phrase(entry.phrase))
        path = _path(tokens) if good else None
        written = "" if path else readable(text[entry.start : position - 1][:200])
        self._found.append(Mailbox(name, path, written))


# -- what tokens mean -------------------------------------------------------------------


def _is_phrase(tokens: Sequence[_Token]) -> bool:
    """Words and, an obsolete habit (RFC 5322 section 4.1), dots."""
    return all(token.kind in {"atom", "quoted", "."} for token in tokens)


def _display_name(tokens: Sequence[_Token]) -> str:
    """A phrase for people; only unquoted words may be encoded (RFC 2047 section 5)."""
    pieces: list[str] = []
    run: list[str] = []
    for token in tokens:
        gap = " " if token.spaced and (pieces or run) else ""
        if token.kind != "quoted":
            run.append(gap + token.text)
            continue
        pieces += [_decoded("".join(run)), gap + CONTROL.sub(" ", token.text)]
        run.clear()
    pieces.append(_decoded("".join(run)))
    return "".join(pieces).strip()


def _decoded(text: str) -> str:
    """Encoded words read, the white space in front kept."""
    return text[: len(text) - len(text.lstrip())] + readable(text)


def _without_route(tokens: Sequence[_Token]) -> Sequence[_Token]:
    """Behind the source route, if there is one (RFC 5322 section 4.4)."""
    if tokens and tokens[0].kind == "@":
        for number, token in enumerate(tokens):
            if token.kind == ":":
                return tokens[number + 1 :]
    return tokens


def _path(tokens: Sequence[_Token]) -> Path | None:
    """addr-spec = local-part "@" domain; RFC 5322 sections 3.4.1 and 4.4."""
    ats = [number for number, token in enumerate(tokens) if token.kind == "@"]
    if len(ats) != 1:
        return None
    words = _dotted(tokens[: ats[0]], {"atom", "quoted"})
    domain = _host(tokens[ats[0] + 1 :])
    if words is None or domain is None:
        return None
    local_part = ".".join(words)
    if CONTROL.search(local_part) or len(local_part.encode()) > MAXIMUM_LOCAL_PART:
        return None
    return Path(unicodedata.normalize("NFC", local_part), domain)


def _dotted(tokens: Sequence[_Token], kinds: set[str]) -> list[str] | None:
    """The words between single dots."""
    if len(tokens) % 2 == 0:
        return None
    for number, token in enumerate(tokens):
        if token.kind != "." if number % 2 else token.kind not in kinds:
            return None
    return [token.text for token in tokens[::2]]


def _host(tokens: Sequence[_Token]) -> Host | None:
    if len(tokens) == 1 and tokens[0].kind == "literal":
        text = tokens[0].text
    else:
        labels = _dotted(tokens, {"atom"})
        if labels is None:
            return None
        text = ".".join(labels)
    try:
        return parse_host(text)
    except InvalidName:
        return None
