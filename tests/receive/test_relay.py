"""Tests for L{moxsmtp.receive.relay}: machines of ours that cannot log in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from ipaddress import ip_address, ip_network

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from zope.interface.verify import verifyObject

from moxsmtp import spf
from moxsmtp.interfaces import Allowance, Client, InsufficientStorage, IReceiver, TLSInfo
from moxsmtp.names import parse_domain
from moxsmtp.reachability import Reachability
from moxsmtp.receive.delivery import Delivery
from moxsmtp.receive.relay import Port25, Relay, Relays
from moxsmtp.receive.relay_settings import RelaySettings
from moxsmtp.smtp.commands import Helo, Mail, Rcpt
from moxsmtp.smtp.reply import Refused
from tests.receive.houses import CLIENT, NOW, HouseTestCase, path, session_log

PRINTER = replace(CLIENT, address=ip_address("10.1.2.3"))
SIX = replace(CLIENT, address=ip_address("fd00::7"))

PRINTERS = RelaySettings(
    name="printers",
    networks=(ip_network("10.1.0.0/16"), ip_network("fd00::/64")),
    max_messages_per_hour=3,
)

MESSAGE = b"From: <printer@inside.example>\r\nSubject: no paper\r\n\r\nHi\r\n"


class RelayCase(HouseTestCase):
    """Port 25 of a server with relays."""

    def setUp(self) -> None:
        super().setUp()
        self.clock = Clock()
        self.checks.spf = spf.Result(spf.Status.FAIL)
        self.checks.reachability = Reachability.UNREACHABLE
        self.serve(PRINTERS)

    def serve(self, *settings: RelaySettings, tls_required: bool = False) -> None:
        """With these."""
        self.relays = Relays(settings)
        delivery = Delivery(
            self.house,
            session_log(),
            hostname=parse_domain("mx.ours.example"),
            tls_required=tls_required,
            unknown_delay=timedelta(),
            clock=self.clock,
        )
        self.receiver = Port25(
            delivery,
            self.relays,
            lambda relay: Relay(
                self.house, session_log(), self.relays, relay, tls_required=tls_required
            ),
        )

    def submit(
        self,
        *recipients: str,
        client: Client = PRINTER,
        sender: str | None = "printer@inside.example",
        content: bytes = MESSAGE,
    ) -> str:
        """A whole transaction; the codes of its last reply."""
        recipients = recipients or ("bob@away.example",)
        code = self.codes(self.receiver.mail(client, Mail(path(sender) if sender else None)))
        for recipient in recipients:
            if not code.startswith("250"):
                break
            code = self.codes(self.receiver.recipient(client, Rcpt(path(recipient))))
        if not code.startswith("250"):
            self.receiver.reset()
            return code
        spooled = self.spooled(self.receiver, client, content)
        reply = self.ask(self.receiver.message(client, spooled))
        self.receiver.reset()
        self.text = reply.text
        return f"{reply.code} {reply.enhanced_status}"


class InsideTests(RelayCase):
    """Clients of the networks."""

    def test_port(self) -> None:
        """Both are what the protocol asks for."""
        verifyObject(IReceiver, self.receiver)
        relay = Relay(self.house, session_log(), self.relays, PRINTERS, tls_required=False)
        verifyObject(IReceiver, relay)

    def test_told(self) -> None:
        """The log names the relay, and its account if it has one."""
        whose = {
            "relay printers": PRINTERS,
            "relay printers, account alice": replace(PRINTERS, account="alice"),
        }
        for owner, settings in whose.items():
            self.serve(settings)
            with capturedLogs() as lines:
                self.submit()
            (line,) = lines
            self.assertIn(f"by client.example of {owner} for bob@", formatEvent(line))
            self.assertEqual(settings.account or None, line["account"])

    def test_queued(self) -> None:
        """Their mail to anybody is queued, for nobody's account, without any check."""
        recipients = ("a@away.example", "b@elsewhere.example", "mike@ours.example")
        for client in (PRINTER, SIX):
            self.serve(PRINTERS)
            self.assertEqual("250 2.2.0", self.submit(*recipients, client=client))
        self.assertEqual([*recipients] * 2, [job.forward_path.ascii for job, _ in self.queue.jobs])
        job, content = self.queue.jobs[0]
        self.assertEqual(("", "printer@inside.example"), (job.account, str(job.reverse_path)))
        self.assertEqual((MESSAGE, [None, None]), (content, self.queue.allowances))
        self.assertEqual(([], []), (self.checks.asked, self.store.messages))

    def test_fields(self) -> None:
        """What is missing is added, Received tells the client, and nobody has logged in."""
        self.submit()
        prefix = self.queue.jobs[0][0].prefix.replace(b"\r\n\t", b" ")
        self.assertTrue(
            prefix.startswith(b"Received: from client.example ([10.1.2.3]) by "), prefix
        )
        self.assertIn(b"\r\nMessage-Id: <", prefix)
        self.assertIn(b"\r\nDate: ", prefix)
        self.assertNotIn(b"Authentication-Results", prefix)

    def test_account(self) -> None:
        """In an account's name, its limits count (S-94)."""
        self.serve(replace(PRINTERS, account="alice"))
        self.submit()
        self.assertEqual(
            ("alice", [Allowance("alice", 1000, 200)]),
            (self.queue.jobs[0][0].account, self.queue.allowances),
        )

    def test_null_sender(self) -> None:
        """Reports of other mail servers pass, to several recipients too."""
        self.assertEqual("250 2.2.0", self.submit("a@x.example", "b@x.example", sender=None))
        self.assertEqual([None, None], [job.reverse_path for job, _ in self.queue.jobs])

    def test_bad_messages(self) -> None:
        """They are held to what users are held to, and go in no circles."""
        self.assertEqual("550 5.6.0", self.submit(content=b"Subject: a\r\n\r\n"))
        hops = b"Received: from a by b; now\r\n"
        self.assertEqual("250 2.2.0", self.submit(content=hops * 100 + MESSAGE))
        self.assertEqual("550 5.4.6", self.submit(content=hops * 101 + MESSAGE))
        self.assertEqual("550 5.7.0", self.submit(sender="x@[192.0.2.1]"))
        self.assertEqual("550 5.1.1", self.submit("nobody@ours.example"))

    def test_hello(self) -> None:
        """Their names are in no DNS, and need not be; those of others do (S-30)."""
        command = Helo(parse_domain("printer.inside.example"))
        inside = Deferred.fromCoroutine(self.receiver.hello(PRINTER, command))
        self.assertIsNone(self.successResultOf(inside))
        outside = Deferred.fromCoroutine(self.receiver.hello(CLIENT, command))
        self.failureResultOf(outside, Refused)

    def test_tls(self) -> None:
        """Where the listener demands TLS, it does of them, too (S-4)."""
        self.serve(PRINTERS, tls_required=True)
        self.assertEqual("530 5.7.0", self.submit())
        secured = replace(PRINTER, tls=TLSInfo("TLS1.3", "TLS_AES_128_GCM_SHA256"))
        self.assertEqual("250 2.2.0", self.submit(client=secured))

    def test_queue_fails(self) -> None:
        """What could not be queued is refused for now, and counts towards no limit."""
        self.queue.trouble = InsufficientStorage("full")
        for _ in range(4):
            self.assertEqual("452 4.3.1", self.submit())
        self.queue.trouble = None
        self.assertEqual("250 2.2.0", self.submit())


