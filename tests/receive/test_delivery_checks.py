"""Tests for L{moxsmtp.receive.delivery}: who sent it is asked, told and kept."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from ipaddress import ip_address

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent

from moxsmtp import dkim, dmarc, iprev, spf
from moxsmtp.dns.records import Question, RRType
from moxsmtp.interfaces import (
    Account,
    HookTarget,
    InsufficientStorage,
    NewMessage,
    Provenance,
    RequireTLS,
    Validation,
)
from moxsmtp.message.header import parse_header
from moxsmtp.names import parse_domain
from moxsmtp.receive.checks import dns_checks
from moxsmtp.receive.delivery import Delivery
from moxsmtp.receive.intake import Room
from moxsmtp.smtp.commands import Mail, Rcpt
from moxsmtp.smtp.reply import Refused
from tests.receive.houses import CLIENT, NOW, HouseTestCase, path, session_log

AWAY = parse_domain("mail.away.example")
OTHER = parse_domain("b\u00fccher.example")

HELLO = b"From: Eve <eve@mail.away.example>\r\nSubject: s\r\n\r\nHi\r\n\r\nthere\r\n"

SPF_PASS = spf.Result(spf.Status.PASS, spf.Scope.MAIL_FROM, AWAY, "mx", authentic=True)
SIGNED = dkim.Results(
    (
        dkim.Result(dkim.Status.PASS, domain=AWAY, selector="s", algorithm="rsa-sha256"),
        dkim.Result(dkim.Status.FAIL, domain=parse_domain("bad.example"), reason="mismatch"),
        dkim.Result(dkim.Status.PASS, domain=OTHER),
        dkim.Result(dkim.Status.PASS, domain=AWAY),
    )
)
DMARC_PASS = dmarc.Result(
    dmarc.Status.PASS, dmarc.Alignment.RELAXED, author=AWAY, policy=dmarc.Policy.REJECT
)


class CheckedCase(HouseTestCase):
    """A receiver for port 25, and checks that say what they are told."""

    def setUp(self) -> None:
        super().setUp()
        self.clock = Clock()
        self.receiver = self.made_receiver()

    def made_receiver(self) -> Delivery:
        return Delivery(
            self.house,
            session_log(),
            hostname=parse_domain("in.ours.example"),
            tls_required=False,
            unknown_delay=timedelta(seconds=5),
            clock=self.clock,
        )

    def pass_all(self) -> None:
        """Every check is content."""
        self.checks.iprev = iprev.Result(iprev.Status.PASS, "mx1.away.example")
        self.checks.spf, self.checks.dkim, self.checks.dmarc = SPF_PASS, SIGNED, DMARC_PASS

    def delivered(
        self, content: bytes = HELLO, *recipients: str, sender: str | None = "e@mail.away.example"
    ) -> NewMessage:
        """A whole transaction; the last message of those that it stored."""
        recipients = recipients or ("alice@ours.example",)
        reply = self.send(self.receiver, CLIENT, content, sender, *recipients)
        self.assertEqual(250, reply.code, reply)
        self.receiver.reset()
        return self.store.messages[-1][0]

    def field(self, name: str, message: NewMessage) -> str:
        """One field of our prefix, unfolded."""
        return parse_header(message.prefix + b"\r\n").first(name) or ""

    def names(self) -> list[str]:
        """The checks begun so far."""
        return [name for name, *_ in self.checks.asked]


class OrderTests(CheckedCase):
    """What is asked when."""

    def test_begins_with_mail(self) -> None:
        """SPF and iprev are under way once MAIL is accepted, with the listener's name (I-14)."""
        self.begin(self.receiver, CLIENT, "e@mail.away.example")
        self.assertEqual(["reachability", "iprev", "spf"], self.names())
        identity = self.checks.asked[2][1]
        self.assertEqual(
            (CLIENT.address, path("e@mail.away.example"), "client.example", "in.ours.example"),
            (
                identity.address,
                identity.reverse_path,
                identity.hello.ascii,
                identity.hostname.ascii,
            ),
        )

    def test_not_for_refused(self) -> None:
        """A MAIL that is refused asks nobody."""
        self.begin(self.receiver, CLIENT, "e@[192.0.2.7]")
        self.assertEqual([], self.names())

    def test_signatures_while_streaming(self) -> None:
        """
        DKIM sees the header section as received once it is complete, and the
        body as it streams.
        """
        self.begin(self.receiver, CLIENT, None, "alice@ours.example")
        spool = self.successResultOf(Deferred.fromCoroutine(self.receiver.data(CLIENT)))
        spool.write(HELLO[:20])
        self.assertNotIn("dkim", self.names())
        spool.write(HELLO[20:70])
        end = HELLO.index(b"\r\n\r\n") + 4
        self.assertEqual(("dkim", HELLO[:end], (AWAY,)), self.checks.asked[-1])
        self.assertEqual(HELLO[end:70], self.checks.body)
        spool.write(HELLO[70:])
        self.assertEqual(HELLO[end:], self.checks.body)

    def test_any_pieces(self) -> None:
        """However the content is cut, checks and store see the same."""
        seen = set()
        for piece in (0, 1, 3, 50):
            self.begin(self.receiver, CLIENT, None, "alice@ours.example")
            spooled = self.spooled(self.receiver, CLIENT, HELLO, piece)
            self.ask(self.receiver.message(CLIENT, spooled))
            section = next(given[1] for given in self.checks.asked if given[0] == "dkim")
            seen.add((section, self.checks.body, self.store.messages[-1][1]))
        self.assertEqual(1, len(seen))

    def test_once_a_connection(self) -> None:
        """The client's name is looked up once, the sender with each message."""
        self.pass_all()
        self.delivered()
        self.delivered()
        self.assertEqual(1, self.names().count("iprev"))
        self.assertEqual(2, self.names().count("spf"))

    def test_loop_first(self) -> None:
        """A mail loop is refused before anything is waited for (I-1, I-8, S-81)."""
        self.checks.spf = Deferred()
        content = b"Received: from a by b; now\r\n" * 101 + b"From: \xff\r\n\r\n"
        reply = self.send(self.receiver, CLIENT, content, None, "alice@ours.example")
        self.assertEqual((550, "4.6"), (reply.code, reply.status))

    def test_unknown_last(self) -> None:
        """
        For unknown recipients the 5 seconds begin when SPF and DKIM are there,
        and what is refused then does not wait for DMARC (I-1, I-31).
        """
        waiting: Deferred[spf.Result] = Deferred()
        self.checks.spf = waiting
        self.checks.dmarc = Deferred()
        self.begin(self.receiver, CLIENT, "e@mail.away.example", "x@ours.example")
        spooled = self.spooled(self.receiver, CLIENT, HELLO)
        asked = Deferred.fromCoroutine(self.receiver.message(CLIENT, spooled))
        self.clock.advance(20)
        self.assertNoResult(asked)
        waiting.callback(SPF_PASS)
        self.clock.advance(4.9)
        self.assertNoResult(asked)
        self.clock.advance(0.1)
        refused = self.failureResultOf(asked, Refused).value
        self.assertEqual((550, "1.1"), (refused.reply.code, refused.reply.status))
        self.assertNotIn("dmarc", self.names())
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_called_off(self) -> None:
        """RSET, or a connection that is lost, ends whatever is still asked."""
        gone: list[Deferred[object]] = []
        for name in ("iprev", "spf", "dkim"):
            setattr(self.checks, name, Deferred(gone.append))
        self.begin(self.receiver, CLIENT, None, "alice@ours.example")
        spooled = self.spooled(self.receiver, CLIENT, HELLO)
        asked = Deferred.fromCoroutine(self.receiver.message(CLIENT, spooled))
        asked.cancel()
        self.failureResultOf(asked, CancelledError)
        self.receiver.reset()
        self.assertEqual(3, len(gone))
        self.assertEqual([], self.clock.getDelayedCalls())
        self.assertEqual([], self.store.messages)

    def test_next_mail(self) -> None:
        """A second MAIL calls off what the first one asked."""
        gone: list[Deferred[object]] = []
        self.checks.spf = Deferred(gone.append)
        self.begin(self.receiver, CLIENT, None)
        self.checks.spf = SPF_PASS
        self.begin(self.receiver, CLIENT, "e@mail.away.example")
        self.assertEqual(1, len(gone))

    def test_no_transaction(self) -> None:
        """There is nothing to check outside of a transaction."""
        self.assertRaises(RuntimeError, lambda: self.receiver.verification)


