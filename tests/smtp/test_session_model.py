"""
A session against a small model of one, in random pipelines cut anywhere.

The model knows each line beforehand by what it asks for; it reads nothing, so that
it shares no mistake with what reads.
"""

from __future__ import annotations

import itertools
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial import unittest

from moxsmtp.interfaces import Role
from tests.smtp.driver import Driver, session

#: Octets of a message, as the driver's sessions have it.
MAXIMUM: Final = 1000


@dataclass(frozen=True)
class Said:
    """
    What a client says in one go.

    @ivar octets: On the wire.
    @ivar asks: The method of the model.
    @ivar good: What can be said of it without the rest of the session.
    @ivar behind: What follows without being a line: content.
    @ivar content: What is kept of that.
    @ivar size: Of a chunk.
    """

    octets: bytes
    asks: str
    good: int = 250
    behind: bytes = b""
    content: bytes | None = None
    size: int = 0
    last: bool = False


class Model:
    """
    @ivar codes: Of all replies.
    @ivar contents: The messages that are kept.
    @ivar wire: What is really sent: content follows only where it is asked for.
    """

    def __init__(self, role: Role) -> None:
        self.is_submission = role.is_submission
        self.codes: list[int] = []
        self.contents: list[bytes] = []
        self.wire = b""
        self.spoke = self.hello = self.login = self.closed = False
        self.reset()

    def reset(self) -> None:
        self.sender = self.recipient = False
        self.chunks: bytes | None = None
        self.size = 0

    def hear(self, said: Said) -> None:
        self.wire += said.octets
        if self.closed:
            return
        method: Callable[[Said], int | None] = getattr(self, said.asks)
        if said.asks != "garbage":
            self.spoke = True
        code = method(said)
        if code is not None:
            self.codes.append(code)

    def end(self, code: int) -> int:
        self.closed = True
        return code

    def plain(self, said: Said) -> int:
        return said.good

    def garbage(self, _said: Said) -> int:
        return 500 if self.spoke else self.end(500)

    def endless(self, said: Said) -> int:
        return self.end(500)

    def goodbye(self, said: Said) -> int:
        return self.end(said.good)

    def greet(self, said: Said) -> int:
        self.hello = True
        self.reset()
        return said.good

    def forget(self, said: Said) -> int:
        self.reset()
        return said.good

    def unmet(self) -> int | None:
        """Of what belongs to a transaction."""
        if not self.hello:
            return 503
        return 530 if self.is_submission and not self.login else None

    def mail(self, said: Said) -> int:
        unmet = self.unmet() or (503 if self.sender else None)
        if unmet is None and said.good == 250:
            self.sender = True
        return unmet or said.good

    def rcpt(self, said: Said) -> int:
        unmet = self.unmet() or (None if self.sender and self.chunks is None else 503)
        if unmet is None and said.good == 250:
            self.recipient = True
        return unmet or said.good

    def data(self, said: Said) -> int:
        unmet = self.unmet() or (None if self.recipient and self.chunks is None else 503)
        if unmet is not None:
            return unmet
        self.wire += said.behind
        self.codes.append(354)
        self.reset()
        if said.content is not None:
            self.contents.append(said.content)
        return said.good

    def chunk(self, said: Said) -> int:
        self.wire += said.behind
        unmet = self.unmet() or (None if self.recipient else 503)
        if unmet is not None:
            return unmet
        self.size += said.size
        if self.size > MAXIMUM:
            self.reset()
            return 552
        if said.good != 250:
            self.reset()
            return said.good
        self.chunks = (self.chunks or b"") + (said.content or b"")
        if said.last:
            self.contents.append(self.chunks)
            self.reset()
        return 250

    def hopeless(self, said: Said) -> int:
        """A chunk that is too large, or of unknown size: wherever it comes."""
        return self.end(said.good)

    def auth(self, said: Said) -> int:
        if not (self.hello and self.is_submission) or self.login or self.sender:
            return 503
        self.wire += said.behind
        if said.behind:
            # Each line but the last one is answered by a challenge.
            self.codes += [334] * said.behind.count(b"\n")
        self.login = said.good == 235
        return said.good


def coded(text: bytes) -> bytes:
    return b64encode(text) + b"\r\n"


