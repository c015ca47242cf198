"""Two servers on one PostgreSQL share one queue: one dies or freezes, and the other goes on."""

from __future__ import annotations

import re
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

from tests.peers.postgresql import OnPostgreSQL
from tests.peers.process import free_port, until
from tests.peers.server import Layout, Server, ServerTestCase

#: Where mail goes: one destination each, so that as many are in flight at once.
_ADDRESSES: Final = tuple(f"127.0.0.{number}" for number in range(21, 29))

#: To each of them.
_MESSAGES: Final = 25

#: Seconds that the next hop takes for each message; so something is always in flight.
_PAUSE: Final = 0.3

#: Seconds for the other to notice, and to do all of the work.
_PATIENCE: Final = 300

_SUBJECT: Final = re.compile(rb"^Subject: (\S+)\r\n", re.MULTILINE)


class NextHop:
    """
    A slow server on one port of several addresses.

    @ivar is_open: Set: it takes messages; those that it was given before wait for that.
    @ivar taken: Subject and address of what it took, in order, once for each time.
    """

    def __init__(self, addresses: Sequence[str], port: int) -> None:
        self.is_open = threading.Event()
        self.taken: list[tuple[str, str]] = []
        self._servers = [socket.create_server((each, port), backlog=50) for each in addresses]
        for server in self._servers:
            threading.Thread(target=self._accept, args=(server,), daemon=True).start()

    def end(self) -> None:
        """Take no more."""
        self.is_open.set()
        for server in self._servers:
            # Wakes who waits in accept(), which close() does not.
            server.shutdown(socket.SHUT_RDWR)
            server.close()

    def _accept(self, server: socket.socket) -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        connection.settimeout(300)
        with connection, connection.makefile("rb") as lines:
            try:
                self._talk(connection, lines)
            except OSError:
                return

    def _talk(self, connection: socket.socket, lines: Iterable[bytes]) -> None:
        connection.sendall(b"220 there.test\r\n")
        octets: list[bytes] | None = None
        for line in lines:
            if octets is None:
                verb = line[:4].upper()
                if verb == b"DATA":
                    octets = []
                answer = {b"DATA": b"354 go on\r\n", b"QUIT": b"221 bye\r\n"}.get(verb)
                connection.sendall(answer or b"250 ok\r\n")
            elif line == b".\r\n":
                self.is_open.wait()
                time.sleep(_PAUSE)
                match = _SUBJECT.search(b"".join(octets))
                place = connection.getsockname()[0]
                self.taken.append((match[1].decode() if match else "", place))
                octets = None
                connection.sendall(b"250 taken\r\n")
            else:
                octets.append(line)


class SharedQueueTests(OnPostgreSQL, ServerTestCase):
    """One queue, two servers."""

    def setUp(self) -> None:
        """Both run, and the next hop."""
        super().setUp()
        port = free_port()
        self.next_hop = NextHop(_ADDRESSES, port)
        self.addCleanup(self.next_hop.end)
        layout = Layout(
            tables={"store": f'url = "{self.url}"', "queue": f"outbound_port = {port}"},
        )
        self.first = self.start(layout, password=True, page="/healthz")
        self.second = Server(self.folder / "second", layout)
        self.addCleanup(self.second.end)
        self.second.wait_until_up()

    def hand_in(self) -> set[tuple[str, str]]:
        """Queue all messages, at both servers.  @return: Their subjects, with each address."""
        for number in range(_MESSAGES):
            server = self.first if number % 2 else self.second
            server.submit(*(f"user@[{each}]" for each in _ADDRESSES), subject=f"m{number}")
        return {(f"m{number}", each) for number in range(_MESSAGES) for each in _ADDRESSES}

    def wait_for_all(self, sent: set[tuple[str, str]], server: Server) -> None:
        """Until every message has arrived, and none waits any more."""
        until(
            lambda: sent <= set(self.next_hop.taken),
            within=_PATIENCE,
            what=f"all of {len(sent)} arrive",
            log=server.log,
        )
        until(lambda: server.queue() == [], what="none waits", log=server.log)

    def assertRepeatedOnlyInFlight(self) -> None:
        """One at each destination was in flight at most."""
        repeated = {each: n for each, n in Counter(self.next_hop.taken).items() if n > 1}
        self.assertLessEqual(max(repeated.values(), default=1), 2, repeated)
        places = Counter(place for _, place in repeated)
        self.assertLessEqual(max(places.values(), default=0), 1, repeated)

    def under_way(self) -> None:
        """Let the next hop take it, until it has some of it; much is still to come."""
        self.next_hop.is_open.set()
        until(
            lambda: len(self.next_hop.taken) >= 10,
            what="mail leaves",
            log=self.first.log,
        )

    def test_killed(self) -> None:
        """
        After a SIGKILL of one, the other sends all that is left: nothing is
        lost, and repeated only what was in flight (Q-10).
        """
        sent = self.hand_in()
        self.under_way()
        self.first.process.signal(signal.SIGKILL)
        self.first.process.wait()
        self.wait_for_all(sent, self.second)
        self.assertRepeatedOnlyInFlight()
        self.first.restart()
        self.first.wait_until_up()

    def test_frozen(self) -> None:
        """
        One that is frozen past its lease and let go loses nothing, repeats only
        what was in flight, and works on (Q-10).
        """
        sent = self.hand_in()
        self.under_way()
        self.first.process.signal(signal.SIGSTOP)
        try:
            until(
                lambda: sent <= set(self.next_hop.taken),
                within=_PATIENCE,
                what=f"all of {len(sent)} arrive",
                log=self.second.log,
            )
        finally:
            self.first.process.signal(signal.SIGCONT)
        self.wait_for_all(sent, self.second)
        time.sleep(5)  # it may still have something in mind
        self.assertRepeatedOnlyInFlight()
        self.first.wait_until_up()
        self.first.submit(f"user@[{_ADDRESSES[0]}]", subject="later")
        self.wait_for_all({("later", _ADDRESSES[0])}, self.first)

    def test_dropped_elsewhere(self) -> None:
        """
        What is dropped at one server the other one does not send, although it has taken it
        from the queue ahead of its turn (Q-23).
        """
        self.hand_in()
        self.next_hop.is_open.set()
        until(
            # From the eighth on, eight are taken together.
            lambda: min(self.places()[each] for each in _ADDRESSES) >= 9,
            what="mail leaves for all",
            log=self.first.log,
        )
        self.next_hop.is_open.clear()
        time.sleep(3 * _PAUSE)  # it takes what it was about to
        before = self.places()
        done = self.first.command("queue", "drop", "--all")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.next_hop.is_open.set()
        until(lambda: self.first.queue() == [], what="none waits", log=self.first.log)
        time.sleep(3)  # they may still have something in mind
        # One at each was under way.
        self.assertLessEqual(max((self.places() - before).values(), default=0), 1, before)

    def places(self) -> Counter[str]:
        """How many were taken at each address."""
        return Counter(place for _, place in list(self.next_hop.taken))

    def test_both_work(self) -> None:
        """With both well, each message leaves exactly once."""
        self.next_hop.is_open.set()
        sent = self.hand_in()
        self.wait_for_all(sent, self.first)
        self.assertEqual(sorted(self.next_hop.taken), sorted(sent))
