"""
What a long queue costs: finding what is due next, lists for people, operations
on all of it, and memory.

The jobs are written into the store of a server that is not running, all due
later; then it is started and asked as its commands ask it.  First pages are
timed at the control socket, to their last row.  Meanwhile mail comes in one by
one, so that it shows how long whoever writes has to wait.

C{python -m bench.queue_size [JOBS] [--postgresql URL]}
"""

from __future__ import annotations

import argparse
import contextlib
import random  # noqa: TID251 - the same queue every time
import socket
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from twisted.internet.defer import Deferred

from bench.measure import peak_rss
from moxsmtp.admin.client import call
from moxsmtp.interfaces import NewJob, Spooled
from moxsmtp.names import Domain
from moxsmtp.smtp.address import Path as MailPath
from moxsmtp.store.columns import write_time
from moxsmtp.store.content import insert_content
from moxsmtp.store.database import Database
from moxsmtp.store.due import add_due
from moxsmtp.store.files import ContentFiles
from moxsmtp.store.folder import DataFolder
from moxsmtp.store.job_rows import JOBS, insert_job, job_destination
from moxsmtp.store.jobs import JobStore
from moxsmtp.store.postgresql import PostgreSQLDatabase, prepare_postgresql
from moxsmtp.store.sqlite import SQLiteDatabase
from moxsmtp.store.transaction import Transaction
from moxsmtp.store.upgrade import prepare_sqlite
from tests.peers.server import ADDRESS, Layout, Server
from tests.store.engine import CountingReactor

#: Jobs in one transaction while the queue is filled.
_STEP: Final = 1000

#: Octets of content, and of our fields before it: one signature, one Received.
_CONTENT: Final = b"Subject: queued\r\n\r\n" + b"x" * 70 + b"\r\n"
_PREFIX: Final = b"Received: by mx.here.test; now\r\n" + b"X-Signature: " + b"s" * 1400 + b"\r\n"

_DOMAINS: Final = 2000

#: A list as somebody asks for it.
_LISTS: Final[tuple[tuple[str, dict[str, object]], ...]] = (
    ("as it comes", {}),
    ("the earliest first", {"ascending": True}),
    ("by when queued", {"sort": "queued"}),
    ("of one account", {"account": "alice"}),
    ("of another account", {"account": "bob"}),
    ("from an address", {"sender": "alice@"}),
    ("to a domain", {"recipient": "@site77.test"}),
    ("to nobody's domain", {"recipient": "@nowhere.test"}),
    ("to some part of an address", {"recipient": "user5000"}),
    ("to a part that all have", {"recipient": "site"}),
    ("on hold", {"hold": True}),
    ("due soon", {"next_attempt": "<2h"}),
    ("queued long ago", {"submitted": "<-20h", "sort": "queued", "ascending": True}),
    ("by a transport", {"transport": "smarthost"}),
)


def _wait(reactor: CountingReactor, deferred: Deferred[Any]) -> Any:
    reactor.wait(deferred)
    values: list[Any] = []
    _ = deferred.addBoth(values.append)
    return values[0]


def _fill(database: Database, reactor: CountingReactor, count: int) -> None:
    now = datetime.now(UTC)  # noqa: TID251 - the server's clock is the machine's
    chance = random.Random(1)
    spooled = Spooled(len(_CONTENT), b"", has_8bit=False, inline=_CONTENT)
    sender = MailPath("alice", Domain("here.test"))

    def some(first: int) -> Callable[[Transaction], None]:
        def work(tx: Transaction) -> None:
            due: dict[str, int] = {}
            for number in range(first, min(first + _STEP, count)):
                new = NewJob(
                    account="alice" if number % 10 else "bob",
                    reverse_path=sender,
                    forward_path=MailPath(f"user{number}", Domain(f"site{number % _DOMAINS}.test")),
                    prefix=_PREFIX,
                    message_id=f"<{number}@here.test>",
                    subject=f"message {number}",
                    next_attempt=now + timedelta(seconds=3600 + chance.randrange(30000)),
                )
                content = insert_content(tx, spooled, 1)
                queued = write_time(now - timedelta(seconds=chance.randrange(86400)))
                insert_job(tx, new, spooled, content=content, base=0, now=queued)
                name = job_destination(new)
                time = write_time(new.next_attempt or now)
                due[name] = min(time, due.get(name, time))
            for name in sorted(due):
                add_due(tx, JOBS.kind, name, due[name], write_time(now))

        return work

    for first in range(0, count, _STEP):
        _wait(reactor, database.transact(some(first)))


def _timed(act: Callable[[], object], times: int = 5) -> float:
    """Milliseconds of the middle one."""
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        act()
        taken.append((time.perf_counter() - start) * 1000)
    return statistics.median(taken)


