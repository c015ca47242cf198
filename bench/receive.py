"""
Messages a second and CPU for each, of our server and its peers.

C{python -m bench.receive TRIALS [--scale F] [--keys FOLDER] [--only NAME ...] [--cells ...]}

All servers run at once and idle but for the one that is being measured; trials go
round the servers, so that what slows the machine down slows all of them.  Peers
write a Maildir with one fsync for the file and one for its folder.

Ours makes all of its checks, and has unbound to ask; peers make none, and nor do
those of ours that are called unchecked.  C{workers} and C{unchecked2} are of two
processes that speak with clients (C{--only workers} measures one alone).  The last
cell has a sender domain for each message, of which neither our resolver nor unbound
has heard.  A run whose messages did not pass every check ends without a figure.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.client import letter, send
from bench.measure import Run, allow_files, smtp_source
from bench.peers import Ours, Peer, PostfixPeer, Stock
from bench.senders import HELLO, RECIPIENT, Sender, senders
from tests.peers.process import find, until


@dataclass(frozen=True, slots=True)
class Cell:
    """
    One kind of load.

    @ivar differs: Each message has a sender domain of its own.
    """

    name: str
    size: int
    messages: int
    reuse: bool = True
    differs: bool = False


CELLS: Final = (
    Cell("4k reused", 4096, messages=3000),
    Cell("4k one each", 4096, messages=2000, reuse=False),
    Cell("64k reused", 65536, messages=1000),
    Cell("4k senders", 4096, messages=2000, differs=True),
)

#: Messages that wake a server up before it is measured.
_FIRST: Final = 200


@dataclass(frozen=True, slots=True)
class Figure:
    """
    One measurement.

    @ivar accepted: Messages acknowledged a second.
    @ivar done: The same until all were where they are read.
    @ivar cpu: Milliseconds of the server for each message, until then.
    @ivar resolver: The same of its resolver.
    @ivar client: The same of what made the load.
    """

    accepted: float
    done: float
    cpu: float
    resolver: float
    client: float


class Load:
    """
    What is sent.

    @param those: The first sends whatever is not of a domain of its own.
    """

    def __init__(self, folder: Path, those: Sequence[Sender]) -> None:
        folder.mkdir()
        self._folder = folder
        self._usual, *others = those
        self._others = [letter(one.address, RECIPIENT, one.message(4096)) for one in others]

    def give(self, peer: Peer, cell: Cell, messages: int) -> Run:
        """Send a cell's messages."""
        if cell.differs:
            return send(peer.port, self._others[:messages])
        return smtp_source(
            peer.port,
            messages=messages,
            size=self._file(cell.size),
            reuse=cell.reuse,
            recipient=RECIPIENT,
            sender=self._usual.address,
            hello=HELLO,
        )

    def _file(self, size: int) -> Path:
        file = self._folder / f"{size}.eml"
        if not file.exists():
            file.write_bytes(self._usual.message(size).replace(b"\r\n", b"\n"))
        return file


def measure(peer: Peer, load: Load, cell: Cell, messages: int) -> Figure:
    """Load one server once."""
    if cell.differs:
        peer.forget()
        _ = _give(peer, load, CELLS[0], _FIRST)
    return _give(peer, load, cell, messages)


def _give(peer: Peer, load: Load, cell: Cell, messages: int) -> Figure:
    peer.clear()
    before = peer.cpu()
    begun = time.perf_counter()
    run = load.give(peer, cell, messages)
    until(
        lambda: peer.delivered() in (None, messages),
        within=300,
        what=f"{peer.name} has delivered {messages}",
        log=lambda: f"{peer.delivered()} so far",
    )
    seconds = time.perf_counter() - begun
    # Processes that end, and the clean-up behind an acknowledgement, count too.
    time.sleep(0.3)
    own, resolver = (after - was for after, was in zip(peer.cpu(), before, strict=True))
    peer.examine()
    peer.clear()
    each = 1000 / messages
    return Figure(
        messages / run.seconds, messages / seconds, own * each, resolver * each, run.cpu * each
    )


