"""Tests for L{moxsmtp.admin.reply_id_commands}."""

from __future__ import annotations

from collections.abc import Mapping

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from moxsmtp.admin.control import CommandFailed
from moxsmtp.admin.reply_id_commands import ReplyIdCommands
from moxsmtp.smtp.reply_id import ReplyIds


class ReplyIdCommandTests(SynchronousTestCase):
    """What an operator asks of an id."""

    def setUp(self) -> None:
        self.ids = ReplyIds(b"k" * 16, b"p" * 8)
        self.table = ReplyIdCommands(self.ids.decode).table()

    def told(self, **arguments: object) -> tuple[list[dict[str, object]], str]:
        """What it sends, and its error."""
        sent: list[dict[str, object]] = []

        async def send(entry: Mapping[str, object]) -> None:
            sent.append(dict(entry))

        async def run() -> str:
            try:
                await self.table["reply-id"](arguments, send)
            except CommandFailed as error:
                return str(error)
            return ""

        return sent, self.successResultOf(Deferred.fromCoroutine(run()))

    def test_session(self) -> None:
        """The number of the session, and the moment that it is (S-9, S-10)."""
        number = 1_772_366_400_123
        self.assertEqual(
            self.told(id=self.ids.encode(number)),
            ([{"session": number, "begun": "2026-03-01T12:00:00.123+00:00"}], ""),
        )

    def test_no_moment(self) -> None:
        """A number beyond all calendars has none."""
        sent, _ = self.told(id=self.ids.encode(2**64 - 1))
        self.assertEqual(sent, [{"session": 2**64 - 1, "begun": ""}])

    def test_wrong(self) -> None:
        """What is no id of ours is refused in words."""
        foreign = ReplyIds(b"x" * 16, b"p" * 8).encode(7)
        for wrong in ("", None, 7, "x", foreign):
            sent, error = self.told(id=wrong)
            self.assertEqual(sent, [])
            self.assertTrue(error, wrong)
