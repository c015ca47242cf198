"""One mailing after the other: reuse, chunks, content at hand."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from moxsmtp.smtp.exchange import Exchange
from moxsmtp.smtp.mailing import Accepted, Idle, Mailing, Over, Refusal, StartTLS
from tests.smtp.talk import LOST, Talk, brief, mailing

ENVELOPE = b"MAIL FROM:<a@here.example>\r\nRCPT TO:<b@there.example>\r\n"


def opened(*extensions: str, stays: bool = True, chunking: bool = True) -> Talk:
    """A session behind EHLO."""
    exchange = Exchange(hostname="client.example", starttls=StartTLS.NEVER, chunking=chunking)
    talk = Talk(exchange, stays=stays)
    talk.hear(b"220 mx\r\n")
    words = ("mx", *extensions)
    talk.hear(
        b"".join(
            f"250{' ' if number == len(extensions) else '-'}{word}\r\n".encode()
            for number, word in enumerate(words)
        )
    )
    talk.take()
    return talk


def begin(talk: Talk, whole: bytes | None = b"hi\r\n", message: Mailing | None = None) -> bytes:
    """Hand over; what is said."""
    talk.exchange.begin(message or mailing(), whole)
    talk.pump()
    return talk.take()


def answer(talk: Talk, *replies: bytes) -> bytes:
    """The server says these; what is said to the last."""
    for reply in replies:
        talk.take()
        talk.hear(reply + b"\r\n")
    return talk.take()


class AlternativeTests(SynchronousTestCase):
    """A message of two forms, of which the server's abilities choose one."""

    #: 100 octets in ASCII.
    MESSAGE = replace(mailing(size=100), alternative_size=30)

    def said(
        self, *extensions: str, wide: bytes | None = b"w\xc3\xb6rter\r\n"
    ) -> tuple[str, bytes]:
        """What MAIL says, and the content, where all is accepted; and which form it was."""
        talk = opened(*extensions)
        talk.exchange.begin(self.MESSAGE, b"plain\r\n", alternative=wide)
        talk.pump()
        command = talk.take().decode().rstrip()
        sent = answer(talk, b"250 ok", b"250 ok", b"354 go")
        answer(talk, b"250 ok")
        self.assertEqual(brief(talk.exchange.fates), ["ok 250"])
        self.assertEqual(talk.exchange.is_in_utf8, b"plain" not in sent)
        return command.partition("> ")[2], sent

    def test_utf8(self) -> None:
        """
        A server that announces both 8BITMIME and SMTPUTF8 gets the form in UTF-8, and is
        told so, with that form's own size (Q-38).  RFC 6531 section 3.4, RFC 6152.
        """
        sent = b"w\xc3\xb6rter\r\n.\r\n"
        self.assertEqual(self.said("8BITMIME", "SMTPUTF8"), ("BODY=8BITMIME SMTPUTF8", sent))
        self.assertEqual(
            self.said("SMTPUTF8", "SIZE 1000", "8BITMIME"),
            ("SIZE=30 BODY=8BITMIME SMTPUTF8", sent),
        )

    def test_ascii(self) -> None:
        """Who announces only one of the two, or neither, gets the ASCII form (Q-38)."""
        sent = b"plain\r\n.\r\n"
        self.assertEqual(
            {words: self.said(*words) for words in ((), ("8BITMIME",), ("SMTPUTF8",))},
            {(): ("", sent), ("8BITMIME",): ("BODY=7BIT", sent), ("SMTPUTF8",): ("", sent)},
        )

    def test_too_large(self) -> None:
        """Where the form in UTF-8 is over the server's limit, the other one may fit."""
        self.patch(AlternativeTests, "MESSAGE", replace(mailing(size=4), alternative_size=30))
        words, sent = self.said("8BITMIME", "SMTPUTF8", "SIZE 20")
        self.assertEqual((words, sent), ("SIZE=4 BODY=7BIT", b"plain\r\n.\r\n"))

    def test_bare_line_end(self) -> None:
        """A form in UTF-8 that may not be sent is not: the other one goes."""
        words, sent = self.said("8BITMIME", "SMTPUTF8", wide=b"w\xc3\xb6\nrter\r\n")
        self.assertEqual((words, sent), ("BODY=7BIT", b"plain\r\n.\r\n"))

    def test_chunk(self) -> None:
        """The form that was chosen is the chunk, too.  RFC 3030."""
        talk = opened("8BITMIME", "SMTPUTF8", "CHUNKING", "PIPELINING")
        talk.exchange.begin(self.MESSAGE, b"plain\r\n", alternative=b"w\xc3\xb6rter\r\n")
        talk.pump()
        self.assertTrue(talk.take().endswith(b"BDAT 9 LAST\r\nw\xc3\xb6rter\r\n"))

    def test_each_time(self) -> None:
        """Each mailing chooses for itself: one without a second form goes as it is."""
        talk = opened("8BITMIME", "SMTPUTF8")
        talk.exchange.begin(self.MESSAGE, b"plain\r\n", alternative=b"w\xc3\xb6rter\r\n")
        talk.pump()
        answer(talk, b"250 ok", b"250 ok", b"354 go", b"250 ok")
        self.assertTrue(talk.exchange.is_in_utf8)
        self.assertEqual(begin(talk), b"RSET\r\n")
        self.assertFalse(talk.exchange.is_in_utf8)
        self.assertTrue(answer(talk, b"250 ok").endswith(b"> BODY=7BIT\r\n"))


