"""The keys that domains sign with: read, and looked at for what is wrong with them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from moxsmtp.config.files import content, warn_of_readers
from moxsmtp.config.mistakes import Findings, KeyPath
from moxsmtp.config.settings import Selector
from moxsmtp.config.tables import SelectorTable
from moxsmtp.dkim.private_key import PrivateKey, load_private_key, public_record
from moxsmtp.dkim.sign import SIGNED_FIELDS, Signer
from moxsmtp.dkim.signature import parse_selector
from moxsmtp.names import MAXIMUM_DOMAIN, Domain

__all__ = ["MAXIMUM_ACTIVE", "selector_name", "selectors"]

#: Verifiers look at a few signatures of a message only, and so many of the
#: costliest keys that we take make less than 50 ms of the reactor's time.
MAXIMUM_ACTIVE: Final = 8

#: RFC 8301 section 3.2: signers should not use shorter RSA keys.
_SHORT: Final = 2048
#: Verifiers have to take 4096 bits, and nothing longer: the same section.
_LONGEST: Final = 4096

# field-name = 1*ftext; RFC 5322 section 3.6.8.  A semicolon would end the tag.
_FIELD_NAME: Final = re.compile(r"[!-9<-~]{1,76}")

#: Written or changed on the way: RFC 6376 section 5.4.1.
_CHANGED: Final = frozenset(
    {"authentication-results", "delivered-to", "dkim-signature", "received", "return-path"}
)


def selectors(
    domain: Domain,
    tables: Mapping[str, SelectorTable],
    folder: Path,
    at: KeyPath,
    findings: Findings,
) -> tuple[Selector, ...]:
    """
    What a domain signs with.

    @param folder: Where relative names of files start.
    @param at: The table of the selectors.
    @return: Those that can be used; the others are reported.
    """
    usable: list[Selector] = []
    seen: dict[str, str] = {}
    for written, table in tables.items():
        try:
            name = selector_name(written, domain)
        except ValueError as error:
            findings.add((*at, written), str(error))
            continue
        other = seen.setdefault(name, written)
        if other != written:
            findings.add((*at, written), f'the same selector as "{other}"; keep one of them')
            continue
        selector = _selector(domain, name, table, folder, (*at, written), findings)
        if selector is not None:
            usable.append(selector)
    if sum(table.active for table in tables.values()) > MAXIMUM_ACTIVE:
        text = f"more than {MAXIMUM_ACTIVE} are active; write active = false in the others"
        findings.add(at, text)
    return tuple(usable)


def selector_name(text: str, domain: Domain) -> str:
    """
    A selector as the DNS has it.  RFC 6376 section 3.1.

    @raise ValueError: The DNS cannot have a key of C{domain} by this name; says
        what would be right.
    """
    try:
        name = parse_selector(text)
    except ValueError:
        right = 'write letters, digits, "-" and ".", like "2026-rsa"'
        raise ValueError(f"not a selector; {right}") from None
    if len(f"{name}._domainkey.{domain.ascii}") > MAXIMUM_DOMAIN:
        raise ValueError("too long for a name in the DNS; write a shorter one")
    return name


def _selector(
    domain: Domain,
    name: str,
    table: SelectorTable,
    folder: Path,
    at: KeyPath,
    findings: Findings,
) -> Selector | None:
    if timedelta() < table.expiration < timedelta(seconds=1):
        findings.add((*at, "expiration"), "must be at least a second, or 0 for never")
    _check_headers(table.headers, (*at, "headers"), findings)
    key = _key(str(folder / table.key), (*at, "key"), findings)
    if key is None or findings.touches(*at):
        return None
    signer = Signer(
        domain,
        name,
        key,
        expiration=table.expiration or None,
        headers=(*SIGNED_FIELDS, *table.headers),
    )
    return Selector(signer=signer, record=public_record(key), active=table.active)


def _check_headers(names: tuple[str, ...], at: KeyPath, findings: Findings) -> None:
    usual = {name.lower() for name in SIGNED_FIELDS}
    for number, name in enumerate(names):
        if not _FIELD_NAME.fullmatch(name):
            findings.add((*at, number), 'not the name of a header field; write "List-Id"')
        elif name.lower() in _CHANGED:
            findings.add((*at, number), f"{name} changes on the way; it cannot be signed")
        elif name.lower() in usual:
            findings.add((*at, number), f"{name} is signed already; leave it out")
        usual.add(name.lower())


def _key(file: str, at: KeyPath, findings: Findings) -> PrivateKey | None:
    """L{None} if it cannot be used, which is reported."""
    pem = content(file, lambda text: findings.add(at, text))
    if pem is None:
        return None
    warn_of_readers(file, at, findings)
    make = "moxsmtp dkim generate makes another"
    try:
        key = load_private_key(pem)
    except ValueError as error:
        findings.add(at, f"{file}: {error}; {make}")
        return None
    if isinstance(key, RSAPrivateKey):
        if key.key_size > _LONGEST:
            text = f"{file}: RSA key of {key.key_size} bits; verifiers take up to {_LONGEST}"
            findings.add(at, f"{text}; {make}")
            return None
        if key.key_size < _SHORT:
            text = f"{file}: RSA key of {key.key_size} bits; take {_SHORT} at least"
            findings.warn(at, f"{text}; {make}")
    return key
