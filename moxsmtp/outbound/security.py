"""
What connections to a domain's hosts need as regards TLS: its policies asked
for, and their demands made into L{Security}.

L{DestinationTLS} is one attempt's view of a recipient domain, L{HostTLS} of one
of its hosts, L{Security} of one connection.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from OpenSSL import SSL
from twisted.internet.interfaces import IReactorTime

from moxsmtp.interfaces import IMetrics, IPolicies, IResolver, RequireTLS, StsFound
from moxsmtp.mtasts.policy import Mode, Policy
from moxsmtp.names import AddressLiteral, Domain, Host
from moxsmtp.outbound.lookups import is_bogus, shortened
from moxsmtp.outbound.next_hop import Located, NextHop
from moxsmtp.outbound.tls_policy import (
    NO_DANE,
    Dane,
    Demand,
    Refused,
    Sts,
    decide,
    plain,
    to_smarthost,
)
from moxsmtp.outbound.tlsa import TLSALookups
from moxsmtp.outbound.transport import Smarthost
from moxsmtp.outbound.unreachable import Unreachable
from moxsmtp.outbound.verdict import Security, Tallies, Tally
from moxsmtp.tlsrpt import (
    FailureDetails,
    PolicyType,
    ReportedPolicy,
    ResultType,
    TLSResult,
    sts_strings,
    tlsa_strings,
)

__all__ = ["DestinationTLS", "HostTLS", "TLSPolicies"]

#: Characters of why a policy could not be had.
_LONGEST_REASON: Final = 150


class DestinationTLS:
    """
    What is known of a recipient domain in one attempt, and what came of it.

    @ivar domain: L{None}: policies do not count, and nobody is told (Q-46).
    @ivar policy: Of MTA-STS, one that says something; L{None}: there is none.
    @ivar steps: For the trace.
    """

    def __init__(self, domain: Domain | None, next_hop: NextHop, report: str) -> None:
        """@param report: What the message is: C{""}, C{"dmarc"} or C{"tls"}."""
        self.domain = domain
        self.next_hop = next_hop
        self.report = report
        self.policy: Policy | None = None
        self.steps: list[str] = []
        self._tally: Tally | None = None
        self._hosts: dict[ReportedPolicy, Tally] = {}

    @property
    def is_dmarc_report(self) -> bool:
        """The message is one."""
        return self.report == "dmarc"

    def heed(self, found: StsFound) -> None:
        """Take what was found of MTA-STS; a policy of mode C{none} is as good as none (Q-55)."""
        if self.domain is None:
            return
        policy = found.policy
        if policy is not None and policy.mode is not Mode.NONE:
            self.policy = policy
            reported = ReportedPolicy(
                PolicyType.STS, self.domain.ascii, sts_strings(policy.text), policy.mx
            )
            self.steps.append(f"MTA-STS {policy.mode.value}: {', '.join(policy.mx)[:200]}")
        else:
            reported = ReportedPolicy(PolicyType.NONE, self.domain.ascii)
            self.steps.append("MTA-STS: none")
        self._tally = Tally(reported)
        if found.failure:
            self._tally.add(FailureDetails(ResultType(found.failure), _sts_reason(found)))
            self.steps.append(shortened(f"MTA-STS: {found.failure}: {found.reason}"))

    def sts(self, host: Host) -> Sts:
        """
        What the policy says of a host; that it is not in it is put down
        (RFC 8461 section 4.1), as failure where it is to be enforced.
        """
        policy = self.policy
        if policy is None:
            return Sts.SILENT
        is_enforced = policy.mode is Mode.ENFORCE
        if isinstance(host, Domain) and policy.matches(host):
            return Sts.ENFORCED if is_enforced else Sts.SILENT
        if self._tally is not None:
            details = FailureDetails(
                ResultType.VALIDATION_FAILURE,
                "mtasts-policy-mx-mismatch",
                receiving_host=host.ascii,
            )
            self._tally.add(details, failures=int(is_enforced))
        return Sts.MISMATCH if is_enforced else Sts.SILENT

    def tallies(self, host: Host, dane: Dane) -> Tallies:
        """Where sessions with a host count; both are made once."""
        if self.domain is None or isinstance(host, AddressLiteral):
            return Tallies()
        if dane.applies:
            policy = ReportedPolicy(
                PolicyType.TLSA, dane.base, tlsa_strings(dane.records), (host.ascii,)
            )
        else:
            policy = ReportedPolicy(PolicyType.NONE, host.ascii)
        if policy not in self._hosts:
            self._hosts[policy] = Tally(policy)
        return Tallies(self._tally, self._hosts[policy])

    def unreachable(self, host: Host, found: Unreachable) -> None:
        """
        C{host} has no addresses that are known: put down where that is
        as DNSSEC says that they are not its own.
        """
        if is_bogus(found.error):
            self.tallies(host, NO_DANE).add(_dnssec_failure(host.ascii), failures=1)

    def results(self) -> tuple[TLSResult, ...]:
        """
        What is put down for reports, after the attempt (Q-85, Q-86).

        A domain's result without policy says nothing that its host's of the
        same name with DANE does not.
        """
        if self.domain is None:
            return ()
        own = [] if self._tally is None else [(False, self._tally.result)]
        hosts = [(True, tally.result) for tally in self._hosts.values()]
        with_dane = {
            result.policy.domain for _, result in hosts if result.policy.type is PolicyType.TLSA
        }
        results = [
            (is_host, result)
            for is_host, result in (*own, *hosts)
            if (result.successes or result.failures or result.details)
            and not (
                result.policy.type is PolicyType.NONE
                and not is_host
                and result.policy.domain in with_dane
            )
        ]
        has_failure = any(result.failures for _, result in results)
        # A report about a report would lead to another one, and so on.
        send_report = self.report != "tls" and (self.report != "dmarc" or has_failure)
        return tuple(
            TLSResult(result.policy.domain, self.domain.ascii, is_host, send_report, result)
            for is_host, result in results
        )


@dataclass(frozen=True, slots=True)
class HostTLS:
    """
    What sessions with one host need.

    @ivar steps: For the trace.
    """

    demand: Demand
    steps: tuple[str, ...]
    _make: Callable[[Demand], Security]

    def security(self) -> Security:
        """For one connection."""
        return self._make(self.demand)

    @property
    def plain(self) -> Demand:
        """For the connection in the clear that follows where the demand allows one (Q-60)."""
        return plain(self.demand.host)


class TLSPolicies:
    """Asks for policies, and adds them up."""

    def __init__(
        self,
        *,
        resolver: IResolver,
        policies: IPolicies | None,
        context: SSL.Context,
        clock: IReactorTime,
        now: Callable[[], datetime],
        metrics: IMetrics,
        port: int = 25,
    ) -> None:
        """
        @param policies: Of MTA-STS; L{None}: there is none anywhere.
        @param context: See L{moxsmtp.tls.client.client_context}, not strict.
        @param port: Where mail servers listen: TLSA records are of a port.
        """
        self._policies = policies
        self._context = context
        self._now = now
        self._metrics = metrics
        self._tlsa = TLSALookups(resolver=resolver, clock=clock, port=port)

    async def destination(
        self, domain: Host, next_hop: NextHop, require_tls: RequireTLS, report: str = ""
    ) -> DestinationTLS | Unreachable:
        """
        What a recipient domain demands: once an attempt.

        @param domain: As it stands in the address (RFC 8461 section 3.1: before CNAMEs).
        @param next_hop: Where its mail goes; without a recipient domain no
            policies count (Q-46, Q-89).
        @param report: See L{moxsmtp.queue.job.Job}.
        """
        known = None if next_hop.recipient_domain is None else domain
        destination = DestinationTLS(known if isinstance(known, Domain) else None, next_hop, report)
        if destination.domain is None:
            return destination
        found = StsFound(None)
        if self._policies is not None:
            found = await self._policies.policy_for(destination.domain)
        if found.temporary:
            if require_tls is not RequireTLS.NO:
                return Unreachable(
                    permanent=False, status="4.3", error=f"MTA-STS of {domain}: {found.reason}"
                )
            self._ignored("mtastspolicy")
        destination.heed(found)
        return destination

    async def host(
        self, destination: DestinationTLS, located: Located, require_tls: RequireTLS
    ) -> HostTLS | Unreachable:
        """
        What a session with a host needs (Q-59).

        @return: L{Unreachable}: this host gets nothing; another may.  Where it
            is permanent, mail fails for good if that is so of all hosts (Q-61).
        """
        host = located.host
        if destination.next_hop.is_given:
            require_tls = RequireTLS.UNSET
        looked = await self._tlsa.find(destination.next_hop, located)
        dane = looked.dane
        sts = destination.sts(host)
        tallies = destination.tallies(host, dane)
        self._note_dane(host, dane, tallies)
        demand = decide(
            host,
            sts=sts,
            dane=dane,
            require_tls=require_tls,
            is_dmarc_report=destination.is_dmarc_report,
        )
        if isinstance(demand, Refused):
            if demand.permanent:
                self._metrics.count("mox_queue_requiretls_unsupported_total", reason="nopolicy")
            return _unreachable(demand, looked.steps)
        if require_tls is RequireTLS.NO:
            if sts is Sts.MISMATCH:
                self._ignored("mtastsmx")
            if dane.error:
                self._ignored("badtlsa")
        steps = (*looked.steps, f"TLS of {host.ascii}: {demand.mode}, {demand.why}")
        return HostTLS(demand, steps, lambda demand: self._security(demand, tallies))

    def smarthost(self, transport: Smarthost, require_tls: RequireTLS) -> HostTLS | Unreachable:
        """What a session with a smarthost needs; nobody is told of it."""
        demand = to_smarthost(transport, require_tls)
        if isinstance(demand, Refused):
            return _unreachable(demand)
        steps = (f"TLS of {transport.host.ascii}: {demand.mode}, {demand.why}",)
        return HostTLS(demand, steps, lambda demand: self._security(demand, Tallies()))

    def failed(self, domain: Host, found: Unreachable, report: str = "") -> tuple[TLSResult, ...]:
        """
        What is put down where a domain's hosts could not be found; nothing but
        where DNSSEC says that what was found is not its own.

        @param report: See L{moxsmtp.queue.job.Job}.
        """
        if not isinstance(domain, Domain) or not is_bogus(found.error):
            return ()
        tally = Tally(ReportedPolicy(PolicyType.NONE, domain.ascii))
        tally.add(_dnssec_failure(""), failures=1)
        # A report about a report on TLS would lead to another one.
        return (TLSResult(domain.ascii, domain.ascii, False, report != "tls", tally.result),)

    def _security(self, demand: Demand, tallies: Tallies) -> Security:
        return Security(demand, self._context, tallies, self._now)

    def _note_dane(self, host: Host, dane: Dane, tallies: Tallies) -> None:
        if dane.error:
            self._metrics.count("mox_queue_destination_dane_gathertlsa_errors_total")
            if is_bogus(dane.error) and tallies.host is not None:
                details = FailureDetails(ResultType.DNSSEC_INVALID, receiving_host=host.ascii)
                tallies.host.add(details, failures=1)
        if not dane.applies:
            return
        self._metrics.count("mox_queue_destination_dane_required_total")
        if not dane.usable:
            self._metrics.count("mox_queue_destination_dane_starttlsunverified_total")
            if tallies.host is not None:
                tallies.host.add(
                    FailureDetails(
                        ResultType.TLSA_INVALID,
                        "all-unusable-records+ignored",
                        receiving_host=host.ascii,
                    )
                )

    def _ignored(self, what: str) -> None:
        """Of what is demanded, as the sender says C{TLS-Required: No}."""
        self._metrics.count("mox_queue_tlsrequiredno_ignored_total", ignored=what)


def _sts_reason(found: StsFound) -> str:
    """Why a policy could not be had, and what counts instead, in the words of reports (Q-85)."""
    reason = "back-off-after-recent-fetch-error" if found.is_back_off else found.reason
    if found.policy is None:
        return reason
    # What is too long is cut off behind.
    return f"{reason[:_LONGEST_REASON]}+fallback-to-cached-policy"


def _unreachable(refused: Refused, steps: tuple[str, ...] = ()) -> Unreachable:
    return Unreachable(refused.permanent, refused.status, refused.error, refused.code, steps)


def _dnssec_failure(host: str) -> FailureDetails:
    return FailureDetails(
        ResultType.VALIDATION_FAILURE, "dns-extended-error-bogus", receiving_host=host
    )
