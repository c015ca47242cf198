"""Sessions that hand messages in by chunks.  RFC 3030."""

from __future__ import annotations

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from moxsmtp.interfaces import Role
from moxsmtp.smtp.commands import Verb
from moxsmtp.smtp.events import ChunkBegin, ChunkEnd, Content, ContentEnd, Refusal
from moxsmtp.smtp.parameters import DEFAULT_MAXIMUM_SIZE
from moxsmtp.smtp.reply import Reply
from moxsmtp.smtp.session import Session, State
from tests.dialog import Dialogue
from tests.smtp.driver import Driver, session

ENVELOPE = b"EHLO x.example\r\nMAIL FROM:<>\r\nRCPT TO:<a@x.example>\r\n"


class ChunkCase(Dialogue):
    """Each test has a session with a recipient."""

    def setUp(self) -> None:
        self.use(session())
        self.speak(ENVELOPE)

    def use(self, used: Session) -> None:
        self.session = used
        self.driver = Driver(used)

    def speak(self, octets: bytes) -> bytes:
        return self.driver.speak(octets)

    def begin(self) -> None:
        self.speak(b"RSET\r\nMAIL FROM:<>\r\nRCPT TO:<a@x.example>\r\n")


class ChunkTests(ChunkCase):
    """What comes of chunks."""

    def test_two(self) -> None:
        """Each chunk is answered once it is whole; the last one ends the message (RFC 3030)."""
        self.assertEqual(self.speak(b"BDAT 6\r\na: b"), b"")
        self.assertEqual(self.speak(b"\r\n"), b"250 2.0.0 6 octets\r\n")
        self.assertIs(self.session.state, State.CHUNKS)
        self.assertEqual(self.speak(b"bdat 5 last\r\n\r\n.x"), b"")
        self.assertEqual(self.speak(b"y"), b"250 2.2.0 stored\r\n")
        self.assertEqual(self.driver.contents, [b"a: b\r\n\r\n.xy\r\n"])
        self.assertIs(self.session.state, State.GREETED)

    def test_pipelined(self) -> None:
        """All of it at once is answered in order, and what is in a chunk is no command."""
        said = self.speak(
            b"BDAT 6\r\nQUIT\r\nBDAT 0\r\nNOOP\r\nBDAT 6 LAST\r\nRSET\r\nMAIL FROM:<>\r\n"
        )
        codes = [line[:3] for line in said.splitlines()]
        self.assertEqual(codes, [b"250"] * 5)
        self.assertEqual(self.driver.contents, [b"QUIT\r\nRSET\r\n"])

    def test_empty_last(self) -> None:
        """A last chunk may be empty; so may the message."""
        self.speak(b"BDAT 3\r\nx\r\n")
        self.assertEqual(self.speak(b"BDAT 0 LAST\r\n"), b"250 2.2.0 stored\r\n")
        self.begin()
        self.assertEqual(self.speak(b"BDAT 0 LAST\r\n"), b"250 2.2.0 stored\r\n")
        self.assertEqual(self.driver.contents, [b"x\r\n", b""])

    def test_every_octet(self) -> None:
        """The same is said and taken however it is cut."""
        octets = b"BDAT 4\r\na\nb\nBDAT 3\r\nc\r\nNOOP\r\nBDAT 2 LAST\r\nd\nQUIT\r\n"
        whole = self.speak(octets)
        contents = self.driver.contents
        self.use(session())
        self.speak(ENVELOPE)
        said = b"".join(self.speak(bytes([octet])) for octet in octets)
        self.assertEqual((said, self.driver.contents), (whole, contents))
        self.assertEqual(contents, [b"a\r\nb\r\nc\r\nd\r\n"])

    def test_line_end_between_chunks(self) -> None:
        """A line end may lie across two chunks (S-76)."""
        self.speak(b"BDAT 2\r\na\rBDAT 2 LAST\r\n\nb")
        self.assertEqual(self.driver.contents, [b"a\r\nb\r\n"])

    def test_events(self) -> None:
        """Nothing but the end of a chunk wants an answer."""
        self.session.receive(b"BDAT 3\r\nabc")
        events = [self.session.next() for _ in range(4)]
        self.assertEqual(events, [ChunkBegin(), Content(b"abc"), ChunkEnd(3), None])
        self.session.answer(Reply(250, None, "x"))
        self.session.receive(b"BDAT 1 LAST\r\nd")
        events = [self.session.next() for _ in range(5)]
        last = ContentEnd(None, Verb.BDAT)
        self.assertEqual(events, [ChunkBegin(), Content(b"d"), Content(b"\r\n"), last, None])


