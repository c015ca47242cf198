"""The TLS of one connection, judged."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

from OpenSSL import SSL
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from moxsmtp.dns.records import TLSA
from moxsmtp.names import AddressLiteral, Host, parse_domain, parse_host
from moxsmtp.outbound.tls_policy import Demand
from moxsmtp.outbound.verdict import Security, Tallies, Tally
from moxsmtp.smtp.mailing import StartTLS
from moxsmtp.tls.client import client_context
from moxsmtp.tlsrpt import FailureDetails, PolicyType, ReportedPolicy
from tests.chains import NOW, Issued, issue, server_context

HOST: Final = parse_domain("mx.example")
ROOT: Final = issue(is_authority=True)
GOOD: Final = issue("mx.example", by=ROOT)
ELSEWHERE: Final = issue("other.example", by=ROOT)
UNKNOWN: Final = issue("mx.example")


def ee(of: Issued) -> TLSA:
    """The usual record of a server."""
    return TLSA(3, 1, 1, hashlib.sha256(of.public).digest())


def ta(of: Issued) -> TLSA:
    """The usual record of an authority."""
    return TLSA(2, 0, 1, hashlib.sha256(of.der).digest())


class End:
    """A TLS transport, as far as it is asked."""

    def __init__(self) -> None:
        self.connection: Any = None

    def getHandle(self) -> Any:
        """See C{ISSLTransport}."""
        return self.connection

    def getHost(self) -> object:
        """See C{ITransport}."""
        return SimpleNamespace(host="192.0.2.1")

    def getPeer(self) -> object:
        """See C{ITransport}."""
        return SimpleNamespace(host="192.0.2.2")


def carry(client: SSL.Connection, server: SSL.Connection) -> list[BaseException]:
    """Octets both ways until nobody has any; then let both read.  @return: What went wrong."""
    errors: list[BaseException] = []
    for _ in range(4):
        for one, other in ((client, server), (server, client)):
            try:
                one.do_handshake()
            except SSL.WantReadError:
                pass
            except SSL.Error as error:
                errors.append(error)
            with contextlib.suppress(SSL.WantReadError):
                other.bio_write(one.bio_read(65_536))
    return errors


class SecurityTestCase(SynchronousTestCase):
    """Handshakes in memory, with servers that show what the test has issued."""

    def setUp(self) -> None:
        """Results of a domain and a host, and an authority that is trusted."""
        trusted = Path(self.mktemp())
        trusted.write_bytes(ROOT.pem)
        self.context = client_context(strict=False, certificates=str(trusted))
        self.domain = Tally(ReportedPolicy(PolicyType.STS, "there.example"))
        self.host = Tally(ReportedPolicy(PolicyType.TLSA, "mx.example"))
        self.end = End()

    def security(
        self,
        *,
        pkix: bool = False,
        dane: tuple[TLSA, ...] = (),
        names: Sequence[str] = ("mx.example",),
        host: Host = HOST,
        starttls: StartTLS = StartTLS.IF_OFFERED,
    ) -> Security:
        """For one connection."""
        demand = Demand(starttls=starttls, host=host, pkix=pkix, dane=dane, names=tuple(names))
        return Security(demand, self.context, Tallies(self.domain, self.host), lambda: NOW)

    def shake(self, security: Security, *shown: Issued, context: SSL.Context | None = None) -> None:
        """The handshake."""
        creator: Any = security.creator
        client = self.end.connection = creator.clientConnectionForTLS(self.end)
        self.server = SSL.Connection(context or server_context(*shown), None)
        client.set_connect_state()
        self.server.set_accept_state()
        self.errors = carry(client, self.server)

    def verdict(self, security: Security, *shown: Issued) -> str:
        """After the handshake with a server that shows these."""
        self.shake(security, *shown)
        self.assertEqual(self.errors, [])
        return security.verdict(self.end)

    def counts(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Successes and failures of the domain, and of the host."""
        domain, host = self.domain.result, self.host.result
        return (domain.successes, domain.failures), (host.successes, host.failures)

    def details(self) -> tuple[list[str], list[str]]:
        """What is said of the domain, and of the host."""

        def told(details: Sequence[FailureDetails]) -> list[str]:
            return [f"{each.result_type.value} {each.reason}".strip() for each in details]

        return told(self.domain.result.details), told(self.host.result.details)