class SendersTests(RelayCase):
    """Relays for some senders only."""

    def setUp(self) -> None:
        super().setUp()
        self.serve(replace(PRINTERS, from_domains=(parse_domain("inside.example"),)))

    def test_others(self) -> None:
        """Other senders are treated like those of any client: checked, and never relayed."""
        self.assertEqual("250 2.2.0", self.submit())
        self.assertEqual("550 5.7.27", self.submit(sender="x@away.example"))
        self.checks.reachability = Reachability.REACHABLE
        self.assertEqual("550 5.1.1", self.submit(sender="x@away.example"))
        self.assertEqual("550 5.1.1", self.submit(sender="x@sub.inside.example"))
        self.assertEqual(1, len(self.queue.jobs))
        self.assertEqual("250 2.2.0", self.submit("mike@ours.example", sender="x@away.example"))
        self.assertEqual(["mike"], [new.account for new, _ in self.store.messages])

    def test_null_sender(self) -> None:
        """Of mail without a sender, the author's domain decides."""
        self.assertEqual("250 2.2.0", self.submit(sender=None))
        foreign = MESSAGE.replace(b"inside", b"outside")
        self.assertEqual("550 5.7.1", self.submit(sender=None, content=foreign))
        self.assertEqual("250 2.2.0", self.submit(content=foreign))

    def test_first_that_fits(self) -> None:
        """Of several relays the first counts whose networks and senders fit."""
        inside = parse_domain("inside.example")
        settings = (
            replace(PRINTERS, name="a", from_domains=(parse_domain("else.example"),)),
            replace(PRINTERS, name="b", from_domains=(inside,), account="alice"),
            replace(PRINTERS, name="c", account="mike"),
        )
        self.serve(*settings)
        self.submit()
        self.submit(sender="x@third.example")
        self.assertEqual(["alice", "mike"], [job.account for job, _ in self.queue.jobs])


