"""One server, looked at by itself."""

from __future__ import annotations

import dns.flags
import dns.rcode
from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from moxsmtp.dns.probe import Probe, probe
from moxsmtp.dns.records import Question, RRType
from moxsmtp.dns.settings import ResolverSettings
from tests.dns.packets import Net, counter, reply
from tests.dns.test_system import at

ROOT = ". 300 IN NS a.root."


class ProbeTestCase(SynchronousTestCase):
    """A server that is not trusted."""

    def setUp(self) -> None:
        """Nothing is asked yet."""
        self.net = Net()

    def begun(self, name: str) -> Deferred[Probe]:
        """Ask for the name servers of C{name}."""
        return Deferred.fromCoroutine(
            probe(
                at("192.0.2.53")[0],
                Question(name, RRType.NS),
                reactor=self.net,
                settings=ResolverSettings(),
                randbelow=counter(),
            )
        )


class ProbeTests(ProbeTestCase):
    """What can come of it."""

    def setUp(self) -> None:
        """It is being asked for the root."""
        super().setUp()
        self.asking = self.begun(".")

    def result(self) -> Probe:
        """What came of it; nothing is left open or waited for."""
        found = self.successResultOf(self.asking)
        self.assertFalse(any(port.open for port in self.net.ports))
        self.assertEqual(self.net.getDelayedCalls(), [])
        return found

    def test_authentic(self) -> None:
        """Whether AD is set is told, whoever believes it; and how long it took."""
        self.net.advance(0.25)
        self.net.answer(lambda packet: reply(packet, (ROOT,)))
        self.assertEqual(self.result(), Probe(True, True, 0.25))
        self.setUp()
        self.net.answer(lambda packet: reply(packet, (ROOT,), flags=0))
        self.assertEqual(self.result(), Probe(True, False, 0.0))

    def test_error(self) -> None:
        """An error is an answer; it is told."""
        self.net.answer(lambda packet: reply(packet, rcode=dns.rcode.SERVFAIL))
        self.assertEqual(self.result(), Probe(True, False, 0.0, "SERVFAIL"))

    def test_silence(self) -> None:
        """A lost packet is sent again; a server that stays silent does not answer."""
        self.net.advance(5)
        self.net.answer(lambda packet: reply(packet, (ROOT,)))
        self.assertEqual(self.result(), Probe(True, True, 0.0))
        self.setUp()
        self.net.advance(5)
        self.net.advance(5)
        self.assertEqual(self.result(), Probe(False, False, 5.0, "no answer within 5 s"))

    def test_refused(self) -> None:
        """A machine without a DNS server says so at once."""
        for _ in range(2):
            port, _packet = self.net.sent[-1]
            port.protocol.connectionRefused()
        self.assertEqual(self.result(), Probe(False, False, 0.0, "connection refused"))

    def test_stream(self) -> None:
        """What is too large for UDP is asked for over TCP, and truncated there it is an error."""
        self.net.answer(lambda packet: reply(packet, flags=dns.flags.TC))
        protocol = self.net.streams[-1].accept()
        cut = reply(self.net.streams[-1].transport.value()[2:], flags=dns.flags.TC)
        protocol.dataReceived(len(cut).to_bytes(2, "big") + cut)
        self.assertEqual(self.result(), Probe(True, False, 0.0, "truncated over TCP"))

    def test_cancelled(self) -> None:
        """Who gives up leaves no socket open."""
        self.asking.cancel()
        self.failureResultOf(self.asking, CancelledError)
        self.assertFalse(any(port.open for port in self.net.ports))
        self.assertEqual(self.net.getDelayedCalls(), [])


class NameTests(ProbeTestCase):
    """What can be asked for."""

    def test_impossible_name(self) -> None:
        """A name that is none is refused, and nothing is sent."""
        self.failureResultOf(self.begun("a..b"), ValueError)
        self.assertEqual(self.net.sent, [])
