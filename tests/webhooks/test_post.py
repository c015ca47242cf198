"""One call of a webhook."""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from typing import cast

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import ILogObserver, globalLogPublisher
from twisted.trial import unittest

from moxsmtp.dns.records import Answer, LookupFailed, Question, RRType
from moxsmtp.interfaces import OutgoingEvent
from moxsmtp.message.header import parse_header
from moxsmtp.queue.job import Hook, HookResult
from moxsmtp.testing import MemoryResolver
from moxsmtp.webhooks.post import Poster
from moxsmtp.webhooks.settings import WebhookSettings
from moxsmtp.webhooks.signing import signature
from tests.https.wire import PUBLIC, Handshakes, Line, refuse, take

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOOK = Hook(
    id=7,
    account="alice",
    url="http://hooks.example/path?a=b",
    authorization="Bearer verbatim=",
    event=OutgoingEvent.DELIVERED,
    payload=b'{"Version":0}',
    submitted=NOON,
    next_attempt=NOON,
    attempts=3,
)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class PostTestCase(unittest.SynchronousTestCase):
    """A poster over a reactor without sockets."""

    names: Mapping[Question, Answer | LookupFailed] = {
        Question("hooks.example", RRType.A): Answer((PUBLIC,)),
    }
    allow_private: tuple[str, ...] = ()
    allow_loopback = False

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.reactor.advance(NOON.timestamp())
        self.handshakes = Handshakes()
        self.poster = Poster(
            self.reactor,  # type: ignore[arg-type]  # it has the methods
            MemoryResolver(dict(self.names)),
            self.handshakes,
            WebhookSettings(allow_private=tuple(ip_network(text) for text in self.allow_private)),
            user_agent="moxsmtp/0",
            allow_loopback=self.allow_loopback,
        )
        self.addCleanup(self.end)

    def end(self) -> None:
        """Nothing is left behind, whether or not the other side says goodbye."""
        closed = self.poster.close()
        self.reactor.advance(300)
        self.successResultOf(closed)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def post(self, **changes: object) -> Deferred[HookResult]:
        """Begin a call."""
        hook = replace(HOOK, **changes)  # type: ignore[arg-type]  # a test's choice of fields
        return Deferred.fromCoroutine(self.poster.post(hook))

    @property
    def called(self) -> list[tuple[str, int]]:
        """Where TCP connections were begun."""
        return [(host, port) for host, port, *_ in self.reactor.tcpClients]

    def answer_call(self, number: int = -1) -> Line:
        """Take the connection."""
        return take(self.reactor, number)

    def refuse_call(self, number: int = -1) -> None:
        """Do not take it."""
        refuse(self.reactor, number)


class SignedTests(PostTestCase):
    """A call with secrets."""

    def test_signed(self) -> None:
        """Q-92: the request has the fields of Standard Webhooks, which fit its body."""
        secrets = (b"s" * 24, b"t" * 24)
        done = self.post(secrets=secrets)
        line = self.answer_call()
        head, _, body = line.transport.value().partition(b"\r\n\r\n")
        line.say(OK)
        self.assertTrue(self.successResultOf(done).success)
        sent = parse_header(head.partition(b"\r\n")[2] + b"\r\n\r\n")
        seconds = int(sent.text("webhook-timestamp"))
        self.assertEqual(seconds, int(NOON.timestamp()))
        identifier = sent.text("webhook-id")
        self.assertEqual(
            sent.text("webhook-signature").split(" "),
            [signature(secret, identifier, seconds, body) for secret in secrets],
        )


