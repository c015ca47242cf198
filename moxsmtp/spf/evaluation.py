"""
One evaluation of C{check_host()}.  RFC 7208 sections 4 to 7.

pyspf evaluates: it goes through the terms, into includes, and counts.  Records
and macros are read by us, more strictly than pyspf does and in linear time,
and the look-ups are L{Lookups}'.  Where pyspf's own way differs from the RFC
(it counts C{redirect} though a mechanism matches, asks for explanations of
senders that pass, takes a failing C{ptr} for an error), a method here says so.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Any, Final

import spf  # type: ignore[import-untyped]  # pyspf has no annotations

from moxsmtp.dns.records import MX, LookupFailed, Question, RRType
from moxsmtp.dns.records import Record as DNSRecord
from moxsmtp.names import Host, IPAddress
from moxsmtp.spf.lookups import Lookups, NotYet
from moxsmtp.spf.macros import InvalidMacros, MacroString, parse_explanation
from moxsmtp.spf.record import Directive, InvalidRecord, Record, parse_record, select

__all__ = ["Evaluation", "Subject"]

#: What pyspf's loop is given behind the last mechanism of a record that has a
#: C{redirect}: a mechanism that always matches, and the result that it has.
_REDIRECT: Final = "redirect"

#: pyspf writes its own words beside each result; we use none.
_NO_WORDS: Final[Mapping[str, str]] = dict.fromkeys(
    ("pass", "fail", "softfail", "neutral", _REDIRECT), ""
)

#: Octets of an explanation that are kept (I-16).
_LONGEST_EXPLANATION: Final = 800

#: Characters of a problem that are kept: a term may be as long as a record.
_LONGEST_PROBLEM: Final = 200


@dataclass(frozen=True, slots=True)
class Subject:
    """
    The arguments of C{check_host()}, and what else macros may name.

    @ivar local_part: Decoded: quotes would stand in names and explanations.
    @ivar domain: A-labels.
    @ivar now: Seconds since the epoch.
    """

    address: IPAddress
    local_part: str
    domain: str
    hello: Host | None
    hostname: str
    now: int


class _Addresses:
    """Addresses that are compared with one client, each time as the first."""

    __slots__ = ("_known", "_numbers")

    def __init__(self, numbers: Iterable[int]) -> None:
        self._numbers = tuple(numbers)
        self._known: dict[int, bool] = {}

    def match(self, client: int, rest: int) -> bool:
        """Whether one of them is like C{client} but for the last C{rest} bits."""
        found = self._known.get(rest)
        if found is None:
            found = any((number ^ client) >> rest == 0 for number in self._numbers)
            self._known[rest] = found
        return found


class Evaluation(spf.query):  # type: ignore[misc]  # pyspf has no annotations
    """
    May be run any number of times; see L{Lookups.replay}.

    Attributes of one letter are the macros of that name (RFC 7208 section
    7.2), for pyspf too.

    @ivar is_personal: A name that was asked for had more macros than those of
        client and domain: another sender's result may be another.
    """

    def __init__(self, subject: Subject, lookups: Lookups) -> None:
        # pyspf's own __init__ parses what we have parsed and copies tables
        # that we have no use for.
        address = subject.address
        if isinstance(address, IPv6Address):
            address = address.ipv4_mapped or address
        is_ipv4 = isinstance(address, IPv4Address)
        self.l = subject.local_part
        self.o = self.d = subject.domain
        self.s = f"{self.l}@{self.o}"
        self.h = subject.hello.ascii if subject.hello else "unknown"
        self.r = subject.hostname
        self.t = str(subject.now)
        self.c = str(address)
        self.v = "in-addr" if is_ipv4 else "ip6"
        self.i = self.c if is_ipv4 else ".".join(f"{int(address):032X}")
        self.A = "A" if is_ipv4 else "AAAA"
        self.cidrmax = 32 if is_ipv4 else 128
        self.strict = True
        self.verbose = False
        self.libspf_local = None
        self.default_modifier = True
        self.exps = self.defexps = _NO_WORDS
        self.prob = ""
        self._domain = subject.domain
        self._number = int(address)
        self._lookups = lookups
        self.is_personal = False
        self._term_is_void = False
        self._explanation: tuple[MacroString, str] | None = None
        self._records: dict[str, Record] = {}
        self._directives: dict[str, Directive] = {}
        # The same in every run: kept from one to the next.
        self._expanded: dict[tuple[str, str], str] = {}
        self._addresses: dict[tuple[str, str], _Addresses] = {}
        self._client_names: dict[str, str] = {}

    # -- what is asked of it --

    def result(self) -> str:
        """C{check_host()}: one of the words of RFC 7208 section 2.6."""
        self.d = self._domain
        word: str = self.check()[0]
        return word

    def explanation(self) -> str:
        """
        What the domain wants to be told with the fail of the L{result} before.
        RFC 7208 section 6.2, I-16.

        @return: Printable ASCII; empty if there is none that may be told.
        """
        if self._explanation is None:
            return ""
        where, self.d = self._explanation
        try:
            texts = self.dns(where.domain(self._value_of), "TXT", ignore_void=True)
            if len(texts) != 1:
                return ""
            read = parse_explanation(texts[0].decode("ascii"))
        except (spf.TempError, InvalidMacros, UnicodeDecodeError):
            return ""
        text = read.text(self._value_of, _LONGEST_EXPLANATION)
        if len(text) > _LONGEST_EXPLANATION:
            text = text[: _LONGEST_EXPLANATION - 3] + "..."
        return text if text.isascii() and text.isprintable() else ""

    @property
    def explains(self) -> bool:
        """Whether the L{result} before may come with an explanation."""
        return self._explanation is not None

    @property
    def problem(self) -> str:
        """What the L{result} before was an error for."""
        told = ": ".join([str(self.prob), *(str(term) for term in self.mech)])
        return "".join(c if " " <= c <= "~" else "?" for c in told[:_LONGEST_PROBLEM])

    # -- records --

    def dns_spf(self, domain: str) -> str | None:
        """RFC 7208 sections 4.4 and 4.5."""
        try:
            return select(self.dns(domain, "TXT"))
        except InvalidRecord as error:
            raise spf.PermError(str(error), domain) from None

    def check0(self, text: str | None, recursion: int) -> Any:
        """Evaluate a record, and what it redirects to."""
        if not text:
            return super().check0(text, recursion)
        record = self._read(text)
        if recursion == 0:
            # An included record's explanation does not count, and that of a
            # redirect's target replaces this.  RFC 7208 section 6.2.
            where = record.explanation
            self._explanation = None if where is None else (where, self.d)
        self._directives = {directive.written: directive for directive in record.directives}
        terms = ["v=spf1", *(directive.written for directive in record.directives)]
        if record.redirect is not None:
            terms.append(_REDIRECT)
        outcome = super().check0(" ".join(terms), recursion)
        if outcome[0] != _REDIRECT or record.redirect is None:
            return outcome
        # Only now: pyspf counts it even where it is not followed.
        self.check_lookups()
        self._note(record.redirect)
        domain = record.redirect.domain(self._value_of)
        target = self.dns_spf(domain)
        if target is None:
            raise spf.PermError("no SPF record to redirect to", domain)
        return self.check1(target, domain, recursion)

    def validate_mechanism(self, mech: str) -> tuple[str, str, str | _Addresses, int, str]:
        """As pyspf wants it: as written, its name, argument, prefix length, result."""
        if mech == _REDIRECT:
            return "", "all", "", 0, _REDIRECT
        directive = self._directives[mech]
        name = directive.mechanism
        argument: str | _Addresses = ""
        if name in {"ip4", "ip6"}:
            argument = _Addresses((directive.network,))
        elif name != "all":
            argument = self._target(directive)
            if not self.l.isascii() and directive.domain and directive.domain.uses("ls"):
                name = "matches nothing"  # RFC 8616 section 4
        prefix = directive.prefix4 if self.cidrmax == 32 else directive.prefix6
        return mech, name, argument, prefix, directive.result

    def _read(self, text: str) -> Record:
        record = self._records.get(text)
        if record is None:
            try:
                record = parse_record(text)
            except InvalidRecord as error:
                raise spf.PermError(str(error)) from None
            self._records[text] = record
        return record

    def _target(self, directive: Directive) -> str:
        if directive.domain is None:
            return self.d
        key = directive.written, self.d
        target = self._expanded.get(key)
        if target is None:
            self._note(directive.domain)
            target = self._expanded[key] = directive.domain.domain(self._value_of)
        return target

    def _note(self, domain: MacroString) -> None:
        if domain.uses("lsh"):
            self.is_personal = True

    def _value_of(self, letter: str) -> str:
        value: str = self._client_name() if letter == "p" else getattr(self, letter)
        return value

    # -- look-ups --

    def check_lookups(self) -> None:
        """Count a term that asks the DNS.  RFC 7208 section 4.6.4."""
        self._term_is_void = False
        super().check_lookups()

    def dns(
        self, name: str, qtype: str, cnames: object = None, ignore_void: bool = False
    ) -> Sequence[Any]:  # fmt: skip
        """
        The records, as L{Lookups} has them; nothing for a name that cannot be
        asked for, which then is like one that does not exist (section 4.3).
        """
        del cnames
        question = _question(name, qtype)
        if question is None:
            return ()
        try:
            records = self._lookups.get(question).records
        except LookupFailed as error:
            raise spf.TempError(str(error)) from None
        if not records and not ignore_void and not self._term_is_void:
            # Terms are counted, not look-ups: RFC 7208 section 4.6.4.  A term
            # as usual as "mx" asks for AAAA of many hosts without any.
            self._term_is_void = True
            self.void_lookups += 1
            if self.void_lookups > spf.MAX_VOID_LOOKUPS:
                raise spf.PermError(f"more than {spf.MAX_VOID_LOOKUPS} terms find nothing")
        return records

    def dns_a(
        self, domainname: str, A: str = "A", *, ignore_void: bool = False
    ) -> list[_Addresses]:
        """Addresses of a name; an empty list if there are none."""
        records = self.dns(domainname, A, ignore_void=ignore_void)
        if not records:
            return []
        key = domainname, A
        addresses = self._addresses.get(key)
        if addresses is None:
            addresses = self._addresses[key] = _Addresses(_numbers(records, A))
        return [addresses]

    def dns_mx(self, domainname: str) -> Iterator[_Addresses]:
        """Addresses of a domain's hosts, as they are wanted.  RFC 7208 section 5.4."""
        records = [record for record in self.dns(domainname, "MX") if isinstance(record, MX)]
        if len(records) > spf.MAX_MX:
            raise spf.PermError(f"more than {spf.MAX_MX} MX records", domainname)
        records.sort(key=lambda record: (record.preference, record.host))
        hosts = [record.host for record in records]
        for index, host in enumerate(hosts):
            yield from self._addresses_of(host, hosts[index:])

    def validated_ptrs(self, *, ignore_void: bool = False) -> list[str]:
        """
        The client's names that lead back to it.  RFC 7208 section 5.5: where
        the DNS fails, there is no name, which is no error.
        """
        name = f"{spf.reverse_dots(self.i)}.{self.v}.arpa"
        names: list[str] = []
        with suppress(spf.TempError):
            names += self.dns(name, "PTR", ignore_void=ignore_void)[: spf.MAX_PTR]
        found = []
        for index, host in enumerate(names):
            with suppress(spf.TempError):
                addresses = self._addresses_of(host, names[index:], ignore_void=ignore_void)
                if self.cidrmatch(addresses, self.cidrmax):
                    found.append(host.rstrip(".").lower())
        return found

    def cidrmatch(self, ipaddrs: Iterable[_Addresses], n: int) -> bool:
        """Whether the client is in the network of length C{n} round an address."""
        return any(some.match(self._number, self.cidrmax - n) for some in ipaddrs)

    def _addresses_of(
        self, host: str, following: Sequence[str], *, ignore_void: bool = False
    ) -> list[_Addresses]:
        """
        @param following: C{host} and those that come after it: where one has to
            be waited for, all are asked for at once.
        """
        try:
            return self.dns_a(host, self.A, ignore_void=ignore_void)
        except NotYet:
            questions = (_question(name, self.A) for name in following)
            self._lookups.begin(question for question in questions if question is not None)
            raise

    def _client_name(self) -> str:
        """The macro C{p}.  RFC 7208 section 7.3."""
        domain = self.d.lower()
        name = self._client_names.get(domain)
        if name is None:
            # In no order of the answer's, so that it is the same each time.
            names = sorted(self.validated_ptrs(ignore_void=True)) or ["unknown"]
            below = [one for one in names if one.endswith(f".{domain}")]
            name = domain if domain in names else (below or names)[0]
            self._client_names[domain] = name
        return name


#: Labels of 1 to 63 octets.  A resolver cannot ask for an escaped octet.
_ASKABLE = re.compile(r"[^.\\]{1,63}(?>(?:\.[^.\\]{1,63})*)")


def _question(name: str, rrtype: str) -> Question | None:
    """L{None}: the DNS has no such names."""
    name = name.removesuffix(".")
    if len(name) > 253 or not name.isascii() or _ASKABLE.fullmatch(name) is None:
        return None
    return Question(name, RRType(rrtype))


def _numbers(records: Sequence[DNSRecord], rrtype: str) -> Iterator[int]:
    family = socket.AF_INET if rrtype == "A" else socket.AF_INET6
    for record in records:
        # What a resolver of somebody else's may give as an address, but is none.
        with suppress(OSError, ValueError):
            yield int.from_bytes(socket.inet_pton(family, str(record)))
