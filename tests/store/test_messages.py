"""Tests for L{moxsmtp.store.messages}."""

from __future__ import annotations

import json
from datetime import timedelta
from ipaddress import ip_address
from mmap import mmap

from zope.interface.verify import verifyObject

from moxsmtp.interfaces import (
    IContent,
    IMailStore,
    Provenance,
    RequireTLS,
    TLSInfo,
    Validation,
)
from moxsmtp.names import parse_domain
from moxsmtp.smtp.address import Path
from moxsmtp.store.messages import PrefixedContent
from tests.store.contract import (
    NOW,
    Contract,
    new_hook,
    new_message,
    path,
    spooled,
)

PREFIX = b"Return-Path: <a@example.org>\r\n"


class MailStoreTests(Contract):
    """Accepted mail, on any engine."""

    def test_interface(self) -> None:
        """The store is what receivers ask for."""
        verifyObject(IMailStore, self.mail)

    def test_one_content(self) -> None:
        """However many recipients, content is stored once and counts them (Q-2)."""
        numbers = self.result(
            self.mail.deliver(spooled(), [new_message("ann"), new_message("bob")])
        )
        self.assertEqual([row["id"] for row in self.rows("message")], list(numbers))
        ((content),) = self.rows("content")
        self.assertEqual(content["refs"], 2)
        self.assertEqual({row["content_id"] for row in self.rows("message")}, {content["id"]})

    def test_read_back(self) -> None:
        """Everything known of a message is read as it was written."""
        written = new_message(
            remote_address=ip_address("2001:db8::1"),
            hello="client.example",
            tls=TLSInfo("TLS1.3", "TLS_AES_128_GCM_SHA256"),
            provenance=Provenance(
                hello=Validation.SOFTFAIL,
                mail_from=Validation.PASS,
                author=Validation.RELAXED,
                author_domain=parse_domain("b\u00fccher.example"),
                author_organization=parse_domain("example"),
                dmarc="fail",
                dmarc_policy="quarantine",
                dmarc_rejects=True,
                dkim_domains=(parse_domain("b\u00fccher.example"), parse_domain("other.example")),
                iprev="permerror",
                reverse_name="mx.example",
                require_tls=RequireTLS.NO,
            ),
            author="Ann <ann@example.org>",
            subject="gr\u00fc\u00dfe",
            message_id="<1@example.org>",
            is_dsn=True,
            reverse_path=Path('a "quoted" \\ @local-part', path("x@b\u00fccher.example").domain),
            forward_path=path("ann@[192.0.2.1]"),
        )
        (number,) = self.result(self.mail.deliver(spooled(b"\r\nhello\r\n"), [written]))
        (read,) = self.result(self.mail.list_messages("ann"))
        self.assertEqual(read.id, number)
        self.assertEqual(read.size, len(written.prefix) + 9)
        for name in (
            "account", "mailbox", "received", "reverse_path", "forward_path", "remote_address",
            "hello", "tls", "author", "subject", "message_id", "is_dsn", "provenance",
        ):  # fmt: skip
            self.assertEqual(getattr(read, name), getattr(written, name), name)

    def test_unchecked(self) -> None:
        """Of mail of our own, nothing is known of its sender."""
        self.result(self.mail.deliver(spooled(), [new_message()]))
        (read,) = self.result(self.mail.list_messages("ann"))
        self.assertEqual(read.provenance, Provenance())

    def test_null_reverse_path(self) -> None:
        """The null reverse-path stays null, and a message may come from ourselves."""
        self.result(self.mail.deliver(spooled(), [new_message(reverse_path=None)]))
        (read,) = self.result(self.mail.list_messages("ann"))
        self.assertEqual((read.reverse_path, read.remote_address, read.tls), (None, None, None))

    def test_hostile_text(self) -> None:
        """NUL and halves of surrogate pairs in header fields are no obstacle."""
        hostile = "a\0b\ud800c"
        new = new_message(
            subject=hostile,
            author=hostile,
            message_id=hostile,
            hello=hostile,
            provenance=Provenance(reverse_name=hostile),
            hook=new_hook(subject=hostile, message_id=hostile, extra={hostile: hostile}),
        )
        self.result(self.mail.deliver(spooled(), [new]))
        (read,) = self.result(self.mail.list_messages("ann"))
        self.assertEqual(read.subject, "a\ufffdb\ufffdc")

    def test_whole_content(self) -> None:
        """A message is read as prefix and content in one, from any place."""
        (number,) = self.result(self.mail.deliver(spooled(b"\r\nhello\r\n"), [new_message()]))
        found = self.result(self.mail.open("ann", number))
        if found is None:
            self.fail("it is gone")
        message, content = found
        whole = PREFIX + b"\r\nhello\r\n"
        self.assertEqual((message.size, content.size), (len(whole), len(whole)))
        for step in (1, 7, 1000):
            self.assertEqual(self.octets(content, step), whole)
        self.assertEqual(self.result(content.read(len(whole), 10)), b"")

    def test_large_content(self) -> None:
        """Content that came in a file is read back as it came."""
        octets = b"\r\n" + bytes(range(256)) * 2000
        spool = self.mail.spool()
        for start in range(0, len(octets), 60_000):
            written = spool.write(octets[start : start + 60_000])
            if written is not None:
                self.result(written)
        large = self.result(spool.finish())
        self.assertIsNone(large.inline)
        self.assertEqual(self.result(self.mail.examine(large, _length)), len(octets))
        (number,) = self.result(self.mail.deliver(large, [new_message()]))
        found = self.result(self.mail.open("ann", number))
        if found is None:
            self.fail("it is gone")
        self.assertEqual(self.octets(found[1], 50_000), PREFIX + octets)

    def test_examine_small(self) -> None:
        """Small content is looked at without any thread."""
        self.assertEqual(self.result(self.mail.examine(spooled(b"1234"), _length)), 4)

    def test_told_after_commit(self) -> None:
        """Who hands mail over hears of the accounts, once it is stored and not before."""
        self.failing.succeed = 2
        self.assertAllOrNothing(
            lambda: self.mail.deliver(spooled(), [new_message("ann"), new_message("bob")])
        )
        self.assertEqual(self.stored, [frozenset({"ann", "bob"})])

    def test_crash_in_the_middle(self) -> None:
        """A delivery that breaks anywhere leaves no row (Q-3)."""
        self.assertAllOrNothing(
            lambda: self.mail.deliver(
                spooled(), [new_message("ann", hook=new_hook()), new_message("bob")]
            )
        )

    def test_nobody(self) -> None:
        """A message for nobody is refused."""
        self.failure(self.mail.deliver(spooled(), []), ValueError)

    def test_incoming_hook(self) -> None:
        """
        The incoming webhook stands in the same transaction, is due at once, and
        knows the message's number.
        """
        self.time = NOW + timedelta(seconds=5)
        hook = new_hook(event=None, payload=b'{"MsgID":\0}')
        (number,) = self.result(self.mail.deliver(spooled(), [new_message(hook=hook)]))
        (lease,) = self.claim(self.hooks)
        self.assertEqual(lease.name, "https://hooks.example/")
        taken = self.result(self.hooks.take(lease, self.time, self.in_ten_minutes))
        if taken is None:
            self.fail("no call is due")
        self.assertEqual(json.loads(taken.payload), {"MsgID": number})
        self.assertEqual(
            (taken.account, taken.event, taken.submitted, taken.queue_id),
            ("ann", None, self.time, 0),
        )

    def test_pages(self) -> None:
        """Pages by number hold each message of the account once, the newest first."""
        for _ in range(5):
            self.result(self.mail.deliver(spooled(), [new_message("ann"), new_message("bob")]))
        pages = []
        before = None
        while page := self.result(self.mail.list_messages("ann", before=before, limit=2)):
            pages.append([message.id for message in page])
            before = page[-1].id
        self.assertEqual(pages, [[9, 7], [5, 3], [1]])

    def test_foreign_message(self) -> None:
        """Nobody opens or deletes a message of another account."""
        (number,) = self.result(self.mail.deliver(spooled(), [new_message("ann")]))
        self.assertIsNone(self.result(self.mail.open("bob", number)))
        self.assertEqual(self.result(self.mail.delete("bob", [number])), [])
        self.assertEqual(len(self.rows("message")), 1)

    def test_delete_releases_content(self) -> None:
        """Content goes with the last message that refers to it, not before."""
        one, two = self.result(
            self.mail.deliver(spooled(), [new_message("ann"), new_message("ann")])
        )
        gone = self.result(self.mail.delete("ann", [one, one, 999]))
        self.assertEqual([message.id for message in gone], [one])
        self.assertEqual([row["refs"] for row in self.rows("content")], [1])
        self.result(self.mail.delete("ann", [two]))
        self.assertEqual(
            (self.rows("message"), self.rows("content"), self.rows("content_chunk")), ([], [], [])
        )

    def test_numbers_are_not_reused(self) -> None:
        """A number that was given stays the only one of its kind."""
        (one,) = self.result(self.mail.deliver(spooled(), [new_message()]))
        self.result(self.mail.delete("ann", [one]))
        (two,) = self.result(self.mail.deliver(spooled(), [new_message()]))
        self.assertGreater(two, one)


def _length(octets: bytes | mmap) -> int:
    return len(octets)


class PrefixedContentTests(Contract):
    """Two contents as one."""

    def test_interface(self) -> None:
        """It is content like any other."""
        (number,) = self.result(self.mail.deliver(spooled(), [new_message()]))
        found = self.result(self.mail.open("ann", number))
        if found is None:
            self.fail("it is gone")
        verifyObject(IContent, PrefixedContent(b"", found[1]))
