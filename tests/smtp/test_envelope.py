"""MAIL and RCPT, with the parameters that a server takes."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from moxsmtp.smtp.address import Path
from moxsmtp.smtp.capabilities import Capabilities
from moxsmtp.smtp.commands import Mail, Rcpt, Verb
from moxsmtp.smtp.dialect import Dialect
from moxsmtp.smtp.envelope import mail_command, rcpt_command
from moxsmtp.smtp.grammar import command
from moxsmtp.smtp.mailing import Mailing
from moxsmtp.smtp.notification import NO_WISHES, Notify, Occasion, ReturnContent, Wishes
from tests.smtp.talk import HERE, THERE

DSN = Capabilities(dsn=True)


def wished(wishes: Wishes) -> Mailing:
    """A mailing for one recipient."""
    return Mailing(Path("a", HERE), (Path("b", THERE),), 100, wishes=(wishes,))


def commands(
    wishes: Wishes, capabilities: Capabilities = DSN, *, smtputf8: bool = False
) -> tuple[str, str]:
    """The parameters of MAIL and RCPT."""
    mailing = wished(wishes)
    mail = mail_command(mailing, capabilities, smtputf8=smtputf8).decode()
    rcpt = rcpt_command(mailing, 0, capabilities, smtputf8=smtputf8).decode()
    return (
        mail.removeprefix("MAIL FROM:<a@here.example>").removesuffix("\r\n").strip(),
        rcpt.removeprefix("RCPT TO:<b@there.example>").removesuffix("\r\n").strip(),
    )


class WishesTests(SynchronousTestCase):
    """The parameters of RFC 3461."""

    FULL = Wishes(
        ReturnContent.HEADERS,
        "QQ 314=159+2",
        Notify(frozenset({Occasion.SUCCESS, Occasion.FAILURE})),
        "rfc822;Bob+x=y@there.example",
    )

    def test_all(self) -> None:
        """What the sender said is handed on, encoded as xtext."""
        self.assertEqual(
            commands(self.FULL),
            (
                "RET=HDRS ENVID=QQ+20314+3D159+2B2",
                "NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;Bob+2Bx+3Dy@there.example",
            ),
        )

    def test_not_announced(self) -> None:
        """A server that does not know DSN is told nothing."""
        self.assertEqual(commands(self.FULL, Capabilities()), ("", ""))

    def test_nothing_of_ours(self) -> None:
        """Where the sender said nothing, nothing is added.  RFC 3461 section 5.2.1."""
        self.assertEqual(commands(NO_WISHES), ("", ""))
        self.assertEqual(
            commands(Wishes(notify=Notify(frozenset({Occasion.NEVER})))), ("", "NOTIFY=NEVER")
        )

    def test_utf8(self) -> None:
        """An address of type utf-8 goes in U-labels under SMTPUTF8, else as xtext (RFC 6533)."""
        wishes = Wishes(original_recipient="utf-8;jürgen@münchen.example")
        self.assertEqual(commands(wishes)[1], r"ORCPT=utf-8;j\x{FC}rgen@m\x{FC}nchen.example")
        self.assertEqual(commands(wishes, smtputf8=True)[1], "ORCPT=utf-8;jürgen@münchen.example")

    def test_unfit(self) -> None:
        """What cannot be written, or is longer than it may be, is left out."""
        for wishes in (
            Wishes(envelope_id="a\r\nRCPT TO:<x@y.example>"),
            Wishes(envelope_id="ü"),
            Wishes(envelope_id="x" * 101),
            Wishes(original_recipient="rfc822;a\r\nb"),
            Wishes(original_recipient="rfc822;ü@x"),
            Wishes(original_recipient="utf-8;a\nb"),
            Wishes(original_recipient="rfc822;" + "x" * 500),
            Wishes(original_recipient="nothing"),
        ):
            self.assertEqual(commands(wishes), ("", ""), wishes)

    def test_message_from_first(self) -> None:
        """RET and ENVID are of the message, NOTIFY and ORCPT of each recipient."""
        never = Wishes(notify=Notify(frozenset({Occasion.NEVER})))
        mailing = Mailing(
            Path("a", HERE),
            (Path("b", THERE), Path("c", THERE), Path("d", THERE)),
            1,
            wishes=(self.FULL, never, NO_WISHES),
        )
        self.assertIn(b"RET=HDRS", mail_command(mailing, DSN, smtputf8=False))
        self.assertEqual(
            [rcpt_command(mailing, number, DSN, smtputf8=False) for number in (1, 2)],
            [b"RCPT TO:<c@there.example> NOTIFY=NEVER\r\n", b"RCPT TO:<d@there.example>\r\n"],
        )
        with self.assertRaises(ValueError):
            replace(mailing, wishes=(never,))

    @settings(max_examples=150, deadline=None)
    @given(
        st.sampled_from(ReturnContent),
        st.text(max_size=40),
        st.sets(st.sampled_from([Occasion.SUCCESS, Occasion.FAILURE, Occasion.DELAY])),
        st.sampled_from(["rfc822", "utf-8"]),
        st.text(max_size=40),
        st.booleans(),
    )
    def test_read_back(
        self,
        returns: ReturnContent,
        envelope_id: str,
        occasions: set[Occasion],
        kind: str,
        address: str,
        smtputf8: bool,
    ) -> None:
        """
        Whatever was wished, each command is one line; a server reads back what
        was wished, or nothing of it.
        """
        wishes = Wishes(returns, envelope_id, Notify(frozenset(occasions)), f"{kind};{address}")
        mailing = wished(wishes)
        mail_line = mail_command(mailing, DSN, smtputf8=smtputf8)
        rcpt_line = rcpt_command(mailing, 0, DSN, smtputf8=smtputf8)
        for line in (mail_line, rcpt_line):
            self.assertEqual((line.count(b"\r"), line.find(b"\n")), (1, len(line) - 1))
        if not smtputf8:
            self.assertTrue((mail_line + rcpt_line).isascii())
        dialect = Dialect(submission=False, smtputf8=smtputf8)
        mail = command(Verb.MAIL, mail_line[4:-2], dialect)
        rcpt = command(Verb.RCPT, rcpt_line[4:-2], dialect)
        assert isinstance(mail, Mail)
        assert isinstance(rcpt, Rcpt)
        self.assertEqual((mail.returns, rcpt.notify), (returns, wishes.notify))
        self.assertIn(mail.envelope_id, (envelope_id, ""))
        self.assertIn(rcpt.original_recipient, (wishes.original_recipient, ""))


class RequireTLSTests(SynchronousTestCase):
    """RFC 8689."""

    def test_parameter(self) -> None:
        """REQUIRETLS stands in MAIL where the message needs it, and else not (Q-61)."""
        mailing = wished(NO_WISHES)
        for required in (True, False):
            line = mail_command(
                replace(mailing, require_tls=required),
                Capabilities(require_tls=True),
                smtputf8=False,
            )
            self.assertEqual(b" REQUIRETLS\r\n" in line, required)