class RefusedFormTests(SynchronousTestCase):
    """The form in UTF-8, refused by a server that had announced that it takes it."""

    WIDE = b"w\xc3\xb6rter\r\n"
    IN_UTF8 = b"MAIL FROM:<a@here.example> BODY=8BITMIME SMTPUTF8\r\n"
    IN_ASCII = b"MAIL FROM:<a@here.example> BODY=7BIT\r\n"

    def begun(self, *extensions: str, names: tuple[str, ...] = ("b",), short: bool = True) -> Talk:
        """A session behind MAIL, or whatever goes with it."""
        talk = opened("8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES", *extensions)
        message = replace(mailing(*names), alternative_size=30)
        whole, wide = (b"plain\r\n", self.WIDE) if short else (None, None)
        talk.exchange.begin(message, whole, alternative=wide)
        talk.pump()
        return talk

    def test_mail(self) -> None:
        """Refused at MAIL for its parameters, the ASCII form is handed over at once (Q-38)."""
        for refusal in (
            b"555 what?",
            b"501 5.5.4 what?",
            b"504 no",
            b"550 5.6.7 no",
            b"554 5.6.9 x",
        ):
            talk = self.begun()
            self.assertEqual(answer(talk, refusal), b"RSET\r\n")
            self.assertEqual(talk.exchange.fates, [None])
            self.assertEqual(answer(talk, b"250 reset"), self.IN_ASCII)
            self.assertEqual(answer(talk, b"250 ok", b"250 ok", b"354 go"), b"plain\r\n.\r\n")
            answer(talk, b"250 taken")
            self.assertEqual(brief(talk.exchange.fates), ["ok 250"])
            self.assertTrue(talk.exchange.was_refused_in_utf8)
            self.assertFalse(talk.exchange.is_in_utf8)
            self.assertTrue(talk.exchange.is_reusable)

    def test_recipient(self) -> None:
        """Refused at RCPT, likewise; with PIPELINING behind what was said along with it (Q-38)."""
        talk = self.begun("PIPELINING")
        talk.take()
        talk.hear(b"250 ok\r\n553 5.6.7 not so\r\n")
        self.assertEqual(talk.take(), b"")
        talk.hear(b"503 nobody\r\n")
        self.assertEqual(
            talk.take(), b"RSET\r\n" + self.IN_ASCII + b"RCPT TO:<b@there.example>\r\nDATA\r\n"
        )
        answer(talk, b"250 ok\r\n250 ok\r\n250 ok\r\n354 go", b"250 taken")
        self.assertEqual(brief(talk.exchange.fates), ["ok 250"])

    def test_end_of_data(self) -> None:
        """Refused as content, likewise; what is not at hand is asked for anew (Q-38)."""
        for short, said in ((True, b"plain\r\n.\r\n"), (False, b"<content>\r\n")):
            talk = self.begun(short=short)
            answer(talk, b"250 ok", b"250 ok", b"354 go")
            self.assertEqual(answer(talk, b"554 5.6.1 unreadable"), b"RSET\r\n")
            self.assertEqual(answer(talk, b"250 ok", b"250 ok", b"250 ok", b"354 go"), said)
            answer(talk, b"250 taken")
            self.assertEqual(brief(talk.exchange.fates), ["ok 250"])

    def test_once(self) -> None:
        """Refused in ASCII, too, it is refused: there is no third try (Q-38)."""
        for at in range(3):
            talk = self.begun()
            answer(talk, b"555 what?", b"250 reset", *[b"250 ok"] * at)
            if at == 2:
                answer(talk, b"354 go")
            answer(talk, b"555 5.6.9 still not")
            self.assertEqual(brief(talk.exchange.fates), ["permanent 555 6.9"])
            self.assertEqual(talk.step, Idle())

    def test_other_refusals(self) -> None:
        """What is refused for another reason, or not for good, is not tried again (Q-38)."""
        found = {}
        for refusal in (
            "550 5.1.1 who",
            "550 no",
            "554 5.7.1 x",
            "451 4.6.7 x",
            "552 5.3.4 x",
            "500 x",
        ):
            talk = self.begun()
            self.assertEqual(answer(talk, refusal.encode()), b"")
            self.assertFalse(talk.exchange.was_refused_in_utf8)
            found[refusal] = brief(talk.exchange.fates)
        self.assertEqual(
            found,
            {
                "550 5.1.1 who": ["permanent 550 1.1"],
                "550 no": ["permanent 550"],
                "554 5.7.1 x": ["permanent 554 7.1"],
                "451 4.6.7 x": ["transient 451 6.7"],
                "552 5.3.4 x": ["permanent 552 3.4"],
                "500 x": ["permanent 500"],
            },
        )

    def test_no_other_form(self) -> None:
        """A message of one form, or whose other form the server cannot take, is refused."""
        talk = opened("8BITMIME", "SMTPUTF8")
        begin(talk, message=mailing(smtputf8=True))
        self.assertEqual(answer(talk, b"555 what?"), b"")
        self.assertEqual(brief(talk.exchange.fates), ["permanent 555"])
        talk = self.begun("SIZE 50")
        self.assertEqual(answer(talk, b"555 what?"), b"")
        self.assertEqual(brief(talk.exchange.fates), ["permanent 555"])

    def test_each_recipient(self) -> None:
        """Only who was refused gets the other form; who has the message does not (Q-19, Q-38)."""
        talk = self.begun(names=("b", "c", "d"))
        answer(talk, b"250 ok", b"250 ok", b"550 5.6.7 not c", b"550 5.1.1 no d", b"354 go")
        self.assertEqual(answer(talk, b"250 taken"), self.IN_ASCII)
        self.assertEqual(answer(talk, b"250 ok"), b"RCPT TO:<c@there.example>\r\n")
        answer(talk, b"250 ok", b"354 go", b"251 taken")
        self.assertEqual(brief(talk.exchange.fates), ["ok 250", "ok 251", "permanent 550 1.1"])

    def test_lost(self) -> None:
        """A session that ends before the second answer leaves it to another attempt."""
        talk = self.begun()
        answer(talk, b"555 what?", b"250 reset")
        talk.exchange.abandon(LOST)
        self.assertEqual(brief(talk.exchange.fates), ["transient 0"])

    def test_next(self) -> None:
        """The mailing behind it chooses for itself."""
        talk = self.begun()
        answer(talk, b"555 what?", b"250 reset", b"250 ok", b"250 ok", b"354 go", b"250 ok")
        message = replace(mailing(), alternative_size=30)
        talk.exchange.begin(message, b"plain\r\n", alternative=self.WIDE)
        talk.pump()
        self.assertEqual(answer(talk, b"250 reset"), self.IN_UTF8)
        self.assertFalse(talk.exchange.was_refused_in_utf8)


