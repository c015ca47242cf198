"""The sockets to one server, over a net without sockets."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from moxsmtp.dns.records import Question, RRType
from moxsmtp.dns.upstream import Server
from moxsmtp.dns.wire import question_section
from tests.dns.packets import Net, counter, reply
from tests.dns.test_system import at


class ReadingTests(SynchronousTestCase):
    """What has come to a socket."""

    def test_many_at_once(self) -> None:
        """
        What has come to one socket is read in one turn of the reactor, forgeries
        too, as long as somebody waits for more of it: such a turn may last long.
        """
        net = Net()
        server = Server(at("127.0.0.1")[0], net, counter())
        asked = []
        for number in range(640):
            question = Question(f"n{number}.example", RRType.A)
            asked.append(server.ask(question, question_section(question)))
        port = net.sent[-1][0]
        packets: list[bytes] = []
        waiting = []
        for number, (sent_from, packet) in enumerate(net.sent):
            if sent_from is port:
                waiting.append(asked[number])
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
        question = Question("a.example", RRType.A)
        answered = server.ask(question, question_section(question))
        port, packet = net.sent[-1]
        packets = [b"junk", reply(packet), b"junk"]
        port.turn(packets)
        self.successResultOf(answered)
        self.assertEqual(packets, [b"junk"])