def said_chunk(payload: bytes, *, last: bool, good: int = 250) -> Said:
    line = b"BDAT %d%s\r\n" % (len(payload), b" LAST" if last else b"")
    return Said(line, "chunk", good, payload, payload, len(payload), last)


#: What is in chunks and would be a command elsewhere; whole lines, so that each is kept as it is.
PAYLOADS: Final = [b"", b"QUIT\r\n", b"BDAT 3\r\n", b"\r\n.\r\n", b".\r\n", b"RSET\r\nNOOP\r\n",
                   b"a: b\r\n\r\n" + b"x" * 500 + b"\r\n"]  # fmt: skip

SAID: Final = [
    Said(b"EHLO x.example\r\n", "greet"), Said(b"HELO x.example\r\n", "greet"),
    Said(b"ehlo [192.0.2.7]\n", "greet"),
    Said(b"NOOP\r\n", "plain"), Said(b"HELP me\r\n", "plain", 214),
    Said(b"VRFY x\r\n", "plain", 252), Said(b"NOOP \xff\xfe\r\n", "plain", 501),
    Said(b"RSET\r\n", "forget"), Said(b"RSET now\r\n", "plain", 501),
    Said(b"\r\n", "garbage"), Said(b"\0\0\0\n", "garbage"), Said(b"GET / HTTP/1.1\r\n", "garbage"),
    Said(b"MAIL\xc2\xa0FROM:<>\r\n", "garbage"), Said(b"y" * 2046 + b"\r\n", "garbage"),
    Said(b"NOOP " + b"x" * 2042 + b"\r\n", "endless"),
    Said(b"QUIT\r\n", "goodbye", 221),
    Said(b"MAIL FROM:<a@x.example>\r\n", "mail"), Said(b"MAIL FROM:<a\r\n", "mail", 501),
    Said(b"MAIL FROM:<a@x.example> SIZE=2000\r\n", "mail", 552),
    Said(b"RCPT TO:<b@x.example>\r\n", "rcpt"), Said(b"rcpt to:<b@x.example>\n", "rcpt"),
    Said(b"RCPT TO:<\xff@x.example>\r\n", "rcpt", 501),
    Said(b"DATA\r\n", "data", 250, b"a: b\r\n..\r\nQUIT\r\n.\r\n", b"a: b\r\n.\r\nQUIT\r\n"),
    Said(b"DATA\r\n", "data", 250, b".\r\n", b""),
    Said(b"DATA\r\n", "data", 250, b"a\nb\r\n.\r\n", b"a\r\nb\r\n"),
    Said(b"DATA\r\n", "data", 500, b"a\n.\r\nMAIL FROM:<>\r\n.\r\n"),
    Said(b"DATA\r\n", "data", 500, b"a\r.\r\r\nRSET\r\n.\r\n"),
    Said(b"DATA\r\n", "data", 552, b"z" * 1200 + b"\r\nRSET\r\n.\r\n"),
    *[said_chunk(payload, last=last) for payload in PAYLOADS for last in (False, True)],
    Said(b"BDAT 9 LAST\r\n", "chunk", 250, b"a\r\nb\nRSET", b"a\r\nb\r\nRSET\r\n", 9, True),
    said_chunk(b"a\n.\r\nRSET\r\n", last=False, good=554),
    said_chunk(b"a\rRSET\r\n", last=True, good=554),
    said_chunk(b"z" * 1100, last=False), said_chunk(b"z" * 1100, last=True),
    Said(b"BDAT 2001\r\n", "hopeless", 552), Said(b"BDAT -1\r\n", "hopeless", 501),
    Said(b"AUTH PLAIN " + coded(b"\0alice\0secret"), "auth", 235),
    Said(b"AUTH PLAIN\r\n", "auth", 235, coded(b"\0alice\0secret")),
    Said(b"AUTH PLAIN " + coded(b"\0alice\0wrong"), "auth", 535),
    Said(b"AUTH PLAIN !!!!\r\n", "auth", 501),
    Said(b"AUTH PLAIN\r\n", "auth", 501, b"*\r\n"),
    Said(b"AUTH PLAIN\r\n", "auth", 501, b"MAIL FROM:<>\r\n"),
    Said(b"AUTH LOGIN\r\n", "auth", 235, coded(b"alice") + coded(b"secret")),
    Said(b"AUTH LOGIN\r\n", "auth", 535, coded(b"alice") + coded(b"RSET")),
    Said(b"AUTH CRAM-MD5\r\n", "auth", 535, coded(b"alice " + b"0" * 32)),
    Said(b"AUTH NTLM\r\n", "auth", 504),
]  # fmt: skip