class ReuseTests(SynchronousTestCase):
    """Several mailings on one session (Q-94)."""

    def test_two(self) -> None:
        """The second goes where the first went, behind RSET, and both have their own fates."""
        talk = opened()
        self.assertEqual(talk.step, Idle())
        self.assertTrue(talk.exchange.is_reusable)
        begin(talk)
        self.assertFalse(talk.exchange.is_reusable)
        answer(talk, b"250 ok", b"250 ok", b"354 go", b"250 first")
        self.assertTrue(talk.exchange.is_reusable)
        self.assertEqual(brief(talk.exchange.fates), ["ok 250"])
        self.assertEqual(begin(talk), b"RSET\r\n")
        self.assertEqual(talk.exchange.fates, [None])
        self.assertEqual(answer(talk, b"250 ok"), b"MAIL FROM:<a@here.example>\r\n")
        answer(talk, b"250 ok", b"550 no")
        self.assertEqual(brief(talk.exchange.fates), ["permanent 550"])
        talk.exchange.leave()
        talk.pump()
        self.assertEqual(talk.take(), b"QUIT\r\n")
        talk.hear(b"221 bye\r\n")
        self.assertEqual(talk.step, Over(clean=True))
        self.assertFalse(talk.exchange.is_reusable)

    def test_pipelined(self) -> None:
        """With PIPELINING, RSET goes with what follows it, and costs no round trip."""
        talk = opened("PIPELINING")
        self.assertEqual(begin(talk), ENVELOPE + b"DATA\r\n")
        self.assertEqual(answer(talk, b"250 ok\r\n250 ok\r\n354 go"), b"hi\r\n.\r\n")
        answer(talk, b"250 first")
        self.assertEqual(begin(talk, b"ho\r\n"), b"RSET\r\n" + ENVELOPE + b"DATA\r\n")
        self.assertEqual(answer(talk, b"250 ok\r\n250 ok\r\n250 ok\r\n354 go"), b"ho\r\n.\r\n")
        answer(talk, b"251 second")
        self.assertEqual(brief(talk.exchange.fates), ["ok 251"])

    def test_after_refusal(self) -> None:
        """After a transaction that was broken off the session goes on, with RSET (Q-68)."""
        talk = opened("PIPELINING")
        begin(talk)
        answer(talk, b"250 ok\r\n550 who")
        self.assertEqual(brief(talk.exchange.fates), ["permanent 550"])
        # The answer to DATA is due; whoever comes next waits for it.
        self.assertTrue(talk.exchange.is_reusable)
        self.assertEqual(begin(talk), b"")
        self.assertTrue(answer(talk, b"554 nobody").startswith(b"RSET\r\nMAIL"))
        answer(talk, b"250 ok\r\n250 ok\r\n250 ok\r\n354 go", b"250 ok")
        self.assertEqual(brief(talk.exchange.fates), ["ok 250"])

    def test_after_objection(self) -> None:
        """A message that the server cannot take leaves the session to others, unsaid."""
        talk = opened("SIZE 10")
        begin(talk)
        self.assertEqual(brief(talk.exchange.fates), ["permanent 0 3.4"])
        self.assertEqual(talk.step, Idle())
        self.assertFalse(talk.exchange.is_unheard)
        self.assertEqual(
            begin(talk, message=mailing(size=4)), b"MAIL FROM:<a@here.example> SIZE=4\r\n"
        )

    def test_reset_refused(self) -> None:
        """A refused RSET ends the session and says nothing of the message: transient (Q-94)."""
        for extensions, refused, last in (
            ((), (b"550 5.1.1 what",), b"QUIT\r\n"),
            (("PIPELINING",), (b"550 5.1.1 what", b"503 5.5.1 nested"), b""),
        ):
            talk = opened(*extensions)
            begin(talk)
            answer(talk, b"250 ok", b"250 ok", b"354 go", b"250 first")
            begin(talk)
            self.assertEqual(answer(talk, *refused), last)
            self.assertEqual(brief(talk.exchange.fates), ["transient 0 5.0"])
            self.assertFalse(talk.exchange.is_reusable)

    def test_taken_all_the_same(self) -> None:
        """
        Where MAIL is taken behind a RSET that was refused, the server may have the whole
        message by then: its word on that counts, so that nobody gets it twice (Q-94).
        """
        for extensions, replies in (
            (("PIPELINING", "CHUNKING"), (b"250 ok", b"250 ok", b"250 second")),
            (("PIPELINING",), (b"250 ok", b"250 ok", b"354 go", b"250 second")),
        ):
            talk = opened(*extensions)
            begin(talk)
            answer(talk, *replies)
            begin(talk)
            answer(talk, b"500 what", *replies)
            self.assertEqual(brief(talk.exchange.fates), ["ok 250"])

    def test_unheard(self) -> None:
        """
        An old session that ends before the server has answered anything of the
        mailing is known as such: a new one may do better (Q-94).  So is one on which
        the mailing was refused because RSET was, but not if any of it was taken.
        """
        unheard = {}
        for name, replies in {
            "lost": [],
            "closing": [b"421 idle for too long"],
            "after reset": [b"250 ok"],
            "closing after reset": [b"250 ok\r\n421 bye"],
            "mail refused": [b"250 ok\r\n550 no\r\n503 no\r\n503 no"],
            "mail taken": [b"250 ok\r\n250 ok"],
            "reset refused": [b"500 what"],
            "refused with reset": [b"500 what\r\n503 nested\r\n503 no\r\n503 no"],
            "taken all the same": [b"500 what\r\n250 ok"],
        }.items():
            talk = opened("PIPELINING")
            begin(talk)
            answer(talk, b"250 ok\r\n250 ok\r\n354 go", b"250 first")
            begin(talk)
            answer(talk, *replies)
            talk.exchange.abandon(LOST)
            self.assertTrue(talk.exchange.is_decided)
            unheard[name] = talk.exchange.is_unheard
        self.assertEqual(
            unheard,
            {
                "lost": True, "closing": True, "after reset": True, "closing after reset": True,
                "mail refused": False, "mail taken": False, "reset refused": True,
                "refused with reset": True, "taken all the same": False,
            },
        )  # fmt: skip

    def test_not_used_again(self) -> None:
        """
        A session that was left, or cut, takes no other message, although all it had has
        its fate; one that is handed over all the same is transient (Q-94).
        """
        for end in (Exchange.leave, Exchange.drop):
            talk = opened()
            begin(talk)
            answer(talk, b"250 ok", b"250 ok", b"354 go", b"250 first")
            self.assertTrue(talk.exchange.is_reusable)
            end(talk.exchange)
            self.assertFalse(talk.exchange.is_reusable)
            talk.exchange.begin(mailing(), b"hi\r\n")
            self.assertEqual(brief(talk.exchange.fates), ["transient 0"])

    def test_cut_after_mail(self) -> None:
        """A refused MAIL counts also where we end the session before the rest is heard (Q-66)."""
        talk = opened("PIPELINING")
        begin(talk, message=mailing("b", "c"))
        answer(talk, b"550 5.7.1 not you")
        talk.exchange.drop()
        self.assertEqual(brief(talk.exchange.fates), ["permanent 550"] * 2)

    def test_heard_of_some(self) -> None:
        """
        What was taken of a mailing stays taken where the session ends behind the RSET
        between two of its transactions: it is not handed over once more (Q-18, Q-94).
        """
        talk = opened("LIMITS RCPTMAX=1")
        begin(talk)
        answer(talk, b"250 ok", b"250 ok", b"354 go", b"250 first")
        begin(talk, message=mailing("b", "c", "d"))
        answer(talk, b"250 reset", b"250 ok", b"250 ok", b"354 go", b"250 second")
        self.assertEqual(answer(talk, b"250 ok", b"550 who"), b"RSET\r\n")
        answer(talk, b"250 reset")
        talk.exchange.abandon(LOST)
        self.assertFalse(talk.exchange.is_unheard)
        self.assertEqual(brief(talk.exchange.fates), ["ok 250", "permanent 550", "transient 0"])

    def test_idle(self) -> None:
        """A server that speaks or hangs up while nothing is under way ends the session."""
        for said in (b"421 4.4.2 idle\r\n", b"250 hello?\r\n", b"4"):
            talk = opened()
            talk.hear(said)
            self.assertTrue(talk.exchange.is_over)
            begin(talk)
            self.assertEqual(brief(talk.exchange.fates)[0][:9], "transient")
            self.assertTrue(talk.exchange.is_unheard)
            self.assertEqual(talk.take(), b"")

    def test_before_and_after(self) -> None:
        """A mailing given before the greeting waits for it; one given too late fails at once."""
        exchange = Exchange(hostname="client.example", starttls=StartTLS.NEVER)
        exchange.begin(mailing(), b"")
        with self.assertRaises(RuntimeError):
            exchange.begin(mailing(), b"")
        talk = Talk(exchange, stays=True)
        answer(talk, b"554 go away")
        self.assertEqual(brief(exchange.fates), ["permanent 554"])
        exchange.begin(mailing("b", "c"), b"")
        self.assertEqual(brief(exchange.fates), ["permanent 554"] * 2)
        talk = opened()
        talk.exchange.leave()
        talk.exchange.begin(mailing(), b"")
        self.assertEqual(brief(talk.exchange.fates), ["transient 0"])

    def test_heard(self) -> None:
        """What was heard is kept for people: of the opening, and of the latest mailing."""
        talk = opened()
        begin(talk)
        answer(talk, b"250 ok", b"550 who")
        begin(talk)
        answer(talk, b"250 ok", b"250 ok")
        self.assertEqual(
            [(command, reply.code) for command, reply in talk.exchange.heard],
            [("", 220), ("EHLO", 250), ("RSET", 250), ("MAIL", 250)],
        )


