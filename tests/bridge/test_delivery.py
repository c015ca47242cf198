"""Our checks before a delivery of C{twisted.mail}."""

from __future__ import annotations

import base64
import hashlib
import itertools
import tempfile
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.mail.interfaces import IMessageDelivery, IMessageSMTP
from twisted.mail.smtp import ESMTP, Address, SMTPBadRcpt, SMTPBadSender, SMTPServerError, User
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from moxsmtp import dkim, dmarc, iprev, spf
from moxsmtp.bridge import Checked, CheckedDelivery, transaction
from moxsmtp.dns.records import Answer, LookupFailed, Question, Record, RRType
from moxsmtp.interfaces import IResolver
from moxsmtp.message.header import MAXIMUM_LINES, MAXIMUM_SECTION
from moxsmtp.names import parse_domain
from moxsmtp.public_suffix import PublicSuffixes
from moxsmtp.testing import MemoryMetrics, MemoryResolver

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
HOSTNAME = parse_domain("mx.example")
SENDER = parse_domain("sender.example")
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = base64.b64encode(KEY.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))
SUFFIXES = PublicSuffixes()

ZONE: Mapping[Question, Sequence[Record] | Answer | LookupFailed] = {
    Question("1.2.0.192.in-addr.arpa", RRType.PTR): ("mail.sender.example",),
    Question("mail.sender.example", RRType.A): ("192.0.2.1",),
    Question("sender.example", RRType.TXT): (b"v=spf1 ip4:192.0.2.1 -all",),
    Question("s._domainkey.sender.example", RRType.TXT): (b"v=DKIM1; k=ed25519; p=" + PUBLIC,),
    Question("_dmarc.sender.example", RRType.TXT): (b"v=DMARC1; p=reject",),
}

MESSAGE = b"From: a@sender.example\r\nSubject: hello\r\n\r\nFirst\r\n.dots and  spaces \r\n"
SIGNED = dkim.sign(MESSAGE, [dkim.Signer(SENDER, "s", KEY)], now=NOW)


@implementer(IMessageSMTP)
class Message:
    """A recipient's: what it was given, in order, and what it is to answer."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.ended = False
        self.lost = False
        self.answer: Deferred[None] | None = None
        self.refusal: Exception | None = None

    def lineReceived(self, line: bytes) -> None:
        """See L{IMessageSMTP}."""
        if self.refusal is not None:
            raise self.refusal
        self.lines.append(line)

    def eomReceived(self) -> Deferred[None]:
        """See L{IMessageSMTP}."""
        self.ended = True
        return self.answer or succeed(None)

    def connectionLost(self) -> None:
        """See L{IMessageSMTP}."""
        self.lost = True


@implementer(IMessageDelivery)
class Delivery:
    """Takes what it is not told to refuse."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.received = b"Received: from x\n\tby y; now"
        self.sender: Any = None
        self.recipient: Exception | None = None
        self.later: Deferred[Any] | None = None

    def receivedHeader(self, helo: object, origin: object, recipients: list[User]) -> bytes:
        """See L{IMessageDelivery}."""
        # Each time another object, as a real one makes it.
        return self.received and self.received + b""

    def validateFrom(self, helo: object, origin: Address) -> Any:
        """See L{IMessageDelivery}."""
        if isinstance(self.sender, Exception):
            raise self.sender
        return origin if self.sender is None else self.sender

    def validateTo(self, user: User) -> Any:
        """See L{IMessageDelivery}."""
        if self.recipient is not None:
            raise self.recipient
        return self.message if self.later is None else self.later

    def message(self) -> Message:
        """For one recipient."""
        made = Message()
        self.messages.append(made)
        return made


