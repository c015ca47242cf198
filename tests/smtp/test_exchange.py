"""The client's side of SMTP, against servers of every kind."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from moxsmtp.names import parse_domain
from moxsmtp.smtp.address import Path
from moxsmtp.smtp.mailing import (
    AwaitReply,
    Mailing,
    Over,
    SendContent,
)
from tests.smtp.talk import (
    LOST,
    PIPELINING,
    PLAIN,
    QUIT,
    THERE,
    ExchangeTestCase,
    Talk,
    brief,
    exchange_of,
    mailing,
)


class OpeningTests(ExchangeTestCase):
    """Greeting, EHLO, HELO, STARTTLS."""

    def test_plain(self) -> None:
        """The shortest session: one recipient, no extensions."""
        self.assertDialog(
            PLAIN
            + """
    C: MAIL FROM:<a@here.example>
    S: 250 ok
    C: RCPT TO:<b@there.example>
    S: 250 ok
    C: DATA
    S: 354 go
    C: <content>
    S: 250 queued
"""
            + QUIT,
            ["ok 250"],
        )

    def test_several_lines_of_greeting(self) -> None:
        """A greeting may have several lines; nothing is said before its last."""
        self.assertDialog(
            """
            S: 220-be patient
            S: 220 mx.example
            C: EHLO client.example
            LOST
            """,
            ["transient 0"],
        )

    def test_greeting(self) -> None:
        """Only 220 is a greeting (Q-63); 5xx is permanent, the rest is not (Q-32)."""
        for reply, fate in {
            "554 go away": "permanent 554",
            "450 later": "transient 450",
        }.items():
            self.assertDialog(f"S: {reply}\n" + QUIT, [fate])
        for reply, fate in {
            "250 hello": "transient 0",
            "421 closing": "transient 421",
            "SSH-2.0-OpenSSH_9.2": "transient 0",
        }.items():
            self.assertDialog(f"S: {reply}\n", [fate])

    def test_helo(self) -> None:
        """A server that does not know EHLO, 500 to 504, is greeted with HELO (Q-63)."""
        for code in (500, 501, 502, 503, 504):
            self.assertDialog(
                f"""
    S: 220 mx.example
    C: EHLO client.example
    S: {code} what
    C: HELO client.example
    S: 250 mx.example
    C: MAIL FROM:<a@here.example>
    LOST