class OutsideTests(RelayCase):
    """Everybody else."""

    def outsiders(self) -> Sequence[Client]:
        """In no network of a relay, however near they come."""
        addresses = ("10.0.255.255", "10.2.0.0", "192.0.2.7", "fd00:0:0:1::1", "2001:db8::1",
                     "127.0.0.1", "::1")  # fmt: skip
        return [replace(CLIENT, address=ip_address(text)) for text in addresses]

    def test_never_relayed(self) -> None:
        """No form of address makes us relay for others, and none makes the queue hear of it."""
        self.checks.reachability = Reachability.REACHABLE
        for client in self.outsiders():
            for recipient in (
                "bob@away.example",
                "bob@[192.0.2.9]",
                "printer@inside.example",
                "alice@mx.ours.example",
            ):
                for sender in ("printer@inside.example", "alice@ours.example", None):
                    self.assertEqual(
                        "550 5.1.1", self.submit(recipient, client=client, sender=sender)
                    )
        self.assertEqual([], self.queue.jobs)

    def test_delivered(self) -> None:
        """Their mail to us is checked and delivered as ever."""
        self.checks.reachability = Reachability.REACHABLE
        self.assertEqual("250 2.2.0", self.submit("mike@ours.example", client=CLIENT))
        self.assertEqual(["mike"], [new.account for new, _ in self.store.messages])

    def test_transactions_apart(self) -> None:
        """A transaction that was given up leaves nothing behind for the next."""
        self.serve(replace(PRINTERS, from_domains=(parse_domain("inside.example"),)))
        self.begin(self.receiver, PRINTER, "printer@inside.example", "bob@away.example")
        self.receiver.reset()
        self.checks.reachability = Reachability.REACHABLE
        self.begin(self.receiver, PRINTER, "x@away.example")
        rcpt = Rcpt(path("bob@away.example"))
        self.assertEqual("550 5.1.1", self.codes(self.receiver.recipient(PRINTER, rcpt)))

    def test_no_relays(self) -> None:
        """Without relays there is none."""
        self.serve()
        self.checks.reachability = Reachability.REACHABLE
        self.assertEqual("550 5.1.1", self.submit())


class LimitTests(RelayCase):
    """How much a relay may send."""

    def test_hourly(self) -> None:
        """Recipients of an hour count over all machines of a relay; then it may go on."""
        self.assertEqual("250 2.2.0", self.submit("a@x.example", "b@x.example"))
        self.assertEqual("451 4.7.1", self.submit("a@x.example", "b@x.example", client=SIX))
        self.assertIn("max_messages_per_hour", self.text)
        self.assertIn(" 3 ", self.text)
        self.assertEqual("250 2.2.0", self.submit())
        self.assertEqual("451 4.7.1", self.submit())
        self.house = replace(self.house, now=lambda: NOW + timedelta(hours=1))
        self.assertEqual("250 2.2.0", self.submit())
        self.assertEqual(
            2, self.metrics.counts['mox_smtpserver_submission_total{result="messagelimiterror"}']
        )

    def test_windows(self) -> None:
        """Hours begin at the full hour; nothing of the last one counts."""
        relays = Relays([PRINTERS])
        used = [relays.use(PRINTERS, 3, seconds) for seconds in (3599, 3599.9, 3600, 7199, 7200)]
        self.assertEqual([True, False, True, False, True], used)

    def test_reload(self) -> None:
        """New settings forget nothing that was counted; each relay counts for itself."""
        relays = Relays([PRINTERS])
        self.assertTrue(relays.use(PRINTERS, 3, 0))
        wider = replace(PRINTERS, max_messages_per_hour=4)
        relays.settings = [wider]
        self.assertEqual([True, False], [relays.use(wider, 1, 0) for _ in range(2)])
        self.assertTrue(relays.use(replace(PRINTERS, name="other"), 3, 0))

    def test_unlimited(self) -> None:
        """Nothing is the limit where it is 0."""
        relays = Relays([PRINTERS])
        self.assertTrue(relays.use(replace(PRINTERS, max_messages_per_hour=0), 10**6, 0))
