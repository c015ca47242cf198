"""
SIGKILLs under load.

C{python -m bench.kill [KILLS] [--queued N]}: eight clients bring mail for an account and submit
mail for a sink, which refuses 5 in 100 messages and hangs up on 5 in 100
transactions, while the server is killed at random moments and started again.  In the
end, of all that was acknowledged, nothing may be missing, and nothing may have
come twice but what was in flight when a process or a connection died.  Exit
status 1 if that does not hold.
"""

from __future__ import annotations

import argparse
import base64
import itertools
import os
import random  # noqa: TID251 - a run can be repeated by its seed
import secrets
import signal
import smtplib
import socket
import sqlite3
import statistics
import tempfile
import threading
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from bench.client import Letter, Sessions, letter
from bench.measure import allow_files
from bench.sink import Receipt, Sink
from tests.peers.process import children, free_port, until
from tests.peers.server import ADDRESS, PASSWORD, Layout, Server

_CLIENTS: Final = 8

#: Of the sink of each client that submits, so that they are several destinations.
SINKS: Final = {number: f"127.0.0.{number + 2}" for number in range(1, _CLIENTS, 2)}

#: Seconds from the sink's reply to the commit of what it means, at most.
_SETTLING: Final = 1.0

#: Messages of either kind that are taken behind the last kill, however slow the machine is.
_BEHIND: Final = 100


@dataclass(slots=True)
class Books:
    """
    What clients were told.

    @ivar local: Octets of each message that was acknowledged and has to be stored.
    @ivar remote: The same of those that have to reach the sink.
    """

    local: dict[str, int] = field(default_factory=dict)
    remote: dict[str, int] = field(default_factory=dict)
    attempted: int = 0


class Client(threading.Thread):
    """
    Sends one message after the other, on a new connection whenever the old
    one dies.  What was not acknowledged is not sent again.
    """

    def __init__(self, number: int, server: Server, books: Books, over: threading.Event) -> None:
        super().__init__(daemon=True)
        self._number = number
        self._submits = number in SINKS
        self._server = server
        self._books = books
        self._over = over
        self._counter = itertools.count()

    def run(self) -> None:
        """Until told to stop."""
        while not self._over.is_set():
            try:
                self._session()
            except (OSError, smtplib.SMTPException):
                time.sleep(0.1)

    def _session(self) -> None:
        with self._connected() as client:
            while not self._over.is_set():
                self._message(client)
                time.sleep(0.005)

    def _connected(self) -> smtplib.SMTP:
        return self._server.submission() if self._submits else self._server.client()

    def _message(self, client: smtplib.SMTP) -> None:
        subject = f"m{self._number}-{next(self._counter)}"
        lines = 6000 if secrets.randbelow(20) == 0 else 40
        body = "".join(f"{subject} {line:06}\r\n" for line in range(lines)) + "the end\r\n"
        sender = ADDRESS if self._submits else "peer@there.test"
        recipient = f"user@[{SINKS[self._number]}]" if self._submits else ADDRESS
        text = f"From: {sender}\r\nSubject: {subject}\r\n\r\n{body}"
        self._books.attempted += 1
        client.sendmail(sender, [recipient], text)
        book = self._books.remote if self._submits else self._books.local
        book[subject] = len(text)


@dataclass(frozen=True, slots=True)
class Verdict:
    """
    What the books say against the world.

    @ivar lost: Acknowledged, and nowhere.
    @ivar cut: There, but not whole.
    @ivar after_drop: Arrivals at the sink that it never answered, so they had to be repeated.
    @ivar after_kill: Answered ones that were repeated, the server having died before
        it could note the answer: for each kill at most one for each destination,
        which is what is in flight at once.
    @ivar unexcused: Repeated although nothing had died.
    """

    acknowledged: int
    kills: int
    lost: Sequence[str]
    cut: Sequence[str]
    after_drop: int
    after_kill: int
    unexcused: Sequence[str]

    @property
    def is_good(self) -> bool:
        """Whether nothing is wrong."""
        in_flight = self.kills * len(SINKS)
        return not (self.lost or self.cut or self.unexcused) and self.after_kill <= in_flight