""",
                ["transient 0"],
            )

    def test_ehlo_refused(self) -> None:
        """Other refusals of EHLO end the session, and so does a refused HELO."""
        for reply, fate in {"550 no": "permanent 550", "451 no": "transient 451"}.items():
            self.assertDialog(
                f"S: 220 mx\nC: EHLO client.example\nS: {reply}\nC: QUIT\nS: 221 bye", [fate]
            )
        self.assertDialog(
            "S: 220 mx\nC: EHLO client.example\nS: 500 what\nC: HELO client.example\n"
            "S: 550 no\nC: QUIT\nS: 221 bye",
            ["permanent 550"],
        )

    def test_starttls(self) -> None:
        """After STARTTLS, capabilities are forgotten and asked for again (Q-63)."""
        exchange = self.assertDialog(
            """
            S: 220 mx
            C: EHLO client.example
            S: 250-mx
            S: 250-PIPELINING
            S: 250 STARTTLS
            C: STARTTLS
            S: 220 go
            C: <tls>
            C: EHLO client.example
            S: 250-mx
            S: 250 SIZE
            C: MAIL FROM:<a@here.example> SIZE=100
            LOST
            """,
            ["transient 0"],
            starttls=True,
        )
        self.assertTrue(exchange.uses_tls)
        self.assertEqual(exchange.tls_failed, "")
        self.assertFalse(exchange.capabilities.pipelining)

    def test_no_helo_under_tls(self) -> None:
        """
        After STARTTLS there is no way back to HELO: the refusal is
        permanent; and nothing of what was announced in clear counts any more (Q-63).
        """
        self.assertDialog(
            """
            S: 220 mx
            C: EHLO client.example
            S: 250-mx
            S: 250-ENHANCEDSTATUSCODES
            S: 250 STARTTLS
            C: STARTTLS
            S: 220 go
            C: <tls>
            C: EHLO client.example
            S: 500 5.5.1 what
            C: QUIT
            S: 221 bye
            """,
            ["permanent 500"],
            starttls=True,
        )

    def test_starttls_not_wanted(self) -> None:
        """Without a wish for TLS, STARTTLS is passed over."""
        self.assertDialog(
            """
            S: 220 mx
            C: EHLO client.example
            S: 250-mx
            S: 250 STARTTLS
            C: MAIL FROM:<a@here.example>
            LOST
            """,
            ["transient 0"],
        )

    def test_injection(self) -> None:
        """Clear text behind the answer to STARTTLS aborts, with no second try in clear (Q-63)."""
        for behind in (b"2", b"250 ok\r\n", b"\r\n", b"\x16\x03\x03"):
            talk = Talk(exchange_of(starttls=True))
            talk.hear(b"220 mx\r\n")
            talk.hear(b"250-mx\r\n250 STARTTLS\r\n")
            talk.hear(b"220 go\r\n" + behind)
            self.assertEqual(talk.step, Over(clean=False))
            self.assertEqual(
                talk.said, b"EHLO client.example\r\nSTARTTLS\r\n", "nothing more is said"
            )
            self.assertEqual(talk.exchange.tls_failed, "")
            self.assertEqual(brief(talk.exchange.fates), ["transient 0"])

    def test_tls_failures(self) -> None:
        """STARTTLS refused, or the connection lost before TLS has served, is a failure of TLS."""
        opening = b"250-mx\r\n250 STARTTLS\r\n"
        for behind in ([b"454 no\r\n"], [], [b"220 go\r\n"], [b"220 go\r\n", b"\x15\x03\r\n"]):
            talk = Talk(exchange_of(starttls=True))
            for data in (b"220 mx\r\n", opening, *behind):
                talk.hear(data)
            talk.exchange.abandon(LOST)
            self.assertNotEqual(talk.exchange.tls_failed, "", behind)
            self.assertEqual(len(brief(talk.exchange.fates)), 1)

    def test_out_of_turn(self) -> None:
        """A server that answers what was not asked is not trusted with a message."""
        for extra in (b"250 ok\r\n", b"2"):
            talk = Talk(exchange_of())
            talk.hear(b"220 mx\r\n" + extra)
            self.assertEqual(talk.said, b"")
            self.assertEqual(talk.step, Over(clean=False))
            self.assertEqual(brief(talk.exchange.fates), ["transient 0"])

    def test_closing_out_of_turn(self) -> None:
        """421 may come at any time, and is then the reason (RFC 5321 section 3.8)."""
        talk = Talk(exchange_of())
        talk.hear(b"220 mx\r\n421 4.3.2 shutting down\r\n")
        self.assertEqual(talk.said, b"")
        self.assertEqual(brief(talk.exchange.fates), ["transient 421"])


class MailTests(ExchangeTestCase):
    """MAIL and what is known before it."""

    def announced(self, *lines: str) -> str:
        """An opening with these extensions."""
        words = ["mx", *lines]
        return "S: 220 mx\nC: EHLO client.example\n" + "".join(
            f"S: 250{' ' if i == len(words) - 1 else '-'}{word}\n" for i, word in enumerate(words)
        )

    def test_parameters(self) -> None:
        """SIZE and BODY where announced, BODY by the content; SMTPUTF8 where needed (Q-65)."""
        expected = {
            ((), mailing()): "MAIL FROM:<a@here.example>",
            (("SIZE",), mailing()): "MAIL FROM:<a@here.example> SIZE=100",
            (("SIZE 0",), mailing()): "MAIL FROM:<a@here.example> SIZE=100",
            (("8BITMIME",), mailing()): "MAIL FROM:<a@here.example> BODY=7BIT",
            (("8BITMIME",), mailing(has_8bit=True)): "MAIL FROM:<a@here.example> BODY=8BITMIME",
            (("SMTPUTF8",), mailing()): "MAIL FROM:<a@here.example>",
            (("SMTPUTF8",), mailing(smtputf8=True)): "MAIL FROM:<a@here.example> SMTPUTF8",
            (("SMTPUTF8",), mailing("ü")): "MAIL FROM:<a@here.example> SMTPUTF8",
            ((), Mailing(None, (Path("b", THERE),), 1)): "MAIL FROM:<>",
        }
        for (extensions, message), command in expected.items():
            self.assertDialog(
                self.announced(*extensions) + f"C: {command}\nLOST", ["transient 0"], message
            )

    def test_labels(self) -> None:
        """Addresses go as A-labels, as U-labels under SMTPUTF8 (Q-65)."""
        domain = parse_domain("münchen.example")
        for utf8, name in ((False, "xn--mnchen-3ya.example"), (True, "münchen.example")):
            message = Mailing(Path("a b", domain), (Path("c", domain),), 1, smtputf8=utf8)
            self.assertDialog(
                self.announced("SMTPUTF8")
                + f'C: MAIL FROM:<"a b"@{name}>{" SMTPUTF8" if utf8 else ""}\n'
                + f"S: 250 ok\nC: RCPT TO:<c@{name}>\nLOST",
                ["transient 0"],
                message,
            )

    def test_objections(self) -> None:
        """
        A message over the announced size fails for good without MAIL (Q-32), so
        does 8-bit content without 8BITMIME; a missing SMTPUTF8 may appear later (Q-65).
        """
        for extensions, message, fate in (
            (("SIZE 99",), mailing(), "permanent 0 3.4"),
            ((), mailing(has_8bit=True), "permanent 554 6.3"),
            ((), mailing(smtputf8=True), "transient 0 6.7"),
            ((), mailing("ü"), "transient 0 6.7"),
        ):
            self.assertDialog(self.announced(*extensions) + "C: QUIT\nS: 221 bye", [fate], message)

    def test_no_objection(self) -> None:
        """A message of just the announced size goes."""
        self.assertDialog(
            self.announced("SIZE 100") + "C: MAIL FROM:<a@here.example> SIZE=100\nLOST",
            ["transient 0"],
        )

    def test_refused(self) -> None:
        """A refused MAIL is the fate of all, and none of them is named (Q-19)."""
        for reply, fate in {"550 no": "permanent 550", "451 no": "transient 451"}.items():
            self.assertDialog(
                PLAIN + f"\n    C: MAIL FROM:<a@here.example>\n    S: {reply}" + QUIT,
                [fate, fate],
                mailing("b", "c"),
            )

    def test_refused_pipelined(self) -> None:
        """A refused MAIL counts for all, even if the server then hangs up (Q-66)."""
        said = """
    C: MAIL FROM:<a@here.example>
    C: RCPT TO:<b@there.example>
    C: RCPT TO:<c@there.example>
    C: DATA
    S: 550 5.7.1 no
