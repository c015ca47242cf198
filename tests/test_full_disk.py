"""A whole server whose disk is full, at each place where mail is written."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import Any

from sqlalchemy import text

from moxsmtp.engine import open_engine
from moxsmtp.interfaces import InsufficientStorage, Spooled
from moxsmtp.parts import Parts
from moxsmtp.service import Server
from moxsmtp.store.database import Transaction
from moxsmtp.store.files import ContentFiles
from moxsmtp.store.folder import FreeSpace
from tests.running import Alone, RunningCase, Visitor
from tests.test_parts import job

#: Goes into the database, and into a file.
SMALL, LARGE = 100, 400_000

_PAGES = text("PRAGMA page_count")


def no_more_pages(tx: Transaction) -> None:
    """A unit: from now on the database may not grow."""
    ((pages,),) = tx.execute(_PAGES)
    tx.execute(text(f"PRAGMA max_page_count = {pages}"))


class FullDiskTests(RunningCase):
    """
    @ivar visitor: Has said hello on port 25.
    """

    def setUp(self) -> None:
        """A server that runs, with room."""
        super().setUp()
        settings = self.settings()
        engine = open_engine(settings.data_directory, settings.store, self.reactor)
        self.parts = Parts(settings, Alone(), engine, self.reactor)
        self.running(Server(self.parts, self.fail))
        self.visitor = Visitor(self.reactor, self.ports[0].factory)
        self.visitor.reply()
        self.visitor.say("EHLO client.example")

    def outcome(self, size: int) -> str:
        """The codes of the reply to a message of so many octets."""
        for line in ("MAIL FROM:<>", "RCPT TO:<alice@ours.example>", "DATA"):
            self.visitor.say(line)
        line = "x" * 78 + "\r\n"
        (reply,) = self.visitor.say(f"From: a@b.example\r\n\r\n{line * (size // 80)}.")
        return reply[:9]

    def stored(self) -> int:
        """How many messages alice has."""
        return len(self.result(self.parts.mail_store.list_messages("alice")))

    def left(self) -> int:
        """How many files lie in the content folder."""
        return len(list(self.parts.engine.folder.content.iterdir()))

    def assertNoRoom(self, size: int, *, restore: Callable[[], object]) -> None:
        """It is told so, nothing stays, and with room again there is no trouble."""
        self.assertEqual(self.outcome(size), "452 4.3.1")
        restore()
        self.assertEqual(self.outcome(size), "250 2.2.0")
        self.assertEqual(self.stored(), 1)
        self.reactor.until(lambda: self.left() == (size == LARGE))

    def check_call(self, name: str, number: int, *, skip: int = 0) -> None:
        """A call of the system fails, all but the first C{skip} of them."""
        real: Any = getattr(os, name)
        calls = 0

        def fails(*arguments: Any, **named: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls <= skip:
                return real(*arguments, **named)
            raise OSError(number, "no room")

        patched = self.patch(os, name, fails)
        self.assertNoRoom(LARGE, restore=patched.restore)
        self.assertGreater(calls, skip)

    def test_open(self) -> None:
        """No room for the name of a file is 452 4.3.1 (S-112)."""
        self.check_call("open", errno.ENOSPC)

    def test_write(self) -> None:
        """No room for the content is 452 4.3.1 (S-112)."""
        self.check_call("write", errno.ENOSPC)

    def test_quota(self) -> None:
        """A quota that is used up is a disk that is full (S-112)."""
        self.check_call("write", errno.EDQUOT)

    def test_sync(self) -> None:
        """A disk that tells at fsync only that it is full is 452 4.3.1 (S-112)."""
        self.check_call("fsync", errno.ENOSPC)

    def test_sync_of_folder(self) -> None:
        """The same for the folder's own fsync (S-112)."""
        self.check_call("fsync", errno.EDQUOT, skip=1)

    def test_rename(self) -> None:
        """No room for the final name is 452 4.3.1 (S-112)."""
        self.check_call("rename", errno.ENOSPC)

    def test_database(self) -> None:
        """No room for the rows and a small message in them is 452 4.3.1 (S-112)."""
        self.result(self.parts.engine.database.transact(no_more_pages))

        def more() -> None:
            limit = text("PRAGMA max_page_count = 1000000")
            self.result(self.parts.engine.database.transact(lambda tx: tx.execute(limit)))

        # The pages that are there may have room for something smaller.
        self.assertNoRoom(100_000, restore=more)

    def test_before(self) -> None:
        """Below what must stay free, 452 4.3.1 stands in the place of 354 (S-112, S-75)."""
        self.patch(FreeSpace, "__call__", lambda _: False)
        self.visitor.say("MAIL FROM:<>")
        self.visitor.say("RCPT TO:<alice@ours.example>")
        self.assertEqual(self.visitor.say("DATA")[0][:9], "452 4.3.1")

    def test_queue(self) -> None:
        """The queue says the same of a disk that is full (S-112)."""
        self.result(self.parts.engine.database.transact(no_more_pages))
        large = Spooled(100_000, b"\r\n", False, inline=b"\r\n" + b"x" * 99_998)

        async def added() -> str:
            try:
                await self.parts.job_store.add(large, [job("a@far.example")])
            except InsufficientStorage:
                return "no room"
            return "added"

        self.assertEqual(self.result(added()), "no room")

    def test_other_name(self) -> None:
        """Content that needs another name in the folder, where there is no room for one (S-112)."""

        def full(_: ContentFiles, name: str) -> str:
            raise OSError(errno.ENOSPC, "no room", name)

        self.patch(ContentFiles, "copy", full)
        undo = self.patch(ContentFiles, "is_condemned", lambda *_: True)
        self.assertNoRoom(LARGE, restore=undo.restore)

    def test_broken(self) -> None:
        """A disk that is broken is no disk that is full: 451 4.3.0 (S-112)."""

        def fails(*_: object) -> None:
            raise OSError(errno.EIO, "broken")

        self.patch(os, "write", fails)
        self.assertEqual(self.outcome(LARGE), "451 4.3.0")
