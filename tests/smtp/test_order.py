"""Which command may come when (section 4 of the session's rules), as one table said twice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from twisted.trial.unittest import SynchronousTestCase

from moxsmtp.interfaces import Login, Role, TLSInfo
from moxsmtp.smtp.commands import Verb
from moxsmtp.smtp.order import State
from moxsmtp.smtp.session import Session
from tests.smtp.driver import Driver, session

#: A well-formed line of each verb, and one that is not.
LINES: Final = {
    "HELO": ("HELO client.example", "HELO"),
    "EHLO": ("EHLO client.example", "EHLO"),
    "STARTTLS": ("STARTTLS", "STARTTLS now"),
    "AUTH": ("AUTH PLAIN AGFAeC5leGFtcGxlAHNlY3JldA==", "AUTH"),
    "MAIL": ("MAIL FROM:<>", "MAIL"),
    "RCPT": ("RCPT TO:<a@x.example>", "RCPT"),
    "DATA": ("DATA", "DATA x"),
    # What follows a BDAT that is no BDAT cannot be told apart: it ends the session.
    "BDAT": ("BDAT 0", ""),
    "RSET": ("RSET", "RSET x"),
    "NOOP": ("NOOP", "NOOP x y"),
    "VRFY": ("VRFY word", "VRFY a@x.example"),
    "EXPN": ("EXPN word", "EXPN"),
    "HELP": ("HELP", ""),
    "QUIT": ("QUIT", "QUIT x"),
}

#: What leads to each stage of a session, from the hello on.
STAGES: Final = {
    "new": (),
    "greeted": (),
    "sender": ("MAIL FROM:<>",),
    "recipient": ("MAIL FROM:<>", "RCPT TO:<a@x.example>"),
}

FREE = {"HELO", "EHLO", "RSET", "NOOP", "HELP", "VRFY", "EXPN", "QUIT"}

OUT_OF_ORDER = "503 5.5.1"
LOG_IN = "530 5.7.0"


@dataclass(frozen=True)
class Situation:
    """@ivar certified: TLS, and a certificate that lets the client in."""

    role: Role
    stage: str
    logged_in: bool = False
    certified: bool = False

    def session(self) -> Session:
        """One that has come so far."""
        made = session(self.role, offers_tls=True)
        driver = Driver(made)
        if self.certified:
            made.secured(TLSInfo("TLS1.3", "TLS_AES_128_GCM_SHA256", client_key="key"))
            made.certify(Login("a", "a@x.example"))
        if self.stage != "new":
            driver.speak(b"EHLO client.example\r\n")
        if self.logged_in:
            driver.speak(LINES["AUTH"][0].encode() + b"\r\n")
        for line in STAGES[self.stage]:
            driver.speak(line.encode() + b"\r\n")
        return made

    @property
    def is_user(self) -> bool:
        """By SASL or by certificate."""
        return self.logged_in or self.certified

    def refusal(self, verb: str) -> str | None:
        """The rule: what a well-formed command is refused with, if it is."""
        needs_user = self.role.is_submission and verb in {"MAIL", "RCPT", "DATA", "BDAT"}
        if verb in FREE:
            return None
        if self.stage == "new":
            return OUT_OF_ORDER
        if needs_user and not self.is_user:
            return LOG_IN
        within = self.stage in {"sender", "recipient"}
        allowed = {
            "STARTTLS": not self.is_user,
            "AUTH": self.role.is_submission and not self.logged_in and not within,
            "MAIL": not within,
            "RCPT": within,
            "DATA": self.stage == "recipient",
            "BDAT": self.stage == "recipient",
        }
        return None if allowed[verb] else OUT_OF_ORDER


def situations() -> Sequence[Situation]:
    """All that can be reached."""
    return [
        *(Situation(Role.SMTP, stage) for stage in STAGES),
        *(Situation(Role.SUBMISSION, stage) for stage in ("new", "greeted")),
        *(
            Situation(Role.SUBMISSION, stage, logged_in=True)
            for stage in ("greeted", "sender", "recipient")
        ),
        *(Situation(Role.SUBMISSION, stage, certified=True) for stage in STAGES),
        Situation(Role.SUBMISSION, "greeted", logged_in=True, certified=True),
    ]


class PrerequisiteTests(SynchronousTestCase):
    """RFC 5321 section 4.1.4, RFC 4954 section 6."""

    def said(self, situation: Situation, line: str) -> str:
        """Code and enhanced code of the reply; codes from 2 and 3 are all the same."""
        said = Driver(situation.session()).speak(line.encode() + b"\r\n").decode()
        code = said[:9].strip()
        return "taken" if code[0] in "23" else code

    def test_table(self) -> None:
        """
        Every command in every situation: what must come before it is asked for in the
        order hello, login, the rest, and nothing else is (S-25).
        """
        expected, found = {}, {}
        for situation in situations():
            for verb, (line, _) in LINES.items():
                expected[situation, verb] = situation.refusal(verb) or "taken"
                found[situation, verb] = self.said(situation, line)
        self.assertEqual(found, expected)

    def test_whole(self) -> None:
        """No verb is left out of these tests."""
        self.assertEqual(set(LINES), {verb.value for verb in Verb})

    def test_before_syntax(self) -> None:
        """What must come before a command matters more than its arguments (S-25, S-26)."""
        for situation in situations():
            for verb, (_, line) in LINES.items():
                if line and not (situation.role.is_submission and verb in {"EHLO", "HELO"}):
                    expected = situation.refusal(verb) or "501 5.5.2"
                    if verb == "STARTTLS" and situation.stage != "new":
                        expected = "501 5.5.2"
                    self.assertEqual(self.said(situation, line), expected, (situation, line))

    def test_refusal_changes_nothing(self) -> None:
        """
        A line that is refused leaves the session where it was, an open transaction too;
        a second MAIL above all (S-28).
        """
        for situation in situations():
            for verb, lines in LINES.items():
                for line in filter(None, lines):
                    spoken = situation.session()
                    before = spoken.state, spoken.client
                    said = Driver(spoken).speak(line.encode() + b"\r\n")
                    if said[:1] in {b"4", b"5"}:
                        self.assertEqual((spoken.state, spoken.client), before, (situation, verb))

    def test_first_command(self) -> None:
        """
        A known verb, even in vain, shows that the peer speaks SMTP: what is unknown behind
        it is told and the session goes on; before it, it ends (S-24).
        """
        for lines in LINES.values():
            for line in filter(None, lines):
                spoken = session()
                driver = Driver(spoken)
                driver.speak(line.lower().encode() + b"\r\n")
                if spoken.state in {State.CLOSED, State.HANDSHAKE}:
                    continue
                self.assertEqual(driver.speak(b"WHAT\r\n"), b"500 5.5.1 no such command (id7)\r\n")
                self.assertIsNot(spoken.state, State.CLOSED)
        for line in ("", " NOOP", "NOOPS", "NOOP\t", "\0NOOP", "N\u00d6OP", "WHAT", "EHLO\0x"):
            spoken = session()
            said = Driver(spoken).speak(line.encode() + b"\r\nNOOP\r\n")
            self.assertTrue(said.startswith(b"500 5.5.2 "), line)
            self.assertNotIn(b"250", said)
            self.assertIs(spoken.state, State.CLOSED)

    def test_verb(self) -> None:
        """A verb ends at the first space, and is the same in any case of ASCII (S-24)."""
        for line in ("noop", "NoOp", "NOOP word", "nOOP x"):
            self.assertEqual(Driver(session()).speak(line.encode() + b"\r\n"), b"250 NOOP\r\n")
        # What Unicode folds to ASCII is no verb: U+017F, long s; U+0131, dotless i.
        for line in ("r\u017fet", "ma\u0131l FROM:<>"):
            said = Driver(session()).speak(b"NOOP\r\n" + line.encode() + b"\r\n")
            self.assertIn(b"500 5.5.1 ", said)