@implementer(IResolver)
class SlowResolver:
    """Answers to some types of question when it is told to."""

    def __init__(self, resolver: MemoryResolver, *types: RRType) -> None:
        self.resolver = resolver
        self.types = types
        self.waiting: list[tuple[Question, Deferred[Answer]]] = []
        self.answered: list[Deferred[None]] = []

    def lookup(self, question: Question) -> Deferred[Answer]:
        """See L{IResolver.lookup}."""
        if question.type not in self.types:
            return self.resolver.lookup(question)
        waiting: Deferred[Answer] = Deferred()
        self.waiting.append((question, waiting))
        return waiting

    def answer(self) -> None:
        """All that wait, and those that come of it."""
        while self.waiting:
            question, waiting = self.waiting.pop(0)
            if not waiting.called:
                answer = self.resolver.lookup(question)
                self.answered.append(answer.addCallbacks(waiting.callback, waiting.errback))


class Turns(Clock):
    """@ivar turn: Called when somebody lets others have their turn."""

    def __init__(self) -> None:
        super().__init__()
        self.turn: Callable[[], object] = lambda: None

    def callLater(
        self,
        delay: float,
        callable: Callable[..., object],  # noqa: A002 - Twisted's name
        *args: object,
        **kw: object,
    ) -> IDelayedCall:
        """See L{IReactorTime.callLater}."""
        if not delay:
            self.turn()
        return super().callLater(delay, callable, *args, **kw)


def broken(*_given: object, **_more: object) -> Any:
    """A bug."""
    raise ZeroDivisionError


class BridgeTestCase(SynchronousTestCase):
    """A client of a server made with C{twisted.mail}."""

    checked: Callable[[IMessageSMTP, Checked], Any] | None = None

    def setUp(self) -> None:
        self.clock = Turns()
        self.clock.rightNow = NOW.timestamp()
        self.inner = Delivery()
        self.metrics = MemoryMetrics()
        self.use(MemoryResolver(ZONE))
        self.connect()

    def use(self, resolver: IResolver) -> None:
        """Ask C{resolver}."""
        self.delivery = CheckedDelivery(
            self.inner,
            resolver=resolver,
            hostname=HOSTNAME,
            clock=self.clock,
            public_suffixes=SUFFIXES,
            checked=self.checked,
            metrics=self.metrics,
        )

    def connect(self, address: str = "192.0.2.1") -> None:
        """Come from C{address}."""
        self.transport = StringTransport(peerAddress=IPv4Address("TCP", address, 1))
        self.session = ESMTP()
        self.session.noisy = False
        self.session.delivery = self.delivery
        self.session.makeConnection(self.transport)
        self.session.setTimeout(None)
        self.replies()

    def replies(self) -> list[int]:
        """The codes of the replies that have come since."""
        text = self.transport.value().decode()
        self.transport.clear()
        return [int(line[:3]) for line in text.splitlines() if line[3:4] == " "]

    def say(self, *lines: bytes) -> list[int]:
        """Send lines; the codes of the replies."""
        self.session.dataReceived(b"".join(line + b"\r\n" for line in lines))
        self.session.setTimeout(None)
        return self.replies()

    def envelope(self, sender: bytes = b"a@sender.example", recipients: int = 1) -> None:
        """Come as far as DATA."""
        codes = self.say(b"EHLO mail.sender.example", b"MAIL FROM:<" + sender + b">")
        for number in range(recipients):
            codes += self.say(b"RCPT TO:<u%d@mx.example>" % number)
        codes += self.say(b"DATA")
        self.assertEqual(codes, [250, 250] + [250] * recipients + [354])

    def send(self, content: bytes, **envelope: Any) -> list[int]:
        """A whole message; the code in the end, if it has come."""
        self.envelope(**envelope)
        lines = content.split(b"\r\n")[:-1]
        codes = self.say(*(b"." + line if line.startswith(b".") else line for line in lines), b".")
        self.clock.advance(0)
        return codes + self.replies()

    def results(self, message: Message) -> str:
        """Our Authentication-Results, which have to be in front, unfolded."""
        lines = iter(message.lines)
        text = next(lines)
        for line in lines:
            if not line.startswith(b"\t"):
                break
            text += line
        self.assertTrue(text.startswith(b"Authentication-Results: mx.example;"), text)
        return text.decode()


