"""What an operator sees of mail that was refused."""

from __future__ import annotations

import io
import json

from twisted.logger import LogLevel

from moxsmtp.interfaces import Role
from moxsmtp.logs import JSONObserver, TextObserver
from moxsmtp.smtp.reply import NO_SPACE, Refused, Reply
from tests.receive.test_conversation import ListeningCase

_NOT_HERE = Refused(Reply(550, "1.1", "not served here"))


class RefusalCase(ListeningCase):
    """A client that has said hello."""

    def greet(self, *lines: bytes) -> None:
        """Say so, and lines that are no refusals; forget what was logged of them."""
        for line in (b"EHLO x.example", *lines):
            self.assertIn(self.speak(line + b"\r\n")[:1], (b"2", b"3"), line)
        self.events.clear()

    def infos(self) -> list[str]:
        """The lines of level info."""
        return list(self.logged(LogLevel.info))


class LineTests(RefusalCase):
    """One for each."""

    def test_mail(self) -> None:
        """A refused sender is named, with the name of the host, the code, and why."""
        self.greet()
        self.told.outcomes["mail"] = Refused(Reply(550, "7.27", "no"), "null MX")
        self.speak(b"MAIL FROM:<a@y.example>\r\n")
        self.assertEqual(
            ["refused MAIL with 550 5.7.27: null MX; from <a@y.example> by x.example"],
            self.infos(),
        )

    def test_recipient(self) -> None:
        """A refused recipient is named alone, and who sends; another hello takes that back."""
        self.greet(b"MAIL FROM:<a@y.example>", b"RCPT TO:<b@x.example>")
        self.told.outcomes["recipient"] = _NOT_HERE
        self.speak(b"RCPT TO:<c@x.example>\r\n")
        (line,) = self.infos()
        self.assertEqual(
            "refused RCPT with 550 5.1.1: not served here; from <a@y.example> by x.example"
            " to <c@x.example>",
            line,
        )
        self.greet()
        self.speak(b"RCPT TO:<c@x.example>\r\n")
        (line,) = self.infos()
        self.assertNotIn("a@y.example", line)

    def test_message(self) -> None:
        """A refused message names the first of those that it was for, however it is refused."""
        for outcome in (Reply(550, "7.1", "spam"), Refused(Reply(550, "7.1", "spam"))):
            self.connect()
            rcpts = [b"RCPT TO:<b%d@x.example>" % number for number in range(7)]
            self.greet(b"MAIL FROM:<>", *rcpts, b"DATA")
            self.told.outcomes["message"] = outcome
            self.speak(b"Subject: x\r\n\r\n.\r\n")
            (line,) = self.infos()
            self.assertIn("refused DATA with 550 5.7.1: spam; from <> by x.example to <b0@", line)
            self.assertTrue(line.endswith("<b4@x.example> and 2 more"), line)

    def test_too_large(self) -> None:
        """So does one that is too large, or comes in chunks and finds no room."""
        self.greet(b"MAIL FROM:<>", b"RCPT TO:<b@x.example>", b"DATA")
        self.speak(b"x" * 1500 + b"\r\n.\r\n")
        self.assertIn("refused DATA with 552 5.2.3", self.infos()[0])
        self.greet(b"MAIL FROM:<>", b"RCPT TO:<b@x.example>")
        self.told.outcomes["data"] = Refused(NO_SPACE, "full", is_ours=True)
        self.speak(b"BDAT 2 LAST\r\nxx")
        (line,) = self.infos()
        self.assertIn("refused BDAT with 452 4.3.1", line)
        self.assertIn("to <b@x.example>", line)

    def test_not_understood(self) -> None:
        """What was not understood is shown as it came, without what a terminal obeys."""
        self.greet()
        self.speak(b"MAIL FROM:a@y.example \x1b[2J\r\n")
        (line,) = self.infos()
        self.assertIn("x.example said MAIL FROM:a@y.example \\x1b[2J", line)

    def test_other_commands(self) -> None:
        """What costs no message is for debugging, if at all."""
        self.speak(b"NONSENSE\r\nVRFY\r\nAUTH PLAIN\r\nHELO\r\n")
        self.assertEqual([], self.infos())

    def test_transaction_over(self) -> None:
        """Nothing of a transaction that is over is told with the next refusal."""
        for end in (b"RSET\r\n", b"DATA\r\nSubject: x\r\n\r\n.\r\n"):
            self.greet(b"MAIL FROM:<a@y.example>", b"RCPT TO:<b@x.example>")
            self.speak(end)
            self.speak(b"BDAT 2 LAST\r\nxx")
            self.assertTrue(self.infos())
            self.assertNotIn("y.example", "".join(self.infos()))

    def test_many(self) -> None:
        """The first twenty of a session are told, of the others their number, at its end."""
        self.greet(b"MAIL FROM:<>")
        self.told.outcomes["recipient"] = _NOT_HERE
        for _ in range(50):
            self.speak(b"RCPT TO:<c@x.example>\r\n")
        self.assertEqual(20, len(self.infos()))
        self.drop()
        self.assertEqual(["30 more were refused"], self.infos()[20:])

    def test_forms(self) -> None:
        """Session and client stand in the line of text, and as fields in that of JSON (S-9)."""
        self.greet()
        self.told.outcomes["mail"] = Refused(Reply(550, "7.27", "no"), "null MX")
        self.speak(b"MAIL FROM:<a@y.example>\r\n")
        (event,) = self.events
        text, entry = io.StringIO(), io.StringIO()
        TextObserver(text)(event)
        JSONObserver(entry)(event)
        self.assertIn("by x.example [session 7 192.0.2.2 +0.000s]\n", text.getvalue())
        fields = json.loads(entry.getvalue())
        expected = {
            "session": 7, "client": "192.0.2.2", "hello": "x.example", "verb": "MAIL",
            "reverse_path": "a@y.example", "forward_paths": [], "recipients": 0, "code": 550,
            "status": "5.7.27", "reason": "null MX", "level": "info",
        }  # fmt: skip
        self.assertEqual(expected, {name: fields[name] for name in expected})


class SubmissionTests(RefusalCase):
    """Where users hand in mail."""

    role = Role.SUBMISSION

    def test_no_login(self) -> None:
        """Who has not logged in is seen with what it wanted."""
        self.greet()
        self.speak(b"MAIL FROM:<a@y.example>\r\n")
        (line,) = self.infos()
        self.assertRegex(line, r"refused MAIL with 530 5\.7\.0: .*said MAIL FROM:<a@y\.example>")