def stored(data: Path) -> dict[str, list[int]]:
    """Octets of the content of each stored message, by subject, counted in the content itself."""
    (database,) = data.glob("*.db")
    found: dict[str, list[int]] = {}
    files = {path.name: path for path in data.rglob("*") if path.is_file()}
    statement = (
        "SELECT subject, content.id, file FROM message JOIN content ON content_id = content.id"
    )
    with closing(sqlite3.connect(database)) as connection:
        rows = connection.execute(statement).fetchall()
        for subject, number, file in rows:
            if file is not None:
                octets = files[Path(file).name].stat().st_size if Path(file).name in files else 0
            else:
                (octets,) = connection.execute(
                    "SELECT coalesce(sum(length(data)), 0) FROM content_chunk WHERE content_id = ?",
                    (number,),
                ).fetchone()
            found.setdefault(subject, []).append(octets)
    return found


def judge(
    books: Books, local: dict[str, list[int]], receipts: Sequence[Receipt], deaths: Sequence[float]
) -> Verdict:
    """Compare."""
    came = Counter(receipt.subject for receipt in receipts)
    lost = [name for name in books.local if name not in local]
    lost += [name for name in books.remote if name not in came]
    cut = [name for name, size in books.local.items() if any(n < size for n in local.get(name, ()))]
    sizes = {receipt.subject: receipt.octets for receipt in receipts}
    cut += [name for name, size in books.remote.items() if sizes.get(name, size) < size]
    reasons = Counter(
        (_reason(arrival, deaths), arrival.subject) for arrival in _repeated(receipts)
    )
    # Clients never send a message again, so a stored one cannot come twice.
    unexcused = [name for name, found in local.items() if len(found) > 1]
    unexcused += [
        f"{arrival.subject}, {_until_death(arrival, deaths):.1f} s before a kill"
        for arrival in _repeated(receipts)
        if _reason(arrival, deaths) == "none"
    ]
    return Verdict(
        acknowledged=len(books.local) + len(books.remote),
        kills=len(deaths),
        lost=lost,
        cut=cut,
        after_drop=sum(count for (reason, _), count in reasons.items() if reason == "drop"),
        after_kill=sum(count for (reason, _), count in reasons.items() if reason == "kill"),
        unexcused=unexcused,
    )


def _repeated(receipts: Sequence[Receipt]) -> list[Receipt]:
    """Each arrival that another one of the same message followed."""
    last: dict[str, Receipt] = {}
    found = []
    for receipt in receipts:
        if receipt.subject in last:
            found.append(last[receipt.subject])
        last[receipt.subject] = receipt
    return found


def _reason(arrival: Receipt, deaths: Sequence[float]) -> str:
    """
    Why the message had to come again: C{drop}, C{kill} or C{none}.

    What a server had written before it died the sink may read, and answer, after that.
    """
    if not arrival.answered:
        return "drop"
    after = bisect_left(deaths, arrival.began)
    died = after < len(deaths) and deaths[after] - arrival.at < _SETTLING
    return "kill" if died else "none"


def _until_death(arrival: Receipt, deaths: Sequence[float]) -> float:
    after = bisect_left(deaths, arrival.at)
    return deaths[after] - arrival.at if after < len(deaths) else float("inf")


def kill_often(
    server: Server, kills: int, chance: random.Random, *, workers: int = 1
) -> list[float]:
    """
    Kill the server that often.

    @param workers: With several, in turns all of it, its first process alone, and
        one of the workers, which is replaced by itself.
    @return: When.
    """
    deaths = []
    pauses = []
    for number in range(kills):
        time.sleep(chance.uniform(0.3, 3.0))
        deaths.append(time.monotonic())
        if workers == 1 or number % 3 == 0:
            server.process.kill()
            server.restart()
        elif number % 3 == 1:
            os.kill(server.process.pid, signal.SIGKILL)
            server.process.wait()
            server.restart()
        else:
            os.kill(chance.choice(children(server.process.pid)), signal.SIGKILL)
        _await_greeting(server)
        pauses.append(time.monotonic() - deaths[-1])
        server.wait_until_up()
        print(f"kill {number + 1}: greets again after {pauses[-1]:.2f} s", flush=True)
    print(f"from kill to greeting: {statistics.median(pauses):.2f} s, at most {max(pauses):.2f} s")
    return deaths


def _await_greeting(server: Server) -> None:
    """As a client sees it."""
    while True:
        try:
            with socket.create_connection(("127.0.0.1", server.ports["smtp"]), 5) as client:
                if client.recv(4).startswith(b"220"):
                    return
        except OSError:
            pass
        time.sleep(0.01)


