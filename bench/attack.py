"""
A server under attack: how much its memory grows, and how long others wait.

C{python -m bench.attack [SECONDS] [--workers N]}: each attack goes on for so long, from a process
of its own; meanwhile another client connects again and again and waits for its
greeting.  Nobody is exempt from anything but the limits on what one network may do,
without which all of the attackers are let in.  The last line is of all attacks together.
None of them gets as far as Argon2, which takes 19 MiB for the time of a log-in.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random  # noqa: TID251 - every run says the same
import selectors
import socket
import ssl
import tempfile
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.measure import allow_files, peak_rss, reset_peak_rss
from tests.peers.process import children
from tests.peers.server import ADDRESS, Layout, Server

#: What may come of any: KiB, and seconds.
GROWTH: Final = 20 * 1024
WAITING: Final = 2.0

_MAIL: Final = b"EHLO client.test\r\nMAIL FROM:<>\r\nRCPT TO:<%s>\r\nDATA\r\n" % ADDRESS.encode()

_AUTH: Final = b"EHLO client.test\r\nAUTH SCRAM-SHA-256\r\n"

#: Octets handed to the kernel at once.
_BLOCK: Final = 65_536

#: What one connection sends, piece by piece; C{None}: wait for a second.
Script = Iterator[bytes | None]


def endless(begin: bytes = b"") -> Script:
    """A line without an end."""
    yield begin
    while True:
        yield b"x" * _BLOCK


def garbage(number: int) -> Script:
    """Anything, with a grain of SMTP in it."""
    choose = random.Random(number)
    words = [
        b"EHLO x\r\n", b"MAIL FROM:<>\r\n", b"RCPT TO:<%s>\r\n" % ADDRESS.encode(), b"DATA\r\n",
        b"\r\n.\r\n", b"STARTTLS\r\n", b"AUTH PLAIN %s\r\n" % b64encode(b"\0alice\0x"),
        b"BDAT 70000\r\n", b"BDAT 5 LAST\r\n", b"VRFY (\r\n", b"\0" * 400 + b"\n", b"RSET\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"HELP " * 300 + b"\r\n", b"\xff" * 1000,
    ]  # fmt: skip
    yield b"EHLO x\r\n"
    for _ in range(choose.randrange(3, 60)):
        yield b"".join(choose.choices(words, k=choose.randrange(1, 20)))


def slowly(octets: bytes) -> Script:
    """One octet a second."""
    for octet in octets:
        yield bytes([octet])
        yield None


def slowly_behind(begin: bytes) -> Script:
    """A good beginning, then one octet a second."""
    yield begin
    yield from slowly(b"Subject: slow\r\n\r\n" + b".\n" * 10_000)


def commands(line: bytes, count: int) -> Script:
    """The same one so often, as fast as it is taken."""
    yield b"EHLO client.test\r\n"
    each = _BLOCK // len(line)
    for _ in range(count // each):
        yield line * each
    yield line * (count % each)
    yield b"QUIT\r\n"


@dataclass(frozen=True, slots=True)
class Attack:
    """
    @ivar script: By the connection's number.
    @ivar reads: What is answered.
    @ivar repeats: A connection that has ended is followed by another.
    """

    name: str
    service: str
    connections: int
    script: Callable[[int], Script]
    reads: bool = True
    repeats: bool = True


ATTACKS: Final = (
    Attack("endless command line", "smtp", 20, lambda _: endless()),
    Attack("endless response to AUTH", "submission", 20, lambda _: endless(_AUTH)),
    Attack("endless line of content", "smtp", 4, lambda _: endless(_MAIL)),
    Attack("100 with garbage, port 25", "smtp", 100, garbage),
    Attack("100 with garbage, submission", "submission", 100, garbage),
    Attack("100 with garbage for TLS", "submissions", 100, garbage),
    Attack(
        "a client that never reads", "smtp", 1, lambda _: commands(b"HELP\r\n", 10**8), reads=False
    ),
    Attack("50 that never read", "smtp", 50, lambda _: commands(b"EHLO x\r\n", 10**8), reads=False),
    Attack("a million NOOPs", "smtp", 1, lambda _: commands(b"NOOP\r\n", 10**6), repeats=False),
    Attack("100 slow commands", "smtp", 100, lambda _: slowly(b"EHLO client.test\r\n" * 99)),
    Attack("100 slow contents", "smtp", 100, lambda _: slowly_behind(_MAIL)),
)  # fmt: skip


class Connection:
    """One of an attack's."""

    def __init__(self, port: int, script: Script, *, reads: bool) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), 60)
        self.socket.setblocking(False)
        self._script = script
        self._reads = reads
        self._left = b""
        self._resumes = 0.0
        self.is_over = False

    @property
    def events(self) -> int:
        """What is waited for now."""
        events = selectors.EVENT_READ if self._reads else 0
        if not self.is_over and self._resumes <= time.monotonic():
            events |= selectors.EVENT_WRITE
        return events

    def act(self, events: int) -> bool:
        """@return: C{False}: it has ended."""
        try:
            if events & selectors.EVENT_READ and not self.socket.recv(1 << 20):
                return False
            if events & selectors.EVENT_WRITE:
                return self._send()
        except BlockingIOError:
            pass
        except OSError:
            return False
        return True

    def _send(self) -> bool:
        if not self._left:
            piece = next(self._script, b"")
            if piece is None:
                self._resumes = time.monotonic() + 1
                return True
            if not piece:
                # What was said last is waited for.
                self.is_over = True
                return self._reads
            self._left = piece
        self._left = self._left[self.socket.send(self._left) :]
        return True


