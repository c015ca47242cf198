"""The sockets to one server, over a net without sockets."""

from __future__ import annotations

import struct

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from moxsmtp.dns.records import LookupFailed, Question, RRType
from moxsmtp.dns.upstream import Server
from moxsmtp.dns.wire import Response, question_section
from tests.dns.packets import Net, counter, reply
from tests.dns.test_system import at


def asked(server: Server, name: str) -> Deferred[Response]:
    """Ask for the address of that name."""
    question = Question(name, RRType.A)
    return server.ask(question, question_section(question))


class SendingTests(SynchronousTestCase):
    """Where a query leaves from."""

    def test_identity_in_use(self) -> None:
        """
        No query takes the identity of another that is under way from the same
        socket (Q-48): each gets its own answer.
        """
        net = Net()
        # Taken from the end.
        drawn = int.from_bytes(struct.pack("!64I", *range(61), 7, 5, 5), "big")
        server = Server(at("127.0.0.1")[0], net, lambda _: drawn)
        answers = [asked(server, name) for name in ("a.example", "b.example")]
        self.assertEqual([packet[:2] for _, packet in net.sent], [b"\0\5", b"\0\7"])
        for answered, (port, packet) in zip(answers, net.sent, strict=True):
            port.receive(reply(packet))
            self.successResultOf(answered)

    def test_cannot_be_sent(self) -> None:
        """Queries that cannot be sent leave no socket open when it has been replaced."""
        net = Net()
        server = Server(at("127.0.0.1")[0], net, counter())
        net.error = OSError("network is unreachable")
        for _ in range(30_000):
            self.failureResultOf(asked(server, "a.example"), LookupFailed)
        self.assertGreater(len(net.ports), 64)
        self.assertLessEqual(sum(port.open for port in net.ports), 64)


class ReadingTests(SynchronousTestCase):
    """What has come to a socket."""

    def test_many_at_once(self) -> None:
        """
        What has come to one socket is read in one turn of the reactor, forgeries
        too, as long as somebody waits for more of it: such a turn may last long.
        """
        net = Net()
        server = Server(at("127.0.0.1")[0], net, counter())
        answers = [asked(server, f"n{number}.example") for number in range(640)]
        port = net.sent[-1][0]
        packets: list[bytes] = []
        waiting = []
        for number, (sent_from, packet) in enumerate(net.sent):
            if sent_from is port:
                waiting.append(answers[number])
                good = reply(packet, (f"n{number}.example. 300 IN A 192.0.2.1",))
                packets += [b"junk", good[:30], good]
        self.assertGreater(len(waiting), 4)
        port.turn([*packets, b"junk"])
        for answered in waiting:
            self.successResultOf(answered)

    def test_last(self) -> None:
        """Nothing is looked for behind the reply that was the last to be waited for."""
        net = Net()
        server = Server(at("127.0.0.1")[0], net, counter())
        answered = asked(server, "a.example")
        port, packet = net.sent[-1]
        packets = [b"junk", reply(packet), b"junk"]
        port.turn(packets)
        self.successResultOf(answered)
        self.assertEqual(packets, [b"junk"])