class TraceTests(CheckedCase):
    """What is told in front of the message."""

    def test_order(self) -> None:
        """Our fields stand in the order of I-74, and nothing else."""
        names = [name for name, _ in parse_header(self.delivered().prefix).fields()]
        self.assertEqual(
            [
                "Delivered-To",
                "Return-Path",
                "Authentication-Results",
                "Received-SPF",
                "Received",
            ],
            names,
        )

    def test_results(self) -> None:
        """Authentication-Results names the server, and says what the checks said (I-76)."""
        self.pass_all()
        told = self.field("Authentication-Results", self.delivered()).replace("\t", " ")
        self.assertTrue(told.startswith("mx.ours.example; "), told)
        for part in (
            "iprev=pass (without dnssec) policy.iprev=192.0.2.7;",
            "dkim=pass (without dnssec) header.d=mail.away.example header.s=s",
            "dkim=fail (without dnssec) reason=mismatch header.d=bad.example;",
            "spf=pass (with dnssec) smtp.mailfrom=mail.away.example;",
            "dmarc=pass (without dnssec) header.from=mail.away.example policy.dmarc=reject",
        ):
            self.assertIn(part, told)

    def test_received_spf(self) -> None:
        """Received-SPF names the listener, the identity and the mechanism (I-78)."""
        self.pass_all()
        self.assertEqual(
            "pass (with dnssec) client-ip=192.0.2.7;"
            ' envelope-from="e@mail.away.example"; helo=client.example; mechanism=mx;'
            " receiver=in.ours.example; identity=mailfrom",
            self.field("Received-SPF", self.delivered()).replace("\t", " "),
        )
        self.checks.spf = spf.Result(
            spf.Status.PERMERROR, spf.Scope.HELO, AWAY, problem="two records"
        )
        told = self.field("Received-SPF", self.delivered(sender=None)).replace("\t", " ")
        self.assertIn('permerror (without dnssec) client-ip=192.0.2.7; envelope-from=""', told)
        self.assertIn('problem="two records"; receiver=in.ours.example; identity=helo', told)

    def test_reverse_name(self) -> None:
        """
        Received tells the client's name, verified or not, unless EHLO gave the
        same or it is no domain (I-13, S-83).
        """
        told = {
            "mx1.away.example": "from client.example (mx1.away.example [192.0.2.7]) by",
            "MX_1.away.example": "from client.example ([192.0.2.7]) by",
            "Client.Example": "from client.example ([192.0.2.7]) by",
            "": "from client.example ([192.0.2.7]) by",
        }
        for name, text in told.items():
            self.setUp()
            self.checks.iprev = iprev.Result(iprev.Status.FAIL, name)
            received = self.field("Received", self.delivered()).replace("\t", " ")
            self.assertIn(text, received)

    def test_same_for_all(self) -> None:
        """Every recipient is told the same, but for the recipient."""
        self.pass_all()
        self.delivered(HELLO, "alice@ours.example", "mike@ours.example")
        (one, _), (two, _) = self.store.messages
        self.assertEqual(one.prefix.replace(b"alice@", b"mike@"), two.prefix)

    def test_forged(self) -> None:
        """
        Authentication-Results that claim to be ours are removed before the
        message is kept; DKIM sees them, and others' stay (I-119).
        """
        forged = b"Authentication-Results: MX.Ours.Example;\r\n\tdmarc=pass\r\n"
        others = b"Authentication-Results: mx.other.example; spf=pass\r\n"
        content = forged + others + HELLO
        self.delivered(content)
        self.assertEqual(others + HELLO, self.store.messages[0][1])
        section = next(given[1] for given in self.checks.asked if given[0] == "dkim")
        self.assertEqual(content[: len(section)], section)
        self.assertTrue(section.endswith(b"\r\n\r\n"))
        self.assertEqual(HELLO.partition(b"\r\n\r\n")[2], self.checks.body)

    def test_forged_hides_nothing(self) -> None:
        """What was removed counts for nothing that is read of the message."""
        forged = b"Authentication-Results: mx.ours.example; x=\r\n TLS-Required: No\r\n"
        self.assertEqual("s", self.delivered(forged + HELLO).subject)