def fill(server: Server, count: int) -> None:
    """Hand in so many messages that are not to leave before tomorrow (RFC 4865)."""
    text = f"From: {ADDRESS}\r\nSubject: later\r\n\r\n".encode() + b"x" * 70 + b"\r\n"
    one = letter(ADDRESS, "later@later.test", text)
    steps = (f"MAIL FROM:<{ADDRESS}> HOLDFOR=86400\r\n".encode(), *one.steps[1:])
    secret = base64.b64encode(f"\0{ADDRESS}\0{PASSWORD}".encode()).decode()
    context = server.tls()
    context.check_hostname = False
    login = (f"AUTH PLAIN {secret}\r\n".encode(),)
    sessions = Sessions(server.ports["submissions"], opening=login, context=context)
    sessions.send([Letter(steps)] * count)


def run(
    kills: int, queued: int, chance: random.Random, folder: Path, *, workers: int = 1
) -> tuple[Verdict, Books]:
    """The whole of it, in C{folder}."""
    port = free_port(*SINKS.values())
    sinks = [Sink(address, port, fails=5, drops=5) for address in SINKS.values()]
    layout = Layout(
        top=f"workers = {workers}",
        tables={
            "queue": f'outbound_port = {port}\nretry_after = "2s"\nmax_attempts = 12',
            "log": 'level = "warn"',
        },
    )
    server = Server(folder, layout)
    books, stop = Books(), threading.Event()
    clients = [Client(number, server, books, stop) for number in range(_CLIENTS)]
    try:
        server.wait_until_up()
        server.set_password()
        if queued:
            fill(server, queued)
        for client in clients:
            client.start()
        deaths = kill_often(server, kills, chance, workers=workers)
        time.sleep(2)
        before = len(books.local), len(books.remote)
        until(
            lambda: (
                len(books.local) > before[0] + _BEHIND and len(books.remote) > before[1] + _BEHIND
            ),
            within=120,
            what="mail is taken behind the last kill",
            log=server.log,
        )
        stop.set()
        for client in clients:
            client.join(150)
        _drain(server, queued)
    finally:
        stop.set()
        server.end()
        for sink in sinks:
            sink.end()
    receipts = sorted(
        (receipt for sink in sinks for receipt in sink.receipts), key=lambda receipt: receipt.at
    )
    return judge(books, stored(server.data), receipts, deaths), books


def _drain(server: Server, later: int) -> None:
    """
    Until the queue is empty but for what is to leave later.  Asking costs as much
    as many deliveries do.
    """

    def is_empty() -> bool:
        time.sleep(1)
        return len(server.queue()) == later

    until(is_empty, within=300, what="the queue is empty", log=server.log)


def main() -> None:
    """Kill, and say what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kills", type=int, nargs="?", default=30)
    parser.add_argument("--seed", type=int, default=None, help="for the moments of the kills")
    parser.add_argument("--workers", type=int, default=1, help="processes, killed in turns")
    parser.add_argument("--queued", type=int, default=0, help="messages that wait beside it")
    options = parser.parse_args()
    allow_files(65536)
    seed = secrets.randbelow(10**6) if options.seed is None else options.seed
    with tempfile.TemporaryDirectory(prefix="mox", ignore_cleanup_errors=True) as name:
        chance, folder = random.Random(seed), Path(name)
        verdict, books = run(options.kills, options.queued, chance, folder, workers=options.workers)
    print(
        f"{options.kills} kills (seed {seed}): {books.attempted} messages begun,"
        f" {verdict.acknowledged} acknowledged"
        f" ({len(books.local)} to store, {len(books.remote)} to send);"
        f" lost {len(verdict.lost)}, cut short {len(verdict.cut)},"
        f" repeated {verdict.after_drop} after a dropped connection,"
        f" {verdict.after_kill} after a kill, {len(verdict.unexcused)} without reason"
    )
    for words, names in (
        ("lost", verdict.lost),
        ("cut short", verdict.cut),
        ("repeated without reason", verdict.unexcused),
    ):
        for name in list(names)[:20]:
            print(f"{words}: {name}")
    raise SystemExit(0 if verdict.is_good else 1)


if __name__ == "__main__":
    main()
