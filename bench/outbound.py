"""
The way out: messages a second from submission to the servers of their domains.

C{python -m bench.outbound TRIALS [--scale F] [--clients N] [--only NAME ...]
[--cells ...]}

Messages of 4 KiB are handed in on connections that are used again, 16 of them, each to one
of 20 domains or all to one.  A domain has a C{smtp-sink} of its own, on an address
of its own, which takes everything at once.  A run begins when the clients are greeted,
and logged in, and ends when the sinks have it all.
Servers run side by side, and trials go round them; those that are not measured idle.

Ours takes them from a user who logged in, asks a resolver for MX hosts, and makes
no webhook call; Postfix has its routes in its configuration, and its clients need no
password.  Both keep connections.  Ours in C{signed} takes them under TLS and signs
them with RSA of 2048 bits; in C{workers} it has two processes for its clients.

C{smtp-sink} knows no TLS.  In C{tls}, and for Postfix in C{postfix-tls}, servers of our
own offer STARTTLS (L{bench.tls_sink}, two processes for all domains); both
use it, and keep connections with it too.  C{both-ways} is C{signed} with these.
"""

from __future__ import annotations

import argparse
import base64
import functools
import os
import re
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from bench.client import Sessions, letter
from bench.measure import allow_files, cpu_seconds, peak_rss
from bench.resolver import Resolver
from bench.senders import senders, text_of
from tests.peers.certificate import make_certificate
from tests.peers.postfix import Postfix
from tests.peers.process import Process, find, free_port, until
from tests.peers.server import ADDRESS, PASSWORD, Layout, Server

#: Where the servers of the domains are, each at an address of its own.
DOMAINS: Final = {f"to{number:02}.test": f"127.0.1.{number}" for number in range(1, 21)}

#: The one that all mail goes to where it goes to one.
ONE: Final = "to01.test"

_SIZE: Final = 4096

#: Messages that wake a server up before it is measured.
_FIRST: Final = 200

_TAKEN: Final = re.compile(rb"mesg=(\d+)")


@dataclass(frozen=True, slots=True)
class Cell:
    """One kind of load.  @ivar domains: How many it is for."""

    name: str
    domains: int
    messages: int


CELLS: Final = (Cell("20 domains", 20, 4000), Cell("1 domain", 1, 2000))


@dataclass(frozen=True, slots=True)
class Figure:
    """
    One measurement.

    @ivar accepted: Messages acknowledged to the clients a second.
    @ivar done: The same until the sinks had all of them.
    @ivar cpu: Milliseconds of the server's processor for each.
    @ivar resident: KiB at most, where it is one process.
    """

    accepted: float
    done: float
    cpu: float
    resident: int


class Sinks:
    """The servers of all domains."""

    def __init__(self, folder: Path, *, tls: bool = False) -> None:
        """@param tls: They offer STARTTLS."""
        folder.mkdir()
        self.port = free_port(*DOMAINS.values())
        commands = self._with_tls(folder) if tls else self._plain()
        self._logs = [folder / f"{number}.log" for number in range(len(commands))]
        self._processes = [
            Process(command, log=log) for command, log in zip(commands, self._logs, strict=True)
        ]

    def _plain(self) -> Sequence[Sequence[str]]:
        program = find("smtp-sink")
        if program is None:
            raise SystemExit("not installed: Postfix, whose smtp-sink takes the load")
        # It refuses to run as root.
        user = ["-u", "nobody"] if os.getuid() == 0 else []
        return [
            [str(program), *user, "-c", f"{address}:{self.port}", "1000"]
            for address in DOMAINS.values()
        ]

    def _with_tls(self, folder: Path) -> Sequence[Sequence[str]]:
        made = make_certificate(folder, "sink.test")
        program = [sys.executable, "-m", "bench.tls_sink", str(self.port), str(made.file)]
        addresses = list(DOMAINS.values())
        return [[*program, str(made.key), *addresses[start::2]] for start in (0, 1)]

    def taken(self) -> int:
        """Messages so far."""
        return sum(self._last(log) for log in self._logs)

    @staticmethod
    def _last(log: Path) -> int:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 200))
            found = _TAKEN.findall(file.read())
        return int(found[-1]) if found else 0

    def end(self) -> None:
        """Stop them."""
        for process in self._processes:
            process.end()


class Peer(Protocol):
    """
    A server that is measured.

    @ivar sinks: Where it delivers.
    """

    name: str
    sinks: Sinks

    def connect(self, clients: int) -> Sessions:
        """Clients that may hand in mail."""

    def cpu(self) -> float:
        """Seconds of a processor so far."""

    def resident(self) -> int:
        """KiB at most so far; 0: it is many processes."""

    def end(self) -> None:
        """Stop it."""


