"""What becomes of refusals and failures: for the peer, for the log, for the counts."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.logger import ILogObserver, LogEvent, LogLevel, formatEvent, globalLogPublisher

from moxsmtp.interfaces import Role
from moxsmtp.smtp.reply import LOCAL_ERROR, NO_SPACE, Refused, Reply, Unjudged
from tests.receive.wires import WireCase


class ListeningCase(WireCase):
    """@ivar events: All that was logged since the connection is there."""

    def setUp(self) -> None:
        super().setUp()
        self.events: list[LogEvent] = []
        observer: ILogObserver = self.events.append  # type: ignore[assignment]  # a callable is one
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    def logged(self, level: object) -> Sequence[str]:
        """The texts of that level."""
        return [formatEvent(event) for event in self.events if event["log_level"] is level]


class TaxonomyTests(ListeningCase):
    """Whose trouble it is."""

    def refused(self, refusal: Exception) -> bytes:
        """What the client reads when MAIL comes to this."""
        self.speak(b"EHLO x.example\r\n")
        self.events.clear()
        self.told.outcomes["mail"] = refusal
        return self.speak(b"MAIL FROM:<>\r\n")

    def test_of_the_peer(self) -> None:
        """What the peer does wrong is told to it, and to the log as everyday life (S-112)."""
        said = self.refused(Refused(Reply(550, "7.1", "not yours"), "alice does not own it"))
        self.assertEqual(said, b"550 5.7.1 not yours (id7)\r\n")
        (line,) = self.logged(LogLevel.info)
        self.assertEqual(
            line, "refused MAIL with 550 5.7.1: alice does not own it; from <> by x.example"
        )
        self.assertEqual(len(self.events), 1)

    def test_without_reason(self) -> None:
        """Where there is no more to say, the log has what the peer reads (S-112)."""
        self.refused(Refused(Reply(550, "7.1", "not yours")))
        (line,) = self.logged(LogLevel.info)
        self.assertEqual(line, "refused MAIL with 550 5.7.1: not yours; from <> by x.example")

    def test_of_ours(self) -> None:
        """Trouble of ours is a warning; its cause is for the log only (S-112)."""
        said = self.refused(Refused(NO_SPACE, "quota of sda1 exceeded", is_ours=True))
        self.assertEqual(said, NO_SPACE.encode("id7"))
        (line,) = self.logged(LogLevel.warn)
        self.assertEqual(
            line, "refused MAIL with 452 4.3.1: quota of sda1 exceeded; from <> by x.example"
        )
        self.assertEqual(len(self.events), 1)
        self.assertEqual(self.metrics.counts.get('mox_panic_total{pkg="smtpserver"}'), None)

    def test_unexpected(self) -> None:
        """What nobody thought of is 451 4.3.0, logged with its traceback, and counted (S-112)."""
        said = self.refused(ZeroDivisionError("a detail"))
        self.assertEqual(said, LOCAL_ERROR.encode("id7"))
        (event,) = self.events
        self.assertIs(event["log_level"], LogLevel.critical)
        self.assertIn("ZeroDivisionError", event["log_failure"].getTraceback())
        self.assertEqual(self.metrics.counts['mox_panic_total{pkg="smtpserver"}'], 1)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_unparsed_rest(self) -> None:
        """What was not understood is told to the log, on port 25 to nobody else (S-26)."""
        self.speak(b"EHLO x.example\r\n")
        self.events.clear()
        said = self.speak(b"MAIL FROM:<> \x1bodd\r\n")
        self.assertNotIn(b"odd", said)
        (line,) = self.logged(LogLevel.info)
        self.assertIn(r"\x1bodd", line)


class HelloTests(ListeningCase):
    """RFC 5321 section 4.1.4."""

    def test_refused_within_transaction(self) -> None:
        """A hello that is refused for its name leaves the transaction as it was (S-28, S-30)."""
        self.speak(b"EHLO x.example\r\nMAIL FROM:<>\r\n")
        self.told.outcomes["hello"] = Refused(Reply(550, "5.0", "no such host"))
        self.assertEqual(self.speak(b"HELO y.example\r\n"), b"550 5.5.0 no such host (id7)\r\n")
        self.assertNotEqual(self.told.asked[-1], "reset")
        self.assertDialog("""
            C: RCPT TO:<a@x.example>
            S: 250 2.1.0 recipient accepted
        """)

    def test_second_mail(self) -> None:
        """A second MAIL is refused and leaves the first one's transaction open (S-28)."""
        self.speak(b"EHLO x.example\r\nMAIL FROM:<>\r\n")
        asked = list(self.told.asked)
        for line in (b"MAIL FROM:<b@x.example>\r\n", b"MAIL nonsense\r\n"):
            self.assertTrue(self.speak(line).startswith(b"503 5.5.1 "))
        self.assertEqual(self.told.asked, asked)
        self.assertTrue(self.speak(b"RCPT TO:<a@x.example>\r\n").startswith(b"250 "))


