"""
Mailings against a server that keeps its own books: what it took, and what it
said to whom.

It parses the commands itself and shares no code with what it tests.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.trial import unittest

from moxsmtp.smtp.mailing import Accepted, Fate, Idle, Refusal
from tests.smtp.talk import LOST, mailing
from tests.smtp.test_transaction import begin, opened

#: What the server says where it has a choice; behind the end of the list it takes all.
GOOD: Final = 250
LOSES: Final = 0
CODES: Final = (GOOD, GOOD, GOOD, 251, 450, 451, 452, 550, 552, LOSES)

#: Dots at the start of lines, and a last line without an end.
CONTENT: Final = b".\r\n..\r\nhello\r\n.end"


class Server:
    """
    A server behind its EHLO.

    @ivar taken: How often it took the message for a recipient of this mailing.
    @ivar said: To each recipient, its replies in order: code and text.
    @ivar is_lost: It has hung up.
    """

    def __init__(self, extensions: Sequence[str], codes: Sequence[int]) -> None:
        self.extensions = extensions
        self.taken: dict[str, int] = {}
        self.said: dict[str, list[tuple[int, str]]] = {}
        self.is_lost = False
        self._codes = list(codes)
        self._count = 0
        self._octets = b""
        self._has_sender = False
        self._is_reset = True
        self._accepted: list[str] = []
        self._asked = 0
        self._line = b""
        self._in_data = False

    def mailing(self, names: Sequence[str]) -> None:
        """Another one begins."""
        self.taken = dict.fromkeys(names, 0)
        self.said = {name: [] for name in names}

    def hears(self, octets: bytes) -> bytes:
        """What it answers until it has read all, or hangs up."""
        self._octets += octets
        answers = b""
        while not self.is_lost:
            if self._in_data:
                content, end, rest = (b"\r\n" + self._octets).partition(b"\r\n.\r\n")
                if not end:
                    break
                self._octets, self._in_data = rest, False
                # RFC 5321 section 4.5.2.
                lines = content.split(b"\r\n")[1:]
                answers += self._end(b"".join(line.removeprefix(b".") + b"\r\n" for line in lines))
                continue
            line, end, rest = self._octets.partition(b"\r\n")
            if not end:
                break
            assert b"\r" not in line and b"\n" not in line, line
            self._octets = rest
            verb, _, argument = line.decode().partition(" ")
            answers += getattr(self, f"_{verb.lower()}")(argument)
        return answers

    def _reply(self, names: Sequence[str] = (), code: int | None = None) -> int:
        """The next code, which is said to C{names}; L{_line} is it on the wire."""
        if code is None:
            code = self._codes.pop(0) if self._codes else GOOD
        self._count += 1
        self._line = f"{code} t{self._count}\r\n".encode()
        if code == LOSES:
            self.is_lost, self._line = True, b""
        for name in names if code else ():
            self.said[name].append((code, f"{code} t{self._count}"))
        return code

    # -- commands

    def _rset(self, _: str) -> bytes:
        self._is_reset = self._reply() // 100 == 2
        self._has_sender = False
        self._accepted = []
        return self._line

    def _mail(self, _: str) -> bytes:
        assert not self._has_sender
        code, was_reset = self._reply(), self._is_reset
        self._has_sender = code // 100 == 2
        self._is_reset = self._is_reset or self._has_sender
        self._accepted, self._asked = [], 0
        if not self._has_sender and code:
            # What is said behind a RSET that was refused may be about that.
            told = code if was_reset else 450
            text = self._line.decode().strip()
            for replies in self.said.values():
                if not replies or replies[-1][0] < 0:
                    replies.append((told, text))
        return self._line

    def _rcpt(self, argument: str) -> bytes:
        found = re.fullmatch(r"TO:<(b[0-9])@there\.example>", argument)
        assert found
        name = found[1]
        if not self._has_sender:
            self._reply(code=503)
            return self._line
        assert not self._is_final(name)
        code = self._reply()
        self._asked += 1
        if code // 100 == 2:
            self._accepted.append(name)
        elif code in {452, 552} and self._asked > 1:
            # Too many: it is to be asked again.
            self.said[name].append((-code, ""))
        elif code:
            told = 452 if code == 552 else code
            self.said[name].append((told, self._line.decode().strip()))
        return self._line

    def _data(self, _: str) -> bytes:
        if not self._accepted:
            self._reply(code=554)
            return self._line
        code = self._reply()
        if code // 100 == 2:
            self._in_data = True
            return b"354 go\r\n"
        for name in self._accepted if code else ():
            self.said[name].append((code, self._line.decode().strip()))
        return self._line

    def _bdat(self, argument: str) -> bytes:
        size = int(argument.removesuffix(" LAST"))
        content, self._octets = self._octets[:size], self._octets[size:]
        assert len(content) == size
        return self._end(content)

    def _quit(self, _: str) -> bytes:
        self._reply(code=221)
        return self._line

    def _end(self, content: bytes) -> bytes:
        if not self._accepted:
            self._reply(code=503)
            return self._line
        assert content == CONTENT + b"\r\n", content
        code = self._reply(self._accepted)
        if code // 100 == 2:
            for name in self._accepted:
                self.taken[name] += 1
        self._has_sender, self._accepted = False, []
        return self._line

    def _is_final(self, name: str) -> bool:
        return any(code // 100 in {2, 5} for code, _ in self.said[name])


class ModelTests(unittest.SynchronousTestCase):
    """Several mailings on one session."""

    @settings(max_examples=300, deadline=None, derandomize=True)
    @given(
        st.sets(st.sampled_from(["PIPELINING", "CHUNKING", "LIMITS RCPTMAX=2"])),
        st.lists(st.sampled_from(CODES), max_size=30),
        st.integers(0, 3),
    )
    @example({"PIPELINING", "CHUNKING"}, [GOOD] * 3 + [550], 0)
    def test_fates(self, extensions: set[str], codes: list[int], cut: int) -> None:
        """
        Each recipient has the fate that the server means, in the server's words: taken
        once or refused for good, and not asked again then; else to be tried again (Q-19).
        """
        server = Server(sorted(extensions), codes)
        talk = opened(*server.extensions)
        for count in (1, 3, 2):
            names = [f"b{number}" for number in range(count)]
            if not talk.exchange.is_reusable:
                break
            server.mailing(names)
            said = begin(talk, CONTENT, mailing(*names))
            while said or not isinstance(talk.step, Idle):
                answers = server.hears(said)
                if answers:
                    talk.hear(answers, cut)
                if server.is_lost:
                    talk.exchange.abandon(LOST)
                if talk.exchange.is_over:
                    break
                said = talk.take()
            for name, fate in zip(names, talk.exchange.fates, strict=True):
                self.check(server, name, fate)

    def check(self, server: Server, name: str, fate: Fate | None) -> None:
        """A fate, by the server's books."""
        self.assertLessEqual(server.taken[name], 1)
        self.assertEqual(isinstance(fate, Accepted), server.taken[name] == 1)
        final = [text for code, text in server.said[name] if code // 100 in {2, 5}]
        if final:
            assert fate is not None and fate.reply is not None
            self.assertEqual([fate.reply.text], final)
        else:
            assert isinstance(fate, Refusal)
        if isinstance(fate, Refusal):
            self.assertEqual(fate.permanent, bool(final))