def _message(number: int) -> bytes:
    head = (
        f"From: {ADDRESS}\r\nTo: {number}\r\nSubject: {number}\r\n"
        f"Date: Mon, 02 Nov 2026 09:30:00 +0100\r\nMessage-ID: <{number}@here.test>\r\n\r\n"
    )
    return head.encode() + _TEXT


_TEXT: Final = text_of(_SIZE - 160)


class Relaying:
    """Postfix, its routes in its configuration."""

    def __init__(self, folder: Path, sinks: Sinks, *, tls: bool = False) -> None:
        """@param tls: The sinks offer it."""
        self.name = "Postfix, TLS out" if tls else "Postfix"
        self.sinks = sinks
        # Connections with TLS are kept by one of its programs that holds them open.
        level = "may\nsmtp_tls_connection_reuse = yes" if tls else "none"
        self._postfix = Postfix(
            folder,
            routes={domain: f"{address}:{sinks.port}" for domain, address in DOMAINS.items()},
            settings=(
                f"smtp_tls_security_level = {level}\n"
                f"smtp_connection_cache_destinations = {', '.join(DOMAINS)}\n"
                "default_process_limit = 100\n"
            ),
        )

    def connect(self, clients: int) -> Sessions:
        return Sessions(self._postfix.port, sessions=clients)

    def cpu(self) -> float:
        return cpu_seconds(self._postfix.process.pid)

    def resident(self) -> int:
        return 0

    def end(self) -> None:
        self._postfix.end()


_MX: Final = """\
{domain}. 3600 MX 10 mx.{domain}.
mx.{domain}. 3600 A {address}
"""


class Ours:
    """Our server: a user logs in."""

    def __init__(
        self, folder: Path, sinks: Sinks, name: str, *, signed: bool = False, workers: int = 1
    ) -> None:
        """
        @param signed: So it is, and submitted under TLS.
        @param workers: Processes that speak with the clients; 1: all is one process.
        """
        self.name = name
        self.sinks = sinks
        self._signed = signed
        records = "".join(_MX.format(domain=domain, address=at) for domain, at in DOMAINS.items())
        self._resolver = Resolver(folder.with_name(f"{folder.name}-dns"), records)
        tables = {
            "log": 'level = "warn"',
            "resolver": self._resolver.configuration,
            "queue": f"outbound_port = {sinks.port}\n{_SHAPING}",
        }
        rest = _signing(folder) if signed else ""
        self._server = Server(folder, Layout(top=f"workers = {workers}", tables=tables, rest=rest))
        self._server.wait_until_up()
        text = self._server.file.read_text()
        self._server.end()
        self._server.file.write_text(
            text.replace(
                "[listener.submission]\n", "[listener.submission]\nno_require_starttls = true\n"
            )
        )
        self._server.restart()
        self._server.wait_until_up(page="/readyz")
        self._server.set_password()
        secret = base64.b64encode(f"\0{ADDRESS}\0{PASSWORD}".encode()).decode()
        self._login = (f"AUTH PLAIN {secret}\r\n".encode(),)

    def connect(self, clients: int) -> Sessions:
        context = None
        if self._signed:
            context = self._server.tls()
            context.check_hostname = False
        port = self._server.ports["submissions" if self._signed else "submission"]
        return Sessions(port, sessions=clients, opening=self._login, context=context)

    def cpu(self) -> float:
        return cpu_seconds(self._server.process.pid)

    def resident(self) -> int:
        return peak_rss(self._server.process.pid)

    def end(self) -> None:
        self._server.end()
        self._resolver.end()


_SHAPING: Final = "\n[[queue.shaping]]\nconnections = 4\n"


def _signing(folder: Path) -> str:
    """A key of the sender's domain, as a table."""
    (sender,) = senders(1, folder.with_name("keys"))
    file = folder.with_name("keys") / "rsa2048-00000.pem"
    file.chmod(0o600)
    return f'[domain."here.test".dkim.{sender.domain.partition(".")[0]}]\nkey = "{file}"\n'


def measure(peer: Peer, cell: Cell, messages: int, clients: int) -> Figure:
    """Load one server once."""
    sinks = peer.sinks
    to = list(DOMAINS)[: cell.domains]
    letters = [
        letter(ADDRESS, f"r{number}@{to[number % len(to)]}", _message(number))
        for number in range(messages)
    ]
    sessions = peer.connect(clients)
    before, used = sinks.taken(), peer.cpu()
    begun = time.perf_counter()
    run = sessions.send(letters)
    until(
        lambda: sinks.taken() - before >= messages,
        within=300,
        what=f"{peer.name} has delivered {messages}",
        log=lambda: f"{sinks.taken() - before} so far",
    )
    seconds = time.perf_counter() - begun
    # What comes behind the last acknowledgement counts too.
    time.sleep(0.5)
    extra = sinks.taken() - before - messages
    if extra:
        raise SystemExit(f"{peer.name}: void, {extra} messages came more than once")
    each = (peer.cpu() - used) * 1000 / messages
    return Figure(messages / run.seconds, messages / seconds, each, peer.resident())


