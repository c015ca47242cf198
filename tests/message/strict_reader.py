"""
Readers of the fields that we write, after the ABNF of the RFCs and nothing else:
RFC 8601 section 2.2, RFC 7208 section 9.1, RFC 5322 section 3.2, RFC 6532, RFC 8616.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

WIDE = "\u0080-\U0010ffff"
ATEXT = rf"[!#$%&'*+\-/0-9=?A-Z^_`a-z{{|}}~{WIDE}]"
DOT_ATOM = rf"{ATEXT}+(?:\.{ATEXT}+)*"
TOKEN = r"[!#$%&'*+\-.0-9A-Z^_`a-z{|}~]+"
KEYWORD = r"[A-Za-z0-9-]*[A-Za-z0-9]"
LET_DIG = rf"[A-Za-z0-9{WIDE}]"
SUB_DOMAIN = rf"{LET_DIG}(?:[A-Za-z0-9{WIDE}-]*{LET_DIG})?"
DOMAIN_NAME = rf"{SUB_DOMAIN}(?:\.{SUB_DOMAIN})+"
QCONTENT = rf"(?:[\x21\x23-\x5b\x5d-\x7e{WIDE}]|\\[\t \x21-\x7e{WIDE}])"
QUOTED_STRING = rf'"(?:[ \t]*{QCONTENT})*[ \t]*"'
CTEXT = rf"[\x21-\x27\x2a-\x5b\x5d-\x7e{WIDE}]|\\[\t \x21-\x7e{WIDE}]"
END_OF_VALUE = r"(?=[ \t(;]|\Z)"


@dataclass
class Info:
    """One resinfo."""

    method: str
    result: str
    reason: str | None
    properties: list[tuple[str, str]]
    comments: list[str]


def unfolded(field: bytes, name: str) -> str:
    """
    The value of the one field that C{field} is.

    @raise ValueError: It is more or less than one field of lines of legal length.
    """
    text = field.decode("utf-8")
    if not text.endswith("\r\n"):
        raise ValueError("no line end")
    lines = text[:-2].split("\r\n")
    if any(
        len(line.encode()) > 998 or re.search(r"[\0-\x08\x0a-\x1f\x7f]", line) for line in lines
    ):
        raise ValueError(f"no line of a message: {lines}")
    if any(line[:1] not in {" ", "\t"} or not line.strip(" \t") for line in lines[1:]):
        raise ValueError(f"not one field: {lines}")
    start, colon, value = "".join(lines).partition(":")
    if start != name or not colon:
        raise ValueError("another field")
    return value


class Reader:
    """Takes a text apart from its start."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.comments: list[str] = []

    def take(self, pattern: str) -> str | None:
        """What matches here, if something does."""
        match = re.compile(pattern).match(self.text, self.at)
        if match is None:
            return None
        self.at = match.end()
        return match[0]

    def need(self, pattern: str) -> str:
        """What has to match here."""
        found = self.take(pattern)
        if found is None:
            raise ValueError(f"expected {pattern} at {self.text[self.at :][:60]!r}")
        return found

    def cfws(self) -> bool:
        """[CFWS]; whether there was any."""
        before = self.at
        while True:
            self.take(r"[ \t]+")
            if self.text[self.at : self.at + 1] != "(":
                return self.at > before
            start = self.at
            self.comment()
            inside = self.text[start + 1 : self.at - 1]
            self.comments.append(re.sub(r"\\(.)", r"\1", re.sub(r"[ \t]+", " ", inside)))

    def comment(self) -> None:
        """comment = "(" *([FWS] ccontent) [FWS] ")"."""
        self.need(r"\(")
        while True:
            self.take(r"[ \t]+")
            if self.text[self.at : self.at + 1] == "(":
                self.comment()
            elif self.take(rf"(?:{CTEXT})+") is None:
                break
        self.need(r"\)")

    def value(self, *others: str) -> str:
        """value, or one of C{others}; a quoted string is given as what it means."""
        for pattern in others:
            found = self.take(pattern + END_OF_VALUE)
            if found is not None:
                return found
        found = self.need(QUOTED_STRING + END_OF_VALUE)
        return re.sub(r"\\(.)", r"\1", found[1:-1])

    def ended(self) -> bool:
        """Whether nothing is left."""
        return self.at == len(self.text)


def read_authentication_results(field: bytes) -> tuple[str, list[Info], list[str]]:
    """
    authserv-id, each resinfo, and the comments in front of those.

    @raise ValueError: It is not of the grammar.
    """
    reader = Reader(unfolded(field, "Authentication-Results"))
    reader.cfws()
    authserv_id = reader.value(TOKEN, DOMAIN_NAME)
    if reader.cfws() and reader.take("[0-9]+"):
        reader.cfws()
    comments, reader.comments = reader.comments, []
    infos: list[Info] = []
    while not reader.ended():
        reader.need(";")
        reader.cfws()
        if not infos and reader.take(r"none(?=[ \t(]|\Z)"):
            reader.cfws()
            reader.need(r"\Z")
            return authserv_id, [], comments
        infos.append(_resinfo(reader))
    if not infos:
        raise ValueError("no results")
    return authserv_id, infos, comments


def _resinfo(reader: Reader) -> Info:
    reader.comments = []
    method = reader.need(KEYWORD)
    reader.cfws()
    reader.need("=")
    reader.cfws()
    info = Info(method, reader.need(KEYWORD), None, [], reader.comments)
    spaced = reader.cfws()
    if reader.take(r"reason(?=[ \t(]*=)"):
        if not spaced:
            raise ValueError("no space before reason")
        reader.cfws()
        reader.need("=")
        reader.cfws()
        info.reason = reader.value(TOKEN)
        spaced = reader.cfws()
    while not reader.ended() and reader.text[reader.at] != ";":
        if not spaced:
            raise ValueError("no space before a property")
        name = reader.need(KEYWORD)
        reader.cfws()
        name += reader.need(r"\.")
        reader.cfws()
        name += reader.need(KEYWORD)
        reader.cfws()
        reader.need("=")
        reader.cfws()
        local_part = rf"(?:(?:{DOT_ATOM})?@)?"
        info.properties.append((name, reader.value(TOKEN, local_part + DOMAIN_NAME)))
        spaced = reader.cfws()
    return info


def read_received_spf(field: bytes) -> tuple[str, str, dict[str, str], list[str]]:
    """
    Result, comment, pairs, and the comments among them.

    @raise ValueError: It is not of the grammar.
    """
    reader = Reader(unfolded(field, "Received-SPF"))
    reader.cfws()
    result = reader.need("pass|fail|softfail|neutral|none|temperror|permerror")
    reader.need("[ \t]")
    reader.cfws()
    comments, reader.comments = reader.comments, []
    if len(comments) > 1:
        raise ValueError("more than one comment")
    pairs: dict[str, str] = {}
    while not reader.ended():
        key = reader.need(r"[A-Za-z][A-Za-z0-9._-]*")
        reader.cfws()
        reader.need("=")
        if key in pairs:
            raise ValueError(f"{key} twice")
        pairs[key] = reader.value(DOT_ATOM)
        reader.cfws()
        if not reader.ended():
            reader.need(";")
            reader.cfws()
    return result, "".join(comments), pairs, reader.comments
