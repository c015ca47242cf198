"""Policies asked for, and what attempts come to, for reports."""

from __future__ import annotations

from datetime import timedelta
from ipaddress import ip_address
from typing import Final

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from moxsmtp.dns.records import TLSA, Answer, LookupFailed, Question, RRType
from moxsmtp.interfaces import IPolicies, RequireTLS, StsFound
from moxsmtp.mtasts.policy import Mode, Policy
from moxsmtp.names import AddressLiteral, Domain, Host, parse_domain
from moxsmtp.outbound.next_hop import Located, NextHop
from moxsmtp.outbound.security import DestinationTLS, HostTLS, TLSPolicies
from moxsmtp.outbound.tls_policy import Demand
from moxsmtp.outbound.transport import Smarthost, SmarthostTLS
from moxsmtp.outbound.unreachable import Unreachable
from moxsmtp.smtp.mailing import StartTLS
from moxsmtp.testing import MemoryResolver
from moxsmtp.tls.client import client_context
from moxsmtp.tlsrpt import PolicyType, TLSResult
from tests.chains import NOW
from tests.outbound.servers import Counts

THERE: Final = parse_domain("there.example")
MX: Final = parse_domain("mx.example")
BACKUP: Final = parse_domain("backup.example")
ADDRESS: Final = ip_address("192.0.2.1")
GOOD: Final = TLSA(3, 1, 1, 32 * b"x")
TLSA_NAME: Final = Question("_25._tcp.mx.example", RRType.TLSA)

UNSET, YES, NO = RequireTLS.UNSET, RequireTLS.YES, RequireTLS.NO


def policy(mode: Mode, *hosts: str) -> Policy:
    """Of MTA-STS."""
    text = f"version: STSv1\nmode: {mode.value}\n"
    return Policy(mode, timedelta(days=1), hosts or ("mx.example",), text)


@implementer(IPolicies)
class Policies:
    """Always the same.  @ivar asked: For which domains."""

    def __init__(self, found: StsFound) -> None:
        self.found = found
        self.asked: list[Domain] = []

    async def policy_for(self, domain: Domain) -> StsFound:
        """See L{IPolicies}."""
        self.asked.append(domain)
        return self.found


def next_hop(*hosts: Host, domain: Domain | None = THERE) -> NextHop:
    """By MX, all authentic."""
    return NextHop(
        hosts or (MX,),
        recipient_domain=domain,
        expanded="there.example" if domain else "",
        has_mx=domain is not None,
        authentic=domain is not None,
        first_authentic=domain is not None,
    )


def located(host: Host = MX) -> Located:
    """Authentic as well."""
    return Located(host, (ADDRESS,), expanded=host.ascii, authentic=True, first_authentic=True)


class SecurityTestCase(SynchronousTestCase):
    """Look-ups that are answered at once."""

    def setUp(self) -> None:
        """No policies."""
        self.dns = MemoryResolver()
        self.metrics = Counts()
        self.sts = Policies(StsFound(None))
        self.policies = TLSPolicies(
            resolver=self.dns,
            policies=self.sts,
            context=client_context(strict=False),
            clock=Clock(),
            now=lambda: NOW,
            metrics=self.metrics,
        )

    def have_tlsa(self, *records: TLSA) -> None:
        """mx.example has these."""
        self.dns.zone[TLSA_NAME] = Answer(records, authentic=True)

    def ask(
        self,
        require_tls: RequireTLS = UNSET,
        report: str = "",
        hop: NextHop | None = None,
        domain: Host = THERE,
    ) -> DestinationTLS | Unreachable:
        """Of the recipient domain."""
        return self.successResultOf(
            Deferred.fromCoroutine(
                self.policies.destination(domain, hop or next_hop(), require_tls, report)
            )
        )

    def destination(
        self, require_tls: RequireTLS = UNSET, report: str = "", hop: NextHop | None = None
    ) -> DestinationTLS:
        """The same, which is there."""
        found = self.ask(require_tls, report, hop)
        assert isinstance(found, DestinationTLS)
        return found

    def host(
        self,
        destination: DestinationTLS,
        where: Located | None = None,
        require_tls: RequireTLS = UNSET,
    ) -> HostTLS | Unreachable:
        """Of a host."""
        return self.successResultOf(
            Deferred.fromCoroutine(self.policies.host(destination, where or located(), require_tls))
        )

    def host_tls(
        self,
        destination: DestinationTLS,
        where: Located | None = None,
        require_tls: RequireTLS = UNSET,
    ) -> HostTLS:
        """The same, to which something may be sent."""
        found = self.host(destination, where, require_tls)
        assert isinstance(found, HostTLS), found
        return found

    def demand(self, require_tls: RequireTLS = UNSET) -> Demand:
        """Of mx.example."""
        return self.host_tls(self.destination(require_tls), require_tls=require_tls).demand

    def counted(self, name: str) -> list[dict[str, str]]:
        """The labels of each count."""
        return [labels for counted, labels in self.metrics.counted if counted == name]


