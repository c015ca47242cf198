"""Tests for L{moxsmtp.receive.delivery}: who may write, to whom, and to how many."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from dataclasses import replace
from datetime import timedelta

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock

from moxsmtp import spf
from moxsmtp.directory import AliasSettings, Directory, DomainSettings, ReportSettings
from moxsmtp.dns.records import Question, RRType
from moxsmtp.interfaces import Account, AddressRole, NewMessage, Spooled, TLSInfo
from moxsmtp.names import parse_domain
from moxsmtp.reachability import Reachability
from moxsmtp.receive.checks import dns_checks
from moxsmtp.receive.delivery import Delivery
from moxsmtp.receive.receiver import House
from moxsmtp.smtp.commands import Helo, Mail, Rcpt
from moxsmtp.smtp.reply import Refused
from moxsmtp.testing import MemorySpool
from tests.receive.houses import CLIENT, NOW, SPF_PASSES, HouseTestCase, path, session_log

SENDER = "eve@away.example"
OURS = parse_domain("ours.example")
HOST = parse_domain("mx.ours.example")

SPF_FAILS = replace(SPF_PASSES, status=spf.Status.FAIL)
SPF_TEMPERROR = replace(SPF_PASSES, status=spf.Status.TEMPERROR)


def message(author: str = "eve@away.example") -> bytes:
    """One that C{author} wrote."""
    return f"From: <{author}>\r\nSubject: hello\r\n\r\nHi\r\n".encode()


class RecipientsCase(HouseTestCase):
    """Two aliases, and addresses for reports."""

    def setUp(self) -> None:
        super().setUp()
        self.clock = Clock()
        accounts = (*self.accounts, Account("zoe", addresses=("zoe@ours.example",)))
        directory = Directory(
            accounts,
            domains={OURS: DomainSettings(separators=("+",))},
            hosts={HOST},
            postmaster="alice",
            postmaster_mailbox="Office",
            aliases=(
                AliasSettings(
                    address="team@ours.example",
                    addresses=("alice@ours.example", "mike@ours.example", "zoe@ours.example"),
                ),
                AliasSettings(
                    address="public@ours.example",
                    addresses=("alice@ours.example", "a2@ours.example"),
                    post_public=True,
                    allow_message_from=True,
                ),
            ),
            reports=(
                ReportSettings(
                    role=AddressRole.DMARC_REPORTS,
                    address="dmarc@ours.example",
                    account="mike",
                    mailbox="Reports",
                ),
                ReportSettings(
                    role=AddressRole.TLS_REPORTS, address="tls@ours.example", account="mike"
                ),
                ReportSettings(
                    role=AddressRole.HOST_TLS_REPORTS,
                    address="host@mx.ours.example",
                    account="mike",
                ),
            ),
        )
        self.house = replace(self.house, accounts=directory)
        self.checks.spf = SPF_PASSES
        self.receiver = self.made_receiver(self.house)

    def made_receiver(self, house: House, *, tls_required: bool = False) -> Delivery:
        return Delivery(
            house,
            session_log(),
            hostname=HOST,
            tls_required=tls_required,
            unknown_delay=timedelta(),
            clock=self.clock,
        )

    def deliver(
        self, *recipients: str, content: bytes | None = None, sender: str | None = SENDER
    ) -> str:
        """A whole transaction; the codes of its last reply."""
        content = message() if content is None else content
        reply = self.send(self.receiver, CLIENT, content, sender, *recipients)
        self.receiver.reset()
        return f"{reply.code} {reply.enhanced_status}"

    def stored(self) -> list[tuple[str, str, str]]:
        """Account, recipient and C{Delivered-To} of each copy."""
        return [
            (
                new.account,
                new.forward_path.ascii,
                new.prefix.partition(b"\r\n")[0].decode().removeprefix("Delivered-To: "),
            )
            for new, _ in self.store.messages
        ]


class SenderDomainTests(RecipientsCase):
    """MAIL: can the sender be answered?"""

    def sender(self, found: object, sender: str | None = SENDER) -> str:
        """What MAIL is answered."""
        self.checks.reachability = found
        return self.begin(self.receiver, CLIENT, sender)[0]

    def test_answers(self) -> None:
        """A domain that takes no mail sends none; one that cannot be looked up may later (S-65)."""
        self.assertEqual(
            {
                Reachability.REACHABLE: "250 2.1.0",
                Reachability.NULL_MX: "550 5.7.27",
                Reachability.UNREACHABLE: "550 5.7.27",
                Reachability.UNKNOWN: "451 4.4.0",
            },
            {found: self.sender(found) for found in Reachability},
        )

    def test_null_sender(self) -> None:
        """The null sender has no domain to look up (S-65)."""
        self.assertEqual("250 2.1.0", self.sender(Reachability.UNREACHABLE, None))

    def test_refused_changes_nothing(self) -> None:
        """Where MAIL is refused, no transaction has begun, and nothing more is asked (S-65)."""
        self.sender(Reachability.NULL_MX)
        self.assertRaises(RuntimeError, lambda: self.receiver.envelope)
        self.assertEqual(["reachability"], [name for name, *_ in self.checks.asked])

    def test_never_answered(self) -> None:
        """A DNS that does not answer is waited for a minute (S-16, S-65)."""
        self.checks.reachability = Deferred()
        asked = Deferred.fromCoroutine(self.receiver.mail(CLIENT, Mail(path(SENDER))))
        self.clock.advance(59.9)
        self.assertNoResult(asked)
        self.clock.advance(0.1)
        self.assertEqual(451, self.failureResultOf(asked, Refused).value.reply.code)
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_gone_meanwhile(self) -> None:
        """Nobody asks on for a client that has gone."""
        cancelled: list[object] = []
        self.checks.reachability = Deferred(cancelled.append)
        asked = Deferred.fromCoroutine(self.receiver.mail(CLIENT, Mail(path(SENDER))))
        asked.cancel()
        self.failureResultOf(asked, CancelledError)
        self.assertEqual((1, []), (len(cancelled), self.clock.getDelayedCalls()))

    def test_bug(self) -> None:
        """A bug in the look-up costs this command alone, and is told (S-65)."""
        self.assertEqual("451 4.4.0", self.sender(ZeroDivisionError("what is this")))
        self.assertEqual(1, self.metrics.counts['mox_panic_total{pkg="reachability"}'])
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))

    def test_hello_never_answered(self) -> None:
        """HELO's name is looked up for a minute, and then taken for good (S-16, S-30)."""
        self.patch(self.resolver, "lookup", lambda _: Deferred())
        asked = Deferred.fromCoroutine(
            self.receiver.hello(CLIENT, Helo(parse_domain("client.example")))
        )
        self.clock.advance(60)
        self.assertIsNone(self.successResultOf(asked))