class RequestTests(PostTestCase):
    """What is sent."""

    def sent(self, **changes: object) -> bytes:
        """The request."""
        done = self.post(**changes)
        line = self.answer_call()
        request: bytes = line.transport.value()
        line.say(OK)
        self.assertTrue(self.successResultOf(done).success)
        return request

    def test_request(self) -> None:
        """Q-73: POST of the JSON to the URL."""
        head, _, body = self.sent().partition(b"\r\n\r\n")
        self.assertEqual(head.splitlines()[0], b"POST /path?a=b HTTP/1.1")
        self.assertEqual(body, b'{"Version":0}')
        self.assertEqual(self.called, [(PUBLIC, 80)])

    def test_header(self) -> None:
        """Q-73: our header fields, and nothing that asks for more than we want."""
        head = self.sent().partition(b"\r\n\r\n")[0].decode()
        fields = {
            name.lower(): value
            for name, value in (line.split(": ", 1) for line in head.splitlines()[1:])
        }
        self.assertEqual(
            fields,
            {
                "host": "hooks.example",
                "content-type": "application/json; charset=utf-8",
                "content-length": "13",
                "user-agent": "moxsmtp/0",
                "x-mox-webhook-id": "7",
                "x-mox-webhook-attempt": "3",
                "authorization": "Bearer verbatim=",
            }
            | {name: fields[name] for name in ("connection",) if name in fields},
        )

    def test_no_authorization(self) -> None:
        """Without authorization there is no such field."""
        self.assertNotIn(b"uthorization", self.sent(authorization=""))

    def test_no_cookies(self) -> None:
        """A cookie that one call was given is not sent with the next."""
        done = self.post()
        line = self.answer_call()
        line.say(b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\nContent-Length: 0\r\n\r\n")
        self.assertTrue(self.successResultOf(done).success)
        line.transport.clear()
        again = self.post()
        self.assertNotIn(b"ookie", line.transport.value())
        line.say(OK)
        self.assertTrue(self.successResultOf(again).success)

    def test_connection_is_kept(self) -> None:
        """The next call to the same host uses the same connection."""
        first = self.post()
        line = self.answer_call()
        line.say(OK)
        self.successResultOf(first)
        second = self.post()
        line.say(OK)
        self.successResultOf(second)
        self.assertEqual(len(self.called), 1)

    def test_quiet(self) -> None:
        """A connection, with or without TLS, leaves no line of the factories' own in the log."""
        for url in ("http://hooks.example/", "https://hooks.example/"):
            done = self.post(url=url)
            lines: list[object] = []
            hear = cast("ILogObserver", lines.append)
            globalLogPublisher.addObserver(hear)
            factory = self.reactor.tcpClients[-1][2]
            factory.doStart()
            factory.doStop()
            globalLogPublisher.removeObserver(hear)
            done.cancel()
            self.failureResultOf(done, CancelledError)
            self.assertEqual(lines, [])

    def test_tls(self) -> None:
        """An https URL is called with TLS for its host, on port 443."""
        done = self.post(url="https://hooks.example/")
        self.assertEqual(self.called, [(PUBLIC, 443)])
        self.assertEqual(self.handshakes.hosts, ["hooks.example"])
        done.cancel()
        self.failureResultOf(done, CancelledError)


class AnswerTests(PostTestCase):
    """What comes back."""

    def result(self, *pieces: bytes, close: bool = False) -> HookResult:
        """Of an answer in pieces."""
        done = self.post()
        line = self.answer_call()
        for piece in pieces:
            line.say(piece)
        if close:
            line.hang_up()
        return self.successResultOf(done)

    def test_success(self) -> None:
        """Q-73: status 200 is a success."""
        found = self.result(OK)
        self.assertEqual(
            (found.success, found.code, found.error, found.response, found.url),
            (True, 200, "", "ok", HOOK.url),
        )

    def test_byte_by_byte(self) -> None:
        """An answer in single octets is the same answer."""
        self.assertEqual(self.result(*(bytes([octet]) for octet in OK)).response, "ok")

    def test_other_status(self) -> None:
        """Q-73: only status 200 succeeds, not 201, 204, 301, 404 or 500."""
        for status in (201, 202, 204, 301, 302, 307, 404, 500, 599):
            answer = b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n" % status
            found = self.result(answer, close=True)
            self.assertEqual((found.success, found.code), (False, status))
            self.assertIn(str(status), found.error)
            self.reactor.tcpClients.clear()

    def test_redirect(self) -> None:
        """Q-73: a redirect is not followed."""
        answer = b"HTTP/1.1 302 X\r\nLocation: http://other.example/\r\nContent-Length: 0\r\n\r\n"
        self.assertEqual(self.result(answer).code, 302)
        self.assertEqual(len(self.called), 1)

    def test_first_512(self) -> None:
        """Q-73: the first 512 octets of the answer are kept."""
        body = b"a" * 512 + b"b" * 1000
        head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
        self.assertEqual(self.result(head + body).response, "a" * 512)
        self.reactor.tcpClients.clear()

    def test_echo(self) -> None:
        """A server that repeats the request brings no authorization into history (Q-23)."""
        body = b"you sent Bearer verbatim= to me"
        head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
        self.assertEqual(self.result(head + body).response, "you sent *** to me")

    def test_endless_body(self) -> None:
        """An answer that never ends is hung up on after 64 KiB, and its status counts."""
        done = self.post()
        line = self.answer_call()
        line.say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(17):
            self.assertNoResult(done)
            line.say(b"1000\r\n" + b"a" * 4096 + b"\r\n")
        found = self.successResultOf(done)
        self.assertTrue(found.success)
        self.assertEqual(len(found.response), 512)
        self.assertFalse(line.transport.disconnected)
        self.reactor.advance(5)
        self.assertTrue(line.transport.disconnected)

    def test_not_inflated(self) -> None:
        """What is compressed is kept as it is: a bomb stays small."""
        body = gzip.compress(bytes(10_000_000))
        head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n"
        found = self.result(head % len(body) + body)
        self.assertTrue(found.success)
        self.assertEqual(found.response, body[:512].decode("utf-8", "replace"))

    def test_broken_body(self) -> None:
        """A connection lost in the body does not change what the status said."""
        found = self.result(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", close=True)
        self.assertEqual((found.success, found.response), (True, "abc"))

    def test_lost(self) -> None:
        """A connection lost before the status is a failure with words."""
        found = self.result(close=True)
        self.assertEqual((found.success, found.code), (False, 0))
        self.assertTrue(found.error)

    def test_not_http(self) -> None:
        """An answer that is no HTTP is a failure with words."""
        found = self.result(b"220 mx.example ESMTP\r\n", close=True)
        self.assertEqual((found.success, found.code), (False, 0))
        self.assertTrue(found.error)

    def test_refused(self) -> None:
        """A refused connection is a failure with words."""
        done = self.post()
        self.refuse_call()
        found = self.successResultOf(done)
        self.assertEqual((found.success, found.code), (False, 0))
        self.assertIn("refused", found.error.lower())

    def test_duration(self) -> None:
        """Start and duration are measured."""
        done = self.post()
        line = self.answer_call()
        self.reactor.advance(2)
        line.say(OK)
        found = self.successResultOf(done)
        self.assertEqual((found.start, found.duration), (NOON, timedelta(seconds=2)))


class LimitTests(PostTestCase):
    """Time."""

    def test_no_answer(self) -> None:
        """Q-73: a call ends after 60 seconds without an answer."""
        done = self.post()
        line = self.answer_call()
        self.reactor.advance(59)
        self.assertNoResult(done)
        self.reactor.advance(1)
        found = self.successResultOf(done)
        self.assertEqual((found.success, found.code), (False, 0))
        self.assertIn("60 s", found.error)
        self.assertTrue(line.transport.disconnected)

    def test_slow_body(self) -> None:
        """Q-73: the limit covers the body: a drop now and then does not extend it."""
        done = self.post()
        line = self.answer_call()
        line.say(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        for _ in range(60):
            self.assertNoResult(done)
            line.say(b"x")
            self.reactor.advance(1)
        self.assertFalse(self.successResultOf(done).success)

    def test_no_connection(self) -> None:
        """A host that drops packets costs the time of a connection, not a minute."""
        done = self.post()
        _, _, factory, timeout, _ = self.reactor.tcpClients[0]
        self.assertEqual(timeout, 10)
        del factory
        done.cancel()
        self.failureResultOf(done, CancelledError)

    def test_cancelled(self) -> None:
        """Cancelling a call, at whichever stage, ends in L{CancelledError} and no result."""
        resolving = Poster(
            self.reactor,  # type: ignore[arg-type]  # it has the methods
            _Silent(),  # type: ignore[arg-type]  # it has the method
            self.handshakes,
            WebhookSettings(),
            user_agent="x",
            allow_loopback=False,
        )
        calls = [Deferred.fromCoroutine(resolving.post(HOOK)), self.post()]
        sent = self.post(url="http://hooks.example:81/")
        self.answer_call()
        body = self.post(url="http://hooks.example:82/")
        self.answer_call().say(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n")
        for call in (*calls, sent, body):
            self.assertNoResult(call)
            call.cancel()
            self.failureResultOf(call, CancelledError)


class _Silent:
    """A resolver that never answers."""

    def lookup(self, question: Question) -> Deferred[Answer]:
        """Never."""
        del question
        return Deferred()


class AddressTests(PostTestCase):
    """Where it may connect to."""

    names: Mapping[Question, Answer | LookupFailed] = {
        Question("hooks.example", RRType.A): Answer((PUBLIC,)),
        Question("inner.example", RRType.A): Answer(("10.1.2.3",)),
        Question("loop.example", RRType.A): Answer(("127.0.0.1",)),
        Question("mixed.example", RRType.A): Answer(("127.0.0.1", "10.0.0.1", PUBLIC)),
        Question("six.example", RRType.AAAA): Answer(("2a00::1",)),
        Question("many.example", RRType.A): Answer(tuple(f"198.41.0.{n}" for n in range(1, 99))),
        Question("lame.example", RRType.A): LookupFailed("SERVFAIL"),
        Question("lame.example", RRType.AAAA): LookupFailed("SERVFAIL"),
        Question("half.example", RRType.A): Answer((PUBLIC,)),
        Question("half.example", RRType.AAAA): LookupFailed("SERVFAIL"),
    }

    def refused(self, url: str) -> str:
        """The error of a call that connects nowhere."""
        found = self.successResultOf(self.post(url=url))
        self.assertFalse(found.success)
        self.assertEqual(self.called, [])
        return found.error

    def test_private(self) -> None:
        """A name with none but private or loopback addresses is not called."""
        self.assertIn("not allowed", self.refused("http://inner.example/"))
        self.assertIn("not allowed", self.refused("http://loop.example/"))

    def test_literals(self) -> None:
        """Addresses in URLs are checked as those of names are, in every spelling."""
        for host in ("127.0.0.1", "10.0.0.1", "169.254.169.254", "0.0.0.0", "224.0.0.1"):
            self.assertIn("not allowed", self.refused(f"http://{host}/"))
        for host in ("127.1", "0x7f000001", "2130706433", "localhost", "LOCALHOST."):
            self.refused(f"http://{host}/")

    def test_mixed(self) -> None:
        """Of a name with good and bad addresses only the good are used."""
        done = self.post(url="http://mixed.example/")
        self.assertEqual(self.called, [(PUBLIC, 80)])
        self.refuse_call()
        self.assertFalse(self.successResultOf(done).success)
        self.assertEqual(len(self.called), 1)

    def test_no_rebinding(self) -> None:
        """The name is resolved once, and what was checked is connected to."""
        asked: list[Question] = []
        resolver = MemoryResolver(dict(self.names))

        class Counting:
            def lookup(self, question: Question) -> Deferred[Answer]:
                asked.append(question)
                return resolver.lookup(question)

        poster = Poster(
            self.reactor,  # type: ignore[arg-type]  # it has the methods
            Counting(),  # type: ignore[arg-type]  # it has the method
            self.handshakes,
            WebhookSettings(),
            user_agent="x",
            allow_loopback=False,
        )
        done = Deferred.fromCoroutine(poster.post(HOOK))
        self.assertEqual(
            sorted(asked, key=str),
            [Question("hooks.example", RRType.A), Question("hooks.example", RRType.AAAA)],
        )
        self.assertEqual(self.called, [(PUBLIC, 80)])
        done.cancel()
        self.failureResultOf(done, CancelledError)

    def test_next_address(self) -> None:
        """An address that refuses is followed by the next, four in all."""
        done = self.post(url="http://many.example/")
        for _ in range(4):
            self.assertNoResult(done)
            self.refuse_call()
        self.successResultOf(done)
        self.assertEqual([host for host, _ in self.called], [f"198.41.0.{n}" for n in range(1, 5)])

    def test_ipv6(self) -> None:
        """A name with IPv6 only is called there."""
        done = self.post(url="http://six.example/")
        self.assertEqual(self.called, [("2a00::1", 80)])
        done.cancel()
        self.failureResultOf(done, CancelledError)

    def test_dns_fails(self) -> None:
        """A DNS that fails is a failure with words; half an answer is enough."""
        self.assertIn("DNS", self.refused("http://lame.example/"))
        self.assertIn("no address", self.refused("http://nowhere.example/"))
        done = self.post(url="http://half.example/")
        self.assertEqual(self.called, [(PUBLIC, 80)])
        done.cancel()
        self.failureResultOf(done, CancelledError)

    def test_bad_urls(self) -> None:
        """URLs that cannot be called are failures with words, never exceptions."""
        self.assertIn("IPv6", self.refused("http://[2a00::1]/"))
        for url in ("ftp://a.example/", "http://", "http://a:b@c.example/", "http://a:99999/", "x"):
            self.assertIn("URL", self.refused(url))


class AllowedTests(PostTestCase):
    """Exceptions that an operator makes."""

    names: Mapping[Question, Answer | LookupFailed] = {
        Question("inner.example", RRType.A): Answer(("10.1.2.3",)),
    }
    allow_private = ("10.0.0.0/8", "0.0.0.0/0", "::/0")

    def test_allowed_network(self) -> None:
        """Networks of C{allow_private} are called."""
        done = self.post(url="http://inner.example/")
        self.assertEqual(self.called, [("10.1.2.3", 80)])
        done.cancel()
        self.failureResultOf(done, CancelledError)

    def test_never_loopback(self) -> None:
        """No network allows loopback, nor the unspecified address, which leads there."""
        for url in ("http://127.0.0.1/", "http://0.0.0.0/", "http://localhost/"):
            self.assertFalse(self.successResultOf(self.post(url=url)).success)
        self.assertEqual(self.called, [])


class LoopbackTests(PostTestCase):
    """As in localserve."""

    allow_loopback = True

    def test_loopback(self) -> None:
        """Where loopback is allowed, it is called by address and by name."""
        for url in ("http://127.0.0.1:8080/", "http://localhost:8080/"):
            done = self.post(url=url)
            self.assertEqual(self.called[-1], ("127.0.0.1", 8080))
            done.cancel()
            self.failureResultOf(done, CancelledError)

    def test_not_other_networks(self) -> None:
        """Private networks are another matter."""
        self.assertFalse(self.successResultOf(self.post(url="http://10.0.0.1/")).success)
