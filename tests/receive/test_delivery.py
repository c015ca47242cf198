"""Tests for L{moxsmtp.receive.delivery}: mail from outside."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs, formatEvent
from zope.interface.verify import verifyObject

from moxsmtp import spf
from moxsmtp.dns.records import LookupFailed, Question, RRType
from moxsmtp.interfaces import (
    Account,
    HookTarget,
    InsufficientStorage,
    IReceiver,
    Login,
    LoginSecrets,
    PasswordAttempt,
    StorageUnavailable,
    TLSInfo,
)
from moxsmtp.names import parse_domain
from moxsmtp.receive.delivery import Delivery
from moxsmtp.receive.receiver import House
from moxsmtp.receive.rehearsal import Rehearsal
from moxsmtp.smtp.commands import Ehlo, Helo, Mail, Rcpt
from moxsmtp.smtp.login_secrets import ScramHash, SecretsWanted
from moxsmtp.smtp.reply import Refused
from moxsmtp.testing import MemorySpool
from tests.receive.houses import CLIENT, NOW, SPF_PASSES, HouseTestCase, path, session_log

HELLO = b"From: Eve <eve@away.example>\r\nSubject: =?utf-8?q?caf=C3=A9?=\r\n\r\nHi\r\n"

SENDER = "eve@away.example"


class DeliveryTestCase(HouseTestCase):
    """A receiver for port 25."""

    def setUp(self) -> None:
        super().setUp()
        self.clock = Clock()
        self.checks.spf = SPF_PASSES
        self.receiver = self.made_receiver(self.house)

    def made_receiver(self, house: House, *, tls_required: bool = False) -> Delivery:
        return Delivery(
            house,
            session_log(),
            hostname=parse_domain("in.ours.example"),
            tls_required=tls_required,
            unknown_delay=timedelta(seconds=5),
            clock=self.clock,
        )

    def deliver(
        self, content: bytes, *recipients: str, sender: str | None = "eve@away.example"
    ) -> str:
        """A whole transaction; the codes of its last reply."""
        reply = self.send(self.receiver, CLIENT, content, sender, *recipients)
        return f"{reply.code} {reply.enhanced_status}"


class EnvelopeTests(DeliveryTestCase):
    """MAIL and RCPT."""

    def test_port(self) -> None:
        """It is what the protocol asks for."""
        verifyObject(IReceiver, self.receiver)

    def test_recipients(self) -> None:
        """
        Addresses of ours are accepted, unknown users of our domains too; other
        domains and literals are not (S-67, S-73, S-74).
        """
        recipients = {
            "alice@ours.example": "250 2.1.0",
            "ALICE+tag@ours.example": "250 2.1.0",
            "unknown@ours.example": "250 2.1.0",
            "postmaster": "250 2.1.0",
            "PostMaster@mx.ours.example": "250 2.1.0",
            "alice@mx.ours.example": "550 5.1.1",
            "alice@away.example": "550 5.1.1",
            "alice@[192.0.2.1]": "550 5.1.1",
            "alice%away.example@ours.example": "250 2.1.0",
        }
        codes = self.begin(self.receiver, CLIENT, "eve@away.example", *recipients)
        self.assertEqual(["250 2.1.0", *recipients.values()], codes)

    def test_senders(self) -> None:
        """The null sender may send, an address literal may not."""
        self.assertEqual(["250 2.1.0"], self.begin(self.receiver, CLIENT, None))
        self.assertEqual(["550 5.7.0"], self.begin(self.receiver, CLIENT, "e@[192.0.2.7]"))

    def test_too_many(self) -> None:
        """A thousand recipients are enough (S-70)."""
        everybody = [f"user{number}@ours.example" for number in range(1001)]
        codes = self.begin(self.receiver, CLIENT, "eve@away.example", *everybody)
        self.assertEqual({"250 2.1.0"}, set(codes[:1001]))
        self.assertEqual(["452 4.5.3"], codes[1001:])

    def test_requires_tls(self) -> None:
        """Where the listener says so, RCPT needs TLS (S-4)."""
        receiver = self.made_receiver(self.house, tls_required=True)
        secured = replace(CLIENT, tls=TLSInfo("TLS1.3", "TLS_AES_128_GCM_SHA256"))
        recipient = "alice@ours.example"
        self.assertEqual(["250 2.1.0", "530 5.7.0"], self.begin(receiver, CLIENT, None, recipient))
        self.assertEqual(["250 2.1.0", "250 2.1.0"], self.begin(receiver, secured, None, recipient))

    def test_no_transaction(self) -> None:
        """After a reset there is no envelope any more."""
        self.begin(self.receiver, CLIENT, None, "alice@ours.example")
        self.receiver.reset()
        self.assertRaises(RuntimeError, lambda: self.receiver.envelope)


class HelloTests(DeliveryTestCase):
    """Names given with HELO."""

    def hello(self, command: Helo | Ehlo) -> int:
        """The code of the refusal, or 250."""

        async def asked() -> int:
            try:
                await self.receiver.hello(CLIENT, command)
            except Refused as refused:
                return refused.reply.code
            return 250

        return self.successResultOf(Deferred.fromCoroutine(asked()))

    def test_names(self) -> None:
        """
        HELO with a name that has no address is refused; a DNS in trouble
        refuses nobody, and EHLO asks nothing (S-30).
        """
        good, broken = parse_domain("good.example"), parse_domain("broken.example")
        wrong = parse_domain("wrong.example")
        self.resolver.zone = {
            Question("good.example", RRType.AAAA): ("2001:db8::1",),
            Question("broken.example", RRType.A): LookupFailed("SERVFAIL"),
        }
        self.assertEqual(
            [250, 250, 550, 250],
            [
                self.hello(Helo(good)),
                self.hello(Helo(broken)),
                self.hello(Helo(wrong)),
                self.hello(Helo(None)),
            ],
        )
        self.resolver.asked.clear()
        self.assertEqual((250, []), (self.hello(Ehlo(wrong)), self.resolver.asked))


class MessageTests(DeliveryTestCase):
    """What becomes of a whole message."""

    def test_stored(self) -> None:
        """It is stored with what is known of it, and answered 250 (S-82)."""
        self.assertEqual("250 2.2.0", self.deliver(HELLO, "Alice+x@ours.example"))
        ((message, content),) = self.store.messages
        self.assertEqual(HELLO, content)
        self.assertEqual(
            ("alice", "eve@away.example", "caf\u00e9", NOW, "client.example", False),
            (
                message.account,
                message.author,
                message.subject,
                message.received,
                message.hello,
                message.hand_over,
            ),
        )

    def test_logged(self) -> None:
        """The line that tells of it is one of the session's (S-9)."""
        with capturedLogs() as lines:
            self.deliver(HELLO, "alice@ours.example")
        (line,) = [line for line in lines if "delivered" in str(line["log_format"])]
        self.assertEqual((7, 0.0, "192.0.2.7"), (line["session"], line["delta"], line["client"]))

    def test_told(self) -> None:
        """An operator sees who brought a message, from whom, for whom, and what is not for him."""
        people = ("alice@ours.example", "a2@ours.example", "mike@ours.example")
        strangers = [f"s{number}@ours.example" for number in range(7)]
        with capturedLogs() as lines:
            self.deliver(HELLO, *people, *strangers)
        told = [formatEvent(line) for line in lines if line["log_level"] is LogLevel.info]
        beginning = f"delivered {len(HELLO)} octets from <eve@away.example> by client.example to"
        self.assertEqual(
            [f"{beginning} {who}, one of 3, as message {number} of {account}"
             for who, number, account in zip(people, (1, 2, 3), ("alice", "alice", "mike"),
                                             strict=True)],
            told[:3],
        )  # fmt: skip
        (partly,) = told[3:]
        self.assertTrue(
            partly.startswith(
                "not taken for 7 more recipients: <s0@ours.example>: 550 5.1.1 no such user here; "
            )
        )
        self.assertTrue(
            partly.endswith("<s4@ours.example>: 550 5.1.1 no such user here; and others")
        )

    def test_told_of_message_id(self) -> None:
        """An operator sees the Message-ID of a message that has one."""
        with capturedLogs() as lines:
            self.deliver(b"Message-ID: <1@away.example>\r\n" + HELLO, "alice@ours.example")
        (told,) = [formatEvent(line) for line in lines if line["log_level"] is LogLevel.info]
        self.assertTrue(told.endswith(" of alice; Message-ID <1@away.example>"), told)

    def test_prefix(self) -> None:
        """Our fields stand in front, the last hop first; Received names the recipient (I-74)."""
        self.checks.spf = spf.Result(spf.Status.NONE)
        self.deliver(HELLO, "alice@ours.example")
        prefix = self.store.messages[0][0].prefix.replace(b"\r\n\t", b" ")
        self.assertEqual(
            b"Delivered-To: alice@ours.example\r\n"
            b"Return-Path: <eve@away.example>\r\n"
            b"Authentication-Results: mx.ours.example;"
            b" iprev=permerror (without dnssec) policy.iprev=192.0.2.7;"
            b' dkim=none reason="no signatures"; spf=none; dmarc=none\r\n'
            b"Received-SPF: none (without dnssec) client-ip=192.0.2.7;"
            b' envelope-from="eve@away.example"; helo=client.example;'
            b" receiver=in.ours.example\r\n"
            b"Received: from client.example ([192.0.2.7]) by mx.ours.example ([192.0.2.1])"
            b" via tcp with ESMTP id reply-7 for <alice@ours.example>;"
            b" 1 Mar 2026 12:30:05 +0000\r\n",
            prefix,
        )

    def test_duplicates(self) -> None:
        """One canonical recipient gets one copy, however often it is named (S-74)."""
        self.deliver(HELLO, "alice@ours.example", "ALICE@ours.example", "alice+b@ours.example")
        self.assertEqual(1, len(self.store.messages))

    def test_maildir(self) -> None:
        """For an account with a Maildir the message is marked to be handed over."""
        self.deliver(HELLO, "mike@ours.example")
        self.assertTrue(self.store.messages[0][0].hand_over)

    def test_all_unknown(self) -> None:
        """Unknown users are taken at RCPT and refused behind the message, late (I-29, S-73)."""
        self.begin(self.receiver, CLIENT, SENDER, "x@ours.example", "y@ours.example")
        spooled = self.spooled(self.receiver, CLIENT, HELLO)
        asked = Deferred.fromCoroutine(self.receiver.message(CLIENT, spooled))
        self.clock.advance(4.9)
        self.assertNoResult(asked)
        self.clock.advance(0.1)
        reply = self.failureResultOf(asked, Refused).value.reply
        self.assertEqual((550, "5.1.1"), (reply.code, reply.enhanced_status))
        self.assertEqual([], self.store.messages)
        self.assertEqual(
            {'mox_smtpserver_delivery_total{reason="",result="unknownuser"}': 2},
            self.metrics.counts,
        )

    def test_some_unknown(self) -> None:
        """
        With some known recipients the message is accepted, and the sender is
        told of the others by a DSN.
        """
        codes = self.deliver(HELLO, "alice@ours.example", "unknown@ours.example")
        self.assertEqual(("250 2.2.0", 1), (codes, len(self.store.messages)))
        ((job, content),) = self.queue.jobs
        self.assertEqual(
            (None, "eve@away.example", "alice"),
            (job.reverse_path, job.forward_path.ascii, job.account),
        )
        self.assertIn(b"Final-Recipient: rfc822; unknown@ours.example\r\n", content)
        self.assertIn(b"Status: 5.1.1", content)

    def test_nobody_to_tell(self) -> None:
        """A null sender is never told anything."""
        self.deliver(HELLO, "alice@ours.example", "unknown@ours.example", sender=None)
        self.assertEqual([], self.queue.jobs)

    def test_dsn_fails(self) -> None:
        """When the DSN cannot be queued, the message stays accepted, and it is counted."""
        self.queue.trouble = StorageUnavailable("locked")
        codes = self.deliver(HELLO, "alice@ours.example", "unknown@ours.example")
        self.assertEqual("250 2.2.0", codes)
        self.assertEqual(1, self.metrics.counts['mox_smtpserver_errors_total{error="queuedsn"}'])

    def test_storage(self) -> None:
        """
        Without space it is 452 4.3.1, without a database 451 4.3.0, and the
        cause is not told (S-112).
        """
        replies = {}
        for trouble in (InsufficientStorage("ENOSPC on sda1"), StorageUnavailable("locked")):
            self.store.trouble = trouble
            reply = self.send(self.receiver, CLIENT, HELLO, None, "alice@ours.example")
            replies[type(trouble)] = f"{reply.code} {reply.enhanced_status}"
            self.assertNotIn(str(trouble), reply.text)
        self.assertEqual(
            {InsufficientStorage: "452 4.3.1", StorageUnavailable: "451 4.3.0"}, replies
        )
        self.assertEqual(
            {'mox_smtpserver_delivery_total{reason="",result="delivererror"}': 2},
            self.metrics.counts,
        )

    def test_login_without_storage(self) -> None:
        """A database that is away is no reason to call credentials wrong (S-46)."""

        class Away:
            async def verify(self, attempt: PasswordAttempt) -> Login | None:
                raise StorageUnavailable("locked")

        receiver = self.made_receiver(replace(self.house, credentials=Away()))  # type: ignore[arg-type]  # it has what is asked
        asked = receiver.authenticate(CLIENT, PasswordAttempt("", "a@b.example", "secret"))
        refused = self.failureResultOf(Deferred.fromCoroutine(asked), Refused)
        self.assertEqual(451, refused.value.reply.code)

    def test_secrets_without_storage(self) -> None:
        """Nor does SCRAM go on with secrets made up: 454 4.3.0 (S-50)."""

        class Away:
            async def secrets(self, wanted: SecretsWanted) -> LoginSecrets:
                raise StorageUnavailable("locked")

        receiver = self.made_receiver(replace(self.house, credentials=Away()))  # type: ignore[arg-type]  # it has what is asked
        asked = receiver.secrets(CLIENT, SecretsWanted("a@b.example", ScramHash.SHA1))
        reply = self.failureResultOf(Deferred.fromCoroutine(asked), Refused).value.reply
        self.assertEqual((454, "4.3.0"), (reply.code, reply.enhanced_status))

    def test_no_room_for_content(self) -> None:
        """Where no content can begin, DATA is refused before 354 (S-75)."""

        def full() -> MemorySpool:
            raise InsufficientStorage("below minimum_free")

        self.patch(self.store, "spool", full)
        self.begin(self.receiver, CLIENT, None, "alice@ours.example")
        refused = self.failureResultOf(Deferred.fromCoroutine(self.receiver.data(CLIENT)), Refused)
        self.assertEqual(452, refused.value.reply.code)

    def test_loop(self) -> None:
        """A hundred Received fields are a long way, one more is a loop; each is counted as such."""
        hops = b"Received: from a by b; now\r\n"
        self.assertEqual("250 2.2.0", self.deliver(hops * 100 + HELLO, "alice@ours.example"))
        self.assertEqual("550 5.4.6", self.deliver(hops * 101 + HELLO, "alice@ours.example"))
        self.assertEqual(
            {
                'mox_smtpserver_delivery_total{reason="",result="delivered"}': 1,
                'mox_smtpserver_delivery_total{reason="loop",result="reject"}': 1,
            },
            self.metrics.counts,
        )

    def test_two_authors(self) -> None:
        """Two From fields would let readers and checks see different authors."""
        content = b"From: a@b.example\r\n" + HELLO
        self.assertEqual("550 5.6.0", self.deliver(content, "alice@ours.example"))
        self.assertEqual(
            {'mox_smtpserver_delivery_total{reason="several-from",result="reject"}': 1},
            self.metrics.counts,
        )

    def test_dsn_noticed(self) -> None:
        """A delivery status notification is marked as one, another report is not."""
        report = (
            b"Content-Type: multipart/report; boundary=b\r\n\r\n--b\r\n\r\ntext\r\n--b\r\n"
            b"Content-Type: message/%s\r\n\r\nReporting-MTA: dns; a\r\n\r\n--b--\r\n"
        )
        self.deliver(report % b"delivery-status", "alice@ours.example")
        self.deliver(report % b"feedback-report", "alice@ours.example")
        self.assertEqual([True, False], [message.is_dsn for message, _ in self.store.messages])