class CountTests(ListeningCase):
    """Which messages speak against a client (S-113)."""

    def codes(self, outcome: object, times: int) -> bytes:
        """What MAIL is answered with after so many messages that came to this."""
        self.told.outcomes["message"] = outcome
        for _ in range(times):
            self.begin()
            self.speak(b".\r\n")
        return self.speak(b"MAIL FROM:<>\r\n")[:9]

    def test_bad(self) -> None:
        """Eleven that were refused for what they are do, by a reply or an exception (S-113)."""
        for outcome in (Reply(550, "7.1", "spam"), Refused(Reply(451, "7.1", "not now"))):
            self.connect()
            self.assertEqual(self.codes(outcome, 10), b"250 2.1.0")
            self.connect()
            self.assertEqual(self.codes(outcome, 11), b"550 5.1.0")

    def test_of_ours(self) -> None:
        """A full disk or a bug of ours is nothing that mail may be refused for later (S-113)."""
        for outcome in (Refused(NO_SPACE, "", is_ours=True), ZeroDivisionError()):
            self.connect()
            self.assertEqual(self.codes(outcome, 15), b"250 2.1.0")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 15)

    def test_no_messages(self) -> None:
        """What was no message that one could judge does not count (S-113)."""
        outcome = Unjudged(Reply(554, "6.0", "no header section"))
        self.assertEqual(self.codes(outcome, 15), b"250 2.1.0")

    def test_unfinished(self) -> None:
        """Nor does one that never came whole, or was cut at its size (S-113)."""
        for _ in range(15):
            self.begin()
            self.assertTrue(self.speak(b"x" * 1500 + b"\r\n.\r\n").startswith(b"552 "))
        self.assertTrue(self.speak(b"MAIL FROM:<>\r\n").startswith(b"250 "))


class ObservedTests(ListeningCase):
    """The histogram of replies (S-114)."""

    role = Role.SUBMISSION

    def observed(self) -> Sequence[str]:
        """Commands and codes, in the order they were first seen."""
        found = [series.partition("{")[2].split(",")[:2] for series in self.metrics.durations]
        return [" ".join(label.split('"')[1] for label in labels) for labels in found]

    def test_connection_without_commands(self) -> None:
        """A greeting is not observed; nor is what a client is turned away with (S-114, S-115)."""
        self.assertTrue(self.greeting.startswith(b"220 "))
        self.assertEqual(self.observed(), [])
        self.drop()
        self.successResultOf(self.factory.drain())
        self.connect()
        self.assertTrue(self.greeting.startswith(b"421 "))
        self.assertEqual(self.observed(), [])

    def test_each_reply(self) -> None:
        """Everything else is: what is unknown, what is refused, the end of data (S-114)."""
        self.speak(b"NOOP\r\nWHAT\r\nRSET x\r\nEHLO\r\nAUTH LOGIN\r\n*\r\n")
        self.assertEqual(
            self.observed(),
            ["noop 250", "(unknown) 500", "rset 501", "ehlo 250", "auth 501"],
        )