def _store(database: Database, reactor: CountingReactor) -> None:
    """What the runner asks, with nothing between."""

    def now() -> datetime:
        return datetime.now(UTC)  # noqa: TID251 - likewise

    jobs = JobStore(
        database,
        None,  # type: ignore[arg-type]  # nothing is spooled
        owner="bench",
        now=now,
        wake=lambda: None,
        stored=lambda _: None,
        keep_hooks=lambda _: timedelta(),
    )

    def run(awaitable: Any) -> Any:
        return _wait(reactor, Deferred.fromCoroutine(awaitable))

    print(f"next due:                       {_timed(lambda: run(jobs.next_due())):8.2f} ms")
    later = now() + timedelta(hours=20)

    def claim() -> None:
        for lease in run(jobs.claim(1, later, later + timedelta(seconds=30), troubled=True)):
            run(jobs.take(lease, later, lambda _: later))
            run(jobs.release(lease, troubled=False))

    print(f"claim, take and give back:      {_timed(claim):8.2f} ms")


class _Mail(threading.Thread):
    """
    Brings mail, one message after the other.

    @ivar slowest: Seconds that one took at most.
    """

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self.slowest = 0.0
        self.count = 0
        self.ended = threading.Event()
        self._port = port

    def run(self) -> None:
        """Until it is told to end."""
        with socket.create_connection(("127.0.0.1", self._port), 60) as connection:
            lines = connection.makefile("rb")

            def say(text: str) -> None:
                connection.sendall(text.encode())
                while (line := lines.readline())[3:4] == b"-":
                    pass
                if line[:1] not in b"23":
                    raise SystemExit(f"refused: {line!r}")

            say("")
            say("EHLO client.test\r\n")
            while not self.ended.wait(0.01):
                start = time.perf_counter()
                say("MAIL FROM:<peer@there.test>\r\n")
                say(f"RCPT TO:<{ADDRESS}>\r\n")
                say("DATA\r\n")
                say("From: peer@there.test\r\n\r\nhello\r\n.\r\n")
                self.slowest = max(self.slowest, time.perf_counter() - start)
                self.count += 1


@contextlib.contextmanager
def _beside(server: Server) -> Iterator[_Mail]:
    mail = _Mail(server.ports["smtp"])
    mail.start()
    yield mail
    mail.ended.set()
    mail.join(60)


def _commands(server: Server, count: int) -> None:
    folder = str(server.data)
    for what, arguments in _LISTS:
        taken = _timed(lambda arguments=arguments: list(call(folder, "queue.list", arguments)))  # type: ignore[misc]  # mypy cannot infer a default's type
        print(f"list {what + ':':27}{taken:8.1f} ms", flush=True)
    whole = _timed(lambda: [0 for _ in call(folder, "queue.list", {"limit": count})], times=1)
    print(f"list all of it:                 {whole:8.0f} ms")
    print(f"resident at most so far:        {peak_rss(server.process.pid) / 1024:8.0f} MiB")
    operations: tuple[tuple[str, dict[str, object]], ...] = (
        ("hold", {}),
        ("release", {}),
        ("schedule", {"add": "1h"}),
        ("fail", {"account": "bob"}),
        ("drop", {}),
    )
    for name, arguments in operations:
        with _beside(server) as mail:
            start = time.perf_counter()
            asked = {"all": True, **arguments}
            touched = sum(1 for _ in call(folder, f"queue.{name}", asked))
            taken = time.perf_counter() - start
        print(
            f"{name} {touched} jobs: {taken:.1f} s; meanwhile {mail.count} messages came in,"
            f" the slowest in {mail.slowest * 1000:.0f} ms",
            flush=True,
        )
    print(f"resident at most:               {peak_rss(server.process.pid) / 1024:8.0f} MiB")


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("jobs", type=int, nargs="?", default=100_000)
    parser.add_argument("--postgresql", metavar="URL", help="An empty database to use.")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mox", ignore_cleanup_errors=True) as name:
        folder = DataFolder(Path(name, "data"))
        folder.open()
        reactor = CountingReactor()
        files = ContentFiles(folder.content)
        database: Database
        if given.postgresql:
            prepare_postgresql(given.postgresql)
            database = PostgreSQLDatabase(reactor, given.postgresql, files, writers=1)
        else:
            prepare_sqlite(folder.database)
            database = SQLiteDatabase(reactor, folder.database, files, idle=3600)
        start = time.perf_counter()
        _fill(database, reactor, given.jobs)
        taken = time.perf_counter() - start
        print(f"{given.jobs} jobs for {_DOMAINS} domains, written in {taken:.0f} s", flush=True)
        _store(database, reactor)
        _wait(reactor, database.stop())
        folder.close()
        tables = {"store": f'url = "{given.postgresql}"'} if given.postgresql else {}
        start = time.perf_counter()
        server = Server(Path(name), Layout(tables=tables))
        try:
            server.wait_until_up()
            print(f"up after                        {time.perf_counter() - start:8.1f} s")
            _commands(server, given.jobs)
        finally:
            server.end()


if __name__ == "__main__":
    main()
