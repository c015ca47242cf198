"""What the log keeps of the checks of a message, for who asks later why."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from twisted.logger import LogLevel

from moxsmtp import dmarc, spf
from moxsmtp.names import Domain, IPAddress
from moxsmtp.receive.session_log import SessionLog
from moxsmtp.receive.verification import Authentication

__all__ = ["explain", "organization"]

_CLAIMED: Final = "SPF fails for {address}; {domain} claims, which may be true or not: {claim}"
_UNEXPLAINED: Final = "SPF fails for {address}: {domain} does not let it send mail in its name"


class _Later:
    """Words that are put together when somebody reads the line: mostly, nobody does."""

    __slots__ = ("_words",)

    def __init__(self, words: Callable[[], str]) -> None:
        self._words = words

    def __str__(self) -> str:
        return self._words()


def explain(
    log: SessionLog,
    authentication: Authentication,
    *,
    address: IPAddress,
    organizational_domain: Callable[[Domain], Domain],
) -> None:
    """
    Write down what SPF's policy says to a failure (I-16), and how DMARC came to
    its outcome.

    @param address: The client's.
    @param organizational_domain: By the public suffix list.
    """
    sender, author = authentication.spf, authentication.dmarc
    if sender.status is spf.Status.FAIL:
        log.write(
            LogLevel.info,
            _CLAIMED if sender.explanation else _UNEXPLAINED,
            address=str(address),
            domain=str(sender.domain),
            claim=sender.explanation,
        )
    if author.author is None:
        return
    log.write(
        LogLevel.debug,
        "DMARC of {author}: {status}, alignment {alignment}, policy {policy} of {policy_domain}, "
        "{rejection}; {organization}; asked: {walk}",
        author=author.author,
        status=author.status,
        alignment=author.alignment,
        policy=author.policy or "none",
        policy_domain=author.policy_domain or "nobody",
        rejection="asks for refusal" if author.rejects else "asks for no refusal",
        organization=_Later(partial(_organization, author, author.author, organizational_domain)),
        walk=_Later(partial(_walk, author)),
    )


def _organization(
    result: dmarc.Result, author: Domain, organizational_domain: Callable[[Domain], Domain]
) -> str:
    return organization(result, organizational_domain(author))


def _walk(result: dmarc.Result) -> str:
    return "; ".join(f"{step.name}: {step.outcome}" for step in result.walk) or "nothing"


def organization(result: dmarc.Result, listed: Domain) -> str:
    """
    Whose the author's domain is by the tree walk, beside what the public suffix
    list says.

    @param listed: By the list.
    """
    walked = result.organizational_domain
    if walked is None:
        return f"organizational domain unknown, {listed} by the public suffix list"
    if walked == listed:
        return f"organizational domain {walked}, by the public suffix list too"
    return f"organizational domain {walked}, but {listed} by the public suffix list"
