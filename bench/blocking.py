"""
The longest calls on the reactor thread while mail comes in.

C{python -m bench.blocking [--limit MS]}: the CPU that the thread uses in each
call that the reactor makes (data on a connection, a time that has come, a result
from another thread), under a load of small, large and very large messages, all of
them signed; among them 50 MiB of white space, and of lines as long as they may be,
and some with a From field of 512 KiB that is hard to read.
Exit status 1 if one used more than the limit.
"""

from __future__ import annotations

import argparse
import heapq
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from twisted.internet.base import DelayedCall
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.main import installReactor

from bench.measure import smtp_source
from bench.resolver import Resolver
from bench.senders import HELLO, Sender, objection, senders, zone
from tests.peers.process import Process
from tests.peers.server import ACCOUNT, ADDRESS, Layout, Server, environment

#: Where the process that is measured writes what it found.
_REPORT: Final = "MOXSMTP_BENCH_REPORT"

_KEPT: Final = 20


class Calls:
    """The longest calls of a thread."""

    def __init__(self) -> None:
        self.count = 0
        self._longest: list[tuple[float, int, str]] = []

    def timed(self, call: Callable[..., Any], name: Callable[[], str]) -> Callable[..., Any]:
        """C{call}, measured."""

        def run(*given: Any, **named: Any) -> Any:
            begun = time.thread_time()
            try:
                return call(*given, **named)
            finally:
                self.note(time.thread_time() - begun, name)

        return run

    def note(self, seconds: float, name: Callable[[], str]) -> None:
        """A call took that long."""
        self.count += 1
        if len(self._longest) < _KEPT:
            heapq.heappush(self._longest, (seconds, self.count, name()))
        elif seconds > self._longest[0][0]:
            heapq.heapreplace(self._longest, (seconds, self.count, name()))

    def write(self, file: str) -> None:
        """Keep them as JSON."""
        longest = [(seconds * 1000, name) for seconds, _, name in sorted(self._longest)[::-1]]
        Path(file).write_text(json.dumps({"count": self.count, "longest": longest}))


class MeasuredReactor(EPollReactor):
    """One that keeps account of the calls that it makes."""

    def __init__(self) -> None:
        self.calls = Calls()
        super().__init__()  # type: ignore[no-untyped-call]  # Twisted's has no annotations

    def _doReadOrWrite(self, selectable: Any, fd: int, event: int) -> None:
        def name() -> str:
            return f"input or output of {selectable!r}"

        inner = super()._doReadOrWrite
        self.calls.timed(inner, name)(selectable, fd, event)

    def callLater(
        self,
        delay: float,
        callable: Callable[..., Any],  # noqa: A002 - the name that the base class gives it
        *args: object,
        **kw: object,
    ) -> DelayedCall:
        """As the reactor does."""
        timed = self.calls.timed(callable, lambda: f"later: {callable!r}")
        return super().callLater(delay, timed, *args, **kw)

    def callFromThread(self, f: Callable[..., Any], *args: object, **kwargs: object) -> None:
        """As the reactor does."""
        timed = self.calls.timed(f, lambda: f"from a thread: {f!r}")
        super().callFromThread(timed, *args, **kwargs)


def serve(file: str) -> None:
    """Be the server, its reactor measured."""
    reactor = MeasuredReactor()
    installReactor(reactor)
    reactor.addSystemEventTrigger("after", "shutdown", reactor.calls.write, os.environ[_REPORT])
    from twisted.scripts.twistd import run

    sys.argv = ["twistd", "-n", "moxsmtp", "--config", file]
    run()


class MeasuredServer(Server):
    """Our server in a process that looks at its own reactor."""

    def _launch(self) -> Process:
        root = Path(__file__).resolve().parent.parent
        return Process(
            [sys.executable, "-m", "bench.blocking", "--serve", self.file],
            log=self.folder / "server.log",
            env={
                **environment(self.folder),
                "PYTHONPATH": str(root),
                _REPORT: str(self.folder / "calls.json"),
            },
            cwd=self.folder,
        )


#: What is signed and sent: octets, how many messages, and whether connections are reused.
_USUAL: Final = (
    (4096, 5000, True),
    (4096, 2000, False),
    (65536, 2000, True),
    (5_000_000, 40, True),
)

