"""PostgreSQL: the engine's contract on a real server, the start, and whole messages."""

from __future__ import annotations

import hashlib
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from smtplib import SMTPRecipientsRefused, SMTPResponseException

from sqlalchemy import select
from twisted.python.monkey import MonkeyPatcher

from bench.kill import SINKS, Books, Client
from bench.sink import Sink
from moxsmtp.store import postgresql, upgrade
from moxsmtp.store.database import Database
from moxsmtp.store.errors import StoreError
from moxsmtp.store.postgresql import PostgreSQLDatabase, prepare_postgresql
from moxsmtp.store.schema import identity
from moxsmtp.store.transaction import Transaction
from tests.peers.check_delivery import HOST, resolver
from tests.peers.postfix import Postfix
from tests.peers.postgresql import OnPostgreSQL, PostgreSQL, cluster, new_database
from tests.peers.process import PATIENCE, children, free_port, until
from tests.peers.server import Layout, Server, ServerTestCase
from tests.peers.unbound import Unbound
from tests.store import engine

_LOCK = select(identity.c.name).with_for_update()


class EngineOnPostgreSQL(OnPostgreSQL, engine.EngineCase):
    """A database for the engine's contracts: one thread that writes."""

    def make_database(self, *, bound: int) -> Database:
        """Another one on the same tables."""
        return PostgreSQLDatabase(self.reactor, self.url, self.files, writers=1, bound=bound)


class DatabaseTests(EngineOnPostgreSQL, engine.DatabaseContract):
    """Units of work."""


class ContentTests(EngineOnPostgreSQL, engine.ContentContract):
    """Content in rows."""


class FrozenTests(EngineOnPostgreSQL):
    """A node that is stopped in the middle of a unit."""

    def test_locks(self) -> None:
        """
        What it has locked is free for others within the time that it may be silent, and
        the unit, which the server has ended, is run again.
        """
        self.patch(postgresql, "SILENCE", 1)
        other = self.make_database(bound=8)
        self.addCleanup(lambda: self.result(other.stop()))
        self.result(other.transact(engine.add("row")))
        is_held, thaw = threading.Event(), threading.Event()
        self.addCleanup(thaw.set)
        runs: list[object] = []

        def frozen(tx: Transaction) -> object:
            runs.append(tx.execute(_LOCK))
            if len(runs) == 1:
                is_held.set()
                thaw.wait(PATIENCE)
            return tx.execute(_LOCK)

        held = self.database.transact(frozen)
        self.reactor.turns()
        self.assertTrue(is_held.wait(PATIENCE))
        began = time.monotonic()
        self.result(other.transact(lambda tx: tx.execute(_LOCK)))
        self.assertLess(time.monotonic() - began, PATIENCE / 2)
        thaw.set()
        self.assertTrue(self.result(held))
        self.assertEqual(len(runs), 2)


class PreparationTests(OnPostgreSQL):
    """The tables at the start."""

    def test_made_once(self) -> None:
        """An empty database gets the tables; another start finds them."""
        url = new_database(template="template0")
        prepare_postgresql(url)
        name = url.rpartition("/")[2]
        before = cluster().query(name, "SELECT version_num FROM alembic_version")
        prepare_postgresql(url)
        self.assertEqual(cluster().query(name, "SELECT version_num FROM alembic_version"), before)

    def test_newer(self) -> None:
        """Tables of a later version are refused in one line."""
        cluster().query(
            self.url.rpartition("/")[2],
            "UPDATE alembic_version SET version_num = 'from-the-future'",
        )
        error = self.assertRaises(StoreError, prepare_postgresql, self.url)
        self.assertEqual(len(str(error).splitlines()), 1)

    def test_older(self) -> None:
        """Tables of the first version are brought up; their rows stay (I-105)."""
        url = new_database(template="template0")
        name = url.rpartition("/")[2]
        before = MonkeyPatcher((upgrade, "HEAD", "0001"), (postgresql, "HEAD", "0001"))
        before.runWithPatches(prepare_postgresql, url)
        cluster().query(
            name,
            "INSERT INTO message (account, mailbox, prefix, size, received, rcpt_to)"
            " VALUES ('ann', 'Inbox', '', 3, 0, 'ann@here.test')",
        )
        prepare_postgresql(url)
        found = cluster().query(name, "SELECT account, dkim_domains, dmarc FROM message")
        self.assertEqual(found, cluster().query(name, "SELECT 'ann', '[]', ''"))

    def test_nobody_there(self) -> None:
        """No server is one line too."""
        error = self.assertRaises(StoreError, prepare_postgresql, "postgresql://x@127.0.0.1:9/x")
        self.assertEqual(len(str(error).splitlines()), 1)