"""
        fates = ["permanent 550 7.1"] * 2
        self.assertDialog(PIPELINING + said + "\n    LOST", fates, mailing("b", "c"))
        self.assertDialog(
            PIPELINING + said + "\n    S: 503 no\n    S: 503 no\n    S: 421 closing",
            fates,
            mailing("b", "c"),
        )
        self.assertDialog(
            PIPELINING
            + said
            + "\n    S: 503 5.5.1 no\n    S: 503 5.5.1 no\n    S: 503 5.5.1 no"
            + QUIT,
            fates,
            mailing("b", "c"),
        )

    def test_any_success(self) -> None:
        """Any 2xx to MAIL, RCPT and the final dot is success (Q-68)."""
        self.assertDialog(
            PLAIN
            + """
    C: MAIL FROM:<a@here.example>
    S: 299 ok
    C: RCPT TO:<b@there.example>
    S: 251 will forward
    C: DATA
    S: 354 go
    C: <content>
    S: 252 perhaps
"""
            + QUIT,
            ["ok 252"],
        )

    def test_3xx_out_of_place(self) -> None:
        """354 to anything but DATA means that the two have lost each other."""
        self.assertDialog(
            PLAIN + "\n    C: MAIL FROM:<a@here.example>\n    S: 354 go", ["transient 0"]
        )
        self.assertDialog(
            PLAIN
            + "\n    C: MAIL FROM:<a@here.example>\n    S: 250 ok"
            + "\n    C: RCPT TO:<b@there.example>\n    S: 250 ok\n    C: DATA\n    S: 250 ok",
            ["transient 0"],
        )


class RecipientTests(ExchangeTestCase):
    """Each recipient has its own fate."""

    def test_own_reply(self) -> None:
        """Each RCPT's reply decides for that recipient, the final one for the rest (Q-19)."""
        self.assertDialog(
            PLAIN
            + """
    C: MAIL FROM:<a@here.example>
    S: 250 ok
    C: RCPT TO:<b@there.example>
    S: 550 unknown
    C: RCPT TO:<c@there.example>
    S: 250 ok
    C: RCPT TO:<d@there.example>
    S: 450 busy
    C: DATA
    S: 354 go
    C: <content>
    S: 554 spam
"""
            + QUIT,
            ["permanent 550", "permanent 554", "transient 450"],
            mailing("b", "c", "d"),
        )

    def test_all_refused(self) -> None:
        """Where all are refused there is no DATA, and each keeps its reply (Q-19)."""
        self.assertDialog(
            PLAIN
            + """
    C: MAIL FROM:<a@here.example>
    S: 250 ok
    C: RCPT TO:<b@there.example>
    S: 550 unknown
    C: RCPT TO:<c@there.example>
    S: 450 busy
"""
            + QUIT,
            ["permanent 550", "transient 450"],
            mailing("b", "c"),
        )

    def test_552_is_transient(self) -> None:
        """RCPT 552 is treated as 452; 552 to the content is permanent (Q-32)."""
        self.assertDialog(
            PLAIN
            + """
    C: MAIL FROM:<a@here.example>
    S: 250 ok
    C: RCPT TO:<b@there.example>
    S: 552 full
"""
            + QUIT,
            ["transient 552"],
        )
        self.assertDialog(
            PLAIN
            + """
    C: MAIL FROM:<a@here.example>
    S: 250 ok
    C: RCPT TO:<b@there.example>
    S: 250 ok
    C: DATA
    S: 354 go
    C: <content>
    S: 552 too big
"""
            + QUIT,
            ["permanent 552"],
        )

    def test_data_refused(self) -> None:
        """A refused DATA is the fate of those that were accepted."""
        self.assertDialog(
            PLAIN
            + """
    C: MAIL FROM:<a@here.example>
    S: 250 ok
    C: RCPT TO:<b@there.example>
    S: 250 ok
    C: DATA
    S: 451 later
"""
            + QUIT,
            ["transient 451"],
        )

    def test_closing(self) -> None:
        """After 421 nothing more is said; recipients with a reply keep it."""
        self.assertDialog(
            PLAIN
            + """
    C: MAIL FROM:<a@here.example>
    S: 250 ok
    C: RCPT TO:<b@there.example>
    S: 550 unknown
    C: RCPT TO:<c@there.example>
    S: 421 closing
""",
            ["permanent 550", "transient 421", "transient 421"],
            mailing("b", "c", "d"),
        )

    def test_status_only_if_announced(self) -> None:
        """An enhanced status code means something only where it was announced (Q-64)."""
        for opening, fate in ((PLAIN, "permanent 550"), (PIPELINING, "permanent 550 1.1")):
            exchange = exchange_of()
            talk = Talk(exchange)
            for line in map(str.strip, opening.splitlines()):
                if line.startswith("S: "):
                    talk.hear(line[3:].encode() + b"\r\n")
            talk.hear(b"550 5.1.1 who\r\n")
            exchange.abandon(LOST)
            self.assertEqual(brief(exchange.fates), [fate])