class HookTests(DeliveryTestCase):
    """Incoming webhooks."""

    def test_hook(self) -> None:
        """
        An account's incoming webhook is stored with the message, its payload
        complete but for the number (Q-69, Q-71).
        """
        target = HookTarget("http://hooks.example/in", authorization="Bearer x")
        account = Account("alice", addresses=("alice@ours.example",), incoming_webhook=target)
        self.receiver = self.made_receiver(self.made(account))
        self.deliver(HELLO, "alice+b@ours.example")
        hook = self.store.messages[0][0].hook
        assert hook is not None
        self.assertEqual((target, None, "alice"), (hook.target, hook.event, hook.account))
        self.assertEqual(1, hook.payload.count(b"\0"))
        payload = json.loads(hook.payload.replace(b"\0", b"31"))
        self.assertEqual(31, payload["Meta"]["MsgID"])
        self.assertEqual("Hi\n", payload["Text"])
        self.assertEqual("alice+b@ours.example", payload["Meta"]["RcptTo"])

    def test_no_hook(self) -> None:
        """Without one configured, none is stored."""
        self.deliver(HELLO, "alice@ours.example")
        self.assertIsNone(self.store.messages[0][0].hook)


class RehearsedTests(DeliveryTestCase):
    """Delivery in localserve."""

    def setUp(self) -> None:
        super().setUp()
        self.receiver = self.made_receiver(replace(self.house, policy=Rehearsal(self.clock)))

    def test_refused(self) -> None:
        """MAIL, RCPT and the message fail as the local-parts ask (S-110)."""
        mailfrom = Mail(path("mailfrom452@away.example"))
        self.assertEqual("452 4.0.0", self.codes(self.receiver.mail(CLIENT, mailfrom)))
        self.begin(self.receiver, CLIENT, None)
        rcptto = Rcpt(path("rcptto553@ours.example"))
        self.assertEqual("553 5.0.0", self.codes(self.receiver.recipient(CLIENT, rcptto)))
        self.assertEqual(
            {'mox_smtpserver_delivery_total{reason="localserve",result="delivererror"}': 2},
            self.metrics.counts,
        )

    def test_different_refusals(self) -> None:
        """
        When nobody gets it and the reasons differ, each recipient has a line
        of its own.
        """
        accounts = [
            Account(name, addresses=(f"{name}@ours.example",)) for name in ("a-550", "b-451")
        ]
        self.receiver = self.made_receiver(
            replace(self.made(*accounts, *self.accounts), policy=Rehearsal(self.clock))
        )
        reply = self.send(
            self.receiver, CLIENT, HELLO, SENDER, "a-550@ours.example", "b-451@ours.example"
        )
        self.assertEqual((554, "5.3.0"), (reply.code, reply.enhanced_status))
        self.assertEqual(
            {'mox_smtpserver_delivery_total{reason="localserve",result="delivererror"}': 2},
            self.metrics.counts,
        )
        lines = reply.text.split("\n")
        self.assertEqual(3, len(lines))
        self.assertTrue(lines[0].startswith("a-550@ours.example: 550 5.0.0 "), lines)
        self.assertTrue(lines[1].startswith("b-451@ours.example: 451 4.0.0 "), lines)

    def test_some_refused(self) -> None:
        """Who rehearses sees the reply and is sent no DSN."""
        accounts = [Account("a-550", addresses=("a-550@ours.example",)), *self.accounts]
        self.receiver = self.made_receiver(
            replace(self.made(*accounts), policy=Rehearsal(self.clock))
        )
        codes = self.deliver(HELLO, "a-550@ours.example", "alice@ours.example")
        self.assertEqual(("250 2.2.0", []), (codes, self.queue.jobs))