#: By what is said, the first of those that say it.
LINES: Final = {said.octets: said for said in reversed(SAID)}

HELLO: Final = LINES[b"EHLO x.example\r\n"]
ENVELOPE: Final = [LINES[b"MAIL FROM:<a@x.example>\r\n"], LINES[b"RCPT TO:<b@x.example>\r\n"]]
LOGIN: Final = LINES[b"AUTH LOGIN\r\n"]

_ENDS: Final = {"goodbye", "hopeless", "endless"}
_GOES_ON: Final = [said for said in SAID if said.asks not in _ENDS]
_CONTENT: Final = [said for said in SAID if said.asks in {"data", "chunk"}]

#: Mostly what gets a session somewhere.
PIPELINES: Final = st.tuples(
    st.sampled_from([[HELLO], [HELLO, LOGIN], [HELLO, LOGIN, *ENVELOPE], []]),
    st.lists(
        st.one_of(
            st.sampled_from(_GOES_ON).map(lambda said: [said]),
            st.sampled_from(_CONTENT).map(lambda said: [said]),
            st.sampled_from(_CONTENT).map(lambda said: [*ENVELOPE, said]),
        ),
        max_size=15,
    ),
    st.lists(st.sampled_from(SAID), max_size=2),
).map(lambda parts: [*parts[0], *itertools.chain(*parts[1]), *parts[2]])


def cut(octets: bytes, places: list[int]) -> list[bytes]:
    cuts = sorted({0, *(place for place in places if place < len(octets)), len(octets)})
    return [octets[start:end] for start, end in itertools.pairwise(cuts)]


class ModelTests(unittest.SynchronousTestCase):
    """All of a session but TLS."""

    def assertLike(self, role: Role, pipeline: list[Said], places: list[int]) -> Model:
        """Whole, cut, and octet by octet."""
        model = Model(role)
        for said in pipeline:
            model.hear(said)
        octets = model.wire
        for pieces in ([octets], cut(octets, places), cut(octets, list(range(len(octets))))):
            driver = Driver(session(role, maximum_size=MAXIMUM))
            heard = b"".join(driver.speak(piece) for piece in pieces)
            lines = [line for line in heard.split(b"\r\n")[:-1] if line[3:4] == b" "]
            self.assertEqual([int(line[:3]) for line in lines], model.codes, heard)
            self.assertEqual(driver.contents, model.contents)
        return model

    @settings(deadline=None, max_examples=150)
    @given(
        st.sampled_from([Role.SMTP, Role.SUBMISSION]),
        PIPELINES,
        st.lists(st.integers(0, 4000), max_size=8),
    )
    def test_any_pipeline(self, role: Role, pipeline: list[Said], places: list[int]) -> None:
        """
        Commands, messages, chunks, log-ins and garbage get the replies that a small model
        gives, in order, and the same messages are kept, however they are cut (S-18, S-22,
        S-24, S-25, S-27, S-41, S-44, S-76, S-77, S-78).
        """
        self.assertLike(role, pipeline, places)

    def test_far(self) -> None:
        """Pipelines get as far as to messages of both kinds and a log-in (S-22)."""
        lines = [b"EHLO x.example\r\n", b"AUTH LOGIN\r\n", b"MAIL FROM:<a@x.example>\r\n",
                 b"RCPT TO:<b@x.example>\r\n", b"DATA\r\n", b"MAIL FROM:<a@x.example>\r\n",
                 b"RCPT TO:<b@x.example>\r\n", b"BDAT 6\r\n", b"BDAT 0 LAST\r\n",
                 b"QUIT\r\n", b"NOOP\r\n"]  # fmt: skip
        model = self.assertLike(Role.SUBMISSION, [LINES[line] for line in lines], [3, 50])
        self.assertEqual([235, 250, 250, 354, 250, 250, 250, 250, 250, 221], model.codes[3:])
        self.assertEqual(2, len(model.contents))
        self.assertTrue(model.closed)
