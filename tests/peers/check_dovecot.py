"""Dovecot reads the Maildirs that we write, and we notice what it does there."""

from __future__ import annotations

import imaplib
import shutil
import time
from pathlib import Path

from tests.peers.dovecot import Dovecot
from tests.peers.process import until
from tests.peers.server import Layout, ServerTestCase

#: Who Dovecot reads as.  It refuses root, so the folders are open to our group.
READER = 5000


class DovecotTests(ServerTestCase):
    """One account with a Maildir, open in both programs."""

    programs = ("dovecot",)

    def setUp(self) -> None:
        super().setUp()
        self.maildir = self.folder / "mail" / "alice"
        layout = Layout(
            top=f'maildir = "{self.folder}/mail/{{account}}"\nmaildir_mode = 0o770',
            account='mailbox = "maildir"',
        )
        self.server = self.start(layout)

    def imap(self) -> imaplib.IMAP4:
        """A mail program."""
        self.dovecot = Dovecot(
            self.folder / "dovecot",
            maildir=self.maildir,
            uid=READER,
            gid=self.maildir.stat().st_gid,
        )
        self.addCleanup(self.dovecot.end)
        program = self.dovecot.connect()
        self.addCleanup(program.shutdown)
        return program

    def handed_over(self, count: int = 1) -> list[Path]:
        """The files in C{new} once there are C{count} of them."""
        new = self.maildir / "new"
        until(
            lambda: len(list(new.glob("*"))) >= count,
            what="the message is in the Maildir",
            log=self.server.log,
        )
        return sorted(new.glob("*"))

    def mailbox(self, subject: str) -> str:
        """Where we list the message."""
        (entry,) = [e for e in self.server.mail() if e["subject"] == subject]
        return str(entry["mailbox"])

    def test_shows(self) -> None:
        """A message that came in by SMTP is read over IMAP, CRLF and all."""
        self.server.deliver(subject="for IMAP", body=b"one\r\n..two\r\n")
        (file,) = self.handed_over()
        self.assertNotIn(b"\r", file.read_bytes())
        program = self.imap()
        self.assertEqual(program.select("INBOX"), ("OK", [b"1"]))
        _, parts = program.fetch("1", "(RFC822)")
        part = parts[0]
        assert isinstance(part, tuple)
        self.assertTrue(part[1].endswith(b"Subject: for IMAP\r\n\r\none\r\n..two\r\n"), part[1])
        (entry,) = self.server.mail()
        self.assertEqual(self.server.raw(entry["id"]), part[1])

    def test_moves(self) -> None:
        """A message that Dovecot moves to another folder is listed there."""
        self.server.deliver(subject="to be moved")
        self.handed_over()
        program = self.imap()
        program.create("Archive")
        program.select("INBOX")
        # MOVE of RFC 6851, which imaplib has no method for.
        imaplib.Commands.setdefault("MOVE", ("SELECTED",))
        self.assertEqual(program._simple_command("MOVE", "1", "Archive")[0], "OK")
        until(
            lambda: self.mailbox("to be moved") == "Archive",
            what="the move is noticed",
            log=self.server.log,
        )
        (entry,) = self.server.mail()
        self.assertIn(b"Subject: to be moved", self.server.raw(entry["id"]))

    def test_flags_and_removes(self) -> None:
        """A flag that Dovecot sets is noticed, and so is a message that it removes."""
        self.server.deliver(subject="stays")
        self.server.deliver(subject="goes")
        self.handed_over(2)
        program = self.imap()
        program.select("INBOX")
        _, (numbers,) = program.search(None, "SUBJECT", "goes")
        program.store(numbers.decode(), "+FLAGS", r"(\Deleted)")
        program.expunge()
        until(
            lambda: [entry["subject"] for entry in self.server.mail()] == ["stays"],
            what="the removal is noticed",
            log=self.server.log,
        )
        program.store("1", "+FLAGS", r"(\Flagged \Seen)")
        until(
            lambda: "F" in self.server.mail()[0]["flags"],
            what="the flag is noticed",
            log=self.server.log,
        )

    def test_replaced_while_down(self) -> None:
        """
        Another Maildir in its place, which Dovecot makes while our server is down, is not
        taken for the one from which everything was removed; back again, all is as before.
        """
        self.server.deliver(subject="precious")
        self.handed_over()
        marker = self.maildir / "moxsmtp-maildir"
        until(marker.exists, what="it is looked at", log=self.server.log)
        self.assertEqual(self.server.end(), 0)
        elsewhere = self.maildir.with_name("elsewhere")
        self.maildir.rename(elsewhere)
        self.maildir.mkdir()
        shutil.chown(self.maildir, READER, elsewhere.stat().st_gid)
        self.maildir.chmod(0o770)
        self.assertEqual(self.imap().select("INBOX"), ("OK", [b"0"]))
        # It writes there as long as somebody has the mailbox open.
        self.dovecot.end()
        self.server.restart()
        self.server.wait_until_up()
        until(
            lambda: "another folder than before" in self.server.log(),
            what="the warning",
            log=self.server.log,
        )
        time.sleep(12)
        (entry,) = self.server.mail()
        self.assertEqual((entry["subject"], entry["absent"]), ("precious", True))
        shutil.rmtree(self.maildir)
        elsewhere.rename(self.maildir)
        until(
            lambda: not self.server.mail()[0]["absent"],
            what="it is seen again",
            log=self.server.log,
        )

    def test_vanished_maildir(self) -> None:
        """A Maildir that is gone as a whole removes nothing: it is an alarm."""
        self.server.deliver(subject="precious")
        self.handed_over()
        self.maildir.rename(self.maildir.with_name("elsewhere"))
        until(
            lambda: str(self.maildir) in self.server.log(),
            what="the alarm",
            log=self.server.log,
        )
        self.assertEqual(self.mailbox("precious"), "Inbox")
        self.maildir.with_name("elsewhere").rename(self.maildir)