class VerdictTests(SecurityTestCase):
    """What is good enough."""

    def test_interface(self) -> None:
        """It makes client connections."""
        self.assertTrue(verifyObject(IOpenSSLClientConnectionCreator, self.security().creator))

    def test_opportunistic(self) -> None:
        """Without a policy any certificate will do; what is wrong is told all the same (Q-85)."""
        self.assertEqual(self.verdict(self.security(), UNKNOWN), "")
        self.assertEqual(self.counts(), ((1, 0), (1, 0)))
        self.assertEqual(self.details(), (["certificate-not-trusted"], ["certificate-not-trusted"]))

    def test_pkix(self) -> None:
        """MTA-STS: trusted and for the MX host (Q-59)."""
        self.assertEqual(self.verdict(self.security(pkix=True), GOOD), "")
        self.assertEqual((self.counts(), self.details()), (((1, 0), (1, 0)), ([], [])))

    def test_pkix_fails(self) -> None:
        """Not trusted, for another name or expired: not good enough, and why is told (Q-85)."""
        old = issue("mx.example", by=ROOT, ends=NOW.replace(year=2021))
        expected = {
            UNKNOWN: "certificate-not-trusted",
            ELSEWHERE: "certificate-host-mismatch",
            old: "certificate-expired",
        }
        for shown, word in expected.items():
            self.setUp()
            objection = self.verdict(self.security(pkix=True), shown)
            self.assertIn(word, objection)
            self.assertEqual(self.counts(), ((0, 1), (0, 1)))
            self.assertEqual(self.details()[0], [word])

    def test_dane(self) -> None:
        """DANE: a match, whatever PKIX says, which is told nonetheless (Q-59)."""
        security = self.security(dane=(ee(UNKNOWN),))
        self.assertEqual(self.verdict(security, UNKNOWN), "")
        self.assertEqual(self.counts(), ((1, 0), (1, 0)))
        self.assertEqual(self.details(), (["certificate-not-trusted"], []))
        self.assertIn("DANE 3 1 1 matches", security.description)
        self.assertIn("PKIX certificate-not-trusted", security.description)

    def test_dane_fails(self) -> None:
        """No match: not good enough, however good PKIX is; told of the host (Q-85)."""
        security = self.security(dane=(ee(UNKNOWN),))
        self.assertIn("TLSA", self.verdict(security, GOOD))
        self.assertEqual(self.counts(), ((0, 1), (0, 1)))
        self.assertEqual(self.details(), ([], ["validation-failure dane-no-match"]))
        self.assertIn("DANE no match", security.description)
        self.assertIn("PKIX valid", security.description)

    def test_authority(self) -> None:
        """DANE-TA with the authority shown, and a name of those that it may be for (Q-58)."""
        records = (ta(ROOT),)
        names = ("base.example", "other.example")
        self.assertEqual(
            self.verdict(self.security(dane=records, names=names), ELSEWHERE, ROOT), ""
        )
        self.assertNotEqual(self.verdict(self.security(dane=records, names=names), GOOD, ROOT), "")
        self.assertEqual(self.details()[1], ["validation-failure dane-no-match+errors"])

    def test_both(self) -> None:
        """MTA-STS and DANE: one of them does not do; each is told for itself (Q-59)."""
        own = issue("mx.example")
        expected = {
            (GOOD, ee(GOOD)): (True, [], []),
            (own, ee(own)): (False, ["certificate-not-trusted"], []),
            (GOOD, ee(own)): (False, [], ["validation-failure dane-no-match"]),
            (own, ee(GOOD)): (
                False, ["certificate-not-trusted"], ["validation-failure dane-no-match"],
            ),
        }  # fmt: skip
        for (shown, record), (is_good, *told) in expected.items():
            self.setUp()
            objection = self.verdict(self.security(pkix=True, dane=(record,)), shown)
            self.assertEqual(objection == "", is_good)
            self.assertEqual(self.details(), tuple(told))

    def test_two_names(self) -> None:
        """
        SNI asks for the TLSA base, but PKIX looks for the MX host (section 20,
        trap 13): a certificate for the base alone is not good for MTA-STS.
        """
        for name, good in (("mx.example", True), ("base.example", False)):
            shown = issue(name, by=ROOT)
            security = self.security(
                pkix=True, dane=(ee(shown),), names=("base.example", "mx.example")
            )
            self.assertEqual(self.verdict(security, shown) == "", good)
            self.assertEqual(self.server.get_servername(), b"base.example")

    def test_strange_base(self) -> None:
        """A TLSA base that is no host name is not asked for; the host is."""
        self.verdict(self.security(names=("a_b.example", "mx.example")), GOOD)
        self.assertEqual(self.server.get_servername(), b"mx.example")

    def test_literal(self) -> None:
        """An address is asked for by nothing (Q-46)."""
        literal = parse_host("[192.0.2.2]")
        assert isinstance(literal, AddressLiteral)
        self.assertEqual(self.verdict(self.security(host=literal, names=()), GOOD), "")
        self.assertIs(self.server.get_servername(), None)

    def test_description(self) -> None:
        """The trace tells version, cipher and verdicts."""
        security = self.security()
        self.verdict(security, GOOD)
        self.assertRegex(security.description, r"^TLSv1\.3 TLS_[A-Z0-9_]+, PKIX valid$")

    def test_ends(self) -> None:
        """
        Q-85: failures are told with both addresses, the host, and what it calls
        itself.  RFC 8460 section 4.4.
        """
        security = self.security()
        security.announced = "mail.there.example"
        self.verdict(security, UNKNOWN)
        (details,) = self.domain.result.details
        self.assertEqual(
            (details.sending_ip, details.receiving_ip, details.receiving_host),
            ("192.0.2.1", "192.0.2.2", "mx.example"),
        )
        self.assertEqual(details.receiving_helo, "mail.there.example")

    def test_long_chain(self) -> None:
        """A chain of dozens ends well, and is not trusted."""
        above = [ROOT]
        for _ in range(40):
            above.append(issue(by=above[-1], is_authority=True))
        leaf = issue("mx.example", by=above[-1])
        self.assertNotEqual(self.verdict(self.security(pkix=True), leaf, *reversed(above)), "")

    def test_nobody_told(self) -> None:
        """Where nobody is told, the verdict is the same (Q-46)."""
        demand = Demand(starttls=StartTLS.ALWAYS, host=HOST, pkix=True, names=("mx.example",))
        security = Security(demand, self.context, Tallies(), lambda: NOW)
        self.assertNotEqual(self.verdict(security, UNKNOWN), "")


