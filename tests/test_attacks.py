"""What attackers say, to a session on a wire that is none."""

from __future__ import annotations

import gc
import itertools
import weakref
from base64 import b64encode
from collections.abc import Iterator
from datetime import timedelta
from typing import Final

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred

from moxsmtp.interfaces import Role
from moxsmtp.judge.limiters import Limiters
from tests.receive.wires import WireCase

#: What a server that sends it on, or reads it from there, may take for the end of data.
STAND_INS: Final = (
    b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r.\r\n", b"\r\n.\r", b"\r.\n", b"\n.\r",
    b"\r\r\n.\r\r\n", b"\r\n.\r\r\n", b"\r\n.\r\r",
)  # fmt: skip

#: A message that is smuggled behind a stand-in.
_SMUGGLED: Final = (
    b"MAIL FROM:<root@x.example>\r\nRCPT TO:<b@x.example>\r\nDATA\r\nSubject: evil\r\n"
)

_HEADER: Final = b"Subject: x\r\n\r\ntext"

#: What else is next to nothing, or ends a line for someone.
_ALIKE: Final = (b"\r", b"\n", b" ", b".", b"\0", b"\x85", b"x")

#: What a socket gives at once, and what the kernel likes to.
_EDGES: Final = (65_536, 4096, 1460)


def cuts(octets: bytes) -> Iterator[list[bytes]]:
    """Whole, octet by octet, and cut in two at each place."""
    yield [octets]
    yield [octets[at : at + 1] for at in range(len(octets))]
    for place in range(1, len(octets)):
        yield [octets[:place], octets[place:]]


class AttackCase(WireCase):
    """Each test has connections as it likes."""

    def answers(self, pieces: list[bytes]) -> list[bytes]:
        """The last lines of all replies to content that comes in pieces."""
        said = b"".join(self.speak(piece) for piece in pieces)
        return [line for line in said.splitlines() if line[3:4] == b" "]

    def again(self) -> None:
        """Another connection, to a server that has seen none before."""
        self.drop()
        self.start(limiters=Limiters())

    def fresh(self) -> None:
        """The same; it wants content."""
        self.again()
        self.begin()