class FieldsTests(BridgeTestCase):
    """Messages that get our fields in front."""

    def test_interfaces(self) -> None:
        """It is a delivery, and its messages are messages."""
        verifyObject(IMessageDelivery, self.delivery)
        self.envelope()
        verifyObject(IMessageSMTP, vars(self.session)["_SMTP__messages"][0])

    def test_everything_passes(self) -> None:
        """A good message is given on whole, behind what all four checks say."""
        self.assertEqual(self.send(SIGNED), [250])
        (message,) = self.inner.messages
        self.assertTrue(message.ended)
        self.assertFalse(message.lost)
        place = message.lines.index(self.inner.received)
        fields = b"\r\n".join(message.lines[:place]).replace(b"\r\n\t", b" ").split(b"\r\n")
        self.assertEqual([field.partition(b":")[0] for field in fields],
                         [b"Authentication-Results", b"Received-SPF"])  # fmt: skip
        self.assertEqual(message.lines[place + 1 :], SIGNED.split(b"\r\n")[:-1])
        for word in (
            b"iprev=pass (without dnssec) policy.iprev=192.0.2.1",
            b"dkim=pass (without dnssec) header.d=sender.example header.s=s",
            b"spf=pass (without dnssec) smtp.mailfrom=sender.example",
            b"dmarc=pass (without dnssec) header.from=sender.example",
        ):
            self.assertIn(word, fields[0])
        self.assertIn(b'helo=mail.sender.example; mechanism="ip4:192.0.2.1"', fields[1])
        self.assertIn(b"identity=mailfrom", fields[1])

    def test_checked_without_received(self) -> None:
        """A delivery that writes no Received field gets the same content."""
        self.inner.received = b""
        self.assertEqual(self.send(SIGNED), [250])
        lines = self.inner.messages[0].lines
        self.assertEqual(lines[-len(SIGNED.split(b"\r\n")) + 1 :], SIGNED.split(b"\r\n")[:-1])
        self.assertIn("dkim=pass", self.results(self.inner.messages[0]))

    def test_body_alone(self) -> None:
        """What twisted.mail puts before a body without header is no header of the client's."""
        self.inner.received = b""
        body = b"no header\r\nAuthentication-Results: mx.example; none\r\n"
        self.send(body)
        self.assertEqual(self.inner.messages[0].lines[-3:], [b"", *body.split(b"\r\n")[:-1]])

    def test_mapped_address(self) -> None:
        """An IPv4 address in the clothes of IPv6 is one."""
        self.connect("::ffff:192.0.2.1")
        self.send(MESSAGE)
        self.assertIn("iprev=pass (without dnssec) policy.iprev=192.0.2.1;",
                      self.results(self.inner.messages[0]).replace("\t", " "))  # fmt: skip

    def test_changed_body(self) -> None:
        """What was changed on the way does not pass."""
        self.send(SIGNED.replace(b"First", b"Worst"))
        self.assertIn('dkim=fail (without dnssec) reason="body hash differs"',
                      self.results(self.inner.messages[0]))  # fmt: skip

    def test_foreign_address(self) -> None:
        """The address that counts is that of the connection."""
        self.connect("198.51.100.7")
        self.send(MESSAGE)
        text = self.results(self.inner.messages[0])
        for word in ("iprev=permerror", "spf=fail", "dkim=none", "dmarc=fail"):
            self.assertIn(word, text)

    def test_null_sender(self) -> None:
        """For the null reverse-path the name of EHLO is checked."""
        self.send(MESSAGE, sender=b"")
        self.assertIn("smtp.helo=mail.sender.example", self.results(self.inner.messages[0]))

    def test_odd_senders(self) -> None:
        """A sender whose domain we cannot read is shown, and harms nothing."""
        self.assertEqual(self.send(MESSAGE, sender=b"a@under_score.example"), [250])
        lines = b" ".join(line.strip() for line in self.inner.messages[0].lines)
        self.assertIn(b"a@under_score.example", lines)

    def test_forged_results(self) -> None:
        """I-119: fields that claim to be ours are taken out, those of others stay."""
        own = b"Authentication-Results: MX.example;\r\n spf=pass\r\n"
        other = b"Authentication-Results: mx.other.example; spf=pass\r\n"
        self.send(own + other + MESSAGE)
        lines = self.inner.messages[0].lines
        place = lines.index(self.inner.received)
        self.assertEqual(lines[place + 1 :], (other + MESSAGE).split(b"\r\n")[:-1])

    def test_recipients(self) -> None:
        """Each recipient gets all of it, behind a Received field of its own; checks run once."""
        resolver = MemoryResolver(ZONE)
        self.use(resolver)
        self.connect()
        self.assertEqual(self.send(SIGNED, recipients=3), [250])
        first, second, third = (message.lines for message in self.inner.messages)
        self.assertEqual(first, second)
        self.assertEqual(first, third)
        self.assertEqual(first.count(self.inner.received), 1)
        keys = Question("s._domainkey.sender.example", RRType.TXT)
        self.assertEqual(resolver.asked.count(keys), 1)

    def test_messages_one_after_another(self) -> None:
        """A second message of a connection is judged by itself."""
        self.send(SIGNED)
        self.connect("198.51.100.7")
        self.send(SIGNED, sender=b"b@other.example")
        self.assertIn("spf=pass", self.results(self.inner.messages[0]))
        self.assertIn("spf=none", self.results(self.inner.messages[1]))

    def test_connections_at_a_time(self) -> None:
        """One delivery serves many connections: nobody gets the results of another."""
        self.envelope()
        good = self.session, self.transport
        self.connect("198.51.100.7")
        self.envelope(sender=b"x@sender.example")
        bad = self.session, self.transport
        for self.session, self.transport in (good, bad):
            self.say(*SIGNED.split(b"\r\n")[:4])
        for self.session, self.transport in (good, bad):
            self.assertEqual(self.say(b"First", b"..dots and  spaces ", b"."), [250])
        self.assertIn("spf=pass", self.results(self.inner.messages[0]))
        self.assertIn("spf=fail", self.results(self.inner.messages[1]))

    def test_odd_contents(self) -> None:
        """Content without header, without body, without anything, with bare CR and LF."""
        contents = {
            b"no header at all\r\n": [b"", b"no header at all"],
            b"A: b\r\n": [b"A: b"],
            b"": [],
            b"\r\n": [b""],
            b"A: b\nC: d\r\n\r\n\ne\r\r\n\r\n": [b"A: b", b"C: d", b"", b"\ne\r", b""],
            b"A: b\nAuthentication-Results: mx.example\nC: d\r\n\r\n": [b"A: b", b"C: d", b""],
        }
        found = {}
        for content in contents:
            self.connect()
            self.inner.messages.clear()
            self.assertEqual(self.send(content), [250], content)
            lines = self.inner.messages[0].lines
            found[content] = lines[lines.index(self.inner.received) + 1 :]
        self.assertEqual(found, contents)

    def test_line_ends(self) -> None:
        """
        No reader sees other fields than the checks did, whatever ends a line to it: a
        bare LF in the header section becomes a line end, a bare CR is refused.
        """
        forged = b"Authentication-Results: mx.example; dkim=pass"
        self.assertEqual(self.send(b"A: b\n\nc\r\n" + forged + b"\r\n\r\nd\r\n"), [250])
        lines = self.inner.messages.pop().lines
        place = lines.index(self.inner.received)
        self.assertEqual(lines[place + 1 :], [b"A: b", b"", b"c", forged, b"", b"d"])
        for content in (b"A: b\r" + forged + b"\r\n\r\n", b"A: b\r\r\n\r\n", b"A: b\nC: \rd\r\n"):
            self.connect()
            self.assertEqual(self.send(content), [554], content)
            message = self.inner.messages.pop()
            self.assertTrue(message.lost)
            self.assertFalse(message.ended)
        self.connect()
        self.assertEqual(self.send(b"A: b\r\n" + b"\n" * 16_000 + b"\r\n\r\n"), [250])
        self.assertEqual(self.inner.messages[0].lines[-16_002:], [b""] * 16_002)

    def test_large(self) -> None:
        """Content beyond what memory may hold comes whole, a piece in each turn."""
        body = b"".join(b"%06d %s\r\n" % (n, b"x" * (n % 900)) for n in range(3000))
        content = dkim.sign(MESSAGE + body, [dkim.Signer(SENDER, "s", KEY)], now=NOW)
        pieces: list[int] = []
        self.clock.turn = lambda: pieces.append(len(b"".join(self.inner.messages[0].lines)))
        self.assertEqual(self.send(content), [250])
        (message,) = self.inner.messages
        self.assertGreater(len(pieces), 10)
        steps = [after - before for before, after in itertools.pairwise([0, *pieces])]
        self.assertLess(max(steps), 140_000)
        lines = message.lines[message.lines.index(self.inner.received) + 1 :]
        self.assertEqual(hashlib.sha256(b"".join(line + b"\r\n" for line in lines)).digest(),
                         hashlib.sha256(content).digest())  # fmt: skip
        self.assertIn("dkim=pass", self.results(message))

    def test_header_without_end(self) -> None:
        """
        A header section of more than 1 MiB or 20000 lines is refused: what would
        not be looked at could hold results in our name.
        """
        megabyte = MAXIMUM_SECTION // 1000
        for line, taken in (b" " + b"z" * 997, megabyte), (b" z", MAXIMUM_LINES):
            for end in (b"", b"\r\nbody\r\n"):
                for more, code in ((-1, 250), (1, 552)):
                    self.connect()
                    content = b"X-Long: y\r\n" + (line + b"\r\n") * (taken + more) + end
                    self.assertEqual(self.send(content), [code])
                    message = self.inner.messages[-1]
                    self.assertEqual((message.ended, message.lost), (code == 250, code != 250))
                    kept = (
                        message.lines[message.lines.index(self.inner.received) + 1 :]
                        if message.ended
                        else message.lines
                    )
                    self.assertEqual(kept, content.split(b"\r\n")[:-1] if code == 250 else [])
        self.assertEqual(self.clock.getDelayedCalls(), [])


