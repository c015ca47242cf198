"""Tests for L{moxsmtp.store.hand_overs}."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from zope.interface import implementer
from zope.interface.verify import verifyObject

from moxsmtp.interfaces import IContent
from moxsmtp.mailbox.storage import HandOver, IHandOver, InMaildir
from moxsmtp.store.hand_overs import HandOvers
from tests.store.contract import NOW, Contract, new_message, spooled


@implementer(IContent)
class File:
    """A file in a Maildir."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.size: int = 0

    async def read(self, _offset: int, _length: int) -> bytes:
        """Empty."""
        return b""


class HandOversTests(Contract):
    """Messages on their way into a Maildir."""

    def setUp(self) -> None:
        """None yet."""
        super().setUp()
        self.hand_overs = HandOvers(self.failing)

    def test_interface(self) -> None:
        """It is what handing over asks for."""
        verifyObject(IHandOver, self.hand_overs)

    def test_pending(self) -> None:
        """Messages to be handed over come with all it takes, oldest first, and no others."""
        self.deliver(b"\r\none\r\n")
        self.result(self.mail.deliver(spooled(), [new_message("bob")]))
        self.deliver(b"\r\ntwo\r\n")
        one, two = self.pending()
        self.assertEqual((one.id, two.id), (1, 3))
        self.assertEqual(
            (one.account, one.mailbox, one.flags, one.received, one.prefix, one.data, one.name),
            ("ann", "Inbox", "", NOW, new_message().prefix, b"\r\none\r\n", None),
        )
        self.assertEqual(one.size, len(one.prefix) + 7)
        self.assertEqual(self.octets(self.hand_overs.content(two)), b"\r\ntwo\r\n")

    def test_large_content_comes_later(self) -> None:
        """Large content is not brought along, but can be read."""
        spool = self.mail.spool()
        octets = b"\r\n" + b"x" * 300_000
        written = spool.write(octets)
        if written is not None:
            self.result(written)
        large = self.result(spool.finish())
        self.result(self.mail.deliver(large, [new_message(hand_over=True)]))
        ((one),) = self.pending()
        self.assertIsNone(one.data)
        self.assertEqual(self.octets(self.hand_overs.content(one), 100_000), octets)

    def test_pages(self) -> None:
        """One may go on behind a message that cannot be handed over."""
        for _ in range(3):
            self.deliver()
        self.assertEqual([each.id for each in self.pending(limit=2)], [1, 2])
        self.assertEqual([each.id for each in self.pending(after=1)], [2, 3])

    def test_name_is_recorded(self) -> None:
        """A name that was recorded is there after a crash, before its file can be."""
        self.deliver()
        self.assertEqual(self.result(self.hand_overs.name_hand_overs({1: "a.b.c", 9: "x"})), [1])
        ((one),) = self.pending()
        self.assertEqual(one.name, "a.b.c")
        self.assertEqual(self.result(self.hand_overs.maildir_names("ann")), {})

    def test_unnamed_is_not_forgotten(self) -> None:
        """Content without a name in the Maildir stays."""
        self.deliver()
        self.result(self.hand_overs.handed_over(self.pending()))
        self.assertEqual(len(self.pending()), 1)

    def test_handed_over(self) -> None:
        """Then prefix and content leave the store, once, and the message is read there."""
        self.hand_over(2)
        for row in self.rows("message"):
            self.assertEqual((row["content_id"], row["hand_over"], row["prefix"]), (None, 0, b""))
        self.assertEqual((self.rows("content"), self.rows("content_chunk")), ([], []))
        self.assertEqual(self.pending(), [])
        self.assertEqual(
            self.result(self.hand_overs.maildir_names("ann")),
            {"n1": InMaildir("n1", "Inbox"), "n2": InMaildir("n2", "Inbox")},
        )
        found = self.result(self.mail.open("ann", 1))
        if found is None:
            self.fail("it is gone")
        message, content = found
        self.assertEqual(message.maildir_name, "n1")
        self.assertIsInstance(content, File)

    def test_handed_over_twice(self) -> None:
        """Content that others refer to is released once for each message."""
        both = [new_message(hand_over=True), new_message("bob")]
        self.result(self.mail.deliver(spooled(), both))
        done = self.named()
        for _ in range(2):
            self.result(self.hand_overs.handed_over(done))
        self.assertEqual([row["refs"] for row in self.rows("content")], [1])

    def test_deleted_meanwhile(self) -> None:
        """A message that was deleted before its hand-over is not handed over."""
        self.deliver()
        done = self.pending()
        self.result(self.mail.delete("ann", [1]))
        self.assertEqual(self.result(self.hand_overs.name_hand_overs({1: "n1"})), [])
        self.result(self.hand_overs.handed_over([replace(each, name="n1") for each in done]))
        self.assertEqual(self.rows("content"), [])

    def test_crash_in_the_middle(self) -> None:
        """The end of a hand-over is recorded whole or not at all."""
        self.deliver()
        self.deliver()
        self.assertAllOrNothing(lambda: self.hand_overs.name_hand_overs({1: "n1", 2: "n2"}))
        done = self.pending()
        self.assertAllOrNothing(lambda: self.hand_overs.handed_over(done))

    def test_moved(self) -> None:
        """A file that was moved or flagged is a message that was."""
        self.hand_over(2)
        seen = [InMaildir("n2", "Archive", "RS"), InMaildir("unknown", "Inbox")]
        self.assertEqual(self.result(self.hand_overs.moved("ann", seen)), 1)
        self.assertEqual(self.result(self.hand_overs.moved("bob", seen)), 0)
        self.assertEqual(self.result(self.hand_overs.moved("ann", [])), 0)
        (two, one) = self.result(self.mail.list_messages("ann"))
        self.assertEqual((two.mailbox, two.flags), ("Archive", "RS"))
        self.assertEqual((one.mailbox, one.flags), ("Inbox", ""))

    def test_recognized(self) -> None:
        """Which folder a Maildir is, is known from then on, of each account apart."""
        self.assertEqual(self.identity("ann"), "")
        for identity in ("t 1", "t 1", "t 2"):
            self.result(self.hand_overs.recognized("ann", identity))
            self.assertEqual((self.identity("ann"), self.identity("bob")), (identity, ""))

    def test_absent(self) -> None:
        """
        Messages that are not in the folder that is the Maildir now are known as absent,
        until they are seen again; those of others are not touched.
        """
        self.hand_over(2)
        self.deliver()
        self.result(self.hand_overs.name_hand_overs({3: "n3"}))
        self.result(self.hand_overs.recognized("bob", "t 1", ["n2"]))
        self.result(self.hand_overs.recognized("ann", "t 1", ["n1", "n3", "unknown"]))
        known = self.result(self.hand_overs.maildir_names("ann"))
        self.assertEqual({n: one.is_absent for n, one in known.items()}, {"n1": True, "n2": False})
        listed = self.result(self.mail.list_messages("ann"))
        self.assertEqual(
            {each.id: each.is_absent for each in listed}, {1: True, 2: False, 3: False}
        )
        self.result(self.hand_overs.moved("ann", [InMaildir("n1", "Inbox")]))
        known = self.result(self.hand_overs.maildir_names("ann"))
        self.assertEqual(known["n1"], InMaildir("n1", "Inbox"))

    def test_recognized_whole(self) -> None:
        """Another folder and what is not in it are recorded together or not at all."""
        self.hand_over(2)
        self.assertAllOrNothing(lambda: self.hand_overs.recognized("ann", "t 1", ["n1", "n2"]))

    def identity(self, account: str) -> str:
        """As recorded."""
        return self.result(self.hand_overs.maildir_identity(account))

    def test_expunged(self) -> None:
        """A file that was removed is a message that is gone; one not handed over yet is not."""
        self.hand_over(2)
        self.deliver()
        self.result(self.hand_overs.name_hand_overs({3: "n3"}))
        names = ["n1", "n3", "unknown"]
        self.assertEqual(self.result(self.hand_overs.expunged("bob", names)), 0)
        self.assertEqual(self.result(self.hand_overs.expunged("ann", names)), 1)
        self.assertEqual([row["id"] for row in self.rows("message")], [2, 3])

    def in_maildir(self, account: str, name: str) -> IContent:
        """What the Maildir holds."""
        self.assertEqual(account, "ann")
        return File(name)

    def deliver(self, octets: bytes = b"\r\nhello\r\n") -> None:
        """A message for a Maildir."""
        self.result(self.mail.deliver(spooled(octets), [new_message(hand_over=True)]))

    def pending(self, limit: int = 10, after: int = 0) -> Sequence[HandOver]:
        """What waits."""
        return self.result(self.hand_overs.pending_hand_overs(limit, after))

    def named(self) -> Sequence[HandOver]:
        """What waits, each with a name of its own."""
        pending = self.pending()
        names = {each.id: f"n{each.id}" for each in pending}
        self.result(self.hand_overs.name_hand_overs(names))
        return pending

    def hand_over(self, count: int) -> None:
        """Messages all the way into the Maildir."""
        for _ in range(count):
            self.deliver()
        self.result(self.hand_overs.handed_over(self.named()))