class PipeliningTests(ExchangeTestCase):
    """MAIL, all RCPT and DATA in one write.  RFC 2920."""

    SAID = """
    C: MAIL FROM:<a@here.example>
    C: RCPT TO:<b@there.example>
    C: RCPT TO:<c@there.example>
    C: DATA
"""

    def test_one_write(self) -> None:
        """All of it leaves before any reply, and replies are matched in order (Q-66)."""
        self.assertDialog(
            PIPELINING
            + self.SAID
            + """
    S: 250 2.1.0 ok
    S: 550 5.1.1 who
    S: 250 2.1.5 ok
    S: 354 go
    C: <content>
    S: 250 2.0.0 queued
"""
            + QUIT,
            ["permanent 550 1.1", "ok 250"],
            mailing("b", "c"),
        )

    def test_nobody_accepted(self) -> None:
        """354 although nobody was accepted: a lone dot, whatever is said to it (Q-66)."""
        for last in ("250 ok", "554 no valid recipients"):
            self.assertDialog(
                PIPELINING
                + self.SAID
                + f"""
    S: 250 2.1.0 ok
    S: 550 5.1.1 who
    S: 450 4.2.1 busy
    S: 354 go
    C: .
    S: {last}
"""
                + QUIT,
                ["permanent 550 1.1", "transient 450 2.1"],
                mailing("b", "c"),
            )

    def test_lost_in_between(self) -> None:
        """Replies that came before the connection broke count (Q-19)."""
        self.assertDialog(
            PIPELINING + self.SAID + "\n    S: 250 ok\n    S: 550 5.1.1 who\n    LOST",
            ["permanent 550 1.1", "transient 0"],
            mailing("b", "c"),
        )


