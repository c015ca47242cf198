"""Policies fetched over HTTPS."""

from __future__ import annotations

from datetime import timedelta
from ipaddress import ip_network

from OpenSSL import SSL
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.testing import MemoryReactorClock
from twisted.trial import unittest

from moxsmtp.dns.records import Answer, LookupFailed, Question, RRType
from moxsmtp.https.addresses import AddressPolicy
from moxsmtp.https.client import Answer as Page
from moxsmtp.https.client import Client, Ending, Request
from moxsmtp.mtasts.fetch import Fetcher
from moxsmtp.mtasts.policy import LONGEST_POLICY, Policy, parse_policy
from moxsmtp.mtasts.storage import Failure, ResultType
from moxsmtp.names import Domain, parse_domain
from moxsmtp.testing import MemoryMetrics, MemoryResolver
from tests.https.wire import PUBLIC, Handshakes, take

TEXT = "version: STSv1\nmode: enforce\nmx: mx.a.example\nmax_age: 86400\n"
DOMAIN = Domain("a.example")
HOST = "mta-sts.a.example"
LIMIT = timedelta(seconds=60)


class _Pages:
    """Gives one answer to whatever is asked."""

    def __init__(self, outcome: Page | Exception) -> None:
        self.outcome = outcome
        self.asked: list[Request] = []

    async def call(self, request: Request) -> Page:
        """As L{Client.call}."""
        self.asked.append(request)
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


class FetchTests(unittest.SynchronousTestCase):
    """What is made of an answer."""

    def fetched(self, outcome: Page | Exception, domain: Domain = DOMAIN) -> Policy | Failure:
        """The policy, or what is wrong."""
        self.metrics = MemoryMetrics()
        self.pages = _Pages(outcome)
        fetcher = Fetcher(self.pages, self.metrics, user_agent="tests")  # type: ignore[arg-type]  # it has the method
        return self.successResultOf(Deferred.fromCoroutine(fetcher.fetch(domain, LIMIT)))

    def page(self, text: str, ending: Ending = Ending.WHOLE, code: int = 200) -> Policy | Failure:
        """Of an answer with this body."""
        return self.fetched(Page(code, text.encode(), ending))

    def assertFails(self, found: Policy | Failure, kind: ResultType, words: str) -> None:
        """It is a failure of that type, counted as such, and told in these words."""
        assert isinstance(found, Failure)
        self.assertIs(found.type, kind)
        self.assertIn(words, found.reason)
        self.assertCounted(kind.value)

    def assertCounted(self, result: str) -> None:
        """One fetch with that result."""
        series = f'moxsmtp_mtasts_fetches_total{{result="{result}"}}'
        self.assertEqual(self.metrics.counts, {series: 1})

    def test_request(self) -> None:
        """Q-51: it is asked for under the A-labels of the domain, bounded in time and size."""
        self.fetched(Page(200, TEXT.encode(), Ending.WHOLE), parse_domain("bücher.example"))
        (request,) = self.pages.asked
        self.assertEqual(
            request.url, "https://mta-sts.xn--bcher-kva.example/.well-known/mta-sts.txt"
        )
        self.assertEqual((request.method, request.body, request.time_limit), ("GET", None, LIMIT))
        self.assertEqual((request.kept, request.read), (64 * 1024, 64 * 1024))

    def test_policy(self) -> None:
        """Q-51, Q-52: what answers with status 200 and a policy has it; that is counted."""
        self.assertEqual(self.page(TEXT), parse_policy(TEXT))
        self.assertCounted("ok")

    def test_status(self) -> None:
        """Q-51: no status but 200 will do, redirects included, whatever the body."""
        for code in (201, 204, 206, 301, 302, 307, 308, 404, 500):
            self.assertFails(self.page(TEXT, code=code), ResultType.FETCH_ERROR, str(code))

    def test_certificate(self) -> None:
        """Q-51: a host that does not prove its name is another failure than one that is away."""
        untrusted = SSL.Error([("SSL routines", "", "certificate verify failed")])
        self.assertFails(self.fetched(untrusted), ResultType.UNTRUSTED, "certificate")
        other = SSL.Error([("SSL routines", "", "tlsv1 alert internal error")])
        self.assertFails(self.fetched(other), ResultType.FETCH_ERROR, "TLS")
        self.assertFails(self.fetched(LookupFailed("lame")), ResultType.FETCH_ERROR, "DNS: lame")

    def test_size(self) -> None:
        """Q-51: a policy of 64 KiB is read; a longer one is none."""
        filler = "x: " + "y" * (LONGEST_POLICY - len(TEXT) - 4) + "\n"
        self.assertEqual(len(TEXT + filler), 65536)
        self.assertIsInstance(self.page(TEXT + filler), Policy)
        self.assertFails(
            self.page(TEXT + filler, Ending.LARGE), ResultType.INVALID, "more than 65536 octets"
        )

    def test_cut(self) -> None:
        """A policy that was cut off is none: its last line might have meant something else."""
        self.assertFails(self.page(TEXT, Ending.BROKEN), ResultType.FETCH_ERROR, "lost")
        self.assertIsInstance(self.page(TEXT, Ending.OPEN), Policy)
        self.assertFails(self.page(TEXT[:-3], Ending.OPEN), ResultType.FETCH_ERROR, "lost")
        self.assertIsInstance(self.page(TEXT[:-1]), Policy)

    def test_content(self) -> None:
        """Q-52: what is no policy is an invalid one."""
        self.assertFails(self.page("<html>"), ResultType.INVALID, "line 1")
        self.assertFails(
            self.fetched(Page(200, b"x: \xff\n" + TEXT.encode(), Ending.WHOLE)),
            ResultType.INVALID,
            "UTF-8",
        )


