"""
A peer to measure against: Twisted's own ESMTP server, a Maildir behind it.

C{python -m bench.stock_twisted PORT MAILDIR}
"""

from __future__ import annotations

import sys
from pathlib import Path

from twisted.internet import defer, protocol, reactor  # noqa: TID251 - a program of its own
from twisted.mail import smtp
from zope.interface import implementer

from bench.maildir import store


@implementer(smtp.IMessage)
class Message:
    """Lines, until they are a file."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lines: list[bytes] = []

    def lineReceived(self, line: bytes) -> None:
        self._lines.append(line)

    def eomReceived(self) -> defer.Deferred[None]:
        self._lines.append(b"")
        store(self._folder, b"\n".join(self._lines))
        return defer.succeed(None)

    def connectionLost(self) -> None:
        self._lines.clear()


@implementer(smtp.IMessageDelivery)
class Delivery:
    """Everybody may bring mail for anybody."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def receivedHeader(self, helo: object, origin: object, recipients: object) -> bytes:
        return b"Received: from client.test by bench.test"

    def validateFrom(self, helo: object, origin: smtp.Address) -> smtp.Address:
        return origin

    def validateTo(self, user: object) -> object:
        return lambda: Message(self._folder)


class Factory(protocol.ServerFactory):
    """One session each."""

    noisy = False

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def buildProtocol(self, addr: object) -> protocol.Protocol:
        session = smtp.ESMTP()
        session.factory = self
        session.timeout = 600
        session.delivery = Delivery(self._folder)
        return session


def main(port: int, folder: Path) -> None:
    """Serve until ended."""
    for name in ("tmp", "new", "cur"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    reactor.listenTCP(port, Factory(folder), backlog=511, interface="127.0.0.1")
    reactor.run()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