class SeveralTests(RecipientsCase):
    """RCPT: how many recipients?"""

    def codes_of(self, sender: str | None, *recipients: str) -> list[str]:
        """What each RCPT is answered."""
        return self.begin(self.receiver, CLIENT, sender, *recipients)[1:]

    def test_null_sender(self) -> None:
        """The null sender writes to one recipient, named however often (S-71, I-30, S-74)."""
        recipients = ("alice@ours.example", "mike@ours.example", "ALICE+x@ours.example")
        self.assertEqual(["250 2.1.0", "452 4.5.3", "250 2.1.0"], self.codes_of(None, *recipients))

    def test_proven_sender(self) -> None:
        """A second recipient needs SPF to pass for MAIL FROM, the third no more (S-72, I-30)."""
        recipients = ("alice@ours.example", "mike@ours.example", "zoe@ours.example")
        self.assertEqual(["250 2.1.0"] * 3, self.codes_of(SENDER, *recipients))
        self.assertEqual(1, [name for name, *_ in self.checks.asked].count("spf"))

    def test_unproven_sender(self) -> None:
        """Whatever SPF says but a pass, for MAIL FROM, is not enough (S-72)."""
        helo = replace(SPF_PASSES, scope=spf.Scope.HELO)
        for said in (SPF_FAILS, SPF_TEMPERROR, spf.Result(spf.Status.NONE), helo):
            self.checks.spf = said
            self.assertEqual(
                ["250 2.1.0", "452 4.5.3"],
                self.codes_of(SENDER, "alice@ours.example", "mike@ours.example"),
                said,
            )

    def test_asked_again(self) -> None:
        """SPF is asked again at each attempt, until it passes once (S-72)."""
        self.checks.spf = SPF_TEMPERROR
        self.codes_of(SENDER, "alice@ours.example")
        rcpt = Rcpt(path("mike@ours.example"))
        self.assertEqual("452 4.5.3", self.codes(self.receiver.recipient(CLIENT, rcpt)))
        self.assertEqual("452 4.5.3", self.codes(self.receiver.recipient(CLIENT, rcpt)))
        self.checks.spf = SPF_PASSES
        self.assertEqual("250 2.1.0", self.codes(self.receiver.recipient(CLIENT, rcpt)))
        self.checks.spf = SPF_FAILS
        third = Rcpt(path("zoe@ours.example"))
        self.assertEqual("250 2.1.0", self.codes(self.receiver.recipient(CLIENT, third)))
        self.assertEqual(3, [name for name, *_ in self.checks.asked].count("spf"))

    def test_what_is_kept(self) -> None:
        """The message is told of by what SPF said last (S-72)."""
        self.checks.spf = SPF_TEMPERROR
        self.codes_of(SENDER, "alice@ours.example", "mike@ours.example")
        self.checks.spf = SPF_PASSES
        rcpt = Rcpt(path("mike@ours.example"))
        self.assertEqual("250 2.1.0", self.codes(self.receiver.recipient(CLIENT, rcpt)))
        spooled = self.spooled(self.receiver, CLIENT, message())
        self.assertEqual("250 2.2.0", self.codes(self.receiver.message(CLIENT, spooled)))
        self.assertIn(b"spf=pass", self.store.messages[0][0].prefix)

    def test_localserve(self) -> None:
        """Where SPF waits for the header section, it is not asked here (S-72)."""
        self.checks.spf = SPF_FAILS
        house = replace(self.house, checks=self.checks.checks(spf_waits=True))
        self.receiver = self.made_receiver(house)
        self.assertEqual(
            ["250 2.1.0"] * 2, self.codes_of(SENDER, "alice@ours.example", "mike@ours.example")
        )

    def test_slow_spf(self) -> None:
        """The second recipient waits for SPF, the first does not (S-72)."""
        waiting: Deferred[object] = Deferred()
        self.checks.spf = waiting
        self.codes_of(SENDER, "alice@ours.example")
        second = Deferred.fromCoroutine(
            self.receiver.recipient(CLIENT, Rcpt(path("mike@ours.example")))
        )
        self.assertNoResult(second)
        waiting.callback(SPF_PASSES)
        self.assertEqual(250, self.successResultOf(second).code)

    def test_failed_recipients(self) -> None:
        """Only recipients that were accepted count (S-72)."""
        self.checks.spf = SPF_FAILS
        self.assertEqual(
            ["550 5.1.1", "250 2.1.0", "452 4.5.3"],
            self.codes_of(SENDER, "x@away.example", "alice@ours.example", "mike@ours.example"),
        )

    def test_duplicates(self) -> None:
        """One named twice is taken twice and served once, at the limit too (S-74)."""
        everybody = [f"user{number}@ours.example" for number in range(1000)]
        codes = self.codes_of(SENDER, *everybody, "USER0+x@ours.example", "more@ours.example")
        self.assertEqual(["250 2.1.0"] * 1001 + ["452 4.5.3"], codes)
        self.assertEqual(1000, len(self.receiver.envelope.recipients))


