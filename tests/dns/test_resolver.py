"""The stub resolver, over a net without sockets."""

from __future__ import annotations

from typing import Any, NoReturn

import dns.edns
import dns.flags
import dns.message
import dns.rcode
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectError, ConnectionDone
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from moxsmtp.dns.records import Answer, LookupFailed, Question, RRType
from moxsmtp.dns.resolver import StubResolver
from moxsmtp.dns.settings import ResolverSettings
from moxsmtp.interfaces import IResolver
from tests.dns.packets import Net, counter, reply
from tests.dns.test_system import at

A = "a.example. 300 IN A 192.0.2.1"
SOA = "example. 600 IN SOA ns.example. root.example. 1 2 3 4 60"


class ResolverTestCase(SynchronousTestCase):
    """A resolver with one server on this machine, or several elsewhere."""

    def setUp(self) -> None:
        """Nothing has been asked."""
        self.net = Net()
        self.resolver = self.made("127.0.0.1")

    def made(self, *addresses: str, **settings: int) -> StubResolver:
        """A resolver that asks these."""
        return StubResolver(
            reactor=self.net,
            servers=at(*addresses),
            settings=ResolverSettings(**settings),  # type: ignore[arg-type]  # numbers only
            randbelow=counter(),
        )

    def ask(self, name: str = "a.example", type_: RRType = RRType.A) -> Deferred[Answer]:
        """Look it up."""
        return self.resolver.lookup(Question(name, type_))

    def failed(self, asking: Deferred[Answer]) -> str:
        """The text of the failure."""
        return str(self.failureResultOf(asking, LookupFailed).value)

    def assert_quiet(self) -> None:
        """No timer is left, once the one is up that all look-ups share."""
        self.net.advance(5)
        self.assertEqual(self.net.getDelayedCalls(), [])

    def servers_asked(self) -> list[str]:
        """The address that each packet went to."""
        return [port.address[0] for port, _ in self.net.sent]


