"""
Domains and address literals.  RFC 5321 sections 4.1.2 and 4.1.3, RFC 5890.

A domain is kept once, as lower-case A-labels; its U-label form is derived.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Final

import idna

__all__ = [
    "AddressLiteral", "Domain", "Host", "IPAddress", "InvalidName", "parse_address_literal",
    "parse_domain", "parse_host",
]  # fmt: skip

IPAddress = IPv4Address | IPv6Address

#: Octets a domain may have in its A-label form.  RFC 1035 section 2.3.4.
MAXIMUM_DOMAIN: Final = 253

#: The same of one label.
_MAXIMUM_LABEL: Final = 63

# sub-domain = Let-dig [Ldh-str], dots between; RFC 5321 section 4.1.2.
_LDH_DOMAIN = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)(?:\.(?!-)[a-z0-9-]{1,63}(?<!-))*")


# IPv4-address-literal / "IPv6:" IPv6-addr, between brackets; RFC 5321 section 4.1.3.
# Only shapes: the octets and groups are counted by ipaddress.
_ADDRESS_LITERAL = re.compile(r"\[(IPv6:)?([0-9A-F:.]{2,45})\]", re.ASCII | re.IGNORECASE)


class InvalidName(ValueError):
    """What was given is no domain and no address literal; the text says why."""


@dataclass(frozen=True, slots=True, order=True)
class Domain:
    """
    A domain name.  Make one with L{parse_domain}.

    @ivar ascii: Lower-case A-labels with dots between them and none at the end.
    """

    ascii: str

    @property
    def unicode(self) -> str:
        """The name as U-labels; the A-labels where they decode to nothing valid."""
        return _unicode(self.ascii)

    def __str__(self) -> str:
        return self.unicode


@dataclass(frozen=True, slots=True)
class AddressLiteral:
    """An IP address where a domain may stand.  RFC 5321 section 4.1.3."""

    address: IPAddress

    @property
    def ascii(self) -> str:
        """With brackets: C{[192.0.2.1]}, C{[IPv6:2001:db8::1]}."""
        return _literal(self.address)

    @property
    def unicode(self) -> str:
        """The same as L{ascii}, so that both kinds of host read alike."""
        return self.ascii

    def __str__(self) -> str:
        return self.ascii


Host = Domain | AddressLiteral


@functools.lru_cache(maxsize=4096)
def parse_domain(text: str) -> Domain:
    """
    Read a domain in any spelling: upper case, U-labels, A-labels.

    Underscores, a trailing dot, empty labels and bare IP addresses are no
    domain.  UTS 46 mapping, non-transitional; RFC 5891 section 5.

    @raise InvalidName: The text is none; the message says what is wrong.
    """
    if len(text) > 4 * MAXIMUM_DOMAIN:
        raise InvalidName("too long")
    lower = text.lower() if text.isascii() else text
    if not (_LDH_DOMAIN.fullmatch(lower) and "xn--" not in lower and "--" not in lower):
        try:
            mapped = idna.uts46_remap(text, std3_rules=True)
            # An A-label is no shorter.  The rules of RFC 5892 appendix A look at each
            # digit's whole label: at one as long as a domain for 5 ms.
            if max(map(len, mapped.split("."))) > _MAXIMUM_LABEL:
                raise InvalidName("a label is too long")
            lower = idna.encode(mapped).decode("ascii").lower()
        except (idna.IDNAError, UnicodeError, IndexError) as error:
            raise InvalidName(str(error) or "not a domain") from None
        if not _LDH_DOMAIN.fullmatch(lower):
            raise InvalidName("not a domain")
    if len(lower) > MAXIMUM_DOMAIN:
        raise InvalidName("too long")
    last = lower.rpartition(".")[2]
    if last.isdigit():
        raise InvalidName("the last label is a number, as in an IP address")
    return Domain(lower)


def parse_address_literal(text: str) -> AddressLiteral:
    """
    Read an address literal with its brackets.  RFC 5321 section 4.1.3.

    An IPv6 address without its tag, an IPv4 address with it, a zone, and an
    IPv4 address in the clothes of IPv6 are none (S-106).

    @raise InvalidName: The text is none.
    """
    match = _ADDRESS_LITERAL.fullmatch(text)
    if match is None:
        raise InvalidName("not an address literal")
    tag, written = match.groups()
    try:
        address = IPv6Address(written) if tag else IPv4Address(written)
    except AddressValueError as error:
        raise InvalidName(str(error)) from None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        raise InvalidName("an IPv4 address is written without IPv6")
    return AddressLiteral(address)


def parse_host(text: str) -> Host:
    """
    Read what may follow an at sign.

    @raise InvalidName: The text is neither a domain nor an address literal.
    """
    return parse_address_literal(text) if text.startswith("[") else parse_domain(text)


@functools.lru_cache(maxsize=1024)
def _literal(address: IPAddress) -> str:
    tag = "IPv6:" if address.version == 6 else ""
    return f"[{tag}{address}]"


@functools.lru_cache(maxsize=1024)
def _unicode(ascii_name: str) -> str:
    if "xn--" not in ascii_name:
        return ascii_name
    try:
        return idna.decode(ascii_name)
    except (idna.IDNAError, UnicodeError):
        return ascii_name