class ReverseNameTests(RecipientsCase):
    """Received, by what the DNS says of the client."""

    def test_several(self) -> None:
        """Of several reverse names Received tells one that is verified, else the first (S-83)."""
        checks = dns_checks(
            self.resolver, clock=self.clock, now=lambda: NOW, is_public_suffix=lambda _: False
        )
        zone = self.resolver.zone
        zone[Question("away.example", RRType.A)] = ("192.0.2.8",)
        zone[Question("7.2.0.192.in-addr.arpa", RRType.PTR)] = ("bad.example", "good.example")
        zone[Question("bad.example", RRType.A)] = ("192.0.2.99",)
        told = []
        for address in ("192.0.2.98", "192.0.2.7"):
            zone[Question("good.example", RRType.A)] = (address,)
            self.receiver = self.made_receiver(replace(self.house, checks=checks))
            self.assertEqual("250 2.2.0", self.deliver("alice@ours.example"))
            prefix = self.store.messages[-1][0].prefix.replace(b"\r\n\t", b" ")
            told.append(prefix[prefix.index(b"\r\nReceived: ") + 2 :])
        self.assertIn(b"from client.example (bad.example [192.0.2.7]) by", told[0])
        self.assertIn(b"from client.example (good.example [192.0.2.7]) by", told[1])