def attack(number: int, port: int, seconds: float) -> None:
    """Do one of them."""
    wanted = ATTACKS[number]
    allow_files(2000)
    end = time.monotonic() + seconds
    count = 0
    open_: list[Connection] = []
    while (seconds == 0 or time.monotonic() < end) and (wanted.repeats or count == 0 or open_):
        while len(open_) < wanted.connections and (wanted.repeats or count < wanted.connections):
            open_.append(Connection(port, wanted.script(count), reads=wanted.reads))
            count += 1
        with selectors.DefaultSelector() as selector:
            for connection in open_:
                if connection.events:
                    selector.register(connection.socket, connection.events, connection)
            ready = selector.select(0.05) if selector.get_map() else []
        if not ready:
            time.sleep(0.01)
        for key, events in ready:
            if not key.data.act(events):
                key.data.socket.close()
                open_.remove(key.data)
    for connection in open_:
        connection.socket.close()


@dataclass(frozen=True, slots=True)
class Found:
    """
    @ivar growth: KiB resident at most, above what was before.
    @ivar longest: Seconds that another client waited for its greeting, at most.
    @ivar visits: So often that was tried.
    """

    growth: int
    longest: float
    visits: int
    seconds: float

    @property
    def is_good(self) -> bool:
        return self.growth < GROWTH and self.longest < WAITING


def greeting(port: int) -> float:
    """Seconds until another client is greeted, and its EHLO answered."""
    begun = time.perf_counter()
    with socket.create_connection(("127.0.0.1", port), 60) as connection:
        if not connection.recv(4096).startswith(b"220 "):
            raise SystemExit("another client was not greeted")
        waited = time.perf_counter() - begun
        connection.sendall(b"QUIT\r\n")
        while connection.recv(4096):
            pass
    return waited


def _resident(pid: int) -> int:
    """KiB of all processes of the server from now on."""
    for each in (pid, *children(pid)):
        reset_peak_rss(each)
    return _peak(pid)


def _peak(pid: int) -> int:
    """At most, each at its own time."""
    return sum(map(peak_rss, (pid, *children(pid))))


def run(server: Server, number: int, seconds: float) -> Found:
    """One attack, in which an attacker that has an end is waited for."""
    wanted = ATTACKS[number]
    pid = server.process.pid
    before = _resident(pid)
    limit = seconds if wanted.repeats else 0
    attacker = multiprocessing.get_context("spawn").Process(
        target=attack, args=(number, server.ports[wanted.service], limit)
    )
    begun = time.perf_counter()
    attacker.start()
    waits = []
    while attacker.is_alive():
        waits.append(greeting(server.ports["smtp"]))
        time.sleep(0.05)
    attacker.join()
    if attacker.exitcode:
        raise SystemExit("the attacker failed")
    return Found(_peak(pid) - before, max(waits), len(waits), time.perf_counter() - begun)


def warm(server: Server) -> None:
    """What the first sessions of each kind load and keep is no attack's."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    for _ in range(50):
        greeting(server.ports["smtp"])
        plain = socket.create_connection(("127.0.0.1", server.ports["submissions"]), 60)
        with context.wrap_socket(plain) as secure:
            secure.recv(4096)
            secure.sendall(b"EHLO x\r\nAUTH PLAIN %s\r\nQUIT\r\n" % b64encode(b"\0nobody\0x"))
            while secure.recv(4096):
                pass
    server.deliver()
    time.sleep(1)


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("seconds", type=float, nargs="?", default=10)
    parser.add_argument("--only", default="", help="attacks with this in their names")
    parser.add_argument("--workers", type=int, default=1, help="processes that speak with clients")
    given = parser.parse_args()
    bad = []
    with tempfile.TemporaryDirectory(prefix="mox", ignore_cleanup_errors=True) as name:
        server = Server(Path(name), Layout(top=f"workers = {given.workers}"))
        try:
            server.wait_until_up()
            warm(server)
            before = _resident(server.process.pid)
            print(f"{'':32}{'grows by':>12}{'greeted in':>14}{'seconds':>10}", flush=True)
            for number, each in enumerate(ATTACKS):
                if given.only not in each.name:
                    continue
                found = run(server, number, given.seconds)
                print(
                    f"{each.name:32}{found.growth / 1024:8.1f} MiB{found.longest * 1000:11.0f} ms"
                    f"{found.seconds:10.1f}",
                    flush=True,
                )
                if not found.is_good:
                    bad.append(each.name)
            time.sleep(1)
            after = _resident(server.process.pid)
            print(f"{'stays resident after all':32}{(after - before) / 1024:8.1f} MiB")
        finally:
            server.end()
    if bad:
        raise SystemExit(f"not withstood: {', '.join(bad)}")


if __name__ == "__main__":
    main()