class RefusedTests(ChunkCase):
    """Chunks that are read for nothing."""

    def test_too_early(self) -> None:
        """Before MAIL or RCPT the chunk is discarded and refused, nothing in it obeyed (S-25)."""
        for before, text in ((b"RSET\r\n", b"give MAIL first"),
                             (b"RSET\r\nMAIL FROM:<>\r\n", b"give RCPT first")):  # fmt: skip
            self.speak(before)
            said = self.speak(b"BDAT 6 LAST\r\nQUIT\r\nNOOP\r\n")
            self.assertEqual(said, b"503 5.5.1 " + text + b" (id7)\r\n250 NOOP\r\n")
        self.use(session())
        said = self.speak(b"BDAT 6\r\nQUIT\r\nNOOP\r\n")
        self.assertEqual(said, b"503 5.5.1 say EHLO or HELO first (id7)\r\n250 NOOP\r\n")

    def test_login_first(self) -> None:
        """Where users hand in mail, only users do; the octets are discarded (S-25)."""
        self.use(session(Role.SUBMISSION))
        self.speak(b"EHLO\r\n")
        said = self.speak(b"BDAT 6 LAST\r\nQUIT\r\nNOOP\r\n")
        self.assertEqual(said, b"530 5.7.0 log in first (id7)\r\n250 NOOP\r\n")

    def test_mixed(self) -> None:
        """Once a chunk has come, DATA, MAIL, RCPT, AUTH and STARTTLS are out of order (S-25)."""
        self.speak(b"BDAT 1\r\nx")
        for line in ("DATA", "MAIL FROM:<>", "RCPT TO:<b@x.example>", "STARTTLS"):
            said = self.speak(line.encode() + b"\r\n")
            self.assertTrue(said.startswith(b"503 5.5.1 a message is under way"), line)
        self.assertEqual(self.speak(b"BDAT 1 LAST\r\ny"), b"250 2.2.0 stored\r\n")
        self.assertEqual(self.driver.contents, [b"xy\r\n"])

    def test_reset(self) -> None:
        """RSET and a new hello between chunks forget the message (S-27)."""
        for reset in (b"RSET\r\n", b"EHLO x.example\r\n"):
            self.begin()
            self.speak(b"BDAT 4\r\nold\n" + reset)
            self.assertIs(self.session.state, State.GREETED)
            self.assertTrue(self.speak(b"BDAT 3 LAST\r\nabc").startswith(b"503 5.5.1 "))
            self.begin()
            self.speak(b"BDAT 3 LAST\r\nnew")
        self.assertEqual(self.driver.contents, [b"new\r\n", b"new\r\n"])

    def test_unknown_length(self) -> None:
        """Where nobody knows how many octets follow, none of them is obeyed: the session ends."""
        for arguments in (
            b"", b" ", b" x", b" -1", b" +1", b" 1_0", b" 0x1", b" 1 FIRST", b" 1LAST", b"  1",
            b" 123456789012345678901", b" \xb2", b" 1 LAST x",
        ):  # fmt: skip
            self.use(session())
            self.speak(ENVELOPE)
            said = self.speak(b"BDAT" + arguments + b"\r\nNOOP\r\n")
            self.assertEqual(
                said, b"501 5.5.4 say how many octets follow, in digits\r\n", arguments
            )
            self.assertIs(self.session.state, State.CLOSED)

    def test_too_large(self) -> None:
        """Beyond the limit the chunk is read to its end and refused; the session goes on (S-78)."""
        self.speak(b"BDAT 600\r\n" + b"x" * 600)
        said = self.speak(b"BDAT 401 LAST\r\n" + b"y" * 400)
        self.assertEqual(said, b"")
        said = self.speak(b"yNOOP\r\n")
        self.assertEqual(said, b"552 5.2.3 message too large (id7)\r\n250 NOOP\r\n")
        self.begin()
        self.speak(b"BDAT 600\r\n" + b"x" * 600 + b"BDAT 400 LAST\r\n" + b"y" * 399)
        self.assertEqual(self.speak(b"\n"), b"250 2.2.0 stored\r\n")
        self.use(session(maximum_size=DEFAULT_MAXIMUM_SIZE))
        self.speak(ENVELOPE)
        said = self.speak(b"BDAT 99999999999999999999\r\n")
        self.assertEqual(said, b"552 5.3.4 message too large\r\n")

    def test_far_too_large(self) -> None:
        """More than twice the limit is not waited for (S-78)."""
        for size in (2001, 10**19):
            self.use(session())
            self.speak(ENVELOPE)
            said = self.speak(b"BDAT %d LAST\r\nNOOP\r\n" % size)
            self.assertEqual(said, b"552 5.2.3 message too large\r\n")
            self.assertIs(self.session.state, State.CLOSED)

    def test_smuggling(self) -> None:
        """A bare CR is refused once the chunk is whole; the session stays in step (S-77)."""
        for content in (b"a\rb", b"a\n.\r\nb", b"a\r"):
            self.begin()
            said = self.speak(b"BDAT %d LAST\r\n%sNOOP\r\n" % (len(content), content))
            self.assertTrue(said.startswith(b"554 5.6.0 "), said)
            self.assertIn(b"smuggling", said)
            self.assertTrue(said.endswith(b" (id7)\r\n250 NOOP\r\n"), said)
        self.assertEqual(self.driver.contents, [])

    def test_chunks_after_a_failure(self) -> None:
        """
        Chunks that were sent along with one that failed are discarded and
        refused, the transaction is over (RFC 3030, S-82).
        """
        self.speak(b"BDAT 3\r\na\rb")
        said = self.speak(b"BDAT 6\r\nQUIT\r\nBDAT 6 LAST\r\nQUIT\r\nMAIL FROM:<>\r\n")
        self.assertEqual([line[:3] for line in said.splitlines()], [b"503", b"503", b"250"])

    def test_failed_by_the_receiver(self) -> None:
        """A chunk that cannot be kept ends the transaction, too."""
        self.session.receive(b"BDAT 3\r\nabc")
        while not isinstance(self.session.next(), ChunkEnd):
            pass
        said = self.session.answer(Reply(452, "3.1", "disk full"))
        self.assertEqual(said, b"452 4.3.1 disk full (id7)\r\n")
        self.assertIs(self.session.state, State.GREETED)

    def test_refusal_waits(self) -> None:
        """While a discarded chunk is incomplete there is nothing to answer."""
        self.speak(b"RSET\r\n")
        self.session.receive(b"BDAT 3\r\nab")
        self.assertIsNone(self.session.next())
        self.session.receive(b"c")
        self.assertIsInstance(self.session.next(), Refusal)