class AnyServerTests(SynchronousTestCase):
    """Whatever a server says to several mailings."""

    @settings(max_examples=200, deadline=None)
    @given(
        st.lists(
            st.sampled_from([
                b"250 x", b"250 x\r\n250 x", b"250 x\r\n250 x\r\n250 x", b"354 x", b"451 x",
                b"452 x", b"550 x", b"552 x", b"502 x", b"421 x", b"250-x", b"junk",
                b"250 x\r\n250 x\r\n354 x", b"555 x",
            ]),
            max_size=25,
        ),
        st.sampled_from([(), ("PIPELINING",), ("PIPELINING", "CHUNKING"), ("LIMITS RCPTMAX=1",)]),
        st.sampled_from([b"hi\r\n", None]),
        st.sampled_from([None, 5]),
    )  # fmt: skip
    def test_each(
        self,
        replies: list[bytes],
        extensions: tuple[str, ...],
        whole: bytes | None,
        alternative_size: int | None,
    ) -> None:
        """
        Each mailing ends with its fates; it is delivered only if its content has
        left behind its own MAIL, and no more often than contents have left.
        """
        talk = opened("8BITMIME", "SMTPUTF8", *extensions)
        accepted = ends = 0
        for number in range(3):
            message = mailing(f"b{number}", f"c{number}")
            said = begin(talk, whole, replace(message, alternative_size=alternative_size))
            while not talk.exchange.is_decided:
                if replies:
                    said += answer(talk, replies.pop(0))
                else:
                    talk.exchange.abandon(LOST)
            fates = talk.exchange.fates
            self.assertNotIn(None, fates)
            left = said.count(b"LAST\r\n") + said.count(b"\r\n.\r\n") + said.count(b"<content>")
            ends += left
            taken = sum(isinstance(fate, Accepted) for fate in fates)
            accepted += taken
            self.assertTrue(left or not taken)
            self.assertNotIn(f"<b{number + 1}@".encode(), said)
        self.assertLessEqual(accepted, 2 * ends)