class FailureTests(SecurityTestCase):
    """Where there is nothing to judge."""

    def test_handshake(self) -> None:
        """A handshake that fails is a failure of both, with its reason (Q-85)."""
        context = server_context(GOOD)
        context.set_max_proto_version(SSL.TLS1_1_VERSION)
        context.set_min_proto_version(SSL.TLS1_VERSION)
        context.set_cipher_list(b"ALL@SECLEVEL=0")
        security = self.security()
        self.shake(security, context=context)
        security.handshake_failed(Failure(self.errors[-1]), timed_out=False)
        self.assertEqual(self.counts(), ((0, 1), (0, 1)))
        self.assertEqual(self.details(), (["validation-failure tls-remote-alert-70"],) * 2)

    def test_timed_out(self) -> None:
        """So is one that takes too long, and one whose connection is lost (Q-85)."""
        for timed_out, reason in (
            (True, "io-timeout-during-handshake"),
            (False, "connection-closed-during-handshake"),
        ):
            self.setUp()
            self.security().handshake_failed(Failure(ConnectionDone()), timed_out)
            self.assertEqual(self.details()[0], [f"validation-failure {reason}"])

    def test_once(self) -> None:
        """One session counts once, whatever is told of it."""
        security = self.security()
        for _ in range(2):
            security.handshake_failed(Failure(ConnectionDone()), timed_out=False)
            security.refused(454)
            security.not_offered()
        self.assertEqual(self.counts(), ((0, 1), (0, 1)))
        self.assertEqual(len(self.details()[0]), 1)

    def test_not_offered(self) -> None:
        """STARTTLS that is not offered is told, but counts only where it is demanded (Q-85)."""
        self.security().not_offered()
        self.assertEqual(self.counts(), ((0, 0), (0, 0)))
        self.assertEqual(self.details(), (["starttls-not-supported"],) * 2)
        self.setUp()
        self.security(starttls=StartTLS.ALWAYS).not_offered()
        self.assertEqual(self.counts(), ((0, 1), (0, 1)))

    def test_refused(self) -> None:
        """STARTTLS that is refused is a failure with its code (Q-85)."""
        self.security().refused(454)
        self.assertEqual(self.counts(), ((0, 1), (0, 1)))
        self.assertEqual(
            self.details(), (["starttls-not-supported smtp-starttls-reply-code-454"],) * 2
        )


class AlertTests(SecurityTestCase):
    """A server that insists on a client's certificate, with TLS 1.3."""

    def setUp(self) -> None:
        """It says so after our handshake."""
        super().setUp()
        self.insists = server_context(GOOD)
        self.insists.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, lambda *_: True)

    def step(self, security: Security) -> SSL.Connection:
        """As far as the client thinks that all is well."""
        creator: Any = security.creator
        client: SSL.Connection = creator.clientConnectionForTLS(self.end)
        self.end.connection = client
        server = SSL.Connection(self.insists, None)
        client.set_connect_state()
        server.set_accept_state()
        for one, other in ((client, server), (server, client), (client, server)):
            with contextlib.suppress(SSL.WantReadError):
                one.do_handshake()
            other.bio_write(one.bio_read(65_536))
        self.assertEqual(security.verdict(self.end), "")
        self.assertEqual(self.counts(), ((1, 0), (1, 0)))
        self.assertRaises(SSL.Error, server.do_handshake)
        client.bio_write(server.bio_read(65_536))
        return client

    def test_first_read(self) -> None:
        """An alert on the first read turns the success into a failure (Q-85)."""
        security = self.security()
        client = self.step(security)
        with self.assertRaises(SSL.Error) as caught:
            client.recv(1)
        security.handshake_failed(Failure(caught.exception), timed_out=False)
        self.assertEqual(self.counts(), ((0, 1), (0, 1)))
        self.assertEqual(self.details(), (["validation-failure tls-remote-alert-116"],) * 2)

    def test_later(self) -> None:
        """Once the server has spoken under TLS, an alert is no matter of policies."""
        security = self.security()
        client = self.step(security)
        security.has_spoken()
        self.assertRaises(SSL.Error, client.recv, 1)
        self.assertEqual(self.counts(), ((1, 0), (1, 0)))
