"""Whatever a client says, what we say of it and to it is plain text (S-19, T-20)."""

from __future__ import annotations

import io
import json
import re
from base64 import b64encode
from collections.abc import Awaitable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Final

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import succeed
from twisted.logger import ILogObserver, globalLogPublisher
from zope.interface import implementer

from moxsmtp.interfaces import (
    CertificateAttempt,
    ICredentials,
    IReceiver,
    Login,
    LoginSecrets,
    PasswordAttempt,
    Role,
)
from moxsmtp.logs import JSONObserver, TextObserver
from moxsmtp.receive.delivery import Delivery
from moxsmtp.receive.session_log import SessionLog
from moxsmtp.receive.submission import Submission
from moxsmtp.smtp.commands import Verb
from moxsmtp.smtp.login_secrets import SecretsWanted
from tests.receive.houses import HouseTestCase
from tests.receive.wires import WireCase
from tests.smtp.driver import secrets_of

#: Terminal controls in every form, ends of lines that are none, and what looks like a field.
NASTY: Final = [
    b"\x1b]0;title\x07", b"\x1b[2J", b"\x9b2J", b"\x00", b"\x08", b"\r", b"\n", b"\x7f", b"\xff",
    "\u0085\u2028\u202e\u009b".encode(), "caf\u00e9".encode(), "\U000e0041".encode(),
    b"\xed\xa0\x80", b"{session}", b"%s", b"\\", b'"', b"<", b">", b" ", b"@",
]  # fmt: skip

WORDS = st.lists(
    st.one_of(st.sampled_from(NASTY), st.binary(max_size=6), st.sampled_from([b"a", b"b.example"])),
    max_size=5,
).map(b"".join)

MESSAGE: Final = b"DATA\r\nFrom: %s <alice@ours.example>\r\nSubject: %s\r\n\r\n%s\r\n."

#: What is said, round words of the client's choice.
FORMS: Final = [
    b"%s", b"EHLO %s", b"HELO %s", b"EHLO [192.0.2.1] %s", b"MAIL FROM:<%s@away.example>",
    b"MAIL FROM:<%s@away.example> SMTPUTF8", b"MAIL FROM:<alice@ours.example> %s",
    b"MAIL FROM:<> SIZE=%s", b"MAIL FROM:<alice@ours.example>", b'MAIL FROM:<"%s"@away.example>',
    b"RCPT TO:<%s@ours.example>", b"RCPT TO:<alice@ours.example>", b"RCPT TO:<%s>",
    b"RCPT TO:<mike@ours.example>", b"RCPT TO:<a@away.example> %s", b"VRFY %s", b"EXPN %s",
    b"NOOP %s", b"HELP %s", b"RSET %s", b"AUTH %s", b"AUTH PLAIN %s", b"BDAT %s",
    MESSAGE,
    b"DATA\r\nFrom: <alice@ours.example>\r\nMessage-ID: <%s@x>\r\nSubject: %s\r\n\r\n\r\n.",
    b"DATA\r\n%s: %s\r\n\r\n.", b"BDAT 6 LAST\r\na: b\r", b"BDAT 3\r\n\x1b",
]  # fmt: skip

#: A form of AUTH whose words are in base64.
LOGIN: Final = b"AUTH PLAIN "


def line_of(form: bytes, words: Sequence[bytes]) -> bytes:
    """With its end."""
    return form % tuple(words[: form.count(b"%s")]) + b"\r\n"


LINES = st.one_of(
    st.builds(line_of, st.sampled_from(FORMS), st.tuples(WORDS, WORDS, WORDS)),
    WORDS.map(lambda word: LOGIN + b64encode(b"\0" + word + b"\0" + word) + b"\r\n"),
)

_REPLY = re.compile(rb"([2-5][0-9]{2})([ -])((?:[245]\.[0-9]{1,3}\.[0-9]{1,3} )?)[ -~]*")


@implementer(ICredentials)
class Anybody:
    """Lets everybody in, as alice."""

    def verify(self, attempt: PasswordAttempt | CertificateAttempt) -> Awaitable[Login | None]:
        name = attempt.login if isinstance(attempt, PasswordAttempt) else "alice@ours.example"
        return succeed(Login("alice", name))

    def secrets(self, wanted: SecretsWanted) -> Awaitable[LoginSecrets]:
        return succeed(secrets_of(wanted))


class Home(HouseTestCase):
    """Its house is borrowed."""

    def runTest(self) -> None:
        """Nothing."""