class RefusedTests(BridgeTestCase):
    """What the delivery refuses, it refuses."""

    def test_sender(self) -> None:
        """A refused sender is refused, and nothing is looked up for it."""
        resolver = MemoryResolver(ZONE)
        self.use(resolver)
        self.connect()
        self.inner.sender = SMTPBadSender(b"a@sender.example")
        self.assertEqual(self.say(b"EHLO a.example", b"MAIL FROM:<a@sender.example>"), [250, 550])
        self.assertEqual(resolver.asked, [])

    def test_sender_later(self) -> None:
        """The delivery may take its time."""
        self.inner.sender = Deferred()
        self.assertEqual(self.say(b"EHLO a.example", b"MAIL FROM:<a@sender.example>"), [250])
        self.inner.sender.callback(Address(b"a@sender.example"))
        self.assertEqual(self.replies(), [250])

    def test_recipient(self) -> None:
        """So are recipients."""
        self.inner.recipient = SMTPBadRcpt(b"u@mx.example")
        self.assertEqual(
            self.say(b"EHLO a.example", b"MAIL FROM:<a@sender.example>", b"RCPT TO:<u@mx.example>"),
            [250, 250, 550],
        )

    def test_recipient_later(self) -> None:
        """A recipient that is looked for is found."""
        self.inner.later = Deferred()
        self.say(b"EHLO mail.sender.example", b"MAIL FROM:<a@sender.example>")
        self.assertEqual(self.say(b"RCPT TO:<u@mx.example>"), [])
        self.inner.later.callback(self.inner.message)
        self.assertEqual(self.replies(), [250])
        self.assertEqual(self.say(b"DATA"), [354])
        self.assertEqual(self.say(*MESSAGE.split(b"\r\n")[:4], b"."), [250])
        self.assertIn("spf=pass", self.results(self.inner.messages[0]))

    def test_end(self) -> None:
        """A message that fails in the end has failed for the client."""
        self.envelope()
        self.inner.messages[0].answer = fail(SMTPServerError(452, b"full"))
        self.assertEqual(self.say(b"A: b", b"", b"."), [550])
        self.assertEqual(len(self.flushLoggedErrors(SMTPServerError)), 1)
        self.assertFalse(self.inner.messages[0].lost)

    def test_line(self) -> None:
        """A message that refuses a line is told to forget it, and the client that it failed."""
        self.envelope(recipients=2)
        self.inner.messages[0].refusal = SMTPServerError(452, b"full")
        self.assertEqual(self.say(b"A: b", b"", b"."), [550])
        self.assertEqual(len(self.flushLoggedErrors(SMTPServerError)), 1)
        self.assertEqual([message.lost for message in self.inner.messages], [True, False])
        self.assertEqual([message.ended for message in self.inner.messages], [False, True])