class KeptTests(CheckedCase):
    """What is kept with the message."""

    def test_all(self) -> None:
        """All that later decisions ask for (I-15, I-18, I-105)."""
        self.pass_all()
        self.assertEqual(
            Provenance(
                mail_from=Validation.PASS,
                author=Validation.RELAXED,
                author_domain=AWAY,
                author_organization=parse_domain("away.example"),
                dmarc="pass",
                dmarc_policy="reject",
                dkim_domains=(AWAY, OTHER),
                iprev="pass",
                reverse_name="mx1.away.example",
            ),
            self.delivered().provenance,
        )

    def test_policy(self) -> None:
        """
        What the author's policy asks for is kept (I-105), and how that came about is in
        the log, with what SPF's says to a failure (I-16).
        """
        self.checks.dmarc = dmarc.Result(
            dmarc.Status.FAIL, author=AWAY, policy=dmarc.Policy.QUARANTINE, rejects=True
        )
        self.checks.spf = spf.Result(spf.Status.FAIL, spf.Scope.MAIL_FROM, AWAY, explanation="no")
        with capturedLogs() as events:
            known = self.delivered().provenance
        self.assertEqual(
            ("fail", "quarantine", True), (known.dmarc, known.dmarc_policy, known.dmarc_rejects)
        )
        told = [formatEvent(event) for event in events]
        self.assertEqual(
            [True, True],
            [
                any("claims, which may be true or not: no" in line for line in told),
                any("DMARC of mail.away.example: fail" in line for line in told),
            ],
        )

    def test_hello(self) -> None:
        """Of the two names that SPF may judge, the other one stays unknown (I-15)."""
        self.checks.spf = spf.Result(spf.Status.SOFTFAIL, spf.Scope.HELO, AWAY)
        known = self.delivered(sender=None).provenance
        self.assertEqual((Validation.SOFTFAIL, Validation.UNKNOWN), (known.hello, known.mail_from))
        self.checks.spf = spf.Result(spf.Status.NONE)
        known = self.delivered(sender=None).provenance
        self.assertEqual((Validation.UNKNOWN, Validation.UNKNOWN), (known.hello, known.mail_from))

    def test_no_author(self) -> None:
        """
        Without exactly one good author there is nobody whose reputation counts,
        whatever DMARC says (I-6, I-7).
        """
        self.pass_all()
        for field in (
            b"From: a@one.example, b@two.example",
            b"From: a@one.example, nobody",
            b"From: a@[192.0.2.1]",
            b"From: \xff\xfe",
            b"Subject: none",
        ):
            message = self.delivered(field + b"\r\n\r\nHi\r\n")
            known = message.provenance
            self.assertEqual(
                (Validation.NONE, None, None, False),
                (
                    known.author,
                    known.author_domain,
                    known.author_organization,
                    known.has_valid_author,
                ),
            )

    def test_waived_tls(self) -> None:
        """C{TLS-Required: No} is kept, if no field says otherwise (I-10)."""
        said = {
            b"": RequireTLS.UNSET,
            b"TLS-Required: No\r\n": RequireTLS.NO,
            b"TLS-Required: nO \r\ntls-required: no\r\n": RequireTLS.NO,
            b"TLS-Required: No\r\nTLS-Required: Yes\r\n": RequireTLS.UNSET,
            b"TLS-Required: \r\n": RequireTLS.UNSET,
        }
        self.assertEqual(
            said, {field: self.delivered(field + HELLO).provenance.require_tls for field in said}
        )

    def test_waived_for_report(self) -> None:
        """What is said about such a message waives TLS too (I-93)."""
        self.checks.spf = SPF_PASS
        for content in (HELLO, b"TLS-Required: No\r\n" + HELLO):
            self.delivered(content, "alice@ours.example", "unknown@ours.example")
        self.assertEqual(
            [RequireTLS.UNSET, RequireTLS.NO], [job.require_tls for job, _ in self.queue.jobs]
        )

    def test_webhook(self) -> None:
        """The webhook tells what was validated, domains in Unicode (Q-71)."""
        account = Account(
            "alice",
            addresses=("alice@ours.example",),
            incoming_webhook=HookTarget("http://hooks.example/in"),
        )
        self.house = self.made(account)
        self.receiver = self.made_receiver()
        metas = []
        for _ in range(2):
            hook = self.delivered().hook
            assert hook is not None
            meta = json.loads(hook.payload.replace(b"\0", b"1"))["Meta"]
            names = ("MailFromValidated", "MsgFromValidated", "DKIMVerifiedDomains")
            metas.append([meta[name] for name in names])
            self.pass_all()
        self.assertEqual(
            [
                [False, False, []],
                [True, True, ["mail.away.example", "b\u00fccher.example"]],
            ],
            metas,
        )