class PlainnessTests(WireCase):
    """Real receivers behind a wire, and a log that takes everything."""

    def setUp(self) -> None:
        super().setUp()
        home = Home()
        home.setUp()
        self.house = replace(home.house, credentials=Anybody(), metrics=self.metrics)
        self.text, self.json = io.StringIO(), io.StringIO()
        for observer in (TextObserver(self.text), JSONObserver(self.json)):
            # Bugs go to trial's own log too, and so fail the test.
            observing: ILogObserver = observer
            globalLogPublisher.addObserver(observing)
            self.addCleanup(globalLogPublisher.removeObserver, observing)

    def receiver(self, role: Role, log: SessionLog) -> IReceiver:
        """For that port."""
        if role.is_submission:
            return Submission(self.house, log, tls_required=False)
        return Delivery(
            self.house,
            log,
            hostname=self.house.hostname,
            tls_required=False,
            unknown_delay=timedelta(),
            clock=self.clock,
        )

    def conversation(self, role: Role, lines: Sequence[bytes]) -> bytes:
        """All that is said, the greeting too."""
        self.start(
            role=role, receiver=lambda log: self.receiver(role, log), maximum_size=100_000,
            authentication_delay=timedelta(),
        )  # fmt: skip
        said = self.greeting
        for line in lines:
            said += self.speak(line)
            # Where something is delayed, its time comes.
            self.clock.pump([1.0] * 31)
            said += self.said()
        self.drop()
        return said

    @settings(deadline=None, max_examples=80)
    @given(st.sampled_from([Role.SMTP, Role.SUBMISSION]), st.lists(LINES, max_size=12))
    def test_any_session(self, role: Role, lines: list[bytes]) -> None:
        """
        Replies are ASCII without controls, in lines of at most 510 octets, each with the
        class of its code (S-19); lines of the log, text or JSON, have no raw controls.
        """
        begin = b"EHLO client.example\r\n"
        said = self.conversation(role, [begin, *lines])
        self.assertTrue(said.endswith(b"\r\n"))
        open_code = b""
        for line in said[:-2].split(b"\r\n"):
            match = _REPLY.fullmatch(line)
            assert match is not None, line
            self.assertLessEqual(len(line), 510)
            code, separator, status = match.groups()
            self.assertIn(open_code, (b"", code), said)
            self.assertIn(status[:1], (b"", code[:1]), line)
            open_code = code if separator == b"-" else b""
        self.assertEqual(open_code, b"")
        self.assertLogIsPlain()

    def assertLogIsPlain(self) -> None:
        """What was logged since this was asked last."""
        for stream in (self.text, self.json):
            lines = stream.getvalue().split("\n")
            stream.seek(0)
            stream.truncate()
            self.assertEqual(lines.pop(), "")
            self.assertTrue(lines)
            for line in lines:
                self.assertTrue(line.isprintable(), ascii(line))
                if stream is self.json:
                    self.assertIn("time", json.loads(line))

    def test_whole(self) -> None:
        """The sessions of these tests get as far as to a stored and a queued message."""
        content = line_of(MESSAGE, (b"x", b"\x1b[2J", b"\x07"))
        ends = b"MAIL FROM:<alice@ours.example>\r\n", b"RCPT TO:<mike@ours.example>\r\n", content
        for role in (Role.SMTP, Role.SUBMISSION):
            login = LOGIN + b64encode(b"\0a\x1b@x\0b") + b"\r\n"
            first = [login] if role.is_submission else []
            said = self.conversation(role, [b"EHLO client.example\r\n", *first, *ends])
            self.assertIn(b"\r\n250 2.2.0 ", said)
            self.assertLogIsPlain()

    @settings(deadline=None, max_examples=40)
    @given(st.sampled_from([Role.SMTP, Role.SUBMISSION]), st.lists(LINES, max_size=12))
    def test_labels(self, role: Role, lines: list[bytes]) -> None:
        """
        No word of the client's gets into a label: there are only so many series, whatever
        is said (S-114).
        """
        self.conversation(role, lines)
        commands = {verb.value.lower() for verb in Verb} | {"(unknown)"}
        for series in {**self.metrics.counts, **self.metrics.durations, **self.metrics.levels}:
            labels = dict(re.findall(r'(\w+)="([^"]*)"', series))
            self.assertIn(labels.get("cmd", "data"), commands, series)
            self.assertRegex(labels.get("code", "250"), "^[245][0-9][0-9]$")
            self.assertRegex(labels.get("ecode", ""), r"^([245]\.[0-9]\.[0-9]{1,2})?$")
            self.assertIn(labels.get("kind", "smtp"), {"smtp", "submission"})
            for name in ("variant", "result", "reason", "pkg", "listener", "protocol", "error"):
                self.assertRegex(labels.get(name, ""), "^[a-z0-9-]*$", series)

    def test_unknown_mechanisms(self) -> None:
        """Names that no mechanism has are one series (S-114)."""
        lines = [b"EHLO x\r\n", *(b"AUTH NAME%d\r\n" % number for number in range(9))]
        self.conversation(Role.SUBMISSION, lines)
        counted = [series for series in self.metrics.counts if "authentication_total" in series]
        self.assertEqual(
            counted, ['mox_authentication_total{kind="submission",result="error",variant=""}']
        )
