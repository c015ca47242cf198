"""What was sent with a from-id, and what comes back to it, from end to end in memory."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from ipaddress import IPv4Address

from twisted.internet.task import Clock

from moxsmtp.directory import Directory, DomainSettings
from moxsmtp.interfaces import Account, HookTarget
from moxsmtp.message.dsn import Action, Dsn, RecipientReport, compose_dsn
from moxsmtp.names import parse_domain
from moxsmtp.queue.job import Job, Result
from moxsmtp.receive.delivery import Delivery
from moxsmtp.receive.submission import Submission
from moxsmtp.smtp.address import Path
from tests.receive.houses import CLIENT, NOW, USER, HouseTestCase, path, session_log

ALICE = "alice@ours.example"
BOB = path("bob@away.example")
IN = HookTarget("https://in.example/")
OUT = HookTarget("https://out.example/")


class EchoTests(HouseTestCase):
    """Alice sends, and mail comes back."""

    def setUp(self) -> None:
        super().setUp()
        hooks = {"incoming_webhook": IN, "outgoing_webhook": OUT}
        alice, mike = self.accounts
        self.accounts = (
            replace(alice, from_id_login_addresses=(ALICE,), **hooks),  # type: ignore[arg-type]  # the names of two fields
            replace(mike, **hooks),  # type: ignore[arg-type]  # likewise
        )
        directory = Directory(
            self.accounts,
            domains={parse_domain("ours.example"): DomainSettings(separators=("+", "--"))},
            hosts=(),
            postmaster="alice",
        )
        self.house = replace(self.house, accounts=directory)

    def sent(self) -> Path:
        """Alice's message to Bob has left the queue; where bounces of it go."""
        receiver = Submission(self.house, session_log(USER), tls_required=True)
        content = f"From: <{ALICE}>\r\nX-Mox-Extra-Order: 7\r\n\r\nHi\r\n".encode()
        self.send(receiver, USER, content, ALICE, "bob@away.example")
        new = self.queue.jobs[-1][0]
        self.store.sent.append(
            Job(
                id=17,
                base_id=0,
                account=new.account,
                reverse_path=new.reverse_path,
                forward_path=new.forward_path,
                queued=NOW,
                next_attempt=NOW,
                content=0,
                size=10,
                message_id=new.message_id,
                from_id=new.from_id,
                extra=new.extra,
                results=(Result(NOW, timedelta(seconds=1), success=True, code=250),),
            )
        )
        assert new.reverse_path is not None
        return new.reverse_path

    def comes(self, recipient: Path | str, content: bytes, sender: str | None = None) -> None:
        """Mail from outside."""
        receiver = Delivery(
            self.house,
            session_log(),
            hostname=parse_domain("in.ours.example"),
            tls_required=False,
            unknown_delay=timedelta(),
            clock=Clock(),
        )
        address = recipient if isinstance(recipient, str) else recipient.ascii
        reply = self.send(receiver, CLIENT, content, sender, address)
        self.assertEqual(reply.code, 250)

    def bounce(self, sender: Path, action: Action = Action.FAILED, **changes: object) -> bytes:
        """As the other server writes it."""
        report = RecipientReport(
            recipient=BOB,
            action=action,
            status="1.1",
            remote_name="mx.away.example",
            remote_address=IPv4Address("192.0.2.9"),
            reply="550-5.1.1 no such user\n550 5.1.1 here",
        )
        host = parse_domain("mx.away.example")
        dsn = Dsn(
            hostname=host,
            postmaster=Path("postmaster", host),
            sender=sender,
            date=NOW,
            boundary="b",
            message_id="<dsn@mx.away.example>",
            arrival=NOW,
            reports=(report,),
            original=b"Subject: x\r\n\r\n",
        )
        return compose_dsn(replace(dsn, **changes))  # type: ignore[arg-type]  # a test's choice of fields

    def hooks(self) -> list[tuple[str, dict[str, object]]]:
        """URL and body of each call, in order."""
        return [
            (message.hook.target.url, json.loads(message.hook.payload.replace(b"\0", b"1")))
            for message, _ in self.store.messages
            if message.hook is not None
        ]

    def test_bounce(self) -> None:
        """
        Q-25, Q-26, Q-39, Q-40: a bounce comes back to the sender with the from-id. It is
        read in the Inbox, the history says that the message failed, the outgoing
        webhook tells so, that for incoming mail nothing, and the address is
        suppressed (Q-31, Q-42).
        """
        sender = self.sent()
        self.assertRegex(sender.local_part, r"\Aalice\+[A-Za-z0-9_-]{22}\Z")
        self.comes(sender, self.bounce(sender))
        ((message, _),) = self.store.messages
        self.assertEqual(
            (message.account, message.mailbox, message.is_dsn), ("alice", "Inbox", True)
        )
        (job,) = self.store.sent
        self.assertEqual([result.success for result in job.results], [True, False])
        self.assertEqual((job.results[1].code, job.results[1].status), (550, "1.1"))
        self.assertEqual(self.store.failed, {17})
        ((url, body),) = self.hooks()
        self.assertEqual(url, OUT.url)
        self.assertEqual(
            {name: body[name] for name in ("Event", "DSN", "Suppressing", "QueueMsgID", "FromID",
                                           "SMTPCode", "SMTPEnhancedCode", "Extra")},
            {
                "Event": "failed", "DSN": True, "Suppressing": True, "QueueMsgID": 17,
                "FromID": job.from_id, "SMTPCode": 550, "SMTPEnhancedCode": "5.1.1",
                "Extra": {"Order": "7"},
            },
        )  # fmt: skip
        (entry,) = self.store.suppressions
        self.assertEqual((entry.account, entry.base_address), ("alice", "bob@away.example"))

    def test_reply(self) -> None:
        """Q-40: mail to the from-id that is no DSN is told as unrecognized, and not as incoming."""
        sender = self.sent()
        self.comes(sender, b"From: <bob@away.example>\r\nSubject: away\r\n\r\nuntil May\r\n")
        ((url, body),) = self.hooks()
        self.assertEqual((url, body["Event"], body["DSN"]), (OUT.url, "unrecognized", False))
        self.assertEqual(self.store.suppressions, [])

    def test_not_understood(self) -> None:
        """Q-41: a DSN that is not understood is told as unrecognized, and as a DSN."""
        sender = self.sent()
        self.comes(sender, self.bounce(sender).replace(b"Action: failed", b"Action: exploded"))
        ((url, body),) = self.hooks()
        self.assertEqual((url, body["Event"], body["DSN"]), (OUT.url, "unrecognized", True))
        self.assertEqual(self.store.failed, set())

    def test_other_recipients(self) -> None:
        """Q-39: mail to the address itself, or with another word behind it, is incoming mail."""
        sender = self.sent()
        from_id = self.store.sent[0].from_id
        for address in (ALICE, "alice+news@ours.example", f"mike+{from_id}@ours.example"):
            self.comes(address, self.bounce(sender))
        self.assertEqual({url for url, _ in self.hooks()}, {IN.url})
        self.assertEqual(self.store.failed, set())
        self.assertEqual(self.store.suppressions, [])

    def test_first_separator(self) -> None:
        """Q-39: all behind the domain's first separator is the from-id, others in it are of it."""
        self.sent()
        (job,) = self.store.sent
        self.store.sent[0] = replace(job, from_id="a--b+c")
        self.comes("alice+a--b+c@ours.example", self.bounce(path(ALICE)))
        self.assertEqual(self.store.failed, {17})
        self.comes("alice--a--b+c@ours.example", self.bounce(path(ALICE)))
        self.assertEqual([url for url, _ in self.hooks()], [OUT.url] * 2)

    def test_without_webhooks(self) -> None:
        """Q-40: the history is kept true though nobody listens."""
        quiet = [
            replace(one, incoming_webhook=None, outgoing_webhook=None) for one in self.accounts
        ]
        sender = self.sent()
        directory = Directory(
            quiet,
            domains={parse_domain("ours.example"): DomainSettings(separators=("+",))},
            hosts=(),
            postmaster="alice",
        )
        self.house = replace(self.house, accounts=directory)
        self.comes(sender, self.bounce(sender))
        self.assertEqual((self.hooks(), self.store.failed), ([], {17}))

    def test_no_from_id(self) -> None:
        """Q-39: where the domain has no separator nothing is looked for."""
        self.house = self.made(Account("alice", addresses=(ALICE,), incoming_webhook=IN))
        self.comes(ALICE, self.bounce(path(ALICE)))
        ((message, _),) = self.store.messages
        self.assertIsNone(message.echo)