class StandInTests(AttackCase):
    """Smuggling a message behind another one."""

    def setUp(self) -> None:
        super().setUp()
        self.start(maximum_size=200_000)

    def assertRefused(self, pieces: list[bytes]) -> None:
        """One answer, which says no; then it is in step."""
        answers = self.answers(pieces)
        self.assertEqual([b"500 5.5.2"], [answer[:9] for answer in answers], pieces)
        self.assertIn(b"smuggling", answers[0])
        self.assertEqual([], self.told.contents)
        self.assertEqual(1, self.told.asked.count("mail"))
        self.assertTrue(self.speak(b"NOOP\r\n").startswith(b"250 2.0.0"))

    def test_cut_anywhere(self) -> None:
        """Each is refused, whatever follows it and wherever it is cut (S-77)."""
        for stand_in in STAND_INS:
            content = _HEADER + stand_in + _SMUGGLED + b"\r\n.\r\n"
            for pieces in cuts(content[len(_HEADER) - 2 : len(_HEADER) + len(stand_in) + 8]):
                self.fresh()
                before, behind = (
                    content[: len(_HEADER) - 2],
                    content[len(_HEADER) + len(stand_in) + 8 :],
                )
                self.assertRefused([before, *pieces, behind])

    def test_first(self) -> None:
        """So is one that is the first thing in a message (S-77)."""
        for stand_in in (b".\n", b".\r", *STAND_INS):
            for pieces in cuts(stand_in + b"x\r\n"):
                self.fresh()
                self.assertRefused([*pieces, _SMUGGLED + b"\r\n.\r\n"])

    def test_last(self) -> None:
        """So is one right before the real end, which stays the end (S-77)."""
        for stand_in in STAND_INS:
            end = b"\r\n.\r\n"
            if stand_in.endswith(b"\r"):
                end = b"x" + end
            for pieces in cuts(stand_in + end):
                self.fresh()
                self.assertRefused([_HEADER, *pieces])

    def test_across_buffers(self) -> None:
        """So is one that lies across the edge of what is read at once (S-77)."""
        for stand_in, edge in itertools.product(STAND_INS, _EDGES):
            for before in range(len(stand_in) + 1):
                filling = (b"x" * 70 + b"\r\n") * (edge // 72)
                filling += b"y" * (edge - len(filling) - before)
                content = filling + stand_in + b"z\r\n" + _SMUGGLED + b"\r\n.\r\n"
                self.fresh()
                self.assertRefused([content[at : at + edge] for at in range(0, len(content), edge)])

    def test_in_chunks(self) -> None:
        """What could be taken for an end when it is sent on is refused in chunks too (S-77)."""
        for stand_in in STAND_INS:
            content = _HEADER + stand_in + _SMUGGLED
            for place in range(len(_HEADER) - 2, len(_HEADER) + len(stand_in) + 2):
                self.again()
                self.speak(b"EHLO x.example\r\nMAIL FROM:<>\r\nRCPT TO:<a@x.example>\r\n")
                first, rest = content[:place], content[place:]
                answers = self.answers(
                    [b"BDAT %d\r\n%s" % (len(first), first),
                     b"BDAT %d LAST\r\n%s" % (len(rest), rest), b"NOOP\r\n"]
                )  # fmt: skip
                codes = [answer[:9] for answer in answers]
                # It is refused as soon as it is seen; of the transaction nothing is left then.
                self.assertIn(
                    codes,
                    (
                        [b"250 2.0.0", b"554 5.6.0", b"250 2.0.0"],
                        [b"554 5.6.0", b"503 5.5.1", b"250 2.0.0"],
                    ),
                    (stand_in, place),
                )
                self.assertEqual([], self.told.contents)
                self.assertEqual(1, self.told.asked.count("mail"))

    def test_nothing_else_ends_data(self) -> None:
        """
        Of all pairs of octets before a dot and behind it that are like line ends, and of any
        octet in place of one of a line end's, a single one ends the data (S-76).
        """
        pairs = [b"".join(pair) for pair in itertools.product(_ALIKE, repeat=2)]
        rounds = set(itertools.product(pairs, repeat=2))
        for octet in range(256):
            for place in range(4):
                octets = bytearray(b"\r\n\r\n")
                octets[place] = octet
                rounds.add((bytes(octets[:2]), bytes(octets[2:])))
        ends = []
        self.fresh()
        for before, behind in sorted(rounds):
            said = self.speak(b"x" + before + b"." + behind + b"x")
            if said:
                ends.append((before, behind))
            # The real end, and the next one.
            said += self.speak(b"\r\n.\r\n")
            self.assertTrue(said.startswith((b"250 2.2.0", b"500 5.5.2")), (before, behind))
            self.speak(b"\r\nRSET\r\nMAIL FROM:<>\r\nRCPT TO:<a@x.example>\r\nDATA\r\n")
        self.assertEqual([(b"\r\n", b"\r\n")], ends)

    @settings(deadline=None, max_examples=150)
    @given(
        st.lists(
            st.one_of(
                st.sampled_from([b"", b".", b"..", b". ", b".\0", b" .", b"\0.", b".x", b"From "]),
                st.binary(max_size=40).map(lambda line: line.translate(None, b"\r\n")),
            ),
            max_size=30,
        ),
        st.lists(st.integers(0, 600), max_size=6),
    )
    def test_good_messages(self, lines: list[bytes], places: list[int]) -> None:
        """Any lines that end in CRLF, whose dots are stuffed, are taken as they are (S-76)."""
        content = b"".join(line + b"\r\n" for line in lines)
        wire = b"".join((b"." if line.startswith(b".") else b"") + line + b"\r\n" for line in lines)
        wire += b".\r\n"
        self.fresh()
        ends = sorted({0, *(place for place in places if place < len(wire)), len(wire)})
        answers = self.answers([wire[start:end] for start, end in itertools.pairwise(ends)])
        self.assertEqual([b"250 2.2.0"], [answer[:9] for answer in answers])
        self.assertEqual([content], self.told.contents)


class PlaintextTests(AttackCase):
    """Commands put behind STARTTLS by someone in between."""

    def test_never_answered(self) -> None:
        """Nothing behind STARTTLS is answered or obeyed, however it comes; TLS gets it (S-35)."""
        behind = b"NOOP\r\nEHLO evil.example\r\nMAIL FROM:<>\r\nRCPT TO:<a@x.example>\r\nQUIT\r\n"
        octets = b"EHLO x.example\r\nSTARTTLS\r\n" + behind
        end = octets.index(behind)
        for place in range(1, len(octets)):
            self.again()
            said = self.speak(octets[:place])
            # What comes later is read by TLS alone, which stands in front of the session.
            later = octets[place:] if place < end else b""
            said += self.speak(later)
            self.assertEqual(1, said.count(b"\r\n220 ") + said.startswith(b"220 "))
            self.assertTrue(said.splitlines()[-1].startswith(b"220 2.0.0 "), place)
            self.assertEqual(["hello", "reset", "reset"], self.told.asked)
            self.assertIsNotNone(self.wire.tls)
            expected = behind if place < end else behind[: place - end]
            self.assertEqual(expected, self.wire.beneath)

    def test_nothing_is_kept(self) -> None:
        """Nor is it once TLS is up, and what was said before counts no more (S-27)."""
        self.speak(b"EHLO x.example\r\nMAIL FROM:<>\r\nRCPT TO:<a@x.example>\r\n")
        self.speak(b"STARTTLS\r\nDATA\r\nSubject: evil\r\n\r\n.\r\n")
        self.server.handshakeCompleted()
        self.assertEqual(b"", self.said())
        self.assertTrue(self.speak(b"DATA\r\n").startswith(b"503 5.5.1 "))
        self.assertEqual([], self.told.contents)


class OctetTests(AttackCase):
    """Octets that are no text."""

    #: No UTF-8: alone, cut short, too long, of half a pair, beyond all planes.
    BAD: Final = (
        b"\x80", b"\xff", b"\xc3", b"\xe2\x82", b"\xc0\xaf", b"\xe0\x80\xaf", b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80", b"\xf8\x88\x80\x80\x80", b"a\xfeb",
    )  # fmt: skip

    def setUp(self) -> None:
        super().setUp()
        self.start(role=Role.SUBMISSION, authentication_delay=timedelta())

    def reply(self, line: bytes) -> bytes:
        """To a line; there is one, and the session goes on."""
        said = self.speak(line + b"\r\n")
        self.assertRegex(said, rb"\A[2345][0-9]{2} [ -~]*\r\n\Z", line)
        return said

    def assertAlive(self) -> None:
        self.assertTrue(self.speak(b"NOOP\r\n").startswith(b"250 2.0.0"))

    def test_lines(self) -> None:
        """Any command with octets that are no UTF-8 gets a reply, as does the next (S-103)."""
        self.start(role=Role.SMTP)
        for bad in self.BAD:
            self.again()
            self.speak(b"EHLO x.example\r\n")
            for begin, end in (
                (b"EHLO ", b".example"), (b"HELO ", b""), (b"VRFY ", b""), (b"EXPN ", b""),
                (b"NOOP ", b""), (b"RSET ", b""), (b"QUIT", b""), (b"", b""), (b"STARTTLS ", b""),
                (b"MAIL FROM:<", b"@x.example>"), (b"MAIL FROM:<", b"@x.example> SMTPUTF8"),
                (b"MAIL FROM:<a@", b".example> SMTPUTF8"), (b"MAIL FROM:<> ", b"=1"),
                (b"MAIL FROM:<> SMTPUTF8 ENVID=", b""), (b"MAIL FROM:<> AUTH=", b""),
            ):  # fmt: skip
                self.assertTrue(self.reply(begin + bad + end).startswith((b"5", b"25")), begin)
                self.assertAlive()
            self.speak(b"MAIL FROM:<> SMTPUTF8\r\n")
            for begin, end in ((b"RCPT TO:<", b"@x.example>"), (b"RCPT TO:<a@", b".example>"),
                               (b"RCPT TO:<a@x.example> ORCPT=utf-8;", b"")):  # fmt: skip
                self.assertTrue(self.reply(begin + bad + end).startswith(b"5"), begin)
                self.assertAlive()
        self.assertEqual([], self.flushLoggedErrors())

    def test_credentials(self) -> None:
        """Names and passwords that are no UTF-8 are refused in each mechanism (S-46, T-10)."""
        for bad in self.BAD:
            dialogs: list[list[bytes]] = [
                [b"PLAIN " + b64encode(b"\0" + bad + b"\0secret")],
                [b"PLAIN " + b64encode(b"\0alice\0" + bad)],
                [b"PLAIN " + b64encode(bad + b"\0alice\0secret")],
                [b"PLAIN " + bad],
                [b"PLAIN", bad],
                [b"LOGIN", b64encode(bad), b64encode(b"secret")],
                [b"LOGIN", b64encode(b"alice"), b64encode(bad)],
                [b"CRAM-MD5", b64encode(bad + b" " + b"0" * 32)],
                [b"CRAM-MD5", b64encode(b"alice " + bad * 32)],
                [b"SCRAM-SHA-256 " + b64encode(b"n,,n=" + bad + b",r=0123456789")],
                [b"SCRAM-SHA-256 " + b64encode(b"n,a=" + bad + b",n=alice,r=0123456789")],
                [b"SCRAM-SHA-256 " + b64encode(b"n,,n=alice,r=0123456789" + bad)],
                [
                    b"SCRAM-SHA-1 " + b64encode(b"n,,n=alice,r=0123456789"),
                    b64encode(b"c=biws," + bad),
                ],
                [b"EXTERNAL " + b64encode(bad)],
                [bad],
            ]  # fmt: skip
            for dialog in dialogs:
                self.again()
                self.speak(b"EHLO x.example\r\n")
                said = self.reply(b"AUTH " + dialog[0])
                for line in dialog[1:]:
                    if said.startswith(b"334 "):
                        said = self.reply(line)
                self.assertTrue(said.startswith((b"501", b"504", b"535", b"538", b"455")), dialog)
                self.assertAlive()
        self.assertEqual([], self.flushLoggedErrors())


class GarbageTests(AttackCase):
    """Connections by the thousand."""

    def assertFreed(self) -> None:
        """The connection's memory, once it is lost."""
        freed = weakref.ref(self.server)
        self.drop()
        self.wire.producer = None
        del self.server
        self.assertIsNone(freed())

    def test_freed_at_once(self) -> None:
        """
        What a lost connection has taken is free at once, whatever it was doing: it does not
        wait for the collector of garbage, while more of them come.
        """
        gc.disable()
        self.addCleanup(gc.enable)
        for octets in (
            b"", b"EHLO x.exam", b"EHLO x.example\r\nSTARTTLS\r\n", b"\0\r\n",
            b"EHLO x.example\r\nMAIL FROM:<>\r\nRCPT TO:<a@x.example>\r\nBDAT 9\r\n",
            b"EHLO x.example\r\nMAIL FROM:<>\r\nRCPT TO:<a@x.example>\r\nDATA\r\nx",
            b"EHLO x.example\r\nQUIT\r\n", b"x" * 3000,
        ):  # fmt: skip
            self.connect()
            self.speak(octets)
            self.assertFreed()

    def test_freed_while_answering(self) -> None:
        """Nor where an answer was waited for, or the client did not read."""
        self.told.outcomes["mail"] = Deferred()
        self.speak(b"EHLO x.example\r\nMAIL FROM:<>\r\n")
        self.told.outcomes.clear()
        self.assertFreed()
        self.connect()
        self.wire.is_full = True
        self.speak(b"EHLO x.example\r\nNOOP\r\nNOOP\r\n")
        self.assertFreed()
