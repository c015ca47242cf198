"""
Delivery status notifications of others, read.  RFC 3464, RFC 6533.

Whoever is written to may write one, so that all of it is a stranger's word:
what is read is bounded, takes time in proportion, and decides nothing here.
Many are sloppy where it does no harm, and are read all the same (Q-41).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from moxsmtp.message.decoding import decoded
from moxsmtp.message.reports import Action
from moxsmtp.message.structure import Content, Part, is_dsn
from moxsmtp.message.writing import plain

__all__ = [
    "MAXIMUM_STATUS", "InvalidStatus", "RecipientStatus", "parse_delivery_status", "status_in",
]  # fmt: skip

#: Octets of a part that are read: two groups of a dozen fields.
MAXIMUM_STATUS: Final = 1 << 16

#: Characters of what is said for people.
_MAXIMUM_TEXT: Final = 500

_LINE_END: Final = re.compile(r"\r\n|\n|\r")
# field-name ":", with the obsolete white space before the colon; RFC 5322 section 4.5.
_FIELD: Final = re.compile(r"([!-9;-~]{1,100}+)[ \t]*+:(.*+)", re.DOTALL)
# Parts of a value that comments are looked for in; RFC 5322 section 3.2.
_TOKEN: Final = re.compile(r'[^()\\"]++|\\.?|[()"]', re.DOTALL)
# atom ";" text; RFC 3464 section 2.1.2
_TYPED: Final = re.compile(r"\s*+([^\s;]++)\s*+;\s*+(\S.*+)", re.DOTALL)
# status-code = class "." subject "." detail; RFC 3463 section 2
_STATUS: Final = re.compile(r"([245])\.([0-9]{1,3})\.([0-9]{1,3})(?![^\s;,])")
# The reply code, "-" where more lines follow, and an enhanced code that may
# follow it, before which some write "#".
_REPLY: Final = re.compile(
    r"\s*+([2-5][0-9]{2})(?:[ -]\s*+(?:#?[245]\.([0-9]{1,3})\.([0-9]{1,3})(?![0-9.]))?|\s*+\Z)"
)
_COMMENT: Final = re.compile(r"\([^()]*+\)")

#: Codes for a Status without a reply (Q-42).
_CODES: Final = {"4": 400, "5": 500}

#: What may stand in a group once.  RFC 3464 sections 2.2 and 2.3.
_ONCE: Final = frozenset(
    {
        "original-envelope-id", "reporting-mta", "dsn-gateway", "received-from-mta",
        "arrival-date", "original-recipient", "final-recipient", "action", "status",
        "remote-mta", "diagnostic-code", "last-attempt-date", "final-log-id",
        "will-retry-until",
    }
)  # fmt: skip


class InvalidStatus(ValueError):
    """It does not say what a notification has to; the text says what is missing."""


@dataclass(frozen=True, slots=True)
class RecipientStatus:
    """
    What is claimed to have become of a message for its one recipient.

    @ivar code: An SMTP code: of the reply that is quoted, or made from the
        status; 0 if there is none.
    @ivar status: Subject and detail of the enhanced status code that belongs to
        C{code}, C{1.1}, or empty.
    @ivar text: What is said to people, on one line; bounded.
    """

    action: Action
    code: int = 0
    status: str = ""
    text: str = ""


def status_in(content: Content, structure: Part) -> RecipientStatus | None:
    """
    What a message that is a DSN says.

    @return: L{None}: nothing that is understood.
    """
    if not is_dsn(structure):
        return None
    try:
        return parse_delivery_status(decoded(content, structure.parts[1], MAXIMUM_STATUS))
    except InvalidStatus:
        return None


def parse_delivery_status(body: bytes) -> RecipientStatus:
    """
    Read the part that programs are to read (Q-41).

    @param body: Without its transfer encoding; what exceeds L{MAXIMUM_STATUS}
        is not read.
    @raise InvalidStatus: It has not one group about a recipient, a field twice,
        or one that is required is missing or none.
    """
    groups = list(_groups(body[:MAXIMUM_STATUS].decode("utf-8", "replace")))
    if len(groups) != 2:
        raise InvalidStatus(f"{max(len(groups) - 1, 0)} groups of fields about a recipient")
    message, recipient = groups
    for group, name in ((message, "reporting-mta"), (recipient, "final-recipient")):
        if _TYPED.match(_required(group, name)) is None:
            raise InvalidStatus(f"{name} has no type or no value")
    word = _required(recipient, "action").strip().lower()
    try:
        action = Action(word)
    except ValueError:
        raise InvalidStatus("an unknown action") from None
    status = _STATUS.match(_required(recipient, "status").strip())
    if status is None:
        raise InvalidStatus("a status that is none")
    diagnostic = recipient.get("diagnostic-code", "")
    code, detail = _reply(diagnostic)
    if not code and status[1] in _CODES:
        code, detail = _CODES[status[1]], _detail(status[2], status[3])
    text = diagnostic.partition(";")[2].strip() or diagnostic or recipient["status"]
    return RecipientStatus(action, code, detail, _for_people(text))


def _groups(text: str) -> Iterator[Mapping[str, str]]:
    """Fields by their names in lower case, unfolded; a blank line ends a group."""
    group: dict[str, list[str]] = {}
    last: list[str] | None = None
    for line in _LINE_END.split(text):
        if not line.strip(" \t"):
            if group:
                yield _unfolded(group)
            group, last = {}, None
            continue
        if line[0] in " \t":
            if last is not None:
                last.append(line)
            continue
        field = _FIELD.match(line)
        if field is None:
            last = None
            continue
        name = field[1].lower()
        if name in group and name in _ONCE:
            raise InvalidStatus(f"{name} twice")
        last = group.setdefault(name, [])
        last.append(field[2])
    if group:
        yield _unfolded(group)


def _unfolded(group: Mapping[str, list[str]]) -> Mapping[str, str]:
    return {name: "".join(lines).strip() for name, lines in group.items()}


def _required(group: Mapping[str, str], name: str) -> str:
    """A value without its comments."""
    if name not in group:
        raise InvalidStatus(f"no {name}")
    return _without_comments(group[name])


def _without_comments(text: str) -> str:
    """Each comment as one space; one without end goes on to the end."""
    kept: list[str] = []
    depth = 0
    is_quoted = False
    for piece in _TOKEN.findall(text):
        if is_quoted or piece not in {"(", ")"}:
            if not depth:
                kept.append(piece)
                is_quoted ^= piece == '"'
        elif piece == "(":
            depth += 1
            kept.append(" ")
        elif depth:
            depth -= 1
    return "".join(kept)


def _reply(diagnostic: str) -> tuple[int, str]:
    """Code and detail of an SMTP reply; 0 if it is none (Q-42)."""
    kind, semicolon, text = diagnostic.partition(";")
    if not semicolon or _without_comments(kind).strip().lower() != "smtp":
        return 0, ""
    reply = _REPLY.match(_behind_comment(text))
    if reply is None:
        return 0, ""
    return int(reply[1]), _detail(reply[2], reply[3]) if reply[2] else ""


def _behind_comment(text: str) -> str:
    """Without a comment that it begins with: some name there the host that answered."""
    text = text.lstrip()
    if not text.startswith("("):
        return text
    behind = _COMMENT.match(text)
    return text[behind.end() :] if behind is not None else text


def _detail(subject: str, detail: str) -> str:
    return f"{int(subject)}.{int(detail)}"


def _for_people(text: str) -> str:
    return plain(text[: _MAXIMUM_TEXT * 4], utf8=True)[:_MAXIMUM_TEXT]