class TransactionTests(ExchangeTestCase):
    """Recipients that are too many for one transaction."""

    def test_limits(self) -> None:
        """LIMITS RCPTMAX caps each transaction; the rest follows on the connection (Q-18)."""
        self.assertDialog(
            """
    S: 220 mx
    C: EHLO client.example
    S: 250-mx
    S: 250 LIMITS RCPTMAX=2
    C: MAIL FROM:<a@here.example>
    S: 250 ok
    C: RCPT TO:<b@there.example>
    S: 250 ok
    C: RCPT TO:<c@there.example>
    S: 250 ok
    C: DATA
    S: 354 go
    C: <content>
    S: 250 first
    C: MAIL FROM:<a@here.example>
    S: 250 ok
    C: RCPT TO:<d@there.example>
    S: 250 ok
    C: DATA
    S: 354 go
    C: <content>
    S: 251 second
"""
            + QUIT,
            ["ok 250", "ok 250", "ok 251"],
            mailing("b", "c", "d"),
        )

    def test_too_many(self) -> None:
        """
        452 or 552 to a later RCPT ends the list (Q-66), and the rest follows at
        once (Q-18).
        """
        for code in (452, 552):
            self.assertDialog(
                PLAIN
                + f"""
    C: MAIL FROM:<a@here.example>
    S: 250 ok
    C: RCPT TO:<b@there.example>
    S: 250 ok
    C: RCPT TO:<c@there.example>
    S: {code} too many
    C: DATA
    S: 354 go
    C: <content>
    S: 250 first
    C: MAIL FROM:<a@here.example>
    S: 250 ok
    C: RCPT TO:<c@there.example>
    S: {code} too many
    C: RSET
    S: 250 ok
    C: MAIL FROM:<a@here.example>
    S: 250 ok
    C: RCPT TO:<d@there.example>
    S: 250 ok
    C: DATA
    S: 354 go
    C: <content>
    S: 250 second
"""
                + QUIT,
                ["ok 250", f"transient {code}", "ok 250"],
                mailing("b", "c", "d"),
            )

    def test_too_many_pipelined(self) -> None:
        """With PIPELINING all were named at once; those refused as too many move (Q-18)."""
        self.assertDialog(
            PIPELINING
            + """
    C: MAIL FROM:<a@here.example>
    C: RCPT TO:<b@there.example>
    C: RCPT TO:<c@there.example>
    C: RCPT TO:<d@there.example>
    C: DATA
    S: 250 ok
    S: 250 ok
    S: 452 4.5.3 too many
    S: 452 4.5.3 too many
    S: 354 go
    C: <content>
    S: 250 first
    C: MAIL FROM:<a@here.example>
    C: RCPT TO:<c@there.example>
    C: DATA
    S: 250 ok
    S: 250 ok
    S: 354 go
    C: <content>
    S: 250 second
    C: MAIL FROM:<a@here.example>
    C: RCPT TO:<d@there.example>
    C: DATA
    S: 250 ok
    S: 550 5.1.1 who
    S: 503 5.5.1 nobody
"""
            + QUIT,
            ["ok 250", "ok 250", "permanent 550 1.1"],
            mailing("b", "c", "d"),
        )

    def test_reset(self) -> None:
        """
        RSET comes between after a transaction without content, and has to succeed
        (Q-68).  Its reply says nothing of the message, so it is none of its fate.
        """
        opening = """
    S: 220 mx
    C: EHLO client.example
    S: 250-mx
    S: 250 LIMITS RCPTMAX=1
    C: MAIL FROM:<a@here.example>
    S: 250 ok
    C: RCPT TO:<b@there.example>
    S: 550 who
    C: RSET
"""
        for reply in ("451 no", "550 5.1.1 no"):
            self.assertDialog(
                opening + f"\n    S: {reply}\n    C: QUIT\n    S: 221 bye",
                ["permanent 550", "transient 0 5.0"],
                mailing("b", "c"),
            )

    def test_lost_between(self) -> None:
        """What the first transaction delivered stays delivered (Q-19)."""
        self.assertDialog(
            """
    S: 220 mx
    C: EHLO client.example
    S: 250-mx
    S: 250 LIMITS RCPTMAX=1
    C: MAIL FROM:<a@here.example>
    S: 250 ok
    C: RCPT TO:<b@there.example>
    S: 250 ok
    C: DATA
    S: 354 go
    C: <content>
    S: 250 ok
    C: MAIL FROM:<a@here.example>
    LOST
""",
            ["ok 250", "transient 0"],
            mailing("b", "c"),
        )


