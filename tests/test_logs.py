"""Log lines for people and for programs."""

from __future__ import annotations

import enum
import io
import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.logger import ILogObserver, Logger, LogLevel, LogPublisher, formatEvent
from twisted.python.failure import Failure
from twisted.python.log import LogPublisher as LegacyLogPublisher
from twisted.trial import unittest
from zope.interface.verify import verifyObject

from moxsmtp.logs import JSONObserver, TextObserver, Threshold, printable

#: 2026-01-02T03:04:05.678Z
TIME = 1767323045.678


class Rude:
    """Says nothing for itself."""

    def __str__(self) -> str:
        raise RuntimeError("no")

    __repr__ = __str__


class Word(enum.StrEnum):
    ONE = "one"


def event(format_text: str = "hello", **fields: Any) -> dict[str, Any]:
    return {
        "log_format": format_text,
        "log_level": LogLevel.info,
        "log_namespace": "test",
        "log_time": TIME,
        **fields,
    }


def _refuse() -> None:
    raise ValueError("of\x1b[2J no\nuse")


def failure() -> Failure:
    """With a traceback whose text is hostile."""
    try:
        _refuse()
    except ValueError:
        failed = Failure()
    else:
        raise AssertionError("not refused")
    return failed


class TextTests(unittest.SynchronousTestCase):
    """Text on a terminal."""

    def text(self, given_event: dict[str, Any]) -> str:
        file = io.StringIO()
        TextObserver(file)(given_event)
        return file.getvalue()

    def test_interface(self) -> None:
        """Both observers are what Twisted logs to."""
        verifyObject(ILogObserver, TextObserver(io.StringIO()))
        verifyObject(ILogObserver, JSONObserver(io.StringIO()))

    def test_line(self) -> None:
        """Time in UTC, level, message with its fields."""
        self.assertEqual(
            self.text(event("hello {who}", who="you")),
            "2026-01-02T03:04:05.678Z info  hello you\n",
        )

    def test_session(self) -> None:
        """S-9: a line of a session names it, the time since its last line, and the user."""
        self.assertEqual(
            self.text(event("x", session=7, client="::1", delta=0.0126, username="a\nb"))[25:],
            "info  x [session 7 ::1 +0.013s a\\nb]\n",
        )
        self.assertEqual(self.text(event("x", session=7))[25:], "info  x [session 7]\n")

    @settings(deadline=None, max_examples=100)
    @given(
        st.text("{}!ra:b.[]0()", max_size=12)
        | st.sampled_from(["{a}", "{a!r} {{{b}}}", "{a:>5}", "{a.real}", "{b()}", "{a[0]}", "{c}"])
    )
    def test_formats(self, pattern: str) -> None:
        """Whatever a format says, the text is that of Twisted's own formatting."""
        given_event = event(pattern, a=1, b=str)
        expected = printable(formatEvent(given_event))
        self.assertEqual(self.text(given_event)[31:-1], expected)

    def test_control_characters(self) -> None:
        """What a stranger sent can neither begin a line nor reach the terminal."""
        line = self.text(event("{x}", x="a\r\n2026 forged\x1b]0;\x07\u202e\x85\ud800z"))
        self.assertEqual(line.count("\n"), 1)
        self.assertTrue(line.rstrip("\n").isprintable(), line)
        self.assertIn("a\\r\\n2026 forged\\x1b]0;\\x07\\u202e\\x85\\ud800z", line)

    def test_failure(self) -> None:
        """A traceback follows, indented, its text escaped as well."""
        text = self.text(event("it broke", log_failure=failure()))
        first, *rest = text.rstrip("\n").split("\n")
        self.assertTrue(first.endswith("it broke"))
        self.assertIn("ValueError", text)
        self.assertTrue(rest and all(line.startswith("    ") for line in rest))
        self.assertTrue(all(line.isprintable() for line in rest), rest)

    def test_failure_without_text(self) -> None:
        """A failure that nobody explained explains itself."""
        self.assertIn("ValueError: of", self.text(event("", log_failure=failure())).split("\n")[0])

    def test_bad_event(self) -> None:
        """An event that cannot be formatted is a line all the same."""
        for bad in (event("{missing}"), event("{x}", x=Rude()), event("{"), {}):
            self.assertEqual(self.text(bad).count("\n"), 1)

    def test_ascii_terminal(self) -> None:
        """A terminal that knows ASCII only gets escapes, not nothing."""
        octets = io.BytesIO()
        file = io.TextIOWrapper(octets, encoding="ascii")
        TextObserver(file)(event("J\u00f6rg"))
        self.assertIn(b"J\\xf6rg\n", octets.getvalue())

    def test_full_disk(self) -> None:
        """A log that cannot be written ends nothing."""

        class Full(io.StringIO):
            def write(self, text: str) -> int:
                raise OSError(28, "No space left on device")

        TextObserver(Full())(event())
        closed = io.StringIO()
        closed.close()
        JSONObserver(closed)(event())

    @settings(deadline=None, max_examples=100)
    @given(st.text())
    def test_printable(self, text: str) -> None:
        """Whatever the text, the result is on one line and without control characters."""
        shown = printable(text)
        self.assertTrue(shown.isprintable())
        if text.isprintable():
            self.assertEqual(shown, text)


