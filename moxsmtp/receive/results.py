"""What the checks say, in the words of Authentication-Results (I-76).  RFC 8601 section 2.7."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Final

from moxsmtp import dkim, dmarc, iprev, spf
from moxsmtp.message.authres import MethodResult, Property
from moxsmtp.names import Domain, IPAddress
from moxsmtp.receive.verification import Authentication

__all__ = ["method_results"]

#: Characters of a signature that tell it from the others.  RFC 6008 wants 8 at least.
_SIGNATURE: Final = 12


def method_results(
    authentication: Authentication, *, address: IPAddress
) -> tuple[MethodResult, ...]:
    """
    One entry for each method, and for each signature.

    Domains are given as U-labels; who writes them chooses the form (I-77).

    @param address: The client's.
    """
    reverse, sender, author = authentication.iprev, authentication.spf, authentication.dmarc
    return (
        _iprev(reverse.status, address, authentic=reverse.authentic),
        *_dkim(authentication.dkim),
        _spf(
            sender.status, sender.scope, sender.domain, sender.problem, authentic=sender.authentic
        ),
        _dmarc(
            author.status, author.author, author.policy, author.problem, authentic=author.authentic
        ),
    )


# Of one sender the same each time, but for the signatures.
_kept: Final = functools.lru_cache(maxsize=512)


@_kept
def _iprev(status: iprev.Status, address: IPAddress, *, authentic: bool) -> MethodResult:
    return MethodResult(
        "iprev",
        status.value,
        comment=_dnssec(authentic=authentic),
        properties=(Property("policy", "iprev", str(address)),),
    )


def _dkim(results: dkim.Results) -> Iterator[MethodResult]:
    if not results.signatures:
        yield MethodResult("dkim", "none", reason="no signatures")
    for one in results.signatures:
        yield _signature(one)
    if results.omitted:
        yield MethodResult(
            "dkim", "policy", reason=f"{results.omitted} more signatures were not evaluated"
        )


def _signature(one: dkim.Result) -> MethodResult:
    properties = []
    if one.domain is not None:
        properties.append(_domain("header", "d", one.domain))
    properties += [
        Property("header", name, value)
        for name, value in (
            ("s", one.selector),
            ("a", one.algorithm),
            ("b", one.signature[:_SIGNATURE]),
            ("i", one.identity),
        )
        if value
    ]
    key = f"{one.key_bits} bit rsa, " if one.key_bits else ""
    return MethodResult(
        "dkim",
        one.status.value,
        reason=one.reason,
        comment=key + _dnssec(authentic=one.authentic),
        properties=tuple(properties),
    )


@_kept
def _spf(
    status: spf.Status,
    scope: spf.Scope | None,
    domain: Domain | None,
    problem: str,
    *,
    authentic: bool,
) -> MethodResult:
    properties: tuple[Property, ...] = ()
    if domain is not None:
        name = "helo" if scope is spf.Scope.HELO else "mailfrom"
        properties = (_domain("smtp", name, domain),)
    return MethodResult(
        "spf",
        status.value,
        reason=problem,
        comment=_dnssec(authentic=authentic),
        properties=properties,
    )


@_kept
def _dmarc(
    status: dmarc.Status,
    author: Domain | None,
    policy: dmarc.Policy | None,
    problem: str,
    *,
    authentic: bool,
) -> MethodResult:
    properties = []
    if author is not None:
        properties.append(_domain("header", "from", author))
        if policy is not None:
            properties.append(Property("policy", "dmarc", policy.value))
    return MethodResult(
        "dmarc",
        status.value,
        reason=problem,
        comment=_dnssec(authentic=authentic),
        properties=tuple(properties),
    )


def _dnssec(*, authentic: bool) -> str:
    return "with dnssec" if authentic else "without dnssec"


def _domain(type_: str, name: str, domain: Domain) -> Property:
    return Property(type_, name, domain.unicode)
