"""The servers that are measured side by side."""

from __future__ import annotations

import socket
import sys
from itertools import islice
from pathlib import Path
from typing import Final, Protocol

from bench.measure import cpu_seconds
from bench.resolver import Resolver
from bench.senders import RECIPIENT, Sender, objection, zone
from tests.peers.postfix import Postfix
from tests.peers.process import Process, free_port, until
from tests.peers.server import Layout, Server, environment

__all__ = ["Ours", "Peer", "PostfixPeer", "Stock"]

#: Messages of each run that are looked at.
_SAMPLE: Final = 5


class Peer(Protocol):
    """A server that is measured."""

    name: str
    port: int

    def cpu(self) -> tuple[float, float]:
        """Seconds of a processor so far: its own, and those of its resolver."""

    def delivered(self) -> int | None:
        """How many messages reached their Maildir; L{None}: it has none."""

    def forget(self) -> None:
        """Keep nothing of what the DNS said before."""

    def examine(self) -> None:
        """
        Look at some of what was delivered.

        @raise SystemExit: It is not what this server has to make of it, so
            that the figure is void.
        """

    def clear(self) -> None:
        """Forget what was delivered."""

    def end(self) -> None:
        """Stop it."""


class InMaildir:
    """What a server leaves in C{new}, nothing being asked of the DNS."""

    def __init__(self, maildir: Path) -> None:
        self._new = maildir / "new"

    def delivered(self) -> int | None:
        return sum(1 for _ in self._new.iterdir()) if self._new.is_dir() else 0

    def forget(self) -> None:
        """There is nothing."""

    def examine(self) -> None:
        for message in self._sample():
            if b"DKIM-Signature:" not in message:
                raise SystemExit(f"not what was sent:\n{message[:2000].decode()}")

    def _sample(self) -> list[bytes]:
        return [file.read_bytes() for file in islice(self._new.iterdir(), _SAMPLE)]

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

    def cpu(self) -> tuple[float, float]:
        return cpu_seconds(self._process.pid), 0.0

    def end(self) -> None:
        self._process.end()


class PostfixPeer(InMaildir):
    """Postfix, to its virtual mailbox."""

    name = "Postfix"

    def __init__(self, folder: Path) -> None:
        self._postfix = Postfix(folder, domains=(RECIPIENT.partition("@")[2],))
        super().__init__(self._postfix.inbox)
        self.port = self._postfix.port

    def cpu(self) -> tuple[float, float]:
        return cpu_seconds(self._postfix.process.pid), 0.0

    def end(self) -> None:
        self._postfix.end()


class Ours(InMaildir):
    """
    Our server, the account's mail in the store or handed over to a Maildir.
    It checks what comes, with a resolver of its own.
    """

    def __init__(
        self,
        folder: Path,
        mailbox: str,
        those: list[Sender],
        name: str = "",
        *,
        workers: int = 1,
        checked: bool = True,
    ) -> None:
        """
        @param those: The resolver knows them.
        @param workers: Processes that speak with clients.
        @param checked: Otherwise nothing is checked, as peers do.
        """
        self._checked = checked
        maildir = folder / "mail"
        super().__init__(maildir / "alice")
        self.name = name or f"moxsmtp, {mailbox}"
        self._has_maildir = mailbox == "maildir"
        self._resolver = Resolver(folder.with_name(f"{folder.name}-dns"), zone(those))
        layout = Layout(
            top=f'maildir = "{maildir}/{{account}}"\nworkers = {workers}',
            account=f'mailbox = "{mailbox}"',
            smtp="" if checked else "no_checks = true",
            tables={"log": 'level = "warn"', "resolver": self._resolver.configuration},
        )
        self._server = Server(folder, layout)
        self._server.wait_until_up(page="/readyz")
        self.port = self._server.ports["smtp"]

    def cpu(self) -> tuple[float, float]:
        return cpu_seconds(self._server.process.pid), self._resolver.cpu_seconds()

    def delivered(self) -> int | None:
        return super().delivered() if self._has_maildir else None

    def forget(self) -> None:
        self._server.end()
        self._resolver.forget()
        self._server.restart()
        self._server.wait_until_up(page="/readyz")

    def examine(self) -> None:
        for message in self._sample():
            found = objection(message) if self._checked else _unlike(message)
            if found:
                log = self._server.log()[-2000:]
                raise SystemExit(f"{self.name}: void, for the checks say: {found}\n{log}")

    def _sample(self) -> list[bytes]:
        if self._has_maildir:
            return super()._sample()
        entries = self._server.objects("mail", "list", "alice", "--limit", str(_SAMPLE))
        return [self._server.raw(entry["id"]) for entry in entries]

    def end(self) -> None:
        self._server.end()
        self._resolver.end()


def _unlike(message: bytes) -> str:
    """Why this is not what a port without checks makes of mail; empty: it is."""
    header = message.partition(b"\r\n\r\n")[0]
    return "" if b"; none" in header and b"Received-SPF" not in header else "they were made"


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
