"""
Whether each 250 follows the sync that holds its message.

C{python -m bench.syncs [MESSAGES]}: sends messages on eight connections to a server
under C{strace}, each with a word of its own, every 50th too large for the database.
For each acknowledgement the record must show, in this order: the word written to the
log of the database (and, of a large message, to its file), an C{fdatasync} or C{fsync}
of that file begun after it and ended, and only then the reply.  Exit status 1 if
one reply came too early.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import smtplib
import tempfile
import threading
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.peers.process import find
from tests.peers.server import ADDRESS, Layout, Server

_CLIENTS: Final = 8
_LARGE_EACH: Final = 50

_WORD: Final = re.compile(r"word-(\d{7})-(small|large)-end")

#: C{PID name(FD<path>, ...}: a call, or the beginning of one.
_CALL: Final = re.compile(r"(?P<pid>\d+) +(?P<name>\w+)\((?P<fd>\d+)<(?P<path>[^>]*)>(?P<rest>.*)")

#: C{PID <... name resumed>...}: the end of one.
_RESUMED: Final = re.compile(r"(?P<pid>\d+) +<\.\.\. (?P<name>\w+) resumed>(?P<rest>.*)")

#: The reply to the end of the content.
_TAKEN: Final = re.compile(r', "250 2\.2\.0|, \[?\{iov_base="250 2\.2\.0')

_SYNCS: Final = frozenset({"fsync", "fdatasync"})
_WRITES: Final = frozenset({"write", "writev", "pwrite64"})
_SENDS: Final = frozenset({"sendto", "sendmsg", "write", "writev"})
_READS: Final = frozenset({"recvfrom", "read"})


@dataclass(slots=True)
class Ledger:
    """
    What the record says so far.

    @ivar written: By file, the words written to it and not synced yet.
    @ivar synced: By word, the kinds of file that hold it: C{log}, C{file}.
    @ivar current: By connection, the word of the message under way.
    @ivar early: Words acknowledged too early.
    """

    written: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    synced: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    current: dict[str, str] = field(default_factory=dict)
    acknowledged: int = 0
    syncs: int = 0
    early: list[str] = field(default_factory=list)
    _begun: dict[str, tuple[str, set[str]]] = field(default_factory=dict)

    def line(self, text: str) -> None:
        """Read one line of the record."""
        call = _CALL.match(text)
        if call is not None:
            self._call(call["pid"], call["name"], call["path"], call["rest"])
            return
        resumed = _RESUMED.match(text)
        if resumed is None:
            return
        if resumed["name"] in _SYNCS:
            self._end_sync(resumed["pid"])
        elif resumed["name"] in _READS:
            path, _ = self._begun.pop(resumed["pid"], ("", set()))
            self._note_word(path, resumed["rest"])

    def _call(self, pid: str, name: str, path: str, rest: str) -> None:
        is_whole = "<unfinished ...>" not in rest
        if name in _SYNCS:
            self._begun[pid] = path, set(self.written[path])
            if is_whole:
                self._end_sync(pid)
        elif path.startswith("/"):
            if name in _WRITES:
                self.written[path] |= {found[0] for found in _WORD.finditer(rest)}
        elif name in _READS:
            if is_whole:
                self._note_word(path, rest)
            else:
                self._begun[pid] = path, set()
        elif name in _SENDS and _TAKEN.search(rest):
            self._acknowledge(path)

    def _end_sync(self, pid: str) -> None:
        path, words = self._begun.pop(pid)
        self.syncs += 1
        self.written[path] -= words
        kind = "log" if path.endswith("-wal") else "file"
        for word in words:
            self.synced[word].add(kind)

    def _note_word(self, connection: str, text: str) -> None:
        found = _WORD.search(text)
        if found:
            self.current[connection] = found[0]

    def _acknowledge(self, connection: str) -> None:
        self.acknowledged += 1
        word = self.current.pop(connection, "a message without a word")
        needed = {"log", "file"} if "-large-" in word else {"log"}
        if not needed <= self.synced[word]:
            self.early.append(word)


def _texts(number: int, messages: int) -> Iterator[str]:
    """The messages of one client."""
    for count in range(number, messages, _CLIENTS):
        is_large = count % _LARGE_EACH == _LARGE_EACH - 1
        word = f"word-{count:07}-{'large' if is_large else 'small'}-end"
        # A page of the database ends anywhere: each page has the word several times.
        lines = 5000 if is_large else 40
        yield f"From: peer@there.test\r\nSubject: {word}\r\n\r\n" + f"{word} {'x' * 40}\r\n" * lines


def _send(server: Server, number: int, messages: int) -> None:
    with smtplib.SMTP("127.0.0.1", server.ports["smtp"], "client.test", timeout=120) as client:
        for text in _texts(number, messages):
            client.sendmail("peer@there.test", [ADDRESS], text)


def record(messages: int, folder: Path) -> Path:
    """Send them.  @return: What strace wrote."""
    file = folder / "strace.out"
    calls = "fdatasync,fsync,sendto,sendmsg,write,writev,pwrite64,recvfrom,read"
    strace = find("strace")
    if strace is None:
        raise SystemExit("not installed: strace")
    server = Server(
        folder / "moxsmtp",
        Layout(tables={"log": 'level = "warn"'}),
        wrapper=[
            *(strace, "-f", "-qq", "-y", "-s", "70000", "-o", file),
            *("-e", f"trace={calls}", "-e", "signal=none"),
        ],
    )
    try:
        server.wait_until_up(within=180)
        threads = [
            threading.Thread(target=_send, args=(server, number, messages))
            for number in range(_CLIENTS)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(900)
        stored = len(server.mail())
        if stored != messages:
            raise SystemExit(f"{stored} of {messages} messages were stored")
    finally:
        _end_traced(server)
        server.end()
    return file


def _end_traced(server: Server) -> None:
    """strace keeps signals from its program, and leaves when that does."""
    pid = server.process.pid
    children = Path(f"/proc/{pid}/task/{pid}/children")
    if children.exists():
        for child in children.read_text().split():
            os.kill(int(child), signal.SIGTERM)
        server.process.wait(60)


def main() -> None:
    """Send, and read the record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("messages", type=int, nargs="?", default=1000)
    messages = parser.parse_args().messages
    with tempfile.TemporaryDirectory(prefix="mox", ignore_cleanup_errors=True) as name:
        file = record(messages, Path(name))
        ledger = Ledger()
        with file.open(encoding="ascii", errors="replace") as lines:
            for line in lines:
                ledger.line(line)
    print(
        f"{messages} messages, {ledger.acknowledged} acknowledged, {ledger.syncs} syncs,"
        f" {len(ledger.early)} acknowledged before the sync that holds them"
    )
    for word in ledger.early[:20]:
        print(f"too early: {word}")
    raise SystemExit(0 if ledger.acknowledged == messages and not ledger.early else 1)


if __name__ == "__main__":
    main()