class Model:
    """Transactions by DATA and by BDAT, said once more and differently."""

    def __init__(self) -> None:
        self.sender = self.recipient = False
        self.chunks: bytes | None = None
        self.messages: list[bytes] = []

    def reset(self) -> None:
        self.sender = self.recipient = False
        self.chunks = None

    def codes(self, step: tuple[str, bytes]) -> list[int]:
        kind, octets = step
        codes = [503]
        if kind == "RSET":
            self.reset()
            codes = [250]
        elif kind == "MAIL" and not self.sender:
            self.sender = True
            codes = [250]
        elif kind == "RCPT" and self.sender and self.chunks is None:
            self.recipient = True
            codes = [250]
        elif kind == "DATA" and self.recipient and self.chunks is None:
            self.reset()
            self.messages.append(octets)
            codes = [354, 250]
        elif kind in {"BDAT", "LAST"} and self.recipient:
            codes = [self.chunk(octets, last=kind == "LAST")]
        return [250] if kind == "NOOP" else codes

    def chunk(self, octets: bytes, *, last: bool) -> int:
        self.chunks = (self.chunks or b"") + octets
        if len(self.chunks) > 60 or b"\r" in self.chunks:
            large = len(self.chunks) > 60
            self.reset()
            return 552 if large else 554
        if last:
            whole = self.chunks.replace(b"\n", b"\r\n")
            if whole and not whole.endswith(b"\n"):
                whole += b"\r\n"
            self.messages.append(whole)
            self.reset()
        return 250


STEPS = st.one_of(
    st.tuples(st.sampled_from(["RSET", "NOOP", "MAIL", "RCPT"]), st.just(b"")),
    st.tuples(st.sampled_from(["BDAT", "LAST"]),
              st.sampled_from([b"", b"QUIT\n", b"x" * 30, b"a\rb", b"BDAT 5\n", b".", b"DATA\n"])),
    st.tuples(st.just("DATA"), st.just(b"QUIT\r\n")),
)  # fmt: skip


class PipelineTests(ChunkCase):
    """Any order of chunks and commands, in any pieces."""

    @settings(deadline=None, max_examples=200)
    @given(st.lists(STEPS, max_size=12), st.lists(st.integers(0, 300), max_size=6))
    def test_model(self, steps: list[tuple[str, bytes]], places: list[int]) -> None:
        """Replies and messages are those of a small model, at any segmentation (S-22, S-25)."""
        # Most of what is random leads nowhere without a beginning.
        steps = [("MAIL", b""), ("RCPT", b""), *steps]
        model, octets, codes = Model(), b"EHLO x.example\r\n", list[int]()
        for kind, content in steps:
            replies = model.codes((kind, content))
            codes += replies
            octets += _written(kind, content, is_data=354 in replies)
        cuts = sorted({0, *(place for place in places if place < len(octets)), len(octets)})
        ways = ([*cuts], list(range(len(octets) + 1)), [0, len(octets)])
        for way in ways:
            self.use(session(maximum_size=60))
            pieces = [octets[a:b] for a, b in itertools.pairwise(way)]
            said = b"".join(self.speak(piece) for piece in pieces)
            lines = [line for line in said.splitlines() if line[3:4] == b" "]
            self.assertEqual([int(line[:3]) for line in lines], [250, *codes])
            self.assertEqual(self.driver.contents, model.messages)


def _written(kind: str, content: bytes, *, is_data: bool) -> bytes:
    match kind:
        case "BDAT":
            return b"BDAT %d\r\n" % len(content) + content
        case "LAST":
            return b"BDAT %d LAST\r\n" % len(content) + content
        case "DATA":
            return b"DATA\r\n" + (content + b".\r\n" if is_data else b"")
        case "MAIL":
            return b"MAIL FROM:<>\r\n"
        case "RCPT":
            return b"RCPT TO:<a@x.example>\r\n"
    return kind.encode() + b"\r\n"
