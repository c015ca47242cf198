"""Transactions told by their command lines, for receivers that are whole."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from moxsmtp.interfaces import Client
from moxsmtp.receive.delivery import Delivery
from moxsmtp.receive.submission import Submission
from moxsmtp.smtp.commands import Command, Mail
from moxsmtp.smtp.dialect import Dialect
from moxsmtp.smtp.grammar import VERBS, command
from tests.receive.houses import HouseTestCase


def parsed(line: str, client: Client) -> Command:
    """A command line as the session reads it."""
    verb, _, rest = line.partition(" ")
    dialect = Dialect(
        client.role.is_submission, smtputf8=True, secure=client.tls is not None, require_tls=True
    )
    return command(VERBS[verb.encode()], f" {rest}".encode(), dialect)


class TransactionTestCase(HouseTestCase):
    """Transactions told by their lines."""

    client: Client
    receiver: Submission | Delivery

    def setUp(self) -> None:
        super().setUp()
        self.clock = Clock()

    def talk(self, *lines: str) -> list[str]:
        """The codes of the replies to MAIL and RCPT."""
        codes = []
        for line in lines:
            told: Any = parsed(line, self.client)
            ask = self.receiver.mail if isinstance(told, Mail) else self.receiver.recipient
            codes.append(self.codes(ask(self.client, told)))
        return codes

    def transact(self, content: bytes, *lines: str) -> str:
        """A whole transaction; the codes of its last reply."""
        begun = self.talk(*lines)
        self.assertEqual({"250 2.1.0"}, set(begun))
        return self.end(content)

    def end(self, content: bytes) -> str:
        """The codes of the reply to the content."""
        spooled = self.spooled(self.receiver, self.client, content)
        told = Deferred.fromCoroutine(self.receiver.message(self.client, spooled))
        self.clock.advance(0)
        codes = self.codes(told)
        self.receiver.reset()
        return codes

    def counted(self, result: str) -> int:
        return int(self.metrics.counts.get(result, 0))