class JSONTests(unittest.SynchronousTestCase):
    """One object a line."""

    def entry(self, given_event: dict[str, Any]) -> dict[str, Any]:
        file = io.StringIO()
        JSONObserver(file)(given_event)
        line = file.getvalue()
        self.assertEqual(line.count("\n"), 1)
        self.assertTrue(line.isascii() and line[:-1].isprintable(), line)
        entry = json.loads(line, parse_constant=self.fail)
        assert isinstance(entry, dict)
        return entry

    def test_fields(self) -> None:
        """Time, level, namespace, text, and each field as a key of its own type."""
        entry = self.entry(event("{who} has {n}", who="\u00e9\n", n=3, ok=True, none=None, x=1.5))
        self.assertEqual(
            entry,
            {
                "time": "2026-01-02T03:04:05.678Z",
                "level": "info",
                "namespace": "test",
                "text": "\u00e9\n has 3",
                "who": "\u00e9\n",
                "n": 3,
                "ok": True,
                "none": None,
                "x": 1.5,
            },
        )

    def test_odd_values(self) -> None:
        """What JSON lacks becomes text; containers keep their shape to a depth."""
        endless: list[Any] = []
        endless.append(endless)
        entry = self.entry(
            event(
                nan=float("nan"), octets=b"\xff", word=Word.ONE, rude=Rude(), pair=(1, "b"),
                table={1: {2}}, endless=endless,
            )
        )  # fmt: skip
        self.assertEqual(entry["nan"], "nan")
        self.assertEqual(entry["octets"], "b'\\xff'")
        self.assertEqual(entry["word"], "one")
        self.assertEqual(entry["rude"], "(Rude: RuntimeError)")
        self.assertEqual(entry["pair"], [1, "b"])
        self.assertEqual(entry["table"], {"1": "{2}"})

    def test_own_keys_are_kept(self) -> None:
        """A field named like one of every line's keys is told apart from it."""
        entry = self.entry(event("hello", text="reply", level=3, time="then"))
        self.assertEqual((entry["text"], entry["text_"]), ("hello", "reply"))
        self.assertEqual((entry["level"], entry["level_"]), ("info", 3))
        self.assertEqual(entry["time_"], "then")

    def test_failure(self) -> None:
        """A traceback is a field."""
        entry = self.entry(event("it broke", log_failure=failure()))
        self.assertEqual(entry["text"], "it broke")
        self.assertIn("ValueError", entry["traceback"])

    def test_through_a_logger(self) -> None:
        """What is logged by Twisted's logger is a whole line."""
        file = io.StringIO()
        Logger(namespace="test", observer=JSONObserver(file)).warn("{a}", a=1)
        new = json.loads(file.getvalue())
        self.assertEqual((new["level"], new["text"], new["a"]), ("warn", "1", 1))

    def test_legacy_keys(self) -> None:
        """What old events carry beside their text is left out."""
        entry = self.entry(
            event("{log_text}", log_text="old", log_namespace="log_legacy", isError=0,
                  message=("old",), time=1.0, system="-", mine=1)
        )  # fmt: skip
        self.assertEqual(set(entry), {"time", "level", "namespace", "text", "mine"})

    def test_bad_event(self) -> None:
        """An event that cannot be formatted is a line all the same."""
        for bad in (event("{missing}"), event("{x}", x=Rude()), event("{"), {}):
            self.assertIn("text", self.entry(bad))


class ThresholdTests(unittest.SynchronousTestCase):
    """What is not important enough."""

    def test_levels(self) -> None:
        """Less important events are dropped, from the next event on after a change."""
        seen: list[Any] = []
        threshold = Threshold("warn")
        log = Logger(namespace="test", observer=threshold.observer(_Seen(seen)))
        log.info("a")
        log.emit(LogLevel.warn, "b")
        threshold.set("debug")
        log.debug("c")
        threshold.set("error")
        log.emit(LogLevel.warn, "d")
        log.critical("e")
        self.assertEqual([entry["log_format"] for entry in seen], ["b", "c", "e"])

    def test_new_style(self) -> None:
        """It is known for an observer of today's events, which nobody has to rewrite for it."""
        kept = Threshold().observer(_Seen([]))
        self.assertTrue(ILogObserver.providedBy(kept))

    def test_twisted_in_passing(self) -> None:
        """
        What Twisted says of each socket counts as debugging, as those that ask
        the DNS come and go with the mail; its errors count as they are.
        """
        seen: list[Any] = []
        threshold = Threshold("info")
        publisher = LogPublisher(threshold.observer(_Seen(seen)))
        old = LegacyLogPublisher(observerPublisher=publisher, publishPublisher=publisher)
        old.msg("_Socket starting on 43420")
        self.assertEqual(seen, [])
        old.msg("broken", isError=True, failure=None, why="why")
        Logger(namespace="test", observer=publisher).info("listening")
        threshold.set("debug")
        old.msg("(UDP Port 43420 Closed)")
        self.assertEqual(len(seen), 3)

    def test_traces(self) -> None:
        """Whoever wants a trace sees what is for debugging, too (S-23)."""
        for level in ("trace", "traceauth", "tracedata"):
            seen: list[Any] = []
            threshold = Threshold(level)
            Logger(namespace="test", observer=threshold.observer(_Seen(seen))).debug("a")
            self.assertEqual(len(seen), 1, level)


class _Seen(TextObserver):
    def __init__(self, seen: list[Any]) -> None:
        super().__init__(io.StringIO())
        self._seen = seen

    def __call__(self, event: Any) -> None:
        self._seen.append(event)
