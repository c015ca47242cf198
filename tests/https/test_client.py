"""Single requests over HTTP."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st
from OpenSSL import SSL
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from twisted.trial import unittest
from twisted.web.client import ResponseNeverReceived
from twisted.web.http_headers import Headers

from moxsmtp.dns.records import Answer as Records
from moxsmtp.dns.records import LookupFailed, Question, RRType
from moxsmtp.https.addresses import AddressPolicy
from moxsmtp.https.client import (
    Answer,
    Client,
    Ending,
    Request,
    TooSlow,
    in_words,
    is_untrusted,
    mistake_in_url,
)
from moxsmtp.https.endpoint import AddressRefused
from moxsmtp.testing import MemoryResolver
from tests.https.wire import PUBLIC, Handshakes, Line, take

GET = Request(
    method="GET",
    url="http://a.example/x",
    headers=Headers({"User-Agent": ["tests"]}),
    time_limit=timedelta(seconds=60),
    kept=100,
    read=200,
)

UNTRUSTED = SSL.Error([("SSL routines", "", "certificate verify failed")])


class ClientTestCase(unittest.SynchronousTestCase):
    """A client over a reactor without sockets."""

    persistent = False

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.handshakes = Handshakes()
        self.client = Client(
            self.reactor,  # type: ignore[arg-type]  # it has the methods
            MemoryResolver({Question("a.example", RRType.A): Records((PUBLIC,))}),
            self.handshakes,
            AddressPolicy((), allow_loopback=False),
            persistent=self.persistent,
        )
        self.addCleanup(self.end)

    def end(self) -> None:
        """Nothing is left behind."""
        closed = self.client.close()
        self.reactor.advance(300)
        self.successResultOf(closed)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def begin(self) -> tuple[Deferred[Answer], Line]:
        """Ask, and be there for the connection."""
        done = Deferred.fromCoroutine(self.client.call(GET))
        return done, take(self.reactor)

    def answer(self, *pieces: bytes, close: bool = False) -> Answer:
        """To what was answered in pieces."""
        done, line = self.begin()
        for piece in pieces:
            line.say(piece)
        if close:
            line.hang_up()
        return self.successResultOf(done)


class ClientTests(ClientTestCase):
    """Single requests."""

    def test_request(self) -> None:
        """A request without body says nothing of one, and asks for nothing to be packed."""
        done, line = self.begin()
        lines = line.transport.value().split(b"\r\n")
        self.assertEqual(lines[0], b"GET /x HTTP/1.1")
        fields = {name.lower(): value for name, value in (one.split(b": ") for one in lines[1:-2])}
        self.assertEqual(
            fields, {b"host": b"a.example", b"user-agent": b"tests", b"connection": b"close"}
        )
        line.say(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        self.assertEqual(self.successResultOf(done), Answer(200, b"", Ending.WHOLE))

    def test_endings(self) -> None:
        """How a body ended is told: with its length, its connection, too early, or not at all."""
        head = b"HTTP/1.1 200 OK\r\n"
        self.assertEqual(
            self.answer(head + b"Content-Length: 2\r\n\r\nab"), Answer(200, b"ab", Ending.WHOLE)
        )
        chunked = head + b"Transfer-Encoding: chunked\r\n\r\n"
        whole = self.answer(*(bytes([one]) for one in chunked + b"1\r\na\r\n1\r\nb\r\n0\r\n\r\n"))
        self.assertEqual(whole, Answer(200, b"ab", Ending.WHOLE))
        self.assertEqual(self.answer(head + b"\r\nab", close=True), Answer(200, b"ab", Ending.OPEN))
        for cut in (head + b"Content-Length: 3\r\n\r\nab", chunked + b"3\r\nab"):
            self.assertEqual(self.answer(cut, close=True), Answer(200, b"ab", Ending.BROKEN))
        large = b"a" * 201
        told = head + b"Content-Length: 10485760\r\n\r\n"
        self.assertEqual(self.answer(told + large), Answer(200, b"a" * 100, Ending.LARGE))

    def test_endless_header(self) -> None:
        """A header without end is hung up on after a MiB, fields and interim answers alike."""
        for piece in (
            b"X-A: " + b"a" * 1000 + b"\r\n",
            b"\r\nHTTP/1.1 100 " + b"C" * 200 + b"\r\n",
        ):
            done, line = self.begin()
            line.say(b"HTTP/1.1 100 C\r\n")
            sent = 0
            while not line.transport.disconnected and sent < 2_000_000:
                self.assertNoResult(done)
                line.say(piece)
                sent += len(piece)
            self.assertLess(sent, 1024 * 1024 + 2000)
            self.failureResultOf(done)

    def test_endless_chunks(self) -> None:
        """Chunks of nothing but what is between them have an end too."""
        done, line = self.begin()
        line.say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        sent = 0
        while not line.transport.disconnected and sent < 2_000_000:
            line.say(b"1;" + b"x" * 900 + b"\r\na\r\n")
            sent += 907
        self.assertLess(sent, 1024 * 1024 + 2000)
        self.assertIs(self.successResultOf(done).ending, Ending.LARGE)

    def test_drip(self) -> None:
        """A drop now and then does not make the time longer, wherever it falls."""
        for start in (
            b"",
            b"HTTP/1.1 200 OK\r\nX: ",
            b"HTTP/1.1 200 OK\r\nContent-Length: 150\r\n\r\n",
        ):
            done, line = self.begin()
            line.say(start)
            for _ in range(60):
                self.assertNoResult(done)
                line.say(b"x")
                self.reactor.advance(1)
            why = self.failureResultOf(done, TooSlow)
            self.assertIn("60 s", in_words(why.value))
            self.reactor.advance(5)
            self.assertTrue(line.transport.disconnected)

    def test_cancelled(self) -> None:
        """Cancelling ends the connection, and is no other error."""
        done, line = self.begin()
        done.cancel()
        self.failureResultOf(done, CancelledError)
        self.assertTrue(line.transport.disconnected)


class PersistentTests(ClientTestCase):
    """Requests over connections that are kept."""

    persistent = True

    def test_request(self) -> None:
        """Nothing is said of the connection's end, and the next request takes the same."""
        done, line = self.begin()
        self.assertNotIn(b"close", line.transport.value())
        # More in all than may be in one answer.
        for _ in range(1200):
            line.say(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 1000 + b"\r\nContent-Length: 0\r\n\r\n")
            self.assertEqual(self.successResultOf(done).code, 200)
            done = Deferred.fromCoroutine(self.client.call(GET))
        self.assertEqual(len(self.reactor.tcpClients), 1)
        done.cancel()
        self.failureResultOf(done, CancelledError)


