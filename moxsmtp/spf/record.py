"""
SPF records as values.  RFC 7208 sections 3, 4.5, 5 and 6.

The grammar is that of RFC 7208 section 12, read strictly: one mistake anywhere
makes the whole record invalid (section 4.6), before anything is evaluated.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Final

from moxsmtp.spf.macros import MacroString, parse_domain_spec, parse_macros

__all__ = ["MAXIMUM_RECORD", "Directive", "InvalidRecord", "Record", "parse_record", "select"]

#: Octets a record may have.  RFC 7208 section 3.4 asks for less than 512, and
#: nobody who means it publishes this much; what is longer would only cost time.
MAXIMUM_RECORD: Final = 4096

_VERSION: Final = "v=spf1"

#: Read records are kept up to this length, and so many: the same few providers
#: stand in most includes.
_KEPT_RECORD: Final = 512
_KEPT_RECORDS: Final = 256

#: RFC 7208 section 4.6.2.
_RESULTS: Final[Mapping[str, str]] = {
    "+": "pass",
    "-": "fail",
    "?": "neutral",
    "~": "softfail",
}

# modifier = name "=" ...; name = ALPHA *( ALPHA / DIGIT / "-" / "_" / "." )
_MODIFIER = re.compile(r"([a-z][a-z0-9_.-]*+)=", re.IGNORECASE)
_MECHANISM = re.compile(r"[a-z][a-z0-9]*+", re.IGNORECASE)
# dual-cidr-length = [ ip4-cidr-length ] [ "/" ip6-cidr-length ], at the end.
_DUAL_CIDR = re.compile(r"(?:/(0|[1-9][0-9]?))?(?://(0|[1-9][0-9]{0,2}))?\Z")
_PREFIX = re.compile(r"0|[1-9][0-9]{0,2}")


class InvalidRecord(ValueError):
    """A record that means nothing; the text says why."""


@dataclass(frozen=True, slots=True)
class Directive:
    """
    A mechanism with its qualifier.

    @ivar written: As it stands in the record.
    @ivar mechanism: In lower case.
    @ivar result: What a match means, as a word.
    @ivar domain: L{None}: the domain of the record.
    @ivar network: The address behind C{ip4} and C{ip6}.
    """

    written: str
    mechanism: str
    result: str
    domain: MacroString | None = None
    network: int = 0
    prefix4: int = 32
    prefix6: int = 128


@dataclass(frozen=True, slots=True)
class Record:
    """A record without mistakes.  Unknown modifiers are left out (section 6)."""

    directives: tuple[Directive, ...]
    redirect: MacroString | None = None
    explanation: MacroString | None = None


def select(records: Sequence[bytes]) -> str | None:
    """
    The SPF record among a domain's TXT records.  RFC 7208 section 4.5.

    @return: L{None} if there is none.
    @raise InvalidRecord: There are several, or it has other octets than ASCII,
        or far too many of them.
    """
    found = [
        record
        for record in records
        if record[:6].lower() == b"v=spf1" and record[6:7] in {b"", b" "}
    ]
    if not found:
        return None
    if len(found) > 1:
        raise InvalidRecord("several SPF records")
    if len(found[0]) > MAXIMUM_RECORD:
        raise InvalidRecord(f"an SPF record of more than {MAXIMUM_RECORD} octets")
    try:
        return found[0].decode("ascii")
    except UnicodeDecodeError:
        raise InvalidRecord("an SPF record with other characters than ASCII") from None


def parse_record(text: str) -> Record:
    """
    Read C{record = version *( 1*SP ( directive / modifier ) ) *SP}.

    @raise InvalidRecord: There is a mistake in it; the message names the term.
    """
    return _parse_and_keep(text) if len(text) <= _KEPT_RECORD else _parse(text)


def _parse(text: str) -> Record:
    version, *terms = text.split(" ")
    if version.lower() != _VERSION:
        raise InvalidRecord("not an SPF record")
    directives: list[Directive] = []
    known: dict[str, MacroString] = {}
    for term in terms:
        if not term:
            continue
        try:
            modifier = _MODIFIER.match(term)
            if modifier is None:
                directives.append(_directive(term))
            else:
                _add_modifier(known, modifier[1].lower(), term[modifier.end() :])
        except ValueError as error:
            raise InvalidRecord(f"{term}: {error}") from None
    return Record(tuple(directives), known.get("redirect"), known.get("exp"))


_parse_and_keep = functools.lru_cache(maxsize=_KEPT_RECORDS)(_parse)


def _add_modifier(known: dict[str, MacroString], name: str, value: str) -> None:
    if name not in {"redirect", "exp"}:
        # Ignored, wherever and however often it stands, once it is well-formed.
        parse_macros(value)
    elif name in known:
        raise InvalidRecord("a modifier that may stand only once")
    else:
        known[name] = parse_domain_spec(value)


def _directive(term: str) -> Directive:
    result = _RESULTS.get(term[0])
    body = term[1:] if result else term
    named = _MECHANISM.match(body)
    name = named[0].lower() if named else ""
    rest = body[len(name) :]
    match name:
        case "all" if not rest:
            return Directive(term, name, result or "pass")
        case "include" | "exists" | "ptr":
            domain = None if name == "ptr" and not rest else parse_domain_spec(_argument(rest))
            return Directive(term, name, result or "pass", domain)
        case "a" | "mx":
            return _hosts(term, name, result or "pass", rest)
        case "ip4" | "ip6":
            return _network(term, name, result or "pass", _argument(rest))
        case "all":
            raise InvalidRecord("nothing may follow")
    raise InvalidRecord("unknown mechanism")


def _argument(rest: str) -> str:
    if not rest.startswith(":"):
        raise InvalidRecord("a colon is missing")
    return rest[1:]


def _hosts(term: str, name: str, result: str, rest: str) -> Directive:
    """C{a} and C{mx}: C{[ ":" domain-spec ] [ dual-cidr-length ]}."""
    prefixes = _DUAL_CIDR.search(rest)
    assert prefixes is not None  # noqa: S101 - it matches the empty end of every text
    domain = rest[: prefixes.start()]
    prefix4, prefix6 = prefixes.groups()
    return Directive(
        term,
        name,
        result,
        parse_domain_spec(_argument(domain)) if domain else None,
        prefix4=_prefix(prefix4, 32),
        prefix6=_prefix(prefix6, 128),
    )


def _network(term: str, name: str, result: str, argument: str) -> Directive:
    """C{ip4} and C{ip6}: C{":" network [ "/" length ]}."""
    address, slash, length = argument.partition("/")
    if slash and _PREFIX.fullmatch(length) is None:
        raise InvalidRecord("not a prefix length")
    try:
        if name == "ip4":
            prefix = _prefix(length, 32)
            return Directive(term, name, result, network=int(IPv4Address(address)), prefix4=prefix)
        if "%" in address:
            raise InvalidRecord("an address with a zone")
        prefix = _prefix(length, 128)
        return Directive(term, name, result, network=int(IPv6Address(address)), prefix6=prefix)
    except AddressValueError:
        raise InvalidRecord("not an address") from None


def _prefix(length: str | None, most: int) -> int:
    prefix = int(length) if length else most
    if prefix > most:
        raise InvalidRecord("the prefix length is too large")
    return prefix
