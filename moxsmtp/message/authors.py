"""
Whose domains a message claims to be from, for those who judge that claim.

Mail readers show an author where a strict reader sees none: behind a stray
bracket, in a list that goes on for kilobytes, with a dot too many.  So a From
field that cannot be read whole is said to be one, and every domain in it that
anybody might be shown is named.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from moxsmtp.message.addresses import MAXIMUM_AUTHOR, from_fields
from moxsmtp.message.header import Header
from moxsmtp.message.words import decode_words
from moxsmtp.names import AddressLiteral, Domain, InvalidName, parse_domain

__all__ = ["MAXIMUM_DOMAINS", "ClaimedAuthors", "claimed_authors"]

#: Domains that are named; more than anybody judges.
MAXIMUM_DOMAINS: Final = 16

#: At signs behind which a domain is looked for, once a field is not read strictly.
_MOST_TRIED: Final = 32

# What may be a domain to a lenient reader: no white space, control characters or
# ASCII punctuation but dots, hyphens and underscores.
_VISIBLE: Final = re.compile(r"@\s*+([^\s\x00-,/:-@\[-^`{-\x7f]{1,253}+)")
_PLAIN: Final = re.compile(r"[0-9A-Za-z._-]*+")
_INNER_COMMENT: Final = re.compile(r"\([^()]*+\)")
#: Brackets that neither begin nor end a comment.
_QUOTED_BRACKET: Final = re.compile(r"\\[()\\]")

#: Comments that nest deeper hide nothing from this reader, nor from others.
_DEPTH: Final = 5


@dataclass(frozen=True, slots=True)
class ClaimedAuthors:
    """
    @ivar domains: Each once, in order, at most L{MAXIMUM_DOMAINS}.
    @ivar problem: Why there may be authors beside those; empty: there are none.
    """

    domains: tuple[Domain, ...] = ()
    problem: str = ""


def claimed_authors(header: Header) -> ClaimedAuthors:
    """
    The domains of all authors in From.  RFC 5322 section 3.6.2.

    Of a field that cannot be read whole, those of all that looks like an address
    in it, quotes and comments included.  The time is linear.

    @return: Neither domain nor problem where no domain is claimed: no From, or
        nothing in it that looks like an address; an address literal is none.
    """
    fields = from_fields(header)
    hosts = [None if one.path is None else one.path.domain for one in fields.mailboxes]
    found = {host: None for host in hosts if isinstance(host, Domain)}
    problem = ""
    if fields.count > 1:
        problem = f"{fields.count} From fields"
    elif fields.is_cut:
        problem = "From is too long to be read whole"
    elif (None in hosts or not hosts) and (found or _shows_address(fields.text)):
        problem = "From cannot be read whole"
    elif found and any(isinstance(host, AddressLiteral) for host in hosts):
        problem = "an author has no domain"
    if problem:
        found.update(dict.fromkeys(_visible_domains(fields.text)))
    return ClaimedAuthors(tuple(found)[:MAXIMUM_DOMAINS], problem)


def _shows_address(value: str) -> bool:
    return "@" in value or "@" in decode_words(value[:MAXIMUM_AUTHOR])


def _visible_domains(value: str) -> Iterator[Domain]:
    """Whatever stands behind an at sign: as written, and as readers make it out."""
    tried: set[str] = set()
    for text in (value, _without_comments(value), decode_words(value[:MAXIMUM_AUTHOR])):
        for match in _VISIBLE.finditer(text):
            if match[1] in tried:
                continue
            if len(tried) >= _MOST_TRIED:
                return
            tried.add(match[1])
            domain = _lenient_domain(match[1])
            if domain is not None:
                yield domain


def _without_comments(value: str) -> str:
    """Neither comments nor white space round dots; RFC 5322 sections 3.2.2 and 4.4."""
    value = _QUOTED_BRACKET.sub("", value)
    for _ in range(_DEPTH):
        if ")" in value:
            value = _INNER_COMMENT.sub(" ", value)
    return " ".join(value.split()).replace(" .", ".").replace(". ", ".")


def _lenient_domain(text: str) -> Domain | None:
    """That of C{text}, or of what stands in front of its odd characters."""
    plain = _PLAIN.match(text)
    for form in (text, plain[0] if plain else ""):
        try:
            return parse_domain(form.strip(".-_"))
        except InvalidName:
            continue
    return None
