"""
Messages a second and CPU for each, of our server and its peers.

C{python -m bench.receive TRIALS [--scale F] [--stored N] [--only NAME ...]}

All servers run at once and idle but for the one that is being measured; trials go
round the servers, so that what slows the machine down slows all of them.  Peers
write a Maildir with one fsync for the file and one for its folder.
"""

from __future__ import annotations

import argparse
import socket
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from bench.measure import allow_files, cpu_seconds, smtp_source
from tests.peers.postfix import Postfix
from tests.peers.process import Process, find, free_port, until
from tests.peers.server import Layout, Server, environment


@dataclass(frozen=True, slots=True)
class Cell:
    """One kind of load."""

    name: str
    size: int
    reuse: bool
    messages: int


CELLS: Final = (
    Cell("4k reused", 4096, reuse=True, messages=3000),
    Cell("4k one each", 4096, reuse=False, messages=2000),
    Cell("64k reused", 65536, reuse=True, messages=1000),
)

_RECIPIENT: Final = "alice@here.test"


class Peer(Protocol):
    """A server that is measured."""

    name: str
    port: int

    @property
    def session(self) -> int:
        """Of its processes."""

    def delivered(self) -> int | None:
        """How many messages reached their Maildir; L{None}: it has none."""

    def clear(self) -> None:
        """Forget what was delivered."""

    def end(self) -> None:
        """Stop it."""


class InMaildir:
    """What a server leaves in C{new}."""

    def __init__(self, maildir: Path) -> None:
        self._new = maildir / "new"

    def delivered(self) -> int | None:
        return sum(1 for _ in self._new.iterdir()) if self._new.is_dir() else 0

    def clear(self) -> None:
        if self._new.is_dir():
            for file in self._new.iterdir():
                file.unlink()


class Stock(InMaildir):
    """A peer in Python, of this folder."""

    def __init__(self, name: str, module: str, folder: Path) -> None:
        super().__init__(folder)
        folder.mkdir()
        self.name = name
        self.port = free_port()
        root = Path(__file__).resolve().parent.parent
        self._process = Process(
            [sys.executable, "-m", module, str(self.port), folder],
            log=folder.with_suffix(".log"),
            env={**environment(folder), "PYTHONPATH": str(root)},
        )
        until(
            lambda: _listens(self.port), within=30, what=f"{name} listens", log=self._process.output
        )

    @property
    def session(self) -> int:
        return self._process.pid

    def end(self) -> None:
        self._process.end()


class PostfixPeer(InMaildir):
    """Postfix, to its virtual mailbox."""

    name = "Postfix"

    def __init__(self, folder: Path) -> None:
        self._postfix = Postfix(folder, domains=("here.test",))
        super().__init__(self._postfix.inbox)
        self.port = self._postfix.port

    @property
    def session(self) -> int:
        return self._postfix.process.pid

    def end(self) -> None:
        self._postfix.end()


class Ours(InMaildir):
    """Our server, the account's mail in the store or handed over to a Maildir."""

    def __init__(self, folder: Path, mailbox: str, *, stored: int = 0) -> None:
        maildir = folder / "mail"
        super().__init__(maildir / "alice")
        self.name = f"moxsmtp, {mailbox}" + (f", {stored} stored" if stored else "")
        self._has_maildir = mailbox == "maildir"
        layout = Layout(
            top=f'maildir = "{maildir}/{{account}}"',
            account=f'mailbox = "{mailbox}"',
            tables={"log": 'level = "warn"'},
        )
        self._server = Server(folder, layout)
        self._server.wait_until_up()
        self.port = self._server.ports["smtp"]
        if stored:
            smtp_source(self.port, messages=stored, size=1024, reuse=True, recipient=_RECIPIENT)

    @property
    def session(self) -> int:
        return self._server.process.pid

    def delivered(self) -> int | None:
        return super().delivered() if self._has_maildir else None

    def end(self) -> None:
        self._server.end()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@dataclass(frozen=True, slots=True)
