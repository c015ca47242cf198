"""
MTA-STS records and policies read.  RFC 8461 sections 3.1 to 3.3 and 4.1.

A record in the DNS says that a domain has a policy, and by its C{id} when that
policy has changed; the policy itself comes over HTTPS.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from moxsmtp.dns.records import Record
from moxsmtp.names import MAXIMUM_DOMAIN, Domain

__all__ = [
    "LONGEST_AGE", "LONGEST_POLICY", "InvalidRecord", "Mode", "Policy", "PolicyError",
    "parse_policy", "parse_record", "policy_host", "policy_url", "record_name",
]  # fmt: skip

#: Octets that a policy may have.  RFC 8461 section 3.3 suggests 64 kilobytes.
LONGEST_POLICY: Final = 64 * 1024

#: What a policy may ask for at most: one year.  RFC 8461 section 3.2.
LONGEST_AGE: Final = timedelta(seconds=31557600)

#: Octets of a TXT record that is looked at; a usual one has less than 64.
_LONGEST_RECORD: Final = 4096

# Records that do not begin like this are not MTA-STS's and are passed over; RFC 8461
# section 3.1 has the delimiter in it, white space before it is allowed by its ABNF.
_BEGINNING = re.compile(rb"v=STSv1[ \t]*;")

# sts-field-delim = *WSP ";" *WSP; white space is taken off the ends of each field.
_SPACE: Final = " \t"

# sts-id = %s"id=" 1*32(ALPHA / DIGIT)
_ID = re.compile(r"[A-Za-z0-9]{1,32}")

# sts-ext-name and sts-policy-ext-name
#   = (ALPHA / DIGIT) *31(ALPHA / DIGIT / "_" / "-" / ".")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}")

# sts-ext-value = 1*(%x21-3A / %x3C / %x3E-7E)
_RECORD_VALUE = re.compile(r"[!-:<>-~]+")

# sts-policy-ext-value = sts-policy-vchar [*(%x20 / sts-policy-vchar) sts-policy-vchar];
# sts-policy-vchar = %x21-7E / UTF8-2 / UTF8-3 / UTF8-4; its ends have been stripped.
_POLICY_VALUE = re.compile("[^\x00-\x1f\x7f]+")

# sts-policy-max-age-value = 1*10(DIGIT)
_AGE = re.compile(r"[0-9]{1,10}")

# sts-policy-mx-value = ["*."] Domain; RFC 5321's Domain.  A-labels only.
_PATTERN = re.compile(
    r"(?:\*\.)?[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
    r"(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*"
)


class PolicyError(ValueError):
    """What was fetched is no policy; the text says why."""


class InvalidRecord(ValueError):
    """A domain's records say nothing that could be relied on; the text says why."""


class Mode(enum.StrEnum):
    """What comes of a host that does not do what the policy demands."""

    ENFORCE = "enforce"
    TESTING = "testing"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Policy:
    """
    What a domain demands.  Make one with L{parse_policy}.

    @ivar max_age: For how long it counts after it was fetched; never above
        L{LONGEST_AGE}.
    @ivar mx: Patterns of the names of hosts, in lower case, each a name of
        A-labels, or one behind C{*.}.
    @ivar text: As it was fetched; reports quote it (RFC 8460 section 4.4).
    """

    mode: Mode
    max_age: timedelta
    mx: tuple[str, ...]
    text: str

    def matches(self, host: Domain) -> bool:
        """
        Whether mail for the domain may go to C{host}.  RFC 8461 section 4.1.

        An asterisk stands for exactly one label.
        """
        _, dot, parent = host.ascii.partition(".")
        return host.ascii in self.mx or (bool(dot) and f"*.{parent}" in self.mx)


def record_name(domain: Domain) -> str:
    """Where the record of a domain is.  RFC 8461 section 3.1."""
    return f"_mta-sts.{domain.ascii}"