class HarmlessTests(CheckedCase):
    """Nothing that the checks do loses a message."""

    def test_refuses_nothing(self) -> None:
        """A message that fails everything, and whose author asks to reject it, is stored."""
        self.checks.iprev = iprev.Result(iprev.Status.FAIL, "x.away.example")
        self.checks.spf = spf.Result(spf.Status.FAIL, spf.Scope.MAIL_FROM, AWAY, "-all")
        self.checks.dmarc = dmarc.Result(
            dmarc.Status.FAIL, author=AWAY, policy=dmarc.Policy.REJECT, rejects=True
        )
        known = self.delivered().provenance
        self.assertEqual(("fail", Validation.FAIL), (known.dmarc, known.mail_from))

    def test_bugs(self) -> None:
        """Checks that raise cost their word, not the message (I-3)."""
        for name in ("iprev", "spf", "dkim", "dmarc"):
            setattr(self.checks, name, ZeroDivisionError())
        message = self.delivered()
        self.assertEqual(4, len(self.flushLoggedErrors(ZeroDivisionError)))
        told = self.field("Authentication-Results", message)
        for method in ("iprev", "dkim", "spf", "dmarc"):
            self.assertIn(f"{method}=temperror", told)

    def test_unreadable_header(self) -> None:
        """
        A header section that nobody can read strictly is logged in one line and
        does not stop the message, which then has no author (I-5); a good one is
        not worth a line.
        """
        self.pass_all()
        sections = {
            HELLO: "",
            b"From: Eve <eve@mail.away.example\r\nno field\r\n\r\nHi\r\n": (
                "line 2 of the header section is no header field; From cannot be read whole"
            ),
            b" folded\r\nSubject : s\0\r\n\r\nHi\r\n": (
                "header section begins with a folded line;"
                " white space between a header field's name and its colon;"
                " NUL in the header section"
            ),
            b"From: eve@mail.away.example, nobody\r\n\r\n": "From cannot be read whole",
        }
        for content, problem in sections.items():
            with capturedLogs() as lines:
                known = self.delivered(content).provenance
            found = [line["problem"] for line in lines if "cannot be read" in line["log_format"]]
            self.assertEqual([problem] if problem else [], found)
            self.assertEqual((AWAY if content is HELLO else None), known.author_domain)

    def test_long_headers(self) -> None:
        """
        Long header sections of many connections share one room, which a
        transaction gives back with its end.
        """
        self.house = replace(self.house, header_room=Room(100_000))
        content = (b"X-Long: " + b"x" * 990 + b"\r\n") * 120 + HELLO
        receivers = [self.made_receiver() for _ in range(2)]
        for receiver in receivers:
            self.begin(receiver, CLIENT, None, "alice@ours.example")
        self.spooled(receivers[0], CLIENT, content)
        spool = self.successResultOf(Deferred.fromCoroutine(receivers[1].data(CLIENT)))
        self.assertRaises(InsufficientStorage, spool.write, content)
        receivers[0].reset()
        receivers[1].reset()
        self.receiver = self.made_receiver()
        for _ in range(3):
            self.delivered(content)

    def test_never_answered(self) -> None:
        """Look-ups that never answer hold the message up for two minutes, not longer (I-2)."""
        for name in ("iprev", "spf", "dkim", "dmarc"):
            setattr(self.checks, name, Deferred())
        self.begin(self.receiver, CLIENT, None, "alice@ours.example")
        spooled = self.spooled(self.receiver, CLIENT, HELLO)
        asked = Deferred.fromCoroutine(self.receiver.message(CLIENT, spooled))
        self.clock.advance(60)
        self.assertNoResult(asked)
        self.clock.advance(60)
        self.assertEqual(250, self.successResultOf(asked).code)
        self.assertEqual([], self.clock.getDelayedCalls())