class TLSDemandTests(RecipientsCase):
    """RCPT where the listener demands TLS."""

    def test_reports(self) -> None:
        """Who cannot use TLS may still report that (S-69); all else needs it."""
        receiver = self.made_receiver(self.house, tls_required=True)
        expected = {
            "tls@ours.example": "250 2.1.0",
            "TLS+x@ours.example": "250 2.1.0",
            "host@mx.ours.example": "250 2.1.0",
            "dmarc@ours.example": "530 5.7.0",
            "postmaster": "530 5.7.0",
            "alice@ours.example": "530 5.7.0",
            "team@ours.example": "530 5.7.0",
            "unknown@ours.example": "530 5.7.0",
            "x@away.example": "530 5.7.0",
        }
        self.assertEqual(
            expected, {text: self.begin(receiver, CLIENT, SENDER, text)[1] for text in expected}
        )
        secured = replace(CLIENT, tls=TLSInfo("TLS1.3", "TLS_AES_128_GCM_SHA256"))
        self.assertEqual(
            "250 2.1.0", self.begin(receiver, secured, SENDER, "alice@ours.example")[1]
        )


class RoleTests(RecipientsCase):
    """Mail to addresses with a purpose."""

    def test_mailboxes(self) -> None:
        """Reports and the host's postmaster have mailboxes of their own (I-25, I-26)."""
        recipients = ("dmarc+x@ours.example", "host@mx.ours.example", "postmaster")
        self.assertEqual("250 2.2.0", self.deliver(*recipients))
        self.assertEqual(
            [("mike", "Reports"), ("mike", "Inbox"), ("alice", "Office")],
            [(new.account, new.mailbox) for new, _ in self.store.messages],
        )

    def test_not_relayed(self) -> None:
        """No spelling of an address that is not ours is taken (S-73)."""
        for text in (
            "team@mx.ours.example",
            "HOST@mx.ours.example",
            "dmarc@mx.ours.example",
            "alice@ours.example.away.example",
            "alice@xn--urs-sna.example",
            "postmaster@[192.0.2.1]",
        ):
            self.assertEqual("550 5.1.1", self.begin(self.receiver, CLIENT, SENDER, text)[1], text)

    def test_odd_local_parts(self) -> None:
        """What looks like a route is a local-part of ours, and nobody's (S-73)."""
        for text in (
            "bob%away.example@ours.example",
            "away.example!bob@ours.example",
            "bob@away.example@ours.example",
            "@away.example:bob@ours.example",
        ):
            self.assertEqual("250 2.1.0", self.begin(self.receiver, CLIENT, SENDER, text)[1], text)
            self.assertEqual([None], [each.local for each in self.receiver.envelope.recipients])