class ChunkTests(SynchronousTestCase):
    """CHUNKING.  RFC 3030."""

    def test_one_write(self) -> None:
        """With PIPELINING all of a short message leaves at once, as it is, dots and all."""
        talk = opened("PIPELINING", "CHUNKING")
        self.assertEqual(begin(talk, b".\r\na"), ENVELOPE + b"BDAT 6 LAST\r\n.\r\na\r\n")
        answer(talk, b"250 ok\r\n250 ok\r\n250 queued")
        self.assertEqual(brief(talk.exchange.fates), ["ok 250"])
        self.assertEqual(begin(talk, b""), b"RSET\r\n" + ENVELOPE + b"BDAT 0 LAST\r\n")

    def test_one_by_one(self) -> None:
        """Without PIPELINING the chunk follows the last RCPT, if one was accepted."""
        talk = opened("CHUNKING")
        begin(talk)
        self.assertEqual(answer(talk, b"250 ok", b"250 ok"), b"BDAT 4 LAST\r\nhi\r\n")
        answer(talk, b"250 ok")
        begin(talk)
        self.assertEqual(answer(talk, b"250 ok", b"250 ok", b"550 no"), b"")
        self.assertEqual(brief(talk.exchange.fates), ["permanent 550"])

    def test_long(self) -> None:
        """Content that is not at hand goes by DATA, and so does all where it is not wanted."""
        talk = opened("PIPELINING", "CHUNKING")
        self.assertEqual(begin(talk, None), ENVELOPE + b"DATA\r\n")
        talk = opened("PIPELINING", "CHUNKING", chunking=False)
        self.assertEqual(begin(talk), ENVELOPE + b"DATA\r\n")

    def test_nobody(self) -> None:
        """A chunk for nobody is answered, and what it says is nobody's fate."""
        for last in (b"503 nobody", b"554 no", b"250 ok"):
            talk = opened("PIPELINING", "CHUNKING")
            begin(talk)
            answer(talk, b"250 ok\r\n550 who\r\n" + last)
            self.assertEqual(brief(talk.exchange.fates), ["permanent 550"])
            self.assertTrue(begin(talk).startswith(b"RSET\r\n"))

    def test_refused(self) -> None:
        """A refused chunk is the fate of the message; the next begins with RSET (Q-68)."""
        talk = opened("PIPELINING", "CHUNKING", "ENHANCEDSTATUSCODES")
        begin(talk)
        answer(talk, b"250 ok\r\n250 ok\r\n552 5.3.4 big")
        self.assertEqual(brief(talk.exchange.fates), ["permanent 552 3.4"])
        self.assertTrue(begin(talk).startswith(b"RSET\r\n"))

    def test_unknown(self) -> None:
        """
        A server that announced chunks and does not know BDAT has taken the
        content for commands: the session is cut, and nothing is bounced.
        """
        for code in (b"500", b"501", b"502"):
            talk = opened("PIPELINING", "CHUNKING")
            begin(talk)
            answer(talk, b"250 ok\r\n250 ok\r\n" + code + b" what")
            self.assertEqual(talk.step, Over(clean=False))
            self.assertEqual(brief(talk.exchange.fates), ["transient 0"])

    def test_too_many(self) -> None:
        """Recipients that were too many get the same chunk in another transaction (Q-18)."""
        talk = opened("PIPELINING", "CHUNKING")
        begin(talk, message=mailing("b", "c"))
        said = answer(talk, b"250 ok\r\n250 ok\r\n452 many\r\n250 ok")
        self.assertEqual(
            said,
            b"MAIL FROM:<a@here.example>\r\nRCPT TO:<c@there.example>\r\nBDAT 4 LAST\r\nhi\r\n",
        )
        answer(talk, b"250 ok\r\n250 ok\r\n251 ok")
        self.assertEqual(brief(talk.exchange.fates), ["ok 250", "ok 251"])