class EndTests(ExchangeTestCase):
    """However a session ends, every recipient has a fate."""

    WHOLE = (
        b"220 mx\r\n", b"250-mx\r\n250 ENHANCEDSTATUSCODES\r\n", b"250 2.1.0 ok\r\n",
        b"250 2.1.5 ok\r\n", b"354 go\r\n", b"250 2.0.0 queued\r\n", b"221 2.0.0 bye\r\n",
    )  # fmt: skip

    def test_lost_at_every_octet(self) -> None:
        """Cut anywhere, the message is delivered if, and only if, its reply came whole."""
        wire = b"".join(self.WHOLE)
        decided = len(b"".join(self.WHOLE[:-1]))
        for length in range(len(wire)):
            talk = Talk(exchange_of())
            talk.hear(wire[:length], 1)
            talk.exchange.abandon(LOST)
            self.assertTrue(talk.exchange.is_decided)
            self.assertEqual(
                brief(talk.exchange.fates), ["ok 250" if length >= decided else "transient 0"]
            )
            self.assertEqual(talk.exchange.step(), Over(clean=False))

    def test_refused_in_the_middle(self) -> None:
        """A refusal sent while the content streams is the reason, if the server then hangs up."""
        for early, fate in {
            b"552 5.3.4 too big\r\n": "permanent 552 3.4",
            b"451 4.3.0 broken\r\n": "transient 451 3.0",
            b"250 2.0.0 ok\r\n": "transient 0",
            b"552": "transient 0",
            b"junk\r\n": "transient 0",
        }.items():
            exchange = exchange_of()
            for data in self.WHOLE[:5]:
                while not isinstance(exchange.step(), AwaitReply):
                    pass
                exchange.receive(data)
            self.assertEqual(exchange.step(), SendContent())
            exchange.receive(early)
            exchange.abandon(LOST)
            self.assertEqual(brief(exchange.fates), [fate])

    def test_limits(self) -> None:
        """
        Each reply has the time of RFC 5321 section 4.5.3.2, counted once however
        the server drips: 5 minutes, 2 for DATA, 10 for the content, 5 s for QUIT (Q-68).
        """
        talk = Talk(exchange_of())
        limits = []
        for data in self.WHOLE:
            step = talk.step
            assert isinstance(step, AwaitReply)
            limits.append(step.limit)
            talk.hear(data[:2])
            self.assertIs(talk.step, step)
            talk.hear(data[2:])
        minutes = [5, 5, 5, 5, 2, 10]
        self.assertEqual(limits, [*(timedelta(minutes=m) for m in minutes), timedelta(seconds=5)])
        self.assertEqual(talk.step, Over(clean=True))

    def test_after_the_end(self) -> None:
        """Nothing that comes later changes anything."""
        talk = Talk(exchange_of())
        talk.hear(b"".join(self.WHOLE), 1)
        talk.exchange.receive(b"550 changed my mind\r\n" * 100_000)
        talk.exchange.abandon(LOST)
        self.assertEqual(brief(talk.exchange.fates), ["ok 250"])
        self.assertEqual(talk.exchange.step(), Over(clean=True))

    def test_flood(self) -> None:
        """A reply of a MiB ends the session, at whatever place (Q-64)."""
        for place in range(len(self.WHOLE) - 1):
            talk = Talk(exchange_of())
            for data in self.WHOLE[:place]:
                talk.hear(data)
            for _ in range(20):
                talk.hear(b"250-x\r\n" * 8192)
            self.assertTrue(talk.exchange.is_over)
            self.assertEqual(brief(talk.exchange.fates), ["transient 0"])

    def test_quit_is_not_judged(self) -> None:
        """Whatever is said to QUIT, the message is delivered."""
        for last in (b"500 what\r\n", b"junk\r\n", b"421 bye\r\n"):
            talk = Talk(exchange_of())
            for data in (*self.WHOLE[:-1], last):
                talk.hear(data)
            self.assertEqual(brief(talk.exchange.fates), ["ok 250"])
            self.assertTrue(talk.exchange.is_over)

    @settings(max_examples=200, deadline=None)
    @given(
        st.lists(
            st.sampled_from([
                b"220 x\r\n", b"250 x\r\n", b"250-x\r\n250 PIPELINING\r\n", b"354 x\r\n",
                b"250-x\r\n250-STARTTLS\r\n250 LIMITS RCPTMAX=1\r\n", b"450 x\r\n", b"452 x\r\n",
                b"550 x\r\n", b"552 x\r\n", b"500 x\r\n", b"421 x\r\n", b"junk\r\n", b"2", b"\r\n",
            ]),
            max_size=25,
        ),
        st.booleans(),
    )  # fmt: skip
    def test_any_server(self, replies: list[bytes], starttls: bool) -> None:
        """
        Against any server the session ends with a fate for each, and nobody is
        delivered to without a 2xx behind a content that was sent.
        """
        talk = Talk(exchange_of(mailing("b", "c", "d"), starttls=starttls))
        for reply in replies:
            talk.hear(reply)
        talk.exchange.abandon(LOST)
        words = brief(talk.exchange.fates)
        self.assertNotIn("none", words)
        if any(word.startswith("ok") for word in words):
            self.assertIn(b"<content>", talk.said)
