"""
Who sent this?  SPF, DKIM and iprev together, then DMARC; out comes one value.

SPF begins with MAIL, the look-ups of DKIM's keys when the header section is
complete; the body is hashed while it streams.  Each check has a time limit of
its own, and none can harm the message (I-1 to I-3).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from twisted.logger import LogLevel
from twisted.python.failure import Failure

from moxsmtp import dkim, dmarc, iprev, spf
from moxsmtp.interfaces import Client, IMetrics
from moxsmtp.message.authors import ClaimedAuthors, claimed_authors
from moxsmtp.message.header import Header
from moxsmtp.names import Domain
from moxsmtp.receive.checks import Checks, SignatureCheck
from moxsmtp.receive.running import LOCAL_ERROR, Kind, Running, Site
from moxsmtp.smtp.address import Path

__all__ = ["Authentication", "Reverse", "Verification"]

#: Algorithms that may be labels of the metrics; all others are one.
_ALGORITHMS: Final = frozenset({"rsa-sha1", "rsa-sha256", "ed25519-sha256"})

#: What DMARC says where there is nobody to judge (I-7).
_NO_AUTHOR: Final = dmarc.Result(dmarc.Status.NONE)


@dataclass(frozen=True, slots=True)
class Authentication:
    """
    What the checks say of one message.

    @ivar authors: The domains of its authors, each once; usually one.
    @ivar is_made: Otherwise nothing was looked at, and nothing is to be said of it.
    """

    iprev: iprev.Result
    spf: spf.Result
    dkim: dkim.Results
    dmarc: dmarc.Result
    authors: tuple[Domain, ...] = ()
    is_made: bool = True


# -- how each is counted, and what it says when it fails ------------------------------


def _iprev_measured(metrics: IMetrics, result: iprev.Result, seconds: float) -> None:
    metrics.observe("mox_iprev_lookup_total", seconds, status=result.status)


def _spf_measured(metrics: IMetrics, result: spf.Result, seconds: float) -> None:
    metrics.observe("mox_spf_verify_duration_seconds", seconds, status=result.status)


def _dkim_measured(metrics: IMetrics, results: dkim.Results, seconds: float) -> None:
    for one in results.signatures:
        algorithm = one.algorithm if one.algorithm in _ALGORITHMS else "other"
        metrics.observe(
            "mox_dkim_verify_duration_seconds",
            seconds,
            algorithm=algorithm,
            status=one.status,
        )


def _dmarc_measured(metrics: IMetrics, result: dmarc.Result, seconds: float) -> None:
    metrics.observe(
        "mox_dmarc_verify_duration_seconds",
        seconds,
        status=result.status,
        reject="yes" if result.rejects else "no",
        # Every result is used: none is sampled out (RFC 9989 has no pct).
        use="yes",
    )


_IPREV: Final = Kind("iprevverify", lambda _: iprev.Result(iprev.Status.TEMPERROR), _iprev_measured)
_SPF: Final = Kind(
    "spfverify", lambda why: spf.Result(spf.Status.TEMPERROR, problem=why), _spf_measured
)
_DKIM: Final = Kind(
    "dkimverify",
    lambda why: dkim.Results((dkim.Result(dkim.Status.TEMPERROR, reason=why),)),
    _dkim_measured,
)
_DMARC: Final = Kind(
    "dmarcverify", lambda why: dmarc.Result(dmarc.Status.TEMPERROR, problem=why), _dmarc_measured
)


class Reverse:
    """
    The name of a client's address, looked for once a connection.

    An answer is kept as long as the connection lasts, trouble is not.
    """

    def __init__(self, checks: Checks, site: Site) -> None:
        self._checks = checks
        self._site = site
        self._running: Running[iprev.Result] | None = None

    def begin(self, client: Client) -> Running[iprev.Result]:
        """Look, unless it is known."""
        running = self._running
        if (
            running is None
            or running.value is None
            or running.value.status is iprev.Status.TEMPERROR
        ):
            self.cancel()
            running = Running(self._site, _IPREV, self._checks.iprev, client.address)
            self._running = running
        return running

    def cancel(self) -> None:
        """Look no longer; what was found stays."""
        running = self._running
        if running is not None and running.value is None:
            running.cancel()
            self._running = None


class Verification:
    """
    All checks of one message, from MAIL on.  Its owner calls L{cancel} when the
    transaction is over, however that came.
    """

    def __init__(
        self,
        checks: Checks,
        site: Site,
        client: Client,
        reverse_path: Path | None,
        *,
        hostname: Domain,
        reverse: Running[iprev.Result],
    ) -> None:
        """@param hostname: The listener's."""
        self._checks = checks
        self._site = site
        self._identity = spf.Identity(
            client.address, reverse_path, client.hello.name if client.hello else None, hostname
        )
        self._reverse = reverse
        self._spf = None if checks.spf_waits else self._begun_spf(())
        self._is_spf_used = False
        self._signatures: SignatureCheck | None = None
        self._dkim: Running[dkim.Results] | None = None
        self._dmarc: Running[dmarc.Result] | None = None
        self._authors = ClaimedAuthors()

    def _begun_spf(self, authors: Sequence[Domain]) -> Running[spf.Result]:
        return Running(self._site, _SPF, self._checks.spf, self._identity, authors)

    async def sender_passes(self) -> bool:
        """
        Whether SPF lets the client send in MAIL FROM's name (S-72).  As long as
        it does not, it is asked again each time; where it waits for the header
        section, there is nothing to say against it yet.
        """
        running = self._spf
        if running is None:
            return True
        if self._is_spf_used and not _passes(running.value):
            running.cancel()
            running = self._spf = self._begun_spf(())
        self._is_spf_used = True
        return _passes(await running.result())

    def header_complete(self, section: bytes, header: Header) -> None:
        """
        Begin what needs the header section; tell what a strict reader does not
        like about it, which is no harm to the message (I-5).

        @param section: As received, empty line and all; C{header} is the same.
        """
        authors = self._authors = claimed_authors(header)
        problems = header.problems
        if problems or authors.problem:
            self._site.log.write(
                LogLevel.info,
                "the header section cannot be read strictly: {problem}",
                problem="; ".join((*problems, authors.problem)).removesuffix("; "),
            )
        if self._spf is None:
            self._spf = self._begun_spf(self._authors.domains)
        try:
            self._signatures = self._checks.dkim(section, self._authors.domains)
        except Exception:  # noqa: BLE001 - nothing is awaited; its bug is no harm to the message
            self._site.bug(_DKIM.package, Failure())

    def body(self, octets: bytes) -> None:
        """More of the body."""
        signatures = self._signatures
        if signatures is None:
            return
        try:
            signatures.feed(octets)
        except Exception:  # noqa: BLE001 - nothing is awaited; its bug is no harm to the message
            self._signatures = None
            self._site.bug(_DKIM.package, Failure())
            signatures.cancel()

    async def identities(self) -> None:
        """
        The body is whole; wait for SPF and DKIM, so that DMARC can begin and
        nobody learns early that a recipient is unknown (I-31).
        """
        if self._dkim is None:
            signatures = self._signatures
            finish = _unchecked if signatures is None else signatures.finish
            self._dkim = Running(self._site, _DKIM, finish)
        if self._spf is None:
            self._spf = self._begun_spf(self._authors.domains)
        await self._spf.result()
        await self._dkim.result()

    async def authentication(self) -> Authentication:
        """What they say, all together.  L{identities} has been awaited."""
        if self._spf is None or self._dkim is None:
            raise RuntimeError("DMARC before SPF and DKIM")
        spf_result, dkim_results = await self._spf.result(), await self._dkim.result()
        if self._spf.is_broken:
            scope, domain = _checked(self._identity)
            spf_result = replace(spf_result, scope=scope, domain=domain)
        authors = self._authors
        dmarc_result = _NO_AUTHOR
        if authors.domains or authors.problem:
            signatures = dkim_results.signatures
            if self._dkim.is_broken or self._signatures is None:
                # Any of the authors may have signed; that must not end in a refusal.
                signatures = tuple(
                    dkim.Result(dkim.Status.TEMPERROR, domain=author) for author in authors.domains
                )
            self._dmarc = Running(self._site, _DMARC, self._judged, spf_result, signatures)
            dmarc_result = await self._dmarc.result()
        return Authentication(
            await self._reverse.result(), spf_result, dkim_results, dmarc_result, authors.domains
        )

    async def _judged(self, sender: spf.Result, signatures: Sequence[dkim.Result]) -> dmarc.Result:
        """The authors that are claimed; some beside them may be out of our sight."""
        domains, problem = self._authors.domains, self._authors.problem
        result = _NO_AUTHOR
        if domains:
            result = await self._checks.dmarc(domains, sender, signatures)
        return result.doubted(problem) if problem else result

    def cancel(self) -> None:
        """Nobody wants to know any more."""
        for running in (self._spf, self._dkim, self._dmarc):
            if running is not None:
                running.cancel()
        if self._signatures is not None:
            self._signatures.cancel()


def _passes(result: spf.Result | None) -> bool:
    return (
        result is not None
        and result.status is spf.Status.PASS
        and result.scope is spf.Scope.MAIL_FROM
    )


def _checked(identity: spf.Identity) -> tuple[spf.Scope | None, Domain | None]:
    """Whose name SPF would have judged (I-14)."""
    if identity.reverse_path is not None:
        scope, host = spf.Scope.MAIL_FROM, identity.reverse_path.domain
    else:
        scope, host = spf.Scope.HELO, identity.hello
    return (scope, host) if isinstance(host, Domain) else (None, None)


async def _unchecked() -> dkim.Results:
    """Of a message whose signatures could not be looked at."""
    return _DKIM.trouble(LOCAL_ERROR)