class WordsTests(unittest.SynchronousTestCase):
    """What went wrong."""

    def test_words(self) -> None:
        """Whatever it was is put in few words."""
        wrapped = ResponseNeverReceived([Failure(ResponseNeverReceived([Failure(UNTRUSTED)]))])
        words = {
            "TLS: certificate verify failed": wrapped,
            "TLS: connection lost": SSL.Error(),
            "DNS: SERVFAIL": LookupFailed("SERVFAIL"),
            "DNS: no answer": LookupFailed(),
            "ZeroDivisionError": ZeroDivisionError(),
            "a: address not allowed": AddressRefused("a: address not allowed"),
            "the server hung up before its answer was whole": ResponseNeverReceived([]),
        }
        self.assertEqual({in_words(error): error for error in words.values()}, words)
        self.assertEqual(len(in_words(ValueError("x" * 1000))), 300)
        for closed, who in (
            (ConnectionDone, "the server"),
            (ConnectionLost, "the server"),
            (ConnectionAborted, "we"),
        ):
            failed = ResponseNeverReceived([Failure(closed())])
            self.assertTrue(in_words(failed).startswith(f"{who} hung up"), closed)

    def test_untrusted(self) -> None:
        """A certificate that proves nothing is told from all else, TLS that breaks included."""
        self.assertTrue(is_untrusted(UNTRUSTED))
        self.assertTrue(is_untrusted(ResponseNeverReceived([Failure(UNTRUSTED)])))
        for error in (
            None,
            ValueError("certificate verify failed"),
            SSL.Error(),
            SSL.Error([("SSL routines", "", "sslv3 alert handshake failure")]),
            SSL.Error(-1, "Unexpected EOF"),
            ResponseNeverReceived([]),
        ):
            self.assertFalse(is_untrusted(error))


class MistakeTests(unittest.SynchronousTestCase):
    """URLs."""

    def test_good(self) -> None:
        """Ordinary URLs have no mistake."""
        for url in ("http://a.example/", "https://a.example:8443/x?y=z#f", "http://192.0.2.1/"):
            self.assertIsNone(mistake_in_url(url))

    @settings(max_examples=200, deadline=None)
    @given(st.text(max_size=60))
    def test_any_text(self, text: str) -> None:
        """Any text gets an answer."""
        mistake_in_url(text)
        mistake_in_url("http://" + text)