class TroubleTests(BridgeTestCase):
    """Nothing that goes wrong with a check harms a message."""

    def test_waits(self) -> None:
        """A message waits for its checks before it is given on."""
        resolver = SlowResolver(MemoryResolver(ZONE), RRType.TXT)
        self.use(resolver)
        self.connect()
        self.assertEqual(self.send(SIGNED), [])
        (message,) = self.inner.messages
        self.assertEqual(message.lines, [])
        resolver.answer()
        self.assertEqual(self.replies(), [250])
        self.assertIn("dmarc=pass", self.results(message))

    def test_waits_for_all(self) -> None:
        """Several recipients wait for the same checks."""
        memory = MemoryResolver(ZONE)
        resolver = SlowResolver(memory, RRType.TXT)
        self.use(resolver)
        self.connect()
        self.assertEqual(self.send(SIGNED, recipients=3), [])
        resolver.answer()
        self.assertEqual(self.replies(), [250])
        self.assertTrue(all(message.ended for message in self.inner.messages))
        policy = Question("_dmarc.sender.example", RRType.TXT)
        self.assertEqual(memory.asked.count(policy), 1)

    def test_time_limit(self) -> None:
        """A DNS that never answers costs the results, not the message."""
        self.use(SlowResolver(MemoryResolver(ZONE), *RRType))
        self.connect()
        self.assertEqual(self.send(SIGNED), [])
        for _ in range(130):
            self.clock.advance(1)
        self.assertEqual(self.replies(), [250])
        text = self.results(self.inner.messages[0])
        for method in ("iprev", "dkim", "spf", "dmarc"):
            self.assertIn(f"{method}=temperror", text)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_bugs(self) -> None:
        """A bug in each check is logged and counted; the message goes through."""

        for module, name in ((spf, "verify"), (dmarc, "verify"), (iprev, "verify"),
                             (dkim, "Verifier")):  # fmt: skip
            self.patch(module, name, broken)
        self.assertEqual(self.send(SIGNED), [250])
        text = self.results(self.inner.messages[0])
        for method in ("iprev", "dkim", "spf", "dmarc"):
            self.assertIn(f"{method}=temperror", text)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 4)
        self.assertEqual(sum(self.metrics.counts.values()), 4)

    def test_results_that_cannot_be_written(self) -> None:
        """A bug in the writing of results costs the results."""

        self.patch(transaction, "result_fields", broken)
        self.assertEqual(self.send(SIGNED), [250])
        self.assertEqual(
            self.inner.messages[0].lines[0], b"Authentication-Results: mx.example; none"
        )
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_client_without_address(self) -> None:
        """A client on a socket without IP address has no results; forged ones go all the same."""
        self.connect("/run/socket")
        self.send(b"Authentication-Results: mx.example; spf=pass\r\n" + MESSAGE)
        lines = self.inner.messages[0].lines
        self.assertEqual(lines[0], b"Authentication-Results: mx.example; none")
        self.assertEqual(lines[2:], MESSAGE.split(b"\r\n")[:-1])

    def test_connection_lost(self) -> None:
        """A client that leaves within its message: all are told, nothing is looked for any more."""
        resolver = SlowResolver(MemoryResolver(ZONE), *RRType)
        self.use(resolver)
        self.connect()
        self.envelope(recipients=2)
        self.say(*SIGNED.split(b"\r\n")[:-2])
        self.session.connectionLost(None)
        self.assertEqual([message.lost for message in self.inner.messages], [True, True])
        self.assertEqual([message.ended for message in self.inner.messages], [False, False])
        self.assertGreater(len(resolver.waiting), 2)
        self.assertTrue(all(waiting.called for _, waiting in resolver.waiting))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_no_room(self) -> None:
        """Where content cannot be kept, the client is told so."""

        class Full:
            def write(self, octets: bytes) -> int:
                raise OSError(28, "No space left on device")

            def close(self) -> None:
                pass

        self.patch(tempfile, "SpooledTemporaryFile", lambda _: Full())
        self.envelope()
        self.assertEqual(self.say(b"A: b", b"", b"c", b"."), [452])
        self.assertTrue(self.inner.messages[0].lost)
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])


