"""What is acknowledged is on disk, and survives."""

from __future__ import annotations

import random  # noqa: TID251 - the moments of the kills are given by a seed
import secrets
from pathlib import Path

from bench import kill, syncs
from tests.peers.process import PeerTestCase

#: A record as strace writes it: two messages on two connections, one group commit.
RECORD = """\
7 recvfrom(20<socket:[1]>, "Subject: word-0000001-small-end\\r\\n", 65536, 0, NULL, NULL) = 33
7 recvfrom(21<socket:[2]>,  <unfinished ...>
8 pwrite64(9</d/m.db-wal>, "..word-0000001-small-end..", 4096, 0) = 4096
7 <... recvfrom resumed>"Subject: word-0000002-large-end", 65536, 0, NULL, NULL) = 31
8 fdatasync(9</d/m.db-wal> <unfinished ...>
9 pwrite64(30</d/content/x>, "word-0000002-large-end", 4096, 0) = 4096
9 fsync(30</d/content/x>) = 0
8 <... fdatasync resumed>) = 0
7 sendto(20<socket:[1]>, "250 2.2.0 it is yours\\r\\n", 20, 0, NULL, 0) = 20
8 pwrite64(9</d/m.db-wal>, "..word-0000002-large-end..", 4096, 0) = 4096
8 fdatasync(9</d/m.db-wal>) = 0
7 sendto(21<socket:[2]>, "250 2.2.0 it is yours\\r\\n", 20, 0, NULL, 0) = 20
"""


class LedgerTests(PeerTestCase):
    """The reading of the record itself."""

    def read(self, *without: str) -> syncs.Ledger:
        """The record, less the lines that begin so."""
        ledger = syncs.Ledger()
        for line in RECORD.splitlines():
            if not line.startswith(without or ("none",)):
                ledger.line(line)
        return ledger

    def test_in_order(self) -> None:
        """Replies behind the syncs that hold their messages are good."""
        ledger = self.read()
        self.assertEqual((ledger.acknowledged, ledger.early), (2, []))

    def test_each_sync_is_needed(self) -> None:
        """Without one of the syncs, the message that it holds was acknowledged too early."""
        for without, word in (
            (("8 fdatasync(9</d/m.db-wal> ", "8 <..."), "word-0000001-small-end"),
            (("8 fdatasync(9</d/m.db-wal>)",), "word-0000002-large-end"),
            (("9 fsync",), "word-0000002-large-end"),
        ):
            self.assertEqual(self.read(*without).early, [word])

    def test_sync_under_way_holds_nothing_later(self) -> None:
        """What was written after a sync had begun is not held by it."""
        ledger = syncs.Ledger()
        lines = RECORD.splitlines()
        begun = lines.pop(4)
        lines.insert(2, begun)
        for line in lines:
            ledger.line(line)
        self.assertEqual(ledger.early, ["word-0000001-small-end"])


class SyncTests(PeerTestCase):
    """The server under strace."""

    programs = ("strace",)

    def test_reply_follows_sync(self) -> None:
        """
        Each 250 of 1000 messages follows the sync that holds its message, small ones in
        the database and large ones in files.
        """
        probe = self.run_program("strace", "-o", "/dev/null", "true")
        if probe.returncode:
            self.unavailable(f"strace may not trace here: {probe.stderr.strip()}")
        ledger = syncs.Ledger()
        with syncs.record(1000, self.folder).open(errors="replace") as lines:
            for line in lines:
                ledger.line(line)
        self.assertEqual((ledger.acknowledged, ledger.early), (1000, []))


class KillTests(PeerTestCase):
    """The server killed under load; C{python -m bench.kill 30} does it more often."""

    def test_nothing_is_lost(self) -> None:
        """
        Of what was acknowledged before SIGKILLs nothing is lost or cut short, and only
        what was in flight comes twice (Q-10).
        """
        seed = secrets.randbelow(10**6)
        verdict, books = kill.run(3, 0, random.Random(seed), Path(self.folder))
        self.assertTrue(verdict.is_good, f"seed {seed}: {verdict}")
        self.assertGreater(len(books.local), 100)
        self.assertGreater(len(books.remote), 100)