class WholeMessageTests(OnPostgreSQL, ServerTestCase):
    """Our server with its store there."""

    def start_on(self, url: str, **tables: str) -> Server:
        """Our server on that database."""
        return self.start(
            Layout(tables={"store": f'url = "{url}"', **tables}), password=True, page="/healthz"
        )

    def test_in(self) -> None:
        """A small message and one of 5 MiB come in, and are shown as they were sent."""
        server = self.start_on(self.url)
        line = b".x" * 38 + b"\r\n"
        bodies = {"small": b"hello\r\n", "large": line * (5 * 2**20 // len(line))}
        for subject, body in bodies.items():
            server.deliver(subject=subject, body=body)
        for subject, body in bodies.items():
            raw = server.raw(self.assertComes(server, subject)["id"])
            self.assertTrue(raw.endswith(b"Subject: %s\r\n\r\n%s" % (subject.encode(), body)))
        self.assertEqual(
            [
                path
                for path in server.data.rglob("*")
                if path.is_file() and path.stat().st_size > 10**5
            ],
            [],
            "all content is in the database",
        )

    def test_out(self) -> None:
        """A small message and one of 5 MiB are queued and leave whole."""
        self.require("unbound", "postfix")
        dns = Unbound(self.folder / "unbound", {"there.test": f"@ 60 IN A {HOST}\n"})
        self.addCleanup(dns.end)
        postfix = Postfix(self.folder / "postfix", domains=("there.test",), address=HOST)
        self.addCleanup(postfix.end)
        server = self.start_on(
            self.url, resolver=resolver(dns), queue=f"outbound_port = {postfix.port}"
        )
        line = "y" * 76 + "\r\n"
        bodies = {"small": "hello\r\n", "large": line * (5 * 2**20 // len(line))}
        for subject, body in bodies.items():
            server.submit("user@there.test", subject=subject, body=body)
        until(lambda: len(postfix.messages()) == 2, what="both leave", log=server.log)
        arrived = {
            hashlib.sha256(message.partition(b"\n\n")[2]).hexdigest()
            for message in postfix.messages()
        }
        sent = {
            hashlib.sha256(body.replace("\r\n", "\n").encode()).hexdigest()
            for body in bodies.values()
        }
        self.assertEqual(arrived, sent)
        until(lambda: server.queue() == [], what="the queue is empty", log=server.log)

    def test_restart(self) -> None:
        """What was acknowledged is there after a SIGKILL."""
        server = self.start_on(self.url)
        server.deliver(subject="precious")
        server.process.signal(signal.SIGKILL)
        server.process.wait()
        server.restart()
        server.wait_until_up()
        self.assertComes(server, "precious")

    def test_workers(self) -> None:
        """
        Two workers take mail and submissions, one is killed under load again and again: of
        what was acknowledged nothing is lost, all comes once, and the queue empties.
        """
        port = free_port(*SINKS.values())
        sinks = [Sink(address, port) for address in SINKS.values()]
        for sink in sinks:
            self.addCleanup(sink.end)
        tables = {
            "store": f'url = "{self.url}"',
            "queue": f'outbound_port = {port}\nretry_after = "2s"',
        }
        server = self.start(Layout(top="workers = 2", tables=tables), password=True)
        books, over = Books(), threading.Event()
        # Those with odd numbers submit, each for a sink of its own.
        clients = [Client(number, server, books, over) for number in range(4)]
        for client in clients:
            client.start()
        self.addCleanup(over.set)
        for round_ in range(2):
            time.sleep(1)
            workers = children(server.process.pid)
            before = len(books.local), len(books.remote)
            os.kill(workers[round_ % 2], signal.SIGKILL)
            until(
                lambda: (
                    len(books.local) > before[0] + 10  # noqa: B023 - called within the loop
                    and len(books.remote) > before[1] + 10  # noqa: B023 - the same
                    and len(children(server.process.pid)) == 2
                ),
                what="it is replaced",
                log=server.log,
            )
        over.set()
        for client in clients:
            client.join(PATIENCE + 30)
        until(lambda: server.queue() == [], what="the queue is empty", log=server.log)
        name = self.url.rpartition("/")[2]
        stored = Counter(cluster().query(name, "SELECT subject FROM message").splitlines())
        came = Counter(receipt.subject for sink in sinks for receipt in sink.receipts)
        for book, found in ((books.local, stored), (books.remote, came)):
            self.assertGreater(len(book), 10)
            self.assertEqual([name for name in book if not found[name]], [], "lost")
        self.assertEqual([name for name, count in (stored + came).items() if count > 1], [])

    def test_database_away(self) -> None:
        """While the database cannot be reached mail is answered 4xx; afterwards it is taken."""
        own = PostgreSQL(self.folder / "own")
        self.addCleanup(own.end)
        server = self.start_on(own.database("own"))
        server.deliver(subject="before")
        own.end()
        code = self.refused(server.deliver)
        self.assertEqual(code // 100, 4)
        self.assertEqual(server.ask("/readyz")[0], 503, server.ask("/readyz"))
        own.start()
        until(
            lambda: self.refused(lambda: server.deliver(subject="after")) == 250,
            what="mail is taken again",
            log=server.log,
        )
        self.assertComes(server, "after")
        self.assertComes(server, "before")

    def refused(self, send: Callable[[], None]) -> int:
        """The code that a client gets."""
        try:
            send()
        except SMTPResponseException as error:
            return error.smtp_code
        except SMTPRecipientsRefused as error:
            return int(next(iter(error.recipients.values()))[0])
        return 250