class ContentTests(SynchronousTestCase):
    """What of a content may leave."""

    def test_bare(self) -> None:
        """Bare CR or LF is refused before anything is said, in chunks too (Q-68)."""
        for extensions in ((), ("PIPELINING",), ("PIPELINING", "CHUNKING")):
            for text in (b"a\nb\r\n", b"a\rb\r\n", b"\n.\n", b"\r\n.\r", b"a\r\n.\nb\r\n"):
                talk = opened(*extensions)
                self.assertEqual(begin(talk, text), b"")
                self.assertEqual(brief(talk.exchange.fates), ["permanent 554 6.0"])

    def test_premature(self) -> None:
        """
        What is said before the content has ended is no answer to it: nobody is
        taken as delivered to, and the end of data is not said.
        """
        for whole in (b"hi\r\n", None):
            talk = opened()
            begin(talk, whole)
            answer(talk, b"250 ok", b"250 ok")
            self.assertEqual(answer(talk, b"354 go\r\n250 queued"), b"")
            self.assertEqual(talk.step, Over(clean=False))
            self.assertEqual(brief(talk.exchange.fates), ["transient 0"])

    def test_handed_on(self) -> None:
        """Whether the server reports from now on is known by DSN, which it announced or not."""
        for extensions, expected in ((("DSN",), True), ((), False)):
            talk = opened(*extensions)
            begin(talk)
            answer(talk, b"250 ok", b"250 ok", b"354 go", b"250 ok")
            fate = talk.exchange.fates[0]
            assert isinstance(fate, Accepted)
            self.assertEqual(fate.handed_on, expected)

    def test_requiretls(self) -> None:
        """
        A message that needs REQUIRETLS is not said to a server that does not
        offer it: permanent 554 5.7.30, if all hosts are like this one (Q-61).
        """
        talk = opened("REQUIRETLS")
        self.assertEqual(begin(talk, message=replace(mailing(), require_tls=True)), b"")
        fate = talk.exchange.fates[0]
        assert isinstance(fate, Refusal)
        self.assertEqual(
            (fate.permanent, fate.code, fate.status, fate.elsewhere), (True, 554, "7.30", True)
        )
        self.assertEqual(talk.step, Idle())

    @settings(max_examples=150, deadline=None)
    @given(
        st.lists(st.sampled_from([b"\r\n", b".", b"a", b"\r", b"\n", b"\0"]), max_size=12),
        st.sampled_from([(), ("PIPELINING",), ("PIPELINING", "CHUNKING"), ("CHUNKING",)]),
    )
    def test_read_back(self, tokens: list[bytes], extensions: tuple[str, ...]) -> None:
        """
        Whatever the content, nothing of it leaves, or a server reads back just it
        and no command more; and no CR or LF is without the other.
        """
        content = b"".join(tokens)
        talk = opened(*extensions)
        talk.exchange.begin(mailing(), content)
        talk.pump()
        talk.hear(b"250 ok\r\n")
        talk.hear(b"250 ok\r\n")
        if "CHUNKING" not in extensions:
            talk.hear(b"354 go\r\n")
        said = talk.take()
        left = said.replace(b"\r\n", b"")
        self.assertFalse(b"\r" in left or b"\n" in left)
        bare = content.replace(b"\r\n", b"")
        if b"\r" in bare or b"\n" in bare:
            self.assertEqual(said, b"")
            return
        whole = content if not content or content.endswith(b"\r\n") else content + b"\r\n"
        rest = said.removeprefix(ENVELOPE)
        if "CHUNKING" in extensions:
            self.assertEqual(rest, b"BDAT %d LAST\r\n%b" % (len(whole), whole))
            return
        lines = rest.removeprefix(b"DATA\r\n").split(b"\r\n")
        self.assertEqual((lines.index(b"."), lines[-1]), (len(lines) - 2, b""))
        self.assertEqual(b"".join(line.removeprefix(b".") + b"\r\n" for line in lines[:-2]), whole)