class AskingTests(ResolverTestCase):
    """One question, one server."""

    def test_interface(self) -> None:
        """It is a resolver."""
        self.assertTrue(verifyObject(IResolver, self.resolver))

    def test_answer(self) -> None:
        """A query goes to the server's port, and its reply is the answer."""
        asking = self.ask()
        self.assertEqual([port.address for port, _ in self.net.sent], [("127.0.0.1", 53)])
        self.net.answer(lambda packet: reply(packet, (A,)))
        self.assertEqual(
            self.successResultOf(asking),
            Answer(("192.0.2.1",), authentic=True, canonical_name="a.example", ttl=300),
        )
        self.assert_quiet()

    def test_authentic_only_from_trusted(self) -> None:
        """AD from a server elsewhere means nothing (Q-48)."""
        self.resolver = self.made("192.0.2.53")
        asking = self.ask()
        self.net.answer(lambda packet: reply(packet, (A,)))
        self.assertFalse(self.successResultOf(asking).authentic)

    def test_ipv6(self) -> None:
        """A server with an IPv6 address is asked from an IPv6 socket."""
        self.resolver = self.made("::1")
        _ = self.ask().addErrback(lambda _: None)
        self.assertEqual(self.net.interfaces, ["::"])

    def test_impossible_name(self) -> None:
        """A name that is none fails at once, and nothing is sent."""
        for name in ("a..example", "ü.example", "a" * 100_000):
            text = self.failed(self.ask(name))
            self.assertIn("cannot be looked up", text)
            self.assertLess(len(text), 400)
        self.assertEqual(self.net.sent, [])

    def test_server_errors(self) -> None:
        """SERVFAIL is a failure with its name, not an answer, and is not asked for again."""
        asking = self.ask()
        self.net.answer(lambda packet: reply(packet, rcode=dns.rcode.SERVFAIL))
        self.assertEqual(self.failed(asking), "A of a.example: SERVFAIL (127.0.0.1)")
        self.assertEqual(len(self.net.sent), 1)

    def test_forgeries(self) -> None:
        """Replies with another identity, another question or nonsense change nothing."""
        asking = self.ask()
        port, packet = self.net.sent[-1]
        good = reply(packet, (A,))
        other = good[:2] + good[2:].replace(b"\x01a\x07example", b"\x01b\x07example")
        for forged in (b"", b"\0", bytes([good[0] ^ 1]) + good[1:], other, good[:30], packet):
            port.receive(forged)
            self.assertNoResult(asking)
        port.receive(good)
        self.successResultOf(asking)
        port.receive(good)

    def test_bugs_in_what_was_given(self) -> None:
        """
        A list of suffixes that cannot be read, or numbers that cannot be drawn, fail
        the look-up and leave nothing: neither who waits, nor a turn, nor a timer.
        """

        def broken(*_: object) -> NoReturn:
            raise RuntimeError("out of files")

        broken_ones: tuple[tuple[str, dict[str, Any]], ...] = (
            ("a.b.example", {"randbelow": counter(), "is_public_suffix": broken}),
            ("a.example", {"randbelow": broken}),
        )
        for name, given in broken_ones:
            resolver = self.resolver = StubResolver(
                reactor=self.net, servers=at("127.0.0.1"), settings=ResolverSettings(), **given
            )
            for _ in range(300):  # more than one site has turns
                self.assertEqual(self.failed(self.ask(name)), "internal error")
                self.assertEqual(self.failed(self.ask(name)), "internal error")
                self.net.advance(6)
            self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 300)
            self.successResultOf(resolver.close())
            self.assert_quiet()
        self.assertEqual(self.net.sent, [])

    def test_many_sockets(self) -> None:
        """Queries leave from several sockets, each replaced after some hundred queries."""
        first = 0
        for number in range(10_000):
            asking = self.ask(f"n{number}.example")
            # The query itself, without its OPT record, as a reply without records.
            self.net.answer(lambda p: p[:2] + b"\x81\x80\0\1\0\0\0\0\0\0" + p[12:-11])
            self.successResultOf(asking)
            if number == 200:
                self.assertGreater(len(self.net.ports), 8)
                first = len(self.net.ports)
        self.assertLessEqual(sum(port.open for port in self.net.ports), first)
        self.assertGreater(len(self.net.ports), first)

    def test_unpredictable(self) -> None:
        """Each query has its own part of the numbers drawn for identity and socket (Q-48)."""
        drawn = [number * 0x9E3779B1 % (1 << 32) for number in range(1, 257)]
        left = iter(drawn)

        def below(bound: int) -> int:
            self.assertEqual(bound & bound - 1, 0)
            octets = (bound.bit_length() - 1) // 8
            return int.from_bytes(
                b"".join(next(left).to_bytes(4, "big") for _ in range(octets // 4)), "big"
            )

        self.resolver = StubResolver(
            reactor=self.net,
            servers=at("127.0.0.1"),
            settings=ResolverSettings(),
            randbelow=below,
        )
        for number in range(256):
            _ = self.ask(f"n{number}.example").addErrback(lambda _: None)
        sent = [(self.net.ports.index(port), packet[:2]) for port, packet in self.net.sent]
        self.assertEqual(
            sorted(identity for _, identity in sent),
            sorted((one & 0xFFFF).to_bytes(2, "big") for one in drawn),
        )
        self.assertEqual(len({place for place, _ in sent}), len({one >> 16 & 63 for one in drawn}))

    def test_refused_while_others_leave(self) -> None:
        """Who is given up because another was refused is not asked for again."""
        self.resolver = self.made("127.0.0.1", attempts=1)
        asking = [self.ask(f"n{number}.example") for number in range(300)]
        port = next(one for one, _ in self.net.sent if sum(p is one for p, _ in self.net.sent) > 1)
        mine = [place for place, (one, _) in enumerate(self.net.sent) if one is port]
        ended: list[int] = []

        def cancel_all(_: Failure, place: int) -> None:
            ended.append(place)
            for one in asking:
                one.cancel()

        for place in mine:
            _ = asking[place].addErrback(cancel_all, place)
        port.protocol.connectionRefused()
        self.assertEqual(sorted(ended), mine)
        self.assertEqual(len(self.net.sent), 300)
        for one in asking:
            _ = one.addErrback(lambda _: None)
        self.assert_quiet()

    def test_no_server(self) -> None:
        """Without servers everything fails, in words."""
        self.resolver = self.made()
        self.assertIn("no DNS server", self.failed(self.ask()))


class TimeTests(ResolverTestCase):
    """Servers that are slow, dead or absent."""

    def test_silence(self) -> None:
        """A silent server is asked again after its time, and then that is the end."""
        asking = self.ask()
        self.net.advance(4.9)
        self.assertEqual(len(self.net.sent), 1)
        self.net.advance(0.1)
        self.assertEqual(len(self.net.sent), 2)
        self.net.advance(5)
        self.assertEqual(self.failed(asking), "A of a.example: no answer within 5 s (127.0.0.1)")
        self.assert_quiet()

    def test_late_reply(self) -> None:
        """The reply to a query that was given up is dropped."""
        asking = self.ask()
        port, packet = self.net.sent[0]
        self.net.advance(5)
        port.receive(reply(packet, (A,)))
        self.assertNoResult(asking)
        self.net.answer(lambda packet: reply(packet, (A,)))
        self.successResultOf(asking)

    def test_order(self) -> None:
        """Servers are asked in order, round after round."""
        self.resolver = self.made("192.0.2.1", "192.0.2.2")
        asking = self.ask()
        for _ in range(4):
            self.net.advance(5)
        self.assertEqual(self.servers_asked(), ["192.0.2.1", "192.0.2.2", "192.0.2.1", "192.0.2.2"])
        self.failed(asking)

    def test_next_after_error(self) -> None:
        """After an error the next server is asked at once, the first not again."""
        self.resolver = self.made("192.0.2.1", "192.0.2.2")
        asking = self.ask()
        self.net.answer(lambda packet: reply(packet, rcode=dns.rcode.REFUSED))
        self.net.advance(5)
        self.net.answer(lambda packet: reply(packet, (A,)))
        self.assertEqual(self.servers_asked(), ["192.0.2.1", "192.0.2.2", "192.0.2.2"])
        self.successResultOf(asking)

    def test_silence_ends(self) -> None:
        """It is asked first again after its time, or when the clock was set back by a day."""
        for by in (30.0, -86_400.0):
            self.net = Net()
            self.net.rightNow = 1e9
            self.resolver = self.made("192.0.2.1", "192.0.2.2")
            asking = self.ask()
            self.net.advance(5)
            self.net.answer(lambda packet: reply(packet, (A,)))
            self.successResultOf(asking)
            self.successResultOf(self.answered("b.example"))
            self.assertEqual(self.servers_asked()[-1], "192.0.2.2")
            self.net.rightNow += by
            self.successResultOf(self.answered("c.example"))
            self.assertEqual(self.servers_asked()[-1], "192.0.2.1")

    def test_silent_server_is_asked_last(self) -> None:
        """A dead first server costs its time limit once, not for every question."""
        self.resolver = self.made("192.0.2.1", "192.0.2.2")
        _ = self.ask().addErrback(lambda _: None)
        self.net.advance(5)
        self.net.answer(lambda packet: reply(packet, (A,)))
        self.successResultOf(self.answered("b.example"))
        self.assertEqual(self.servers_asked(), ["192.0.2.1", "192.0.2.2", "192.0.2.2"])
        self.net.advance(30)
        self.successResultOf(self.answered("c.example"))
        self.assertEqual(self.servers_asked()[-1], "192.0.2.1")

    def answered(self, name: str) -> Deferred[Answer]:
        """A look-up that is answered at once."""
        asking = self.ask(name)
        self.net.answer(lambda packet: reply(packet, flags=0))
        return asking

    def test_refused(self) -> None:
        """A refusal by ICMP closes the socket; the next server is asked from another."""
        self.resolver = self.made("192.0.2.1", "192.0.2.2")
        asking = self.ask()
        port, _ = self.net.sent[-1]
        port.open = False
        port.protocol.doStop()
        self.assertEqual(self.servers_asked(), ["192.0.2.1", "192.0.2.2"])
        self.net.answer(lambda packet: reply(packet, (A,)))
        self.successResultOf(asking)

    def test_refused_everywhere(self) -> None:
        """Refusals of all servers fail the look-up without waiting."""
        asking = self.ask()
        for _ in range(2):
            port, _packet = self.net.sent[-1]
            port.protocol.connectionRefused()
        self.assertEqual(self.failed(asking), "A of a.example: connection refused (127.0.0.1)")

    def test_unreachable(self) -> None:
        """A net that is down fails look-ups, however many, and is used again once it is up."""
        self.net.error = OSError(101, "Network is unreachable")
        for number in range(2000):
            self.assertIn("unreachable", self.failed(self.ask(f"n{number}.example")))
        self.net.error = None
        asking = self.ask()
        self.net.answer(lambda packet: reply(packet, (A,)))
        self.successResultOf(asking)

    def test_goes_down(self) -> None:
        """A net that goes down under thousands of look-ups fails each of them, in words."""
        askings = [self.ask(f"n{number}.example") for number in range(2000)]
        self.net.error = OSError(101, "Network is unreachable")
        self.net.advance(5)
        self.net.pump([0] * 1500)
        texts = {self.failed(asking).partition(": ")[2] for asking in askings}
        self.assertEqual(texts, {"cannot send: [Errno 101] Network is unreachable (127.0.0.1)"})


class StreamTests(ResolverTestCase):
    """TCP, where UDP is too small."""

    def truncated(self) -> Deferred[Answer]:
        """A look-up whose UDP reply was truncated."""
        asking = self.ask()
        self.net.answer(lambda packet: reply(packet, flags=dns.flags.TC))
        self.assertNoResult(asking)
        return asking

    def test_fallback(self) -> None:
        """A truncated reply is asked for again over TCP, whole or octet by octet."""
        for cut in (1, 10_000):
            self.setUp()
            asking = self.truncated()
            stream = self.net.streams[-1]
            self.assertEqual(stream.address, ("127.0.0.1", 53))
            protocol = stream.accept()
            sent = stream.transport.value()
            self.assertEqual(int.from_bytes(sent[:2], "big"), len(sent) - 2)
            answer = reply(sent[2:], (A,))
            framed = len(answer).to_bytes(2, "big") + answer + b"more"
            for start in range(0, len(framed), cut):
                protocol.dataReceived(framed[start : start + cut])
            self.assertEqual(self.successResultOf(asking).records, ("192.0.2.1",))
            self.assertTrue(stream.transport.disconnecting)
            protocol.connectionLost(Failure(ConnectionDone()))
            self.assert_quiet()

    def test_still_truncated(self) -> None:
        """Truncated over TCP is a failure, and no circle."""
        asking = self.truncated()
        protocol = self.net.streams[-1].accept()
        cut = reply(self.net.streams[-1].transport.value()[2:], flags=dns.flags.TC)
        protocol.dataReceived(len(cut).to_bytes(2, "big") + cut)
        self.assertIn("truncated over TCP", self.failed(asking))

    def test_cancelled(self) -> None:
        """
        A query over TCP that nobody waits for ends at once, whether it is connected
        or not: no other follows, and its turns are free.
        """
        for connected in (False, True):
            self.setUp()
            self.resolver = self.made("127.0.0.1", "127.0.0.2")
            for number in range(300):  # more than one site has turns
                asking = self.truncated()
                if connected:
                    self.net.streams[-1].accept()
                asking.cancel()
                self.failureResultOf(asking, CancelledError)
                self.assertTrue(self.net.streams[-1].disconnected)
                self.assertEqual(len(self.net.sent), number + 1)
            self.assert_quiet()

    def test_late_connection(self) -> None:
        """A connection that is not made in time is a server that does not answer."""
        self.resolver = self.made("127.0.0.1", attempts=1)
        asking = self.truncated()
        self.net.advance(5)
        self.assertTrue(self.net.streams[-1].disconnected)
        self.assertIn("no answer within 5 s", self.failed(asking))
        self.assert_quiet()

    def test_failures(self) -> None:
        """Refused, closed, silent or nonsense over TCP: the next attempt, then failure."""
        for case in ("refused", "closed", "silent", "nonsense", "identity"):
            self.setUp()
            self.resolver = self.made("127.0.0.1", attempts=1)
            asking = self.truncated()
            stream = self.net.streams[-1]
            if case == "refused":
                reason = Failure(ConnectError())
                stream.factory.clientConnectionFailed(stream, reason)  # type: ignore[arg-type]  # as much of it as is used
            else:
                protocol = stream.accept()
                good = reply(stream.transport.value()[2:], (A,))
                if case == "closed":
                    protocol.dataReceived(b"\0")
                    protocol.connectionLost(Failure(ConnectionDone()))
                elif case == "silent":
                    self.net.advance(5)
                    self.assertTrue(stream.disconnected)
                elif case == "nonsense":
                    protocol.dataReceived(b"\0\x05hello")
                else:
                    bad = bytes([good[0] ^ 1]) + good[1:]
                    protocol.dataReceived(len(bad).to_bytes(2, "big") + bad)
            self.assertIn("A of a.example: ", self.failed(asking))
            self.assert_quiet()


class FollowingTests(ResolverTestCase):
    """Replies that end with a CNAME."""

    def say(self, *lines: str, authority: tuple[str, ...] = (), flags: int = dns.flags.AD) -> None:
        """Answer the query sent last."""
        self.net.answer(lambda packet: reply(packet, lines, authority, flags=flags))

    def names_asked(self) -> list[str]:
        """What each packet asked for."""
        return [
            dns.message.from_wire(packet).question[0].name.to_text() for _, packet in self.net.sent
        ]

    def test_asks_on(self) -> None:
        """The target is asked for, up to the records; the chain is kept as long as its least."""
        asking = self.ask()
        self.say("a.example. 300 IN CNAME b.example.", "b.example. 20 IN CNAME c.example.")
        self.assertNoResult(asking)
        self.say("c.example. 300 IN CNAME d.example.")
        self.say("d.example. 300 IN A 192.0.2.1")
        self.assertEqual(
            self.successResultOf(asking),
            Answer(("192.0.2.1",), authentic=True, canonical_name="d.example", ttl=20),
        )
        self.assertEqual(self.names_asked(), ["a.example.", "c.example.", "d.example."])
        self.successResultOf(self.ask())
        self.assertEqual(len(self.net.sent), 3)

    def test_authentic(self) -> None:
        """The answer is authentic only if each part of it is (Q-48)."""
        for first, second in ((0, dns.flags.AD), (dns.flags.AD, 0)):
            self.setUp()
            asking = self.ask()
            self.say("a.example. 300 IN CNAME b.example.", flags=first)
            self.say("b.example. 300 IN A 192.0.2.1", flags=second)
            self.assertFalse(self.successResultOf(asking).authentic)

    def test_nothing_there(self) -> None:
        """A target without such records ends it, as does one that does not exist."""
        for rcode in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
            self.setUp()
            asking = self.ask()
            self.say("a.example. 300 IN CNAME b.example.")
            port, packet = self.net.sent[-1]
            port.receive(reply(packet, (), (SOA,), rcode=rcode))
            answer = self.successResultOf(asking)
            self.assertEqual((answer.records, answer.ttl), ((), 60))
            self.assertIs(answer.exists, rcode == dns.rcode.NOERROR)

    def test_failure(self) -> None:
        """A failure on the way is one of the whole, never an answer without records."""
        asking = self.ask()
        self.say("a.example. 300 IN CNAME b.example.")
        self.net.answer(lambda packet: reply(packet, rcode=dns.rcode.SERVFAIL))
        self.assertEqual(self.failed(asking), "A of b.example: SERVFAIL (127.0.0.1)")

    def test_impossible_target(self) -> None:
        """A target that cannot be asked for is a failure."""
        asking = self.ask()
        self.say(r"a.example. 300 IN CNAME b\.c.example.")
        self.assertIn("cannot be looked up", self.failed(asking))

    def test_loops(self) -> None:
        """A circle is noticed where it closes, an endless chain after 16 questions more."""
        asking = self.ask()
        self.say("a.example. 300 IN CNAME b.example.")
        self.say("b.example. 300 IN CNAME a.example.")
        self.assertIn("CNAME chain too long", self.failed(asking))
        self.assertEqual(len(self.net.sent), 2)
        asking = self.ask("n0.example")
        for number in range(17):
            self.say(f"n{number}.example. 300 IN CNAME n{number + 1}.example.")
        self.assertIn("CNAME chain too long", self.failed(asking))
        self.assertEqual(len(self.net.sent), 2 + 17)

    def test_cancelled(self) -> None:
        """Who gives up on the way leaves nothing behind."""
        asking = self.ask()
        self.say("a.example. 300 IN CNAME b.example.")
        asking.cancel()
        self.failureResultOf(asking, CancelledError)
        self.assert_quiet()

    def test_extended_errors(self) -> None:
        """What servers tell of each part is kept."""
        asking = self.ask()
        for name, target in (("a", "CNAME b.example."), ("b", "A 192.0.2.1")):
            port, packet = self.net.sent[-1]
            message = dns.message.make_response(dns.message.from_wire(packet))
            message.answer = dns.message.from_wire(
                reply(packet, (f"{name}.example. 300 IN {target}",))
            ).answer
            message.use_edns(options=[dns.edns.EDEOption(dns.edns.EDECode.STALE_ANSWER, name)])
            port.receive(message.to_wire())
        self.assertEqual(
            self.successResultOf(asking).extended_errors,
            ("3 (Stale Answer): a", "3 (Stale Answer): b"),
        )


class SharingTests(ResolverTestCase):
    """One question asked by many."""

    def test_shared(self) -> None:
        """The same question under way is sent once, and answers everybody."""
        askings = [self.ask(name) for name in ("a.example", "A.Example.", "a.example")]
        self.assertEqual(len(self.net.sent), 1)
        self.net.answer(lambda packet: reply(packet, (A,)))
        self.assertEqual(len({self.successResultOf(asking) for asking in askings}), 1)

    def test_cancel_harms_no_other(self) -> None:
        """One who gives up leaves the others waiting, and they are answered."""
        first, second, third = (self.ask() for _ in range(3))
        first.cancel()
        self.failureResultOf(first, CancelledError)
        self.assertNoResult(second)
        self.net.answer(lambda packet: reply(packet, (A,)))
        self.successResultOf(second)
        self.successResultOf(third)

    def test_cancelled_by_all(self) -> None:
        """When nobody waits any more, the query is given up and nothing is left behind."""
        askings = [self.ask(), self.ask()]
        for asking in askings:
            asking.cancel()
            self.failureResultOf(asking, CancelledError)
        self.assert_quiet()
        again = self.ask()
        self.assertEqual(len(self.net.sent), 2)
        self.net.answer(lambda packet: reply(packet, (A,)))
        self.successResultOf(again)

    def test_waiter_that_breaks(self) -> None:
        """A waiter whose callback raises, or cancels another, does not keep the rest waiting."""
        first, second, third = (self.ask() for _ in range(3))
        _ = first.addCallback(lambda _: 1 / 0)
        _ = first.addErrback(lambda _: second.cancel())
        self.net.answer(lambda packet: reply(packet, (A,)))
        self.failureResultOf(second, CancelledError)
        self.successResultOf(third)

    def test_asks_again_in_callback(self) -> None:
        """Who asks again while being answered gets the answer."""
        again = self.ask().addCallback(lambda _: self.ask())
        self.net.answer(lambda packet: reply(packet, (A,)))
        self.successResultOf(again)
        self.assertEqual(len(self.net.sent), 1)


class FairnessTests(ResolverTestCase):
    """More look-ups than there are turns."""

    def forgotten(self, *names: str) -> None:
        """They are asked for, whatever comes of it."""
        for name in names:
            _ = self.ask(name).addErrback(lambda _: None)

    def test_turns_of_those_who_left(self) -> None:
        """Who waits no more gives the turn back: names of that site are asked for as before."""
        for number in range(600):
            asking = self.ask(f"n{number}.site.example")
            asking.cancel()
            self.failureResultOf(asking, CancelledError)
        self.assertEqual(len(self.net.sent), 600)
        self.assert_quiet()

    def test_bounded(self) -> None:
        """Beyond a bound of look-ups under way, more wait for their turn."""
        askings = [self.ask(f"n{number}.example") for number in range(4196)]
        self.assertEqual(len(self.net.sent), 4096)
        for port, packet in list(self.net.sent):
            port.receive(reply(packet, flags=0))
        self.net.advance(0)
        self.assertEqual(len(self.net.sent), 4196)
        for port, packet in self.net.sent[4096:]:
            port.receive(reply(packet, flags=0))
        for asking in askings:
            self.successResultOf(asking)

    def test_cancelled_while_waiting(self) -> None:
        """Who gives up before its turn takes no turn."""
        self.forgotten(*(f"n{number}.evil.example" for number in range(256)))
        asking = self.ask("late.evil.example")
        asking.cancel()
        self.failureResultOf(asking, CancelledError)
        self.net.answer(lambda packet: reply(packet, flags=0))
        self.net.advance(0)
        self.assertEqual(len(self.net.sent), 256)

    def test_tarpit(self) -> None:
        """Thousands of names of one domain that never answers keep nobody else waiting."""
        self.forgotten(*(f"slow{number}.evil.example" for number in range(3072)))
        self.assertEqual(len(self.net.sent), 256)
        asking = self.ask("good.example")
        self.net.answer(lambda packet: reply(packet, ("good.example. 300 IN A 192.0.2.1",)))
        self.successResultOf(asking)

    def test_no_turn(self) -> None:
        """Who gets no turn within the time limit fails, though nothing was asked."""
        self.forgotten(*(f"slow{number}.evil.example" for number in range(256)))
        asking = self.ask("late.evil.example")
        self.net.advance(5)
        self.assertEqual(self.failed(asking), "no turn within 5 s: too many look-ups under way")

    def test_registry(self) -> None:
        """Below a public suffix each domain is a site of its own."""
        self.resolver = StubResolver(
            reactor=self.net,
            servers=at("127.0.0.1"),
            settings=ResolverSettings(),
            randbelow=counter(),
            is_public_suffix=lambda domain: domain.ascii == "co.example",
        )
        self.forgotten(*(f"slow{number}.evil.co.example" for number in range(300)))
        self.assertEqual(len(self.net.sent), 256)
        self.forgotten("good.co.example")
        self.assertEqual(len(self.net.sent), 257)

    def test_streams(self) -> None:
        """Connections are open files: there are fewer of them, and shares of them too."""
        self.forgotten(*(f"n{number}.evil.example" for number in range(20)))
        for port, packet in list(self.net.sent):
            port.receive(reply(packet, flags=dns.flags.TC))
        self.assertEqual(len(self.net.streams), 16)
        self.forgotten(*(f"n{number}.example" for number in range(200)))
        for port, packet in self.net.sent[20:]:
            port.receive(reply(packet, flags=dns.flags.TC))
        self.assertEqual(len(self.net.streams), 128)

    def test_stream_is_given_back(self) -> None:
        """A connection that has ended makes room for the next."""
        self.forgotten(*(f"n{number}.evil.example" for number in range(17)))
        for port, packet in list(self.net.sent):
            port.receive(reply(packet, flags=dns.flags.TC))
        stream, reason = self.net.streams[0], Failure(ConnectError())
        stream.factory.clientConnectionFailed(stream, reason)  # type: ignore[arg-type]  # as much of it as is used
        self.net.advance(0)
        self.assertEqual(len(self.net.streams), 17)


class CachingTests(ResolverTestCase):
    """What is not asked twice."""

    def test_answers(self) -> None:
        """An answer is kept for its time to live, which counts down."""
        _ = self.ask()
        self.net.answer(lambda packet: reply(packet, (A,)))
        self.net.advance(100)
        self.assertEqual(self.successResultOf(self.ask()).ttl, 200)
        self.net.advance(200)
        self.assertNoResult(self.ask())
        self.assertEqual(len(self.net.sent), 2)

    def test_negative(self) -> None:
        """That a name does not exist is kept as long as the SOA says."""
        _ = self.ask()
        self.net.answer(lambda packet: reply(packet, (), (SOA,), rcode=dns.rcode.NXDOMAIN))
        self.net.advance(59)
        self.assertFalse(self.successResultOf(self.ask()).exists)
        self.net.advance(1)
        self.assertNoResult(self.ask())

    def test_failures(self) -> None:
        """A failure is kept for a few seconds, so that nobody hammers a failing server."""
        asking = self.ask()
        self.net.answer(lambda packet: reply(packet, rcode=dns.rcode.SERVFAIL))
        text = self.failed(asking)
        self.assertEqual(self.failed(self.ask()), text)
        self.assertEqual(len(self.net.sent), 1)
        self.net.advance(5)
        self.assertNoResult(self.ask())


class ClosingTests(ResolverTestCase):
    """The end."""

    def test_close(self) -> None:
        """Closing fails what is under way and all that comes later, and leaves nothing open."""
        waiting = [self.ask(f"n{number}.example") for number in range(600)]
        _ = self.resolver.lookup(Question("t.example", RRType.A)).addErrback(lambda _: None)
        self.successResultOf(self.resolver.close())
        for asking in waiting:
            self.assertEqual(self.failed(asking), "the resolver is closed")
        self.assertEqual(self.failed(self.ask()), "the resolver is closed")
        self.net.advance(0)
        self.assertEqual(self.net.getDelayedCalls(), [])
        self.assertFalse(any(port.open for port in self.net.ports))

    def test_close_while_streaming(self) -> None:
        """A query over TCP is cut."""
        asking = self.ask()
        self.net.answer(lambda packet: reply(packet, flags=dns.flags.TC))
        self.successResultOf(self.resolver.close())
        self.failed(asking)
        self.assertTrue(self.net.streams[-1].disconnected)
