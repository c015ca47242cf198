"""
The TLS of one connection: how it is made, and judged once the handshake is over.

A server is judged by all that is known of it, whether or not it counts: what
MTA-STS and DANE would have said goes into reports (Q-85).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from OpenSSL import SSL, crypto
from twisted.python.failure import Failure

from moxsmtp.dane import is_anchored, verify
from moxsmtp.dns.records import TLSA
from moxsmtp.names import AddressLiteral, Host, InvalidName, parse_domain
from moxsmtp.outbound.tls_policy import Demand, StartTLS
from moxsmtp.tls.client import OpportunisticTLS
from moxsmtp.tls.problems import Problem, certificate_problem, handshake_problem
from moxsmtp.tlsrpt import FailureDetails, PolicyResult, ReportedPolicy, ResultType

__all__ = ["Security", "Tallies", "Tally"]

#: Certificates of a server's chain that are taken out of OpenSSL.
_LONGEST_CHAIN: Final = 16


class Tally:
    """What sessions of one attempt came to, under one policy.  @ivar result: So far."""

    def __init__(self, policy: ReportedPolicy) -> None:
        self.result = PolicyResult(policy)

    def add(self, *details: FailureDetails, successes: int = 0, failures: int = 0) -> None:
        """More of each."""
        self.result = self.result.plus(successes, failures, details)


@dataclass(frozen=True, slots=True)
class Tallies:
    """
    Where the session with a host counts: in its recipient domain's results and in
    its own (Q-85).  L{None}: nobody is told.
    """

    domain: Tally | None = None
    host: Tally | None = None

    def add(self, *details: FailureDetails, successes: int = 0, failures: int = 0) -> None:
        """To both."""
        for tally in (self.domain, self.host):
            if tally is not None:
                tally.add(*details, successes=successes, failures=failures)


class Security:
    """
    One session's TLS.

    The session calls L{verdict} when the handshake is over, or
    L{handshake_failed}; L{refused} or L{not_offered} where it did not come to
    one.  Each is counted.

    @ivar demand: What it has to fulfil.
    @ivar creator: Makes the TLS connection, for C{startTLS}.  For one connection.
    @ivar announced: What the server calls itself, as far as it has said so; goes
        into reports.
    @ivar description: Version and verdicts, for the trace; empty before there are any.
    """

    def __init__(
        self,
        demand: Demand,
        context: SSL.Context,
        tallies: Tallies,
        now: Callable[[], datetime],
    ) -> None:
        self.demand = demand
        self.creator = OpportunisticTLS(context, _asked_for(demand), self._alerted)
        self.announced = ""
        self.description = ""
        self._tallies = tallies
        self._now = now
        self._is_counted = False
        self._is_success = False
        self._has_spoken = False

    # -- after the handshake --

    def verdict(self, tls_transport: Any) -> str:
        """
        Judge the server.  RFC 8461 section 4.2, RFC 7672 section 3.

        @param tls_transport: An C{ISSLTransport}, whose handshake is over.
        @return: Empty: good enough; else why not.
        """
        connection: SSL.Connection = tls_transport.getHandle()
        chain = (connection.get_peer_cert_chain() or [])[:_LONGEST_CHAIN]
        problem = certificate_problem(
            self.creator.errors, chain[0] if chain else None, self.demand.host
        )
        records = self.demand.dane
        octets = [crypto.dump_certificate(crypto.FILETYPE_ASN1, each) for each in chain if records]
        match = verify(records, octets, self.demand.names, self._now())
        self._describe(connection, problem, match)
        if problem is not None:
            self._note_certificate(problem)
        dane_failed = bool(records) and match is None
        if dane_failed and self._tallies.host is not None:
            reason = "dane-no-match"
            reason += "+errors" if is_anchored(records, octets) else ""
            self._tallies.host.add(self._details(ResultType.VALIDATION_FAILURE, reason))
        reasons = []
        if self.demand.pkix and problem is not None:
            reasons.append(f"the certificate is not good for {self.demand.host}: {problem}")
        if dane_failed:
            reasons.append("the certificate matches no TLSA record")
        self._count(success=not reasons)
        return "; ".join(reasons)

    def _describe(
        self, connection: SSL.Connection, problem: Problem | None, match: TLSA | None
    ) -> None:
        told = [f"{connection.get_protocol_version_name()} {connection.get_cipher_name()}"]
        told.append(f"PKIX {problem or 'valid'}")
        if match is not None:
            told.append(f"DANE {match.usage} {match.selector} {match.matching_type} matches")
        elif self.demand.dane:
            told.append("DANE no match")
        self.description = ", ".join(told)

    def _note_certificate(self, problem: Problem) -> None:
        """PKIX is MTA-STS's affair, and a host's that has no DANE."""
        details = self._details(problem.type, problem.reason)
        if self._tallies.domain is not None:
            self._tallies.domain.add(details)
        if self._tallies.host is not None and not self.demand.dane:
            self._tallies.host.add(details)

    def has_spoken(self) -> None:
        """The server has said something under TLS: a later alert is no matter of policies."""
        self._has_spoken = True

    # -- without one --

    def handshake_failed(self, reason: Failure, timed_out: bool) -> None:
        """
        The handshake did not succeed, or the connection broke before the
        server said anything under TLS.

        @param reason: What ended it.
        @param timed_out: We did, as it took too long.
        """
        if self._is_counted:
            return
        problem = handshake_problem(
            reason.value or Exception(), self.creator.alerts, timed_out=timed_out
        )
        self.description = f"handshake failed: {problem.reason}"
        self._tallies.add(self._details(problem.type, problem.reason))
        self._count(success=False)

    def not_offered(self) -> None:
        """EHLO announced no STARTTLS, and it was not tried."""
        if self._is_counted:
            return
        self.description = "STARTTLS not offered"
        self._tallies.add(self._details(ResultType.STARTTLS_NOT_SUPPORTED))
        if self.demand.starttls is StartTLS.IF_OFFERED:
            self._is_counted = True
        else:
            self._count(success=False)

    def refused(self, code: int) -> None:
        """STARTTLS was answered with C{code}."""
        if self._is_counted:
            return
        self.description = f"STARTTLS refused: {code}"
        reason = f"smtp-starttls-reply-code-{code}"
        self._tallies.add(self._details(ResultType.STARTTLS_NOT_SUPPORTED, reason))
        self._count(success=False)

    # -- counts --

    def _alerted(self) -> None:
        """
        With TLS 1.3 a server that insists on a client's certificate says so
        when we think that all is well: the handshake has failed all the same.
        """
        if self._is_success and not self._has_spoken:
            self._is_success = False
            problem = handshake_problem(Exception(), self.creator.alerts, timed_out=False)
            details = self._details(problem.type, problem.reason)
            self._tallies.add(details, successes=-1, failures=1)

    def _count(self, *, success: bool) -> None:
        if self._is_counted:
            return
        self._is_counted = True
        self._is_success = success
        self._tallies.add(successes=int(success), failures=int(not success))

    def _details(self, type_: ResultType, reason: str = "") -> FailureDetails:
        ends: Any = self.creator.ends
        return FailureDetails(
            type_,
            reason,
            sending_ip=_address(ends, "getHost"),
            receiving_host=self.demand.host.ascii,
            receiving_ip=_address(ends, "getPeer"),
            receiving_helo=self.announced,
        )


def _asked_for(demand: Demand) -> Host:
    """What goes into SNI: the TLSA base where there is one (RFC 7672 section 8.1)."""
    if isinstance(demand.host, AddressLiteral) or not demand.names:
        return demand.host
    try:
        return parse_domain(demand.names[0])
    except InvalidName:
        return demand.host


def _address(ends: Any, method: str) -> str:
    """Of one end of a TCP connection; empty where it is none, or is over."""
    try:
        return str(getattr(getattr(ends, method)(), "host", ""))
    except (AttributeError, OSError):
        return ""
