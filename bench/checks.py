"""
CPU that the checks of a message take.

C{python -m bench.checks [MESSAGES] [--rounds N]}: each check alone, and all of them as
a message needs them, on a message of 4 KiB with a signature of RSA with 2048 bits.
What the DNS says is in our resolver's cache; then all once more with that cache off,
16 messages of different senders at once, unbound answering from memory.  Medians of
several rounds; the CPU is that of this process, the kernel's part included.
"""

from __future__ import annotations

import argparse
import secrets
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final

from twisted.internet.defer import Deferred
from zope.interface import implementer

from bench.resolver import Resolver
from bench.senders import CLIENTS, Sender, senders, zone
from moxsmtp import dkim, dmarc, iprev, spf
from moxsmtp.admin.offline import run_reactor
from moxsmtp.dns.records import Answer, Question
from moxsmtp.dns.resolver import StubResolver
from moxsmtp.dns.settings import ResolverSettings, Upstream
from moxsmtp.interfaces import IOwnResolver, IResolver
from moxsmtp.message.addresses import author_of
from moxsmtp.message.header import parse_header
from moxsmtp.names import Domain, parse_domain
from moxsmtp.public_suffix import PublicSuffixes
from moxsmtp.smtp.address import Path as MailPath

_NOW: Final = datetime(2026, 11, 3, tzinfo=UTC)

#: What a check may take, in milliseconds.
_AIMS: Final = {"SPF": 0.12, "DKIM": 0.15, "DMARC": 0.04, "header scan": 0.02, "together": 0.35}
_AIM_OF_QUERY: Final = 0.25


@implementer(IResolver)
class Counting:
    """@ivar asked: How many look-ups there were."""

    def __init__(self, inner: IResolver) -> None:
        self._inner = inner
        self.asked = 0

    def lookup(self, question: Question) -> Deferred[Answer]:
        """See L{IResolver.lookup}."""
        self.asked += 1
        return self._inner.lookup(question)


class Checks:
    """The checks of one message, each by itself and all together."""

    def __init__(self, resolver: IResolver, clock: Any, sender: Sender, client: str) -> None:
        self._resolver = resolver
        self._clock = clock
        head, _, self._body = sender.message(4096).partition(b"\r\n\r\n")
        self._header = head + b"\r\n\r\n"
        self._identity = spf.Identity(
            ip_address(client),
            MailPath("sender", parse_domain(sender.domain)),
            parse_domain(CLIENTS[client]),
            parse_domain("mx.here.test"),
        )
        self._is_public_suffix = PublicSuffixes().is_public_suffix
        self._spf = spf.Result(spf.Status.NONE)
        self._dkim = dkim.Results()
        self._author = parse_domain(sender.domain)

    async def run_spf(self) -> None:
        """RFC 7208."""
        self._spf = await spf.verify(self._resolver, self._identity, clock=self._clock)
        _good(self._spf)

    async def run_dkim(self) -> None:
        """RFC 6376, the body in the two pieces that it comes in."""
        verifier = self._begin_dkim()
        await self._finish_dkim(verifier)

    def _begin_dkim(self) -> dkim.Verifier:
        return dkim.Verifier(
            self._resolver, self._header, now=_NOW, is_public_suffix=self._is_public_suffix
        )

    async def _finish_dkim(self, verifier: dkim.Verifier) -> None:
        verifier.feed(self._body[:1400])
        verifier.feed(self._body[1400:])
        self._dkim = await verifier.finish()
        _good(*self._dkim.signatures)

    async def run_dmarc(self) -> None:
        """RFC 9989, upon what SPF and DKIM said last."""
        _good(await self._dmarc(self._author))

    async def _dmarc(self, author: Domain) -> dmarc.Result:
        return await dmarc.verify(
            self._resolver, [author], spf=self._spf, dkim=self._dkim.signatures
        )

    async def run_iprev(self) -> None:
        """RFC 8601 section 3."""
        _good(await iprev.verify(self._resolver, self._identity.address))

    async def run_scan(self) -> None:
        """What the server wants to know of a header section."""
        self._scan()

    def _scan(self) -> Domain:
        header = parse_header(self._header)
        author = author_of(header)
        if header.count("Received") > 100 or header.has("TLS-Required"):
            raise SystemExit("not the message that was meant")
        header.first("Content-Type")
        if author is None or author.path is None or not isinstance(author.path.domain, Domain):
            raise SystemExit("no author")
        return author.path.domain

    async def run_all(self) -> None:
        """All that a message needs, in the server's order."""
        address = Deferred.fromCoroutine(self.run_iprev())
        client = Deferred.fromCoroutine(self.run_spf())
        author = self._scan()
        verifier = self._begin_dkim()
        await self._finish_dkim(verifier)
        await client
        await address
        _good(await self._dmarc(author))