def policy_host(domain: Domain) -> str:
    """The host that has the policy of a domain.  RFC 8461 section 3.3."""
    return f"mta-sts.{domain.ascii}"


def policy_url(domain: Domain) -> str:
    """Where the policy of a domain is."""
    return f"https://{policy_host(domain)}/.well-known/mta-sts.txt"


def parse_record(records: Iterable[Record]) -> str | None:
    """
    The C{id} of a domain's policy, of all its TXT records.  RFC 8461 section 3.1.

    @return: L{None}: it has no MTA-STS.
    @raise InvalidRecord: It has more than one, or one that cannot be read;
        that counts as none, but its owner should hear of it.
    """
    found = [record for record in records if isinstance(record, bytes) and _BEGINNING.match(record)]
    if not found:
        return None
    if len(found) > 1:
        raise InvalidRecord("more than one MTA-STS record")
    if len(found[0]) > _LONGEST_RECORD:
        raise InvalidRecord("the MTA-STS record is too long")
    return _id_of(found[0].decode("latin-1"))


def _id_of(record: str) -> str:
    fields = [field.strip(_SPACE) for field in record.split(";")][1:]
    if not fields[-1]:
        fields.pop()
    value: str | None = None
    for field in fields:
        name, equals, given = field.partition("=")
        if not (equals and _NAME.fullmatch(name) and _RECORD_VALUE.fullmatch(given)):
            raise InvalidRecord("the MTA-STS record has a field that is no name and value")
        # Of what is there twice the first counts.  RFC 8461 section 3.2.
        if name == "id" and value is None:
            value = given
    if value is None:
        raise InvalidRecord("the MTA-STS record has no id")
    if not _ID.fullmatch(value):
        raise InvalidRecord("the id of the MTA-STS record is not 1 to 32 letters and digits")
    return value


def parse_policy(text: str) -> Policy:
    """
    Read a policy.  RFC 8461 section 3.2.

    Empty lines, which its ABNF has not, are passed over: many policies end
    with some, and nothing is weaker for it.

    @param text: No longer than L{LONGEST_POLICY}, which is not checked.
    @raise PolicyError: It is none.
    """
    first: dict[str, str] = {}
    # The keys are a set that keeps its order: some hosts are named again and again.
    patterns: dict[str, None] = {}
    for name, value in _fields(text):
        if name == "mx":
            patterns[_pattern(value)] = None
        else:
            # Of what is there twice the first counts.
            first.setdefault(name, value)
    if first.get("version") != "STSv1":
        raise PolicyError("its version is not STSv1")
    mode = _mode(first.get("mode"))
    if mode is not Mode.NONE and not patterns:
        raise PolicyError("no mx")
    return Policy(mode, _age(first.get("max_age")), tuple(patterns), text)


def _fields(text: str) -> Iterator[tuple[str, str]]:
    """Names and values, line by line."""
    for number, line in enumerate(text.split("\n"), 1):
        field = line.removesuffix("\r").rstrip(_SPACE)
        if not field:
            continue
        name, colon, value = field.partition(":")
        value = value.lstrip(_SPACE)
        if not (colon and _NAME.fullmatch(name) and _POLICY_VALUE.fullmatch(value)):
            raise PolicyError(f"line {number} is no name and value")
        yield name, value


def _mode(value: str | None) -> Mode:
    if value is None:
        raise PolicyError("no mode")
    try:
        return Mode(value)
    except ValueError:
        raise PolicyError("its mode is none of enforce, testing, none") from None


def _age(value: str | None) -> timedelta:
    if value is None:
        raise PolicyError("no max_age")
    if not _AGE.fullmatch(value):
        raise PolicyError("its max_age is no number of seconds")
    return min(timedelta(seconds=int(value)), LONGEST_AGE)


def _pattern(value: str) -> str:
    name = value.removeprefix("*.")
    if len(name) > MAXIMUM_DOMAIN or not _PATTERN.fullmatch(value):
        raise PolicyError("an mx is no name of A-labels")
    return value.lower()