class CallbackTests(BridgeTestCase):
    """Results that are given to the application."""

    def setUp(self) -> None:
        self.told: list[tuple[IMessageSMTP, Checked]] = []
        self.answer: Any = None
        self.checked = self.tell
        super().setUp()

    def tell(self, message: IMessageSMTP, checked: Checked) -> Any:
        """Be told."""
        self.told.append((message, checked))
        return self.answer

    def test_streams(self) -> None:
        """Lines go on as they come, the header section when it is complete."""
        self.envelope()
        (message,) = self.inner.messages
        self.say(b"A: b", b"Authentication-Results: mx.example; none", b"C: d")
        self.assertEqual(message.lines, [self.inner.received])
        self.say(b"")
        self.assertEqual(message.lines[1:], [b"A: b", b"C: d", b""])
        self.say(b"e")
        self.assertEqual(message.lines[-1], b"e")
        self.assertEqual(self.say(b"."), [250])

    def test_header_without_end(self) -> None:
        """A header section is waited for up to a megabyte; more of it is refused."""
        self.envelope()
        (message,) = self.inner.messages
        line = b" " + b"z" * 1021
        self.say(b"X-Long: y", *[line] * 1023)
        self.assertEqual((message.lines, message.lost), ([self.inner.received], False))
        self.say(line)
        self.assertEqual((message.lines, message.lost), ([self.inner.received], True))
        self.assertEqual(self.say(b"", b"body", b"."), [552])

    def test_told(self) -> None:
        """Each recipient's message comes with the results, and nothing stands in front of it."""
        self.assertEqual(self.send(SIGNED, recipients=2), [250])
        self.assertEqual([message for message, _ in self.told], self.inner.messages)
        for message, checked in self.told:
            found = checked.authentication
            assert found is not None
            self.assertEqual(
                (found.spf.status, found.iprev.status, found.dmarc.status, found.authors),
                (spf.Status.PASS, iprev.Status.PASS, dmarc.Status.PASS, (SENDER,)),
            )
            self.assertTrue(checked.fields.startswith(b"Authentication-Results: mx.example;"))
            self.assertTrue(checked.fields.endswith(b"\r\n"))
            self.assertEqual(message.lines[1:], SIGNED.split(b"\r\n")[:-1])  # type: ignore[attr-defined]  # ours

    def test_refused(self) -> None:
        """An application that fails is the end of the message, before its end is told."""
        self.answer = fail(SMTPServerError(550, b"forged"))
        self.assertEqual(self.send(SIGNED), [550])
        self.assertEqual(len(self.flushLoggedErrors(SMTPServerError)), 1)
        (message,) = self.inner.messages
        self.assertEqual((message.lost, message.ended), (True, False))

    def test_later(self) -> None:
        """An application may take its time."""
        self.answer = Deferred()
        self.assertEqual(self.send(SIGNED), [])
        self.assertFalse(self.inner.messages[0].ended)
        self.answer.callback(None)
        self.assertEqual(self.replies(), [250])

    def test_message_refuses_a_line(self) -> None:
        """A message's own refusal of a line reaches the client as it is."""
        self.envelope()
        self.inner.messages[0].refusal = SMTPServerError(452, b"full")
        self.assertEqual(self.say(b"A: b", b"", b"c", b"."), [452])
        self.assertTrue(self.inner.messages[0].lost)
        self.assertEqual(self.clock.getDelayedCalls(), [])