class LargeHeaderTests(CheckedCase):
    """Header sections too large to be looked at as a whole."""

    def test_refused(self) -> None:
        """
        What stands behind 1 MiB or 20000 lines of header fields is not passed on
        unseen: results in our name, a second author, more than was signed.  The
        message is refused at its end, and nothing of it is kept (I-1, I-119).
        """
        self.pass_all()
        tails = {
            "results": b"Authentication-Results: mx.ours.example; dmarc=pass\r\n" + HELLO,
            "author": b"From: ceo@bank.example\r\n\r\nHi\r\n",
            "signed": HELLO,
        }
        for filler in (b"X-Pad: " + b"p" * 900 + b"\r\n", b"X: y\r\n"):
            times = min((1 << 20) // len(filler) + 1, 20_001)
            for name, tail in tails.items():
                self.begin(self.receiver, CLIENT, None, "alice@ours.example")
                spool = self.successResultOf(Deferred.fromCoroutine(self.receiver.data(CLIENT)))
                content = b"From: e@away.example\r\n" + filler * times + tail
                for start in range(0, len(content), 1 << 16):
                    self.assertIsNone(spool.write(content[start : start + (1 << 16)]))
                reply = self.refused_at_end(spool)
                self.assertEqual((552, "5.3.4"), (reply.code, reply.enhanced_status), name)
                spool.abort()
                self.receiver.reset()
        self.assertEqual([], self.store.messages)
        self.assertNotIn("dkim", self.names())


class RealTests(CheckedCase):
    """The checks of the internet, with a DNS that is a dictionary."""

    def setUp(self) -> None:
        super().setUp()
        checks = dns_checks(
            self.resolver, clock=self.clock, now=lambda: NOW, is_public_suffix=lambda _: False
        )
        self.house = replace(self.house, checks=checks)
        self.resolver.zone[Question("mail.away.example", RRType.A)] = ("192.0.2.8",)
        self.receiver = self.made_receiver()

    def test_hostile(self) -> None:
        """
        Hundreds of signatures, a field of a megabyte, no UTF-8, no structure at
        all: each message is stored, and its results can be told.
        """
        signature = (
            b"DKIM-Signature: v=1; a=rsa-sha256; d=s%d.example; s=s; h=from; bh=AAAA; b=AAAA\r\n"
        )
        contents = {
            "signatures": b"".join(signature % number for number in range(500)) + HELLO,
            "long field": b"X-Long: " + b"x y" * 340_000 + b"\r\n" + HELLO,
            "long signature": b"DKIM-Signature: " + b";a=b" * 200_000 + b"\r\n" + HELLO,
            "long author": b"From: " + b"a@b.example, " * 80_000 + b"\r\n\r\nHi\r\n",
            "no UTF-8": b"From: \xff\xfe <a@\xff.example>\r\nDKIM-Signature: \x80\xff\r\n\r\n\xff",
            "no header": b"\r\n\r\nHi\r\n",
            "no field": b"Hi\r\nthere\r\n",
            "nothing": b"",
            "only line ends": b"\r\n" * 100_000,
            "half a field": b"DKIM-Signature",
        }
        for name, content in contents.items():
            message = self.delivered(content)
            self.assertIn("dmarc=", self.field("Authentication-Results", message), name)
            self.assertEqual(content, self.store.messages[-1][1], name)
        self.assertEqual([], self.flushLoggedErrors())
        self.assertEqual([], self.clock.getDelayedCalls())
        told = self.field("Authentication-Results", self.store.messages[0][0])
        self.assertIn("490 more signatures", told.replace("\t", " "))
        self.assertEqual(10, told.count("header.d="))

    def test_addresses(self) -> None:
        """A client with an IPv6 address is checked and told of as well."""
        client = replace(
            CLIENT, address=ip_address("2001:db8::7"), local_address=ip_address("2001:db8::1")
        )
        self.ask(self.receiver.mail(client, Mail(path("e@mail.away.example"))))
        self.ask(self.receiver.recipient(client, Rcpt(path("alice@ours.example"))))
        spooled = self.spooled(self.receiver, client, HELLO)
        self.assertEqual(250, self.ask(self.receiver.message(client, spooled)).code)
        prefix = self.store.messages[-1][0].prefix
        self.assertIn(b'policy.iprev="2001:db8::7"', prefix)
