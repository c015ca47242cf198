"""
CPU that a look-up costs us.

C{python -m bench.dns [--queries N]}: our resolver against a server of its own in
another process, which answers everything at once: each name once (not cached),
then names that it knows (cached).  What a query takes is the CPU of the process
that asks, the kernel's part included.
"""

from __future__ import annotations

import argparse
import multiprocessing
import secrets
import socket
import struct
import time
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Any, Final

from twisted.internet.defer import Deferred

from moxsmtp.admin.offline import run_reactor
from moxsmtp.dns.records import Answer, Question, RRType
from moxsmtp.dns.resolver import StubResolver
from moxsmtp.dns.settings import ResolverSettings, Upstream
from moxsmtp.interfaces import IResolver

#: A key record as large as most: RSA of 2048 bits.
_KEY: Final = b"v=DKIM1; k=rsa; p=" + b"A" * 392

_SPF: Final = b"v=spf1 ip4:192.0.2.0/24 include:_spf.example.org -all"

#: Behind the type and length of each: what the server says.
_DATA: Final = {
    1: bytes([192, 0, 2, 1]),
    16: bytes([len(_SPF)]) + _SPF,
    16 | 256: bytes([255]) + _KEY[:255] + bytes([len(_KEY) - 255]) + _KEY[255:],
}


def serve(port: int, ready: Any) -> None:
    """Answer for ever."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        listening.bind(("127.0.0.1", port))
        ready.send(listening.getsockname()[1])
        while True:
            query, address = listening.recvfrom(4096)
            end = query.index(b"\0", 12) + 5
            section = query[12:end]
            kind = section[-3] | (256 if b"_domainkey" in section else 0)
            data = _DATA[kind]
            record = struct.pack("!HHHIH", 0xC00C, section[-3], 1, 300, len(data)) + data
            head = query[:2] + b"\x81\xa0" + struct.pack("!4H", 1, 1, 0, 1)
            listening.sendto(head + section + record + query[end:], address)


class Load:
    """
    Look-ups, so many at once.

    @ivar answers: How many had records.
    """

    def __init__(self, resolver: IResolver, questions: Iterator[Question]) -> None:
        self._resolver = resolver
        self._questions = questions
        self.answers = 0

    async def run(self, at_once: int) -> None:
        """Ask all of them."""
        for asking in [Deferred.fromCoroutine(self._ask()) for _ in range(at_once)]:
            await asking

    async def _ask(self) -> None:
        for question in self._questions:
            answer: Answer = await self._resolver.lookup(question)
            self.answers += bool(answer.records)


def questions(count: int, kind: str) -> list[Question]:
    """So many that nobody asked before."""
    mark = secrets.token_hex(4)
    name, type_ = {
        "A": (".example.org", RRType.A),
        "TXT, SPF": (".example.com", RRType.TXT),
        "TXT, DKIM key": ("._domainkey.example.com", RRType.TXT),
    }[kind]
    return [Question(f"{mark}{number}{name}", type_) for number in range(count)]


async def measure(reactor: Any, port: int, count: int, at_once: int) -> list[tuple[str, float]]:
    """Microseconds for each kind of look-up."""
    resolver = StubResolver(
        reactor=reactor,
        servers=[Upstream(address=ip_address("127.0.0.1"), port=port)],
        settings=ResolverSettings(),
        randbelow=secrets.randbelow,
    )
    await _timed(resolver, questions(2000, "A"), at_once)
    found = [
        (f"not cached, {kind}", await _timed(resolver, questions(count, kind), at_once))
        for kind in ("A", "TXT, SPF", "TXT, DKIM key")
    ]
    known = questions(1000, "TXT, SPF")
    await _timed(resolver, known, at_once)
    found.append(("cached", await _timed(resolver, known * (count // 200), 1)))
    await resolver.close()
    return found


async def _timed(resolver: IResolver, asked: list[Question], at_once: int) -> float:
    load = Load(resolver, iter(asked))
    begun = time.process_time()
    await load.run(at_once)
    used = time.process_time() - begun
    if load.answers != len(asked):
        raise SystemExit(f"{len(asked) - load.answers} look-ups without records")
    return used / len(asked) * 1e6


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--queries", type=int, default=10_000, help="of each kind")
    parser.add_argument("--at-once", type=int, default=50)
    options = parser.parse_args()
    mine, theirs = multiprocessing.Pipe()
    server = multiprocessing.Process(target=serve, args=(0, theirs), daemon=True)
    server.start()
    try:
        port = mine.recv()
        found = run_reactor(
            lambda reactor: measure(reactor, port, options.queries, options.at_once)
        )
    finally:
        server.terminate()
        server.join()
    for what, microseconds in found:
        print(f"{what:28}{microseconds:8.1f} µs of CPU a look-up")


if __name__ == "__main__":
    main()