class PolicyTests(SecurityTestCase):
    """What is demanded."""

    def test_nothing(self) -> None:
        """Without policies TLS is opportunistic, and clear text may follow (Q-59)."""
        found = self.host_tls(self.destination())
        self.assertEqual(
            (found.demand.starttls, found.demand.may_fall_back), (StartTLS.IF_OFFERED, True)
        )
        self.assertIs(found.plain.starttls, StartTLS.NEVER)

    def test_enforced(self) -> None:
        """A policy in force: PKIX for the hosts that it names, others get nothing (Q-55)."""
        self.sts.found = StsFound(policy(Mode.ENFORCE))
        destination = self.destination()
        self.assertTrue(self.host_tls(destination).demand.pkix)
        found = self.host(destination, located(BACKUP))
        assert isinstance(found, Unreachable)
        self.assertFalse(found.permanent)

    def test_testing(self) -> None:
        """In testing a policy demands nothing, of whatever host (Q-55)."""
        self.sts.found = StsFound(policy(Mode.TESTING))
        destination = self.destination()
        for host in (MX, BACKUP):
            self.assertFalse(self.host_tls(destination, located(host)).demand.pkix)

    def test_none(self) -> None:
        """A policy of mode none is as good as none (Q-55)."""
        self.sts.found = StsFound(policy(Mode.NONE))
        destination = self.destination()
        self.assertIs(destination.policy, None)
        self.assertFalse(self.host_tls(destination, located(BACKUP)).demand.pkix)

    def test_domain_asked(self) -> None:
        """MTA-STS is asked for of the domain in the address, before CNAMEs (trap 15)."""
        self.destination()
        self.assertEqual(self.sts.asked, [THERE])

    def test_temporary(self) -> None:
        """
        Where the DNS does not say whether there is a policy, the attempt
        fails for now, but for C{TLS-Required: No} (Q-53).
        """
        self.sts.found = StsFound(None, temporary=True, reason="SERVFAIL")
        found = self.ask()
        assert isinstance(found, Unreachable)
        self.assertFalse(found.permanent)
        self.assertIn("SERVFAIL", found.error)
        self.assertIsInstance(self.ask(NO), DestinationTLS)
        self.assertEqual(
            self.counted("mox_queue_tlsrequiredno_ignored_total"), [{"ignored": "mtastspolicy"}]
        )

    def test_dane(self) -> None:
        """TLSA records: TLS is mandatory, and counted (Q-59, Q-91)."""
        self.have_tlsa(GOOD)
        self.assertEqual(self.demand().dane, (GOOD,))
        self.assertEqual(self.counted("mox_queue_destination_dane_required_total"), [{}])
        self.assertEqual(self.counted("mox_queue_destination_dane_starttlsunverified_total"), [])

    def test_unusable(self) -> None:
        """None of them usable: TLS without verification, counted and told (Q-57, Q-85)."""
        self.have_tlsa(TLSA(0, 0, 1, 32 * b"x"))
        destination = self.destination()
        demand = self.host_tls(destination).demand
        self.assertEqual((demand.dane, demand.starttls), ((), StartTLS.ALWAYS))
        self.assertEqual(self.counted("mox_queue_destination_dane_starttlsunverified_total"), [{}])
        (result,) = destination.results()
        self.assertEqual(result.result.details[0].reason, "all-unusable-records+ignored")

    def test_servfail(self) -> None:
        """SERVFAIL for TLSA never lets mail go with less TLS (section 20, trap 14)."""
        self.dns.zone[TLSA_NAME] = LookupFailed("SERVFAIL")
        for mode in (Mode.NONE, Mode.TESTING, Mode.ENFORCE):
            self.sts.found = StsFound(policy(mode))
            for require_tls in (UNSET, YES):
                found = self.host(self.destination(require_tls), require_tls=require_tls)
                assert isinstance(found, Unreachable)
                self.assertFalse(found.permanent)
        self.assertEqual(len(self.counted("mox_queue_destination_dane_gathertlsa_errors_total")), 6)

    def test_ignored(self) -> None:
        """What C{TLS-Required: No} has us ignore is counted, in mox's words (Q-91)."""
        self.dns.zone[TLSA_NAME] = LookupFailed("SERVFAIL")
        self.sts.found = StsFound(policy(Mode.ENFORCE, "else.example"))
        self.assertTrue(self.demand(NO).may_fall_back)
        self.assertEqual(
            self.counted("mox_queue_tlsrequiredno_ignored_total"),
            [{"ignored": "mtastsmx"}, {"ignored": "badtlsa"}],
        )

    def test_require_tls(self) -> None:
        """REQUIRETLS without a policy: this host 554 5.7.30, for good (Q-61)."""
        found = self.host(self.destination(YES), require_tls=YES)
        assert isinstance(found, Unreachable)
        self.assertEqual((found.permanent, found.code, found.status), (True, 554, "7.30"))
        self.assertEqual(
            self.counted("mox_queue_requiretls_unsupported_total"), [{"reason": "nopolicy"}]
        )
        self.have_tlsa(GOOD)
        self.assertTrue(self.demand(YES).require_tls)

    def test_literal(self) -> None:
        """An address has neither MTA-STS nor DANE nor reports (Q-46)."""
        literal = AddressLiteral(ADDRESS)
        hop = NextHop((literal,))
        found = self.ask(hop=hop, domain=literal)
        assert isinstance(found, DestinationTLS)
        tls = self.host_tls(found, Located(literal, (ADDRESS,)))
        self.assertEqual(tls.demand.starttls, StartTLS.IF_OFFERED)
        tls.security().handshake_failed(Failure(ConnectionDone()), timed_out=False)
        self.assertEqual((self.sts.asked, self.dns.asked, found.results()), ([], [], ()))

    def test_given(self) -> None:
        """Where all goes to one server, nothing is asked and nothing demanded (Q-89)."""
        literal = AddressLiteral(ADDRESS)
        destination = self.destination(YES, hop=NextHop((literal,), is_given=True))
        demand = self.host_tls(destination, Located(literal, (ADDRESS,)), YES).demand
        self.assertEqual((demand.starttls, demand.require_tls), (StartTLS.IF_OFFERED, False))
        self.assertEqual((self.sts.asked, self.dns.asked), ([], []))

    def test_smarthost(self) -> None:
        """A smarthost's TLS is what is configured, and nobody is told (Q-45)."""
        found = self.policies.smarthost(Smarthost("x", MX, 587, SmarthostTLS.STARTTLS), UNSET)
        assert isinstance(found, HostTLS)
        self.assertTrue(found.demand.pkix)
        refused = self.policies.smarthost(Smarthost("x", MX, 587, SmarthostTLS.NONE), YES)
        assert isinstance(refused, Unreachable)
        self.assertEqual((refused.permanent, refused.code, refused.status), (True, 554, "7.30"))

    def test_steps(self) -> None:
        """Records, demand and its reason are told."""
        self.have_tlsa(GOOD)
        self.sts.found = StsFound(policy(Mode.ENFORCE), "sts-policy-fetch-error", "http-status-500")
        destination = self.destination()
        self.assertEqual(
            destination.steps,
            ["MTA-STS enforce: mx.example", "MTA-STS: sts-policy-fetch-error: http-status-500"],
        )
        mode = "requiredstarttls+mtasts+dane"
        self.assertEqual(
            self.host_tls(destination).steps,
            (
                f"TLSA of _25._tcp.mx.example: 3 1 1 {16 * '78'}... (authentic)",
                f"TLS of mx.example: {mode}, 1 usable TLSA records (DANE); MTA-STS",
            ),
        )