class Figure:
    """
    One measurement.

    @ivar accepted: Messages acknowledged a second.
    @ivar done: The same until all were where they are read.
    @ivar cpu: Milliseconds of the server for each message, until then.
    """

    accepted: float
    done: float
    cpu: float


def measure(peer: Peer, cell: Cell, messages: int) -> Figure:
    """Load one server once."""
    peer.clear()
    before = cpu_seconds(peer.session)
    begun = time.perf_counter()
    run = smtp_source(
        peer.port, messages=messages, size=cell.size, reuse=cell.reuse, recipient=_RECIPIENT
    )
    until(
        lambda: peer.delivered() in (None, messages),
        within=300,
        what=f"{peer.name} has delivered {messages}",
        log=lambda: f"{peer.delivered()} so far",
    )
    seconds = time.perf_counter() - begun
    # Processes that end, and the clean-up behind an acknowledgement, count too.
    time.sleep(0.3)
    cpu = cpu_seconds(peer.session) - before
    peer.clear()
    return Figure(messages / run.seconds, messages / seconds, cpu / messages * 1000)


def peers(folder: Path, stored: int) -> dict[str, Callable[[], Peer]]:
    """How to start each, by the word for it."""
    ways: dict[str, Callable[[], Peer]] = {
        "store": lambda: Ours(folder / "store", "store"),
        "maildir": lambda: Ours(folder / "maildir", "maildir"),
        "twisted": lambda: Stock("stock Twisted", "bench.stock_twisted", folder / "twisted"),
        "aiosmtpd": lambda: Stock("aiosmtpd", "bench.stock_aiosmtpd", folder / "aiosmtpd"),
        "postfix": lambda: PostfixPeer(folder / "postfix"),
    }
    if stored:
        ways["stored"] = lambda: Ours(folder / "stored", "store", stored=stored)
    return ways


def table(figures: dict[tuple[str, str], list[Figure]]) -> None:
    """Print medians, with the range of the rate."""
    form = "{:<28} {:<12} {:>22} {:>10} {:>12}"
    print(form.format("server", "load", "accepted/s (range)", "done/s", "CPU ms each"))
    for (name, cell), several in figures.items():
        rates = [figure.accepted for figure in several]
        spread = f"{statistics.median(rates):.0f} ({min(rates):.0f}-{max(rates):.0f})"
        done = statistics.median(figure.done for figure in several)
        cpu = statistics.median(figure.cpu for figure in several)
        print(form.format(name, cell, spread, f"{done:.0f}", f"{cpu:.3f}"))


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("trials", type=int)
    parser.add_argument("--scale", type=float, default=1.0, help="times as many messages")
    parser.add_argument("--stored", type=int, default=0, help="and ours with so many messages in")
    parser.add_argument("--only", nargs="+", default=(), help="store maildir twisted ...")
    options = parser.parse_args(arguments)
    if find("smtp-source") is None:
        raise SystemExit("not installed: Postfix, whose smtp-source makes the load")
    allow_files(65536)
    figures: dict[tuple[str, str], list[Figure]] = defaultdict(list)
    with tempfile.TemporaryDirectory(prefix="mox", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)
        ways = peers(folder, options.stored)
        running: list[Peer] = []
        try:
            for word, start in ways.items():
                if not options.only or word in options.only:
                    running.append(start())
            for peer in running:
                measure(peer, CELLS[0], 200)
            for trial in range(options.trials):
                for cell in CELLS:
                    for peer in running:
                        figure = measure(peer, cell, max(16, int(cell.messages * options.scale)))
                        figures[peer.name, cell.name].append(figure)
                        print(f"trial {trial + 1}: {peer.name}, {cell.name}: {figure}", flush=True)
        finally:
            for peer in running:
                peer.end()
    table(figures)


if __name__ == "__main__":
    main()