def peers(folder: Path, those: list[Sender]) -> dict[str, Callable[[], Peer]]:
    """How to start each, by the word for it."""
    return {
        "store": lambda: Ours(folder / "store", "store", those),
        "maildir": lambda: Ours(folder / "maildir", "maildir", those),
        "stored": lambda: Ours(folder / "stored", "store", those, "moxsmtp, not empty"),
        "workers": lambda: Ours(
            folder / "workers", "store", those, "moxsmtp, 2 workers", workers=2
        ),
        "unchecked": lambda: Ours(
            folder / "unchecked", "store", those, "moxsmtp, unchecked", checked=False
        ),
        "unchecked2": lambda: Ours(
            folder / "unchecked2", "store", those, "moxsmtp, unch., 2 w.", workers=2, checked=False
        ),
        "unchecked-maildir": lambda: Ours(
            folder / "mu", "maildir", those, "moxsmtp, unch., Maildir", checked=False
        ),
        "unchecked2-maildir": lambda: Ours(
            folder / "mu2",
            "maildir",
            those,
            "moxsmtp, unch., 2 w., Maildir",
            workers=2,
            checked=False,
        ),
        "twisted": lambda: Stock("stock Twisted", "bench.stock_twisted", folder / "twisted"),
        "aiosmtpd": lambda: Stock("aiosmtpd", "bench.stock_aiosmtpd", folder / "aiosmtpd"),
        "postfix": lambda: PostfixPeer(folder / "postfix"),
    }


def table(figures: Mapping[tuple[str, str], Sequence[Figure]]) -> None:
    """Print medians, with the range of the rate."""
    form = "{:<30} {:<12} {:>22} {:>8} {:>8} {:>9} {:>8}"
    print("\nmedians; CPU in milliseconds for each message")
    print(
        form.format("server", "load", "accepted/s (range)", "done/s", "CPU", "resolver", "client")
    )
    for (name, cell), several in figures.items():
        rates = [figure.accepted for figure in several]
        spread = f"{statistics.median(rates):.0f} ({min(rates):.0f}-{max(rates):.0f})"
        done = f"{_median(figure.done for figure in several):.0f}"
        used = (
            _median(figure.cpu for figure in several),
            _median(figure.resolver for figure in several),
            _median(figure.client for figure in several),
        )
        print(form.format(name, cell, spread, done, *(f"{one:.3f}" for one in used)))


def ratios(figures: Mapping[tuple[str, str], Sequence[Figure]]) -> None:
    """Print how many times a peer's rate ours is, trial by trial."""
    print("\naccepted/s, in times of a peer's: of the medians (of each trial)")
    for (name, cell), ours in figures.items():
        if not name.startswith("moxsmtp"):
            continue
        for (peer, other), theirs in figures.items():
            if other != cell or peer.startswith("moxsmtp"):
                continue
            each = [a.accepted / b.accepted for a, b in zip(ours, theirs, strict=False)]
            medians = _median(f.accepted for f in ours) / _median(f.accepted for f in theirs)
            trials = " ".join(f"{one:.2f}" for one in each)
            print(f"{name:<30} {cell:<12} {medians:5.2f} x {peer:<14} ({trials})")


def _median(values: Iterable[float]) -> float:
    return statistics.median(values)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("trials", type=int)
    parser.add_argument("--scale", type=float, default=1.0, help="times as many messages")
    parser.add_argument("--stored", type=int, default=0, help="and ours with so many messages in")
    parser.add_argument("--only", nargs="+", default=(), help="store maildir workers twisted ...")
    parser.add_argument("--cells", nargs="+", default=(), help="by their names: '4k reused' ...")
    parser.add_argument("--keys", type=Path, help="where the senders' keys are kept")
    options = parser.parse_args(arguments)
    if find("smtp-source") is None:
        raise SystemExit("not installed: Postfix, whose smtp-source makes the load")
    allow_files(65536)
    cells = [cell for cell in CELLS if not options.cells or cell.name in options.cells]
    figures: dict[tuple[str, str], list[Figure]] = defaultdict(list)
    with tempfile.TemporaryDirectory(prefix="mox", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)
        different = max((cell.messages for cell in cells if cell.differs), default=0)
        those = senders(1 + different, options.keys or folder / "keys")
        load = Load(folder / "load", those)
        words = [word for word in peers(folder, those) if not options.only or word in options.only]
        if not options.stored and "stored" in words:
            words.remove("stored")
        running: list[Peer] = []
        try:
            for word in words:
                peer = peers(folder, those)[word]()
                running.append(peer)
                first = options.stored if word == "stored" else _FIRST
                measure(peer, load, CELLS[0], first)
            for trial in range(options.trials):
                for cell in cells:
                    messages = int(cell.messages * options.scale)
                    messages = max(16, min(messages, different) if cell.differs else messages)
                    for peer in running:
                        figure = measure(peer, load, cell, messages)
                        figures[peer.name, cell.name].append(figure)
                        print(f"trial {trial + 1}: {peer.name}, {cell.name}: {figure}", flush=True)
        finally:
            for peer in running:
                peer.end()
    table(figures)
    ratios(figures)


if __name__ == "__main__":
    main()