class ResultTests(SecurityTestCase):
    """Q-85."""

    def told(self, results: tuple[TLSResult, ...]) -> list[object]:
        """Policy, domain, whether a host's, successes, failures, words."""
        return [
            (
                each.result.policy.type.value,
                each.policy_domain,
                each.is_host,
                each.result.successes,
                each.result.failures,
                [
                    f"{details.result_type.value} {details.reason}".strip()
                    for details in each.result.details
                ],
            )
            for each in results
        ]

    def fail_handshake(self, destination: DestinationTLS, where: Located | None = None) -> None:
        """With a host."""
        self.host_tls(destination, where).security().handshake_failed(
            Failure(ConnectionDone()), timed_out=True
        )

    def test_no_policy(self) -> None:
        """Without policies: a result of the domain, and one of each host (Q-85)."""
        destination = self.destination()
        self.fail_handshake(destination)
        self.fail_handshake(destination, located(BACKUP))
        words = "validation-failure io-timeout-during-handshake"
        details = destination.results()[0].result.details
        self.assertEqual(
            [each.receiving_host for each in details], ["mx.example", "backup.example"]
        )
        self.assertEqual(
            self.told(destination.results()),
            [
                ("no-policy-found", "there.example", False, 0, 2, [words, words]),
                ("no-policy-found", "mx.example", True, 0, 1, [words]),
                ("no-policy-found", "backup.example", True, 0, 1, [words]),
            ],
        )

    def test_sts(self) -> None:
        """MTA-STS: its lines and hosts are told (Q-85)."""
        self.sts.found = StsFound(policy(Mode.TESTING))
        destination = self.destination()
        self.fail_handshake(destination)
        reported = destination.results()[0].result.policy
        self.assertEqual(
            (reported.type, reported.strings, reported.hosts),
            (PolicyType.STS, ("version: STSv1", "mode: testing"), ("mx.example",)),
        )

    def test_tlsa(self) -> None:
        """DANE: records sorted, and the TLSA base is whose result it is (Q-85)."""
        self.have_tlsa(GOOD, TLSA(2, 0, 1, 32 * b"a"))
        destination = self.destination()
        self.fail_handshake(destination)
        result = destination.results()[1]
        self.assertEqual((result.policy_domain, result.is_host), ("mx.example", True))
        self.assertEqual(result.result.policy.strings, (f"2 0 1 {32 * '61'}", f"3 1 1 {32 * '78'}"))

    def test_same_name(self) -> None:
        """
        A domain that is its own host with DANE: its result without a policy is
        dropped, one with MTA-STS is not (Q-85).
        """
        hop = NextHop(
            (THERE,),
            recipient_domain=THERE,
            expanded="there.example",
            authentic=True,
            first_authentic=True,
        )
        self.dns.zone[Question("_25._tcp.there.example", RRType.TLSA)] = Answer((GOOD,), True)
        for found, types in (
            (StsFound(None), ["tlsa"]),
            (StsFound(policy(Mode.TESTING, "there.example")), ["sts", "tlsa"]),
        ):
            self.sts.found = found
            destination = self.destination(hop=hop)
            self.fail_handshake(destination, located(THERE))
            self.assertEqual(
                [each.result.policy.type.value for each in destination.results()], types
            )

    def test_mismatch(self) -> None:
        """A host that the policy does not name: a failure only where it is enforced (Q-85)."""
        for mode, failures in ((Mode.ENFORCE, 1), (Mode.TESTING, 0)):
            self.sts.found = StsFound(policy(mode, "else.example"))
            destination = self.destination()
            self.host(destination)
            self.assertEqual(
                self.told(destination.results()),
                [
                    (
                        "sts", "there.example", False, 0, failures,
                        ["validation-failure mtasts-policy-mx-mismatch"],
                    )
                ],
            )  # fmt: skip

    def test_fetch(self) -> None:
        """What went wrong with the policy itself is told with it (Q-85)."""
        for failure in ("sts-policy-fetch-error", "sts-policy-invalid", "sts-webpki-invalid"):
            self.sts.found = StsFound(None, failure, "why")
            self.assertEqual(
                self.told(self.destination().results()),
                [("no-policy-found", "there.example", False, 0, 0, [f"{failure} why"])],
            )

    def test_fetch_failed_before(self) -> None:
        """Q-85: it is told which policy stands in, and that nobody asked again so soon."""
        failure = "sts-policy-fetch-error"
        kept = policy(Mode.ENFORCE)
        told = []
        for found in (
            StsFound(kept, failure, "why " * 100),
            StsFound(None, failure, "why", is_back_off=True),
            StsFound(kept, failure, "why", is_back_off=True),
        ):
            self.sts.found = found
            destination = self.destination()
            (result,) = destination.results()
            told += [each.reason for each in result.result.details]
            self.assertIn("why", " ".join(destination.steps))
        fallback = "+fallback-to-cached-policy"
        self.assertTrue(told[0].startswith("why why") and told[0].endswith(fallback), told[0])
        back_off = "back-off-after-recent-fetch-error"
        self.assertEqual(told[1:], [back_off, back_off + fallback])

    def test_bogus(self) -> None:
        """
        Signatures that are wrong: of TLSA records dnssec-invalid, of MX or host
        a failure of validation (Q-85).
        """
        bogus = "TLSA of x: SERVFAIL, 6 (DNSSEC Bogus) (127.0.0.1)"
        self.dns.zone[TLSA_NAME] = LookupFailed(bogus)
        destination = self.destination()
        self.host(destination)
        self.assertEqual(
            self.told(destination.results()),
            [("no-policy-found", "mx.example", True, 0, 1, ["dnssec-invalid"])],
        )
        unreachable = Unreachable(permanent=False, status="4.3", error=bogus)
        words = ["validation-failure dns-extended-error-bogus"]
        self.assertEqual(
            self.told(self.policies.failed(THERE, unreachable)),
            [("no-policy-found", "there.example", False, 0, 1, words)],
        )
        destination = self.destination()
        destination.unreachable(MX, unreachable)
        self.assertEqual(
            self.told(destination.results()),
            [
                ("no-policy-found", "there.example", False, 0, 1, words),
                ("no-policy-found", "mx.example", True, 0, 1, words),
            ],
        )

    def test_bogus_for_a_report(self) -> None:
        """Q-86: what a TLS report of ours met is never reported, a DMARC report's failure is."""
        bogus = Unreachable(
            permanent=False, status="4.3", error="MX of x: SERVFAIL, 6 (DNSSEC Bogus) (127.0.0.1)"
        )
        for report, is_sent in (("", True), ("dmarc", True), ("tls", False)):
            (result,) = self.policies.failed(THERE, bogus, report)
            self.assertEqual(result.send_report, is_sent, report)

    def test_not_bogus(self) -> None:
        """Other failures of the DNS are nobody's fault that a report could mend."""
        down = Unreachable(permanent=False, status="4.3", error="no answer within 5 s")
        self.assertEqual(self.policies.failed(THERE, down), ())
        self.assertEqual(self.policies.failed(AddressLiteral(ADDRESS), down), ())
        destination = self.destination()
        destination.unreachable(MX, down)
        self.dns.zone[TLSA_NAME] = LookupFailed("no answer")
        self.host(destination)
        self.assertEqual(destination.results(), ())

    def test_nothing_happened(self) -> None:
        """An attempt that never came to TLS adds nothing."""
        destination = self.destination()
        self.host(destination)
        self.assertEqual(destination.results(), ())

    def test_send_report(self) -> None:
        """
        A report on TLS reports is never due, nor on DMARC reports that were
        sent without failure: they would go on for ever (Q-86).
        """
        told = {}
        for report in ("", "dmarc", "tls"):
            for failed in (True, False):
                destination = self.destination(report=report)
                security = self.host_tls(destination).security()
                if failed:
                    security.handshake_failed(Failure(ConnectionDone()), timed_out=False)
                else:
                    security.not_offered()
                told[report, failed] = {each.send_report for each in destination.results()}
        self.assertEqual(
            told,
            {
                ("", True): {True}, ("", False): {True},
                ("dmarc", True): {True}, ("dmarc", False): {False},
                ("tls", True): {False}, ("tls", False): {False},
            },
        )  # fmt: skip

    def test_dmarc_report(self) -> None:
        """A DMARC report is not repeated in the clear, unless its sender says so (Q-60)."""
        destination = self.destination(report="dmarc")
        self.assertFalse(self.host_tls(destination).demand.may_fall_back)
        self.assertTrue(self.host_tls(destination, require_tls=NO).demand.may_fall_back)