_LARGE: Final = 50 << 20

#: What From fields are filled with that want to be looked at again and again.
_HARD: Final = (
    b"@", b"(", b"()", b"(a", b"@(", b" @ ", b"=?a?q?", b"=?utf-8?q?=40a?=", b"\\(", b'"', b"<",
    b" .", b". ", b"a@b.", b"a@\xc3\xa9\xc3\xa9.example,", b"@xn--a.", b"a@b--c.example,",
    b"@" + b"\xc3\xbc" * 250 + b" ", b"@" + b"a.\xe2\x80\x8d" * 80 + b" ",
)  # fmt: skip


def _files(folder: Path, sender: Sender) -> Iterator[tuple[Path, int, bool]]:
    """Each load of good mail: a message, how often it is sent, whether on one connection."""
    for size, messages, reuse in _USUAL:
        yield _write(folder / f"{size}.eml", sender.message(size)), messages, reuse
    head = sender.unsigned(0).partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
    for name, line in (
        ("white space", b" \t" * 499 + b"\r\n"),
        ("empty lines", b"\r\n"),
        ("words", b"a " * 498 + b"ab\r\n"),
        ("one word", b"a" * 998 + b"\r\n"),
    ):
        body = line * (_LARGE // len(line))
        yield _write(folder / f"{name}.eml", sender.signed(head + body)), 2, True


def _hard_to_read(folder: Path) -> Iterator[Path]:
    """Messages with a From field of 512 KiB."""
    for number, unit in enumerate(_HARD):
        line = b" " + unit * (900 // len(unit)) + b"\r\n"
        value = line * ((512 << 10) // len(line))
        yield _write(folder / f"hard {number}.eml", b"From: x@\r\n" + value + b"\r\nbody\r\n")


def _write(file: Path, message: bytes) -> Path:
    file.write_bytes(message.replace(b"\r\n", b"\n"))
    return file


def _examine(server: Server) -> None:
    """The last message was hashed to its end."""
    (entry,) = server.objects("mail", "list", ACCOUNT, "--limit", "1")
    found = objection(server.raw(entry["id"]))
    if found:
        raise SystemExit(f"void, for the checks say: {found}")


def measure(scale: float) -> dict[str, Any]:
    """What a run's report says."""
    with tempfile.TemporaryDirectory(prefix="mox", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        (sender,) = senders(1, folder / "keys")
        resolver = Resolver(folder / "dns", zone([sender]))
        tables = {"log": 'level = "warn"', "resolver": resolver.configuration}
        server = MeasuredServer(folder, Layout(tables=tables))
        try:
            server.wait_until_up()
            for file, messages, reuse in _files(folder, sender):
                print(f"sending: {file.name}", flush=True)
                _ = smtp_source(
                    server.ports["smtp"],
                    messages=messages if messages < 16 else max(16, int(messages * scale)),
                    size=file,
                    reuse=reuse,
                    sessions=min(messages, 16),
                    recipient=ADDRESS,
                    sender=sender.address,
                    hello=HELLO,
                )
                _examine(server)
            for file in _hard_to_read(folder):
                print(f"sending: {file.name}", flush=True)
                _ = smtp_source(
                    server.ports["smtp"],
                    messages=2,
                    size=file,
                    reuse=True,
                    sessions=2,
                    recipient=ADDRESS,
                    sender=sender.address,
                    hello=HELLO,
                )
        finally:
            server.end()
            resolver.end()
        report = json.loads((folder / "calls.json").read_text())
    assert isinstance(report, dict)
    return report


def main() -> None:
    """Measure, or be measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--limit", type=float, default=50.0, help="milliseconds")
    parser.add_argument("--scale", type=float, default=1.0, help="times as many messages")
    parser.add_argument("--serve", metavar="FILE", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve)
        return
    report = measure(options.scale)
    print(f"{report['count']} calls; those that used most CPU:")
    for milliseconds, what in report["longest"]:
        print(f"{milliseconds:9.2f} ms  {what[:150]}")
    over = sum(milliseconds > options.limit for milliseconds, _ in report["longest"])
    raise SystemExit(1 if over else 0)


if __name__ == "__main__":
    main()