class HostTests(unittest.SynchronousTestCase):
    """Fetching over a reactor without sockets."""

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.handshakes = Handshakes()

    def fetch(self, address: str, *networks: str) -> Deferred[Policy | Failure]:
        """From a host with that address, where these private networks are allowed."""
        client = Client(
            self.reactor,  # type: ignore[arg-type]  # it has the methods
            MemoryResolver({Question(HOST, RRType.A): Answer((address,))}),
            self.handshakes,
            AddressPolicy([ip_network(text) for text in networks], allow_loopback=False),
            persistent=False,
        )
        fetcher = Fetcher(client, MemoryMetrics(), user_agent="tests")
        return Deferred.fromCoroutine(fetcher.fetch(DOMAIN, LIMIT))

    @property
    def called(self) -> list[tuple[str, int]]:
        """Where TCP connections were begun."""
        return [(host, port) for host, port, *_ in self.reactor.tcpClients]

    def test_host(self) -> None:
        """Q-51: the policy host is asked with TLS, under its own name, on port 443."""
        done = self.fetch(PUBLIC)
        self.assertEqual(self.called, [(PUBLIC, 443)])
        self.assertEqual(self.handshakes.hosts, [HOST])
        done.cancel()
        self.failureResultOf(done, CancelledError)

    def test_private(self) -> None:
        """Q-95: a policy host in a private network is asked only where that is allowed."""
        for address in ("10.0.0.1", "127.0.0.1", "169.254.169.254", "::1"):
            found = self.successResultOf(self.fetch(address, "192.168.0.0/16", "127.0.0.0/8"))
            assert isinstance(found, Failure)
            self.assertIs(found.type, ResultType.FETCH_ERROR)
        self.assertEqual(self.called, [])
        done = self.fetch("10.0.0.1", "10.0.0.0/8")
        self.assertEqual(self.called, [("10.0.0.1", 443)])
        done.cancel()
        self.failureResultOf(done, CancelledError)

    def test_slow(self) -> None:
        """Q-51: a host that says nothing, not even of TLS, is a failure after 60 seconds."""
        done = self.fetch(PUBLIC)
        line = take(self.reactor)
        self.reactor.advance(59)
        self.assertNoResult(done)
        self.reactor.advance(1)
        found = self.successResultOf(done)
        assert isinstance(found, Failure)
        self.assertEqual(found, Failure(ResultType.FETCH_ERROR, "no whole answer within 60 s"))
        self.reactor.advance(5)
        self.assertTrue(line.transport.disconnected)