def table(figures: Mapping[tuple[str, str], Sequence[Figure]]) -> None:
    """Print medians, with the range of the rate."""
    form = "{:<22} {:<12} {:>12} {:>22} {:>8} {:>9}"
    print("\nmedians; CPU in milliseconds for each message; memory in MiB")
    print(form.format("server", "load", "accepted/s", "done/s (range)", "CPU", "memory"))
    for (name, cell), several in figures.items():
        rates = [figure.done for figure in several]
        spread = f"{statistics.median(rates):.0f} ({min(rates):.0f}-{max(rates):.0f})"
        accepted = statistics.median(figure.accepted for figure in several)
        cpu = statistics.median(figure.cpu for figure in several)
        memory = max(figure.resident for figure in several) / 1024
        print(form.format(name, cell, f"{accepted:.0f}", spread, f"{cpu:.3f}", f"{memory:.0f}"))


def ratios(figures: Mapping[tuple[str, str], Sequence[Figure]]) -> None:
    """Print how many times Postfix's rate ours is, trial by trial."""
    print("\ndone/s, in times of Postfix's: of the medians (of each trial)")
    for (name, cell), ours in figures.items():
        theirs = figures.get((_beside(name), cell))
        if name == _beside(name) or not theirs:
            continue
        each = [a.done / b.done for a, b in zip(ours, theirs, strict=False)]
        medians = statistics.median(f.done for f in ours) / statistics.median(
            f.done for f in theirs
        )
        print(f"{name:<22} {cell:<12} {medians:5.2f} ({' '.join(f'{one:.2f}' for one in each)})")


def _beside(name: str) -> str:
    """What a server is compared with."""
    return "Postfix, TLS out" if "TLS out" in name or "both ways" in name else "Postfix"


def _makers(folder: Path) -> Mapping[str, Callable[[], Peer]]:
    """What can be measured, by the words for C{--only}."""
    plain = functools.cache(lambda: Sinks(folder / "sinks"))
    tls = functools.cache(lambda: Sinks(folder / "tls-sinks", tls=True))
    keys = {"signed": True}
    return {
        "ours": lambda: Ours(folder / "ours", plain(), "moxsmtp"),
        "workers": lambda: Ours(folder / "workers", plain(), "moxsmtp, 2 workers", workers=2),
        "postfix": lambda: Relaying(folder / "postfix", plain()),
        "signed": lambda: Ours(folder / "signed", plain(), "moxsmtp, signed, TLS", **keys),
        "tls": lambda: Ours(folder / "tls", tls(), "moxsmtp, TLS out"),
        "postfix-tls": lambda: Relaying(folder / "postfix-tls", tls(), tls=True),
        "both-ways": lambda: Ours(folder / "both", tls(), "signed, TLS both ways", **keys),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("trials", type=int)
    parser.add_argument("--scale", type=float, default=1.0, help="times as many messages")
    parser.add_argument("--clients", type=int, default=16, help="connections that hand in")
    parser.add_argument("--only", nargs="+", default=(), help="ours workers postfix ...")
    parser.add_argument("--cells", nargs="+", default=(), help="by their names: '1 domain' ...")
    options = parser.parse_args(arguments)
    allow_files(65536)
    cells = [cell for cell in CELLS if not options.cells or cell.name in options.cells]
    figures: dict[tuple[str, str], list[Figure]] = defaultdict(list)
    with tempfile.TemporaryDirectory(prefix="mox", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)
        makers = _makers(folder)
        running: list[Peer] = []
        try:
            for word in [word for word in makers if not options.only or word in options.only]:
                running.append(makers[word]())
                measure(running[-1], CELLS[0], _FIRST, options.clients)
            for trial in range(options.trials):
                for cell in cells:
                    messages = int(cell.messages * options.scale)
                    for peer in running:
                        figure = measure(peer, cell, messages, options.clients)
                        figures[peer.name, cell.name].append(figure)
                        print(f"trial {trial + 1}: {peer.name}, {cell.name}: {figure}", flush=True)
        finally:
            for peer in running:
                peer.end()
            for sinks in {peer.sinks for peer in running}:
                sinks.end()
    table(figures)
    ratios(figures)


if __name__ == "__main__":
    main()