class AliasTests(RecipientsCase):
    """Mail to aliases."""

    def test_all_members(self) -> None:
        """
        Every member gets a copy, which names him and the alias; two addresses
        of one account get two (I-36, I-74).
        """
        content = message("alice@ours.example")
        self.assertEqual("250 2.2.0", self.deliver("Team+x@ours.example", content=content))
        self.assertEqual("250 2.2.0", self.deliver("public@ours.example"))
        self.assertEqual(
            [
                ("mike", "Team+x@ours.example", "mike@ours.example"),
                ("zoe", "Team+x@ours.example", "zoe@ours.example"),
                ("alice", "public@ours.example", "alice@ours.example"),
                ("alice", "public@ours.example", "a2@ours.example"),
            ],
            self.stored(),
        )
        prefix = self.store.messages[0][0].prefix.replace(b"\r\n\t", b" ")
        self.assertIn(b"for <Team+x@ours.example>;", prefix)
        self.assertTrue(self.store.messages[0][0].hand_over)

    def test_served_already(self) -> None:
        """A member who is a recipient by himself gets one copy, as that (I-36)."""
        content = message("mike@ours.example")
        self.deliver("team@ours.example", "ALICE+x@ours.example", content=content)
        self.assertEqual(
            [
                ("alice", "ALICE+x@ours.example", "ALICE+x@ours.example"),
                ("zoe", "team@ours.example", "zoe@ours.example"),
            ],
            self.stored(),
        )

    def test_two_aliases(self) -> None:
        """Each alias serves its members, the other one's too (I-36)."""
        content = message("zoe@ours.example")
        self.deliver("public@ours.example", "team@ours.example", content=content)
        self.assertEqual(
            ["alice", "alice", "alice", "mike"], [account for account, *_ in self.stored()]
        )

    def test_right_to_post(self) -> None:
        """The From header decides who may post, nobody else gets in (I-34)."""
        codes = {
            author: [
                self.deliver(f"{alias}@ours.example", content=message(author))
                for alias in ("team", "public")
            ]
            for author in (
                "Zoe+list@ours.example",
                "eve@away.example",
                "team@ours.example",
                "public@ours.example",
            )
        }
        self.assertEqual(
            {
                "Zoe+list@ours.example": ["250 2.2.0", "250 2.2.0"],
                "eve@away.example": ["550 5.7.2", "250 2.2.0"],
                "team@ours.example": ["550 5.7.2", "250 2.2.0"],
                "public@ours.example": ["550 5.7.2", "250 2.2.0"],
            },
            codes,
        )
        self.assertEqual(
            3,
            self.metrics.counts[
                'mox_smtpserver_delivery_total{reason="alias-posting",result="reject"}'
            ],
        )

    def test_no_author(self) -> None:
        """Without one readable author it is anybody's mail (I-34)."""
        for content in (
            b"Subject: a\r\n\r\n",
            b"From: zoe@ours.example, mike@ours.example\r\n\r\n",
            b"From: zoe\r\n\r\n",
        ):
            self.assertEqual("550 5.7.2", self.deliver("team@ours.example", content=content))

    def test_some_refused(self) -> None:
        """
        Who may not post to an alias still reaches the others, and is told of
        it; the reply names accounts before aliases before the unknown (I-38).
        """
        recipients = ("nobody@ours.example", "team@ours.example", "alice@ours.example")
        self.assertEqual("250 2.2.0", self.deliver(*recipients))
        self.assertEqual(["alice"], [account for account, *_ in self.stored()])
        ((_, report),) = self.queue.jobs
        team, nobody = (
            report.index(b"Final-Recipient: rfc822; " + name) for name in (b"team@", b"nobody@")
        )
        self.assertLess(team, nobody)
        self.assertIn(b"Status: 5.7.2", report)

    def test_all_refused(self) -> None:
        """Nothing is taken where one is unknown and the other one may not be posted to (I-38)."""
        recipients = ("nobody@ours.example", "team@ours.example")
        self.assertEqual("554 5.3.0", self.deliver(*recipients))
        self.assertEqual(([], []), (self.stored(), self.queue.jobs))

    def test_nobody_left(self) -> None:
        """An alias all of whose members have the message is done (I-37)."""
        author = message("alice@ours.example")
        self.spools: list[MemorySpool] = []
        self.patch(self.store, "spool", self.spool)
        self.assertEqual(
            "250 2.2.0",
            self.deliver("public@ours.example", content=author.replace(b"alice@", b"a2@")),
        )
        self.assertEqual(["alice"], [account for account, *_ in self.stored()])
        only = AliasSettings(address="me@ours.example", addresses=("alice@ours.example",))
        directory = Directory(
            self.accounts,
            domains={OURS: DomainSettings()},
            hosts=(),
            postmaster="alice",
            aliases=(only,),
        )
        self.receiver = self.made_receiver(replace(self.house, accounts=directory))
        self.store.messages.clear()
        self.assertEqual("250 2.2.0", self.deliver("me@ours.example", content=author))
        self.assertEqual([], self.stored())
        self.assertEqual([False, True], [spool.aborted for spool in self.spools])

    def spool(self) -> MemorySpool:
        """One that can be looked at."""
        self.spools.append(MemorySpool())
        return self.spools[-1]

    def test_one_transaction(self) -> None:
        """All copies of a message are stored together, or none is."""
        together: list[int] = []
        deliver = self.store.deliver

        def counted(spooled: Spooled, messages: Sequence[NewMessage]) -> Awaitable[Sequence[int]]:
            together.append(len(messages))
            return deliver(spooled, messages)

        self.patch(self.store, "deliver", counted)
        self.deliver("public@ours.example", "mike@ours.example")
        self.assertEqual([3], together)
