"""
TLSA records compared with what a server shows.  RFC 6698, RFC 7671, RFC 7672
section 3.

Two usages count for mail: DANE-EE, which pins the server's own key and makes
names and dates of no account, and DANE-TA, which names an authority below
which everything has to be in order.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_der_public_key
from cryptography.x509.oid import ExtendedKeyUsageOID
from OpenSSL import crypto

from moxsmtp.dns.records import TLSA
from moxsmtp.names import InvalidName, parse_domain
from moxsmtp.tls.client_key import public_key_info
from moxsmtp.tls.identity import UNREADABLE, name_matches

__all__ = ["DANE_EE", "DANE_TA", "is_anchored", "usable", "verify"]

#: RFC 7672 section 3.1: the usages with PKIX say nothing to mail.
DANE_TA: Final = 2
DANE_EE: Final = 3

_CERTIFICATE: Final = 0
_PUBLIC_KEY: Final = 1

#: Matching types other than 0, which is no digest.  RFC 6698 section 2.1.3.
_DIGESTS: Final[Mapping[int, Callable[[bytes], bytes]]] = {
    1: lambda octets: hashlib.sha256(octets).digest(),
    2: lambda octets: hashlib.sha512(octets).digest(),
}

#: Certificates that are looked at of what a server shows, and authorities that
#: are tried of what its DNS names: usual are four, and one.
_LONGEST_CHAIN: Final = 16
_MOST_ANCHORS: Final = 16


def usable(records: Iterable[TLSA]) -> tuple[TLSA, ...]:
    """
    Those that can be compared with a certificate, each once (Q-57).

    RFC 6698 section 4.1, RFC 7672 section 3.1.3: the others are ignored, but
    TLS is mandatory all the same where there are records.
    """
    return tuple(dict.fromkeys(record for record in records if _is_usable(record)))


def _is_usable(record: TLSA) -> bool:
    if record.usage not in {DANE_TA, DANE_EE} or not record.is_usable:
        return False
    if record.matching_type:
        return True
    if record.selector == _CERTIFICATE:
        return _certificate(record.association) is not None
    try:
        load_der_public_key(record.association)
    except (ValueError, UnsupportedAlgorithm):
        return False
    return True


def verify(
    records: Sequence[TLSA], chain: Sequence[bytes], names: Sequence[str], now: datetime
) -> TLSA | None:
    """
    Find a record that vouches for a server (Q-58).

    @param records: Usable ones.
    @param chain: The certificates that the server shows, DER, its own first.
    @param names: One of which the certificate has to be for, where an
        authority vouches for it: A-labels.
    @return: The record; L{None}: none does.
    """
    if not chain:
        return None
    shown = chain[:_LONGEST_CHAIN]
    leaf = _Shown(shown[0])
    for record in records:
        if record.usage == DANE_EE and leaf.matches(record):
            return record
    if any(record.usage == DANE_TA for record in records):
        return _below_authority(records, shown, names, now)
    return None


def is_anchored(records: Sequence[TLSA], chain: Sequence[bytes]) -> bool:
    """
    Whether a record names an authority that could vouch for the server: where
    L{verify} finds none all the same, chain, dates or names are at fault.
    """
    return bool(_anchors(records, chain[:_LONGEST_CHAIN]))


class _Shown:
    """A certificate, what is selected of it worked out once.  @ivar octets: DER."""

    def __init__(self, octets: bytes) -> None:
        self.octets = octets
        self._known: dict[tuple[int, int], bytes] = {}

    def matches(self, record: TLSA) -> bool:
        kind = record.selector, record.matching_type
        if kind not in self._known:
            self._known[kind] = self._selected(*kind)
        return self._known[kind] == record.association

    def _selected(self, selector: int, matching_type: int) -> bytes:
        """RFC 6698 sections 2.1.2 and 2.1.3; empty, which matches nothing: it has no key."""
        octets = self.octets
        if selector == _PUBLIC_KEY:
            try:
                octets = public_key_info(octets)
            except ValueError:
                return b""
        return _DIGESTS[matching_type](octets) if matching_type else octets


def _below_authority(
    records: Sequence[TLSA], chain: Sequence[bytes], names: Sequence[str], now: datetime
) -> TLSA | None:
    """Chain, dates, use and name are in order, below one that a record of usage 2 names."""
    certificates = [_certificate(octets) for octets in chain]
    leaf = certificates[0]
    if leaf is None:
        return None
    anchors = _anchors(records, chain)
    found = list(anchors.values())
    if not found or not _is_for_servers(leaf) or not _names_match(leaf, names):
        return None
    store = crypto.X509Store()
    store.set_flags(crypto.X509StoreFlags.PARTIAL_CHAIN)
    store.set_time(now)
    for octets in anchors:
        anchor = _certificate(octets)
        if anchor is not None:
            store.add_cert(anchor)
    others = [each for each in certificates[1:] if each is not None]
    try:
        verified = crypto.X509StoreContext(store, leaf, others).get_verified_chain()
    except crypto.X509StoreContextError:
        return None
    top = crypto.dump_certificate(crypto.FILETYPE_ASN1, verified[-1])
    return anchors.get(top, found[0])


def _anchors(records: Sequence[TLSA], chain: Sequence[bytes]) -> dict[bytes, TLSA]:
    """
    Certificates that records name, each with its record: of the chain, and
    those that are whole in the record.  RFC 7671 section 5.2.3.
    """
    found: dict[bytes, TLSA] = {}
    shown = [_Shown(octets) for octets in chain]
    for record in records:
        if record.usage != DANE_TA:
            continue
        for each in shown:
            if each.matches(record):
                found.setdefault(each.octets, record)
        if (record.selector, record.matching_type) == (_CERTIFICATE, 0):
            found.setdefault(record.association, record)
        if len(found) >= _MOST_ANCHORS:
            break
    return found


def _certificate(octets: bytes) -> crypto.X509 | None:
    try:
        return crypto.load_certificate(crypto.FILETYPE_ASN1, octets)
    except crypto.Error:
        return None


def _is_for_servers(leaf: crypto.X509) -> bool:
    """Its extended key usage, if it has one, is that of servers.  RFC 5280 section 4.2.1.12."""
    try:
        extensions = leaf.to_cryptography().extensions
        usages = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return True
    except UNREADABLE:
        return False
    return (
        ExtendedKeyUsageOID.SERVER_AUTH in usages
        or ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE in usages
    )


def _names_match(leaf: crypto.X509, names: Sequence[str]) -> bool:
    for name in names:
        try:
            if name_matches(leaf, parse_domain(name)):
                return True
        except InvalidName:
            continue
    return False
