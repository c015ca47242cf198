"""Servers for the client's side of SMTP: dialogues as text."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.trial.unittest import SynchronousTestCase

from moxsmtp.names import parse_domain
from moxsmtp.smtp.address import Path
from moxsmtp.smtp.exchange import Exchange
from moxsmtp.smtp.mailing import (
    Accepted,
    AwaitReply,
    BeginTLS,
    Fate,
    Idle,
    Mailing,
    Over,
    Refusal,
    SendContent,
    StartTLS,
    Step,
    Write,
)

HERE = parse_domain("here.example")
THERE = parse_domain("there.example")
LOST = Refusal(permanent=False, error="connection lost")


def mailing(
    *names: str, size: int = 100, has_8bit: bool = False, smtputf8: bool = False
) -> Mailing:
    """From a@here.example to each of C{names} there."""
    return Mailing(
        Path("a", HERE),
        tuple(Path(name, THERE) for name in names or ("b",)),
        size,
        has_8bit,
        smtputf8,
    )


def brief(fates: Sequence[Fate | None]) -> list[str]:
    """Each fate in a word or two: C{ok 250}, C{permanent 550 1.1}, C{transient 0}."""
    words = []
    for fate in fates:
        match fate:
            case Accepted(reply=reply):
                words.append(f"ok {reply.code}")
            case Refusal(permanent=permanent, code=code, status=status):
                kind = "permanent" if permanent else "transient"
                words.append(f"{kind} {code} {status}".rstrip())
            case None:
                words.append("none")
    return words


def exchange_of(message: Mailing | None = None, *, starttls: bool = False) -> Exchange:
    """An exchange with its first mailing begun; the content is not at hand."""
    wanted = StartTLS.IF_OFFERED if starttls else StartTLS.NEVER
    exchange = Exchange(hostname="client.example", starttls=wanted)
    exchange.begin(message or mailing())
    return exchange


class Talk:
    """
    Drives an exchange and writes down what it says.

    @ivar stays: It is not left when nothing is to be done.
    """

    def __init__(self, exchange: Exchange, *, stays: bool = False) -> None:
        self.exchange = exchange
        self.stays = stays
        self.said = b""
        self.step: Step = Over(clean=False)
        self.pump()

    def pump(self) -> None:
        """Take steps until one has to be waited for."""
        while True:
            content = isinstance(self.step, SendContent)
            self.step = self.exchange.step()
            match self.step:
                case Write(octets):
                    self.said += b"<content>\r\n" if content else octets
                    if content:
                        assert octets == b".\r\n", octets
                case BeginTLS():
                    self.said += b"<tls>\r\n"
                    self.exchange.secured()
                case SendContent():
                    pass
                case Idle() if not self.stays:
                    self.exchange.leave()
                case AwaitReply() | Over() | Idle():
                    return

    def take(self) -> bytes:
        """What was said since last asked."""
        said, self.said = self.said, b""
        return said

    def hear(self, data: bytes, cut: int = 0) -> None:
        """The server sends, in pieces of C{cut} octets."""
        step = cut or len(data)
        for start in range(0, len(data), step):
            self.exchange.receive(data[start : start + step])
            self.pump()


class ExchangeTestCase(SynchronousTestCase):
    """Dialogues as text."""

    maxDiff = None

    def assertDialog(
        self,
        dialog: str,
        fates: Sequence[str],
        message: Mailing | None = None,
        *,
        starttls: bool = False,
    ) -> Exchange:
        """
        The exchange says the lines behind C{C:} where they stand, given those
        behind C{S:}, whole and octet by octet; C{LOST} breaks the connection.
        """
        exchange = self.talked(dialog, message, starttls=starttls, cut=0)
        byte_by_byte = self.talked(dialog, message, starttls=starttls, cut=1)
        self.assertEqual(brief(exchange.fates), list(fates))
        self.assertEqual(byte_by_byte.fates, exchange.fates)
        return exchange

    def talked(self, dialog: str, message: Mailing | None, *, starttls: bool, cut: int) -> Exchange:
        """The exchange after C{dialog}."""
        talk = Talk(exchange_of(message, starttls=starttls))
        expected = b""
        for line in filter(None, map(str.strip, dialog.splitlines())):
            mark, _, text = line.partition(": ")
            if mark == "C":
                expected += text.encode() + b"\r\n"
                continue
            self.assertEqual(talk.said, expected)
            if mark == "LOST":
                talk.exchange.abandon(LOST)
            else:
                talk.hear(text.encode() + b"\r\n", cut)
        self.assertEqual(talk.said, expected)
        self.assertTrue(talk.exchange.is_decided)
        return talk.exchange


PLAIN = """
    S: 220 mx.example ESMTP
    C: EHLO client.example
    S: 250 mx.example
"""
PIPELINING = """
    S: 220 mx.example ESMTP
    C: EHLO client.example
    S: 250-mx.example
    S: 250-ENHANCEDSTATUSCODES
    S: 250 PIPELINING
"""
QUIT = """
    C: QUIT
    S: 221 bye
"""