def _good(*results: Any) -> None:
    if not results or any(result.status != "pass" for result in results):
        raise SystemExit(f"did not pass: {results}")


@dataclass(frozen=True, slots=True)
class Taken:
    """@ivar each: Milliseconds for a message, by what was done."""

    each: dict[str, float]
    queries: float
    query: float


async def _timed(ones: Sequence[Callable[[], Awaitable[None]]], messages: int) -> float:
    """Milliseconds of CPU for each, all of C{ones} being under way at once."""
    left = iter(range(messages))

    async def repeated(one: Callable[[], Awaitable[None]]) -> None:
        for _ in left:
            await one()

    begun = time.process_time()
    for running in [Deferred.fromCoroutine(repeated(one)) for one in ones]:
        await running
    return (time.process_time() - begun) / messages * 1000


async def measure(
    reactor: Any, port: int, those: Sequence[Sender], messages: int, rounds: int
) -> Taken:
    """All of it."""
    cached = _resolver(reactor, port, ResolverSettings().cache)
    checks = Checks(cached, reactor, those[0], next(iter(CLIENTS)))
    kinds = {
        "iprev": checks.run_iprev,
        "SPF": checks.run_spf,
        "DKIM": checks.run_dkim,
        "DMARC": checks.run_dmarc,
        "header scan": checks.run_scan,
        "together": checks.run_all,
    }
    await checks.run_all()
    found: dict[str, list[float]] = {kind: [] for kind in kinds}
    for _ in range(rounds):
        for kind, one in kinds.items():
            found[kind].append(await _timed([one], messages))
    await cached.close()
    uncached = _resolver(reactor, port, 0)
    counting = Counting(uncached)
    # Nobody shares a look-up with another: each asks for names of its own.
    ones = [
        Checks(counting, reactor, sender, client).run_all
        for sender, client in zip(those, CLIENTS, strict=True)
    ]
    _ = await _timed(ones, 10 * len(ones))
    counting.asked = 0
    asking = [await _timed(ones, messages) for _ in range(rounds)]
    await uncached.close()
    each = {kind: statistics.median(several) for kind, several in found.items()}
    each["not cached"] = statistics.median(asking)
    queries = counting.asked / messages / rounds
    return Taken(each, queries, (each["not cached"] - each["together"]) / queries)


def _resolver(reactor: Any, port: int, cache: int) -> IOwnResolver:
    return StubResolver(
        reactor=reactor,
        servers=[Upstream(address=ip_address("127.0.0.1"), port=port)],
        settings=ResolverSettings(cache=cache),
        randbelow=secrets.randbelow,
    )


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("messages", type=int, nargs="?", default=1000, help="in each round")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mox") as name:
        folder = Path(name)
        those = senders(len(CLIENTS), folder / "keys")
        resolver = Resolver(folder / "dns", zone(those))
        try:
            taken = run_reactor(
                lambda reactor: measure(
                    reactor, resolver.port, those, options.messages, options.rounds
                )
            )
        finally:
            resolver.end()
    for kind, milliseconds in taken.each.items():
        aim = f"aim {_AIMS[kind]:.2f}" if kind in _AIMS else ""
        print(f"{kind:<14}{milliseconds:8.3f} ms of CPU a message   {aim}")
    print(
        f"{'a query':<14}{taken.query:8.3f} ms of CPU, {taken.queries:.1f} a message"
        f"   aim {_AIM_OF_QUERY:.2f}"
    )


if __name__ == "__main__":
    main()
