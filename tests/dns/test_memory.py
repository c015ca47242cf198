"""Results that follow from answers, found again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from moxsmtp.dns.memory import Memory
from moxsmtp.dns.records import MX, Answer, LookupFailed, Question, RRType

ONE: Final = Question("one.example", RRType.TXT)
TWO: Final = Question("two.example", RRType.TXT)
FIRST: Final = Answer((b"1",), canonical_name="one.example", ttl=60)
SECOND: Final = Answer((b"2", b"two"), authentic=True, canonical_name="two.example", ttl=60)


class MemoryTests(SynchronousTestCase):
    """L{Memory}, with a result that followed from two answers."""

    def setUp(self) -> None:
        self.memory = Memory[str](2)
        self.dns: dict[Question, object] = {ONE: FIRST, TWO: SECOND}
        self.asked: list[Question] = []
        self.memory.keep("sender", {ONE: FIRST, TWO: SECOND}, "good")

    def answer(self, question: Question) -> object:
        """What the DNS says now."""
        self.asked.append(question)
        return self.dns.get(question)

    def recall(self, asked: str = "sender") -> str | None:
        """The result, if there is one."""
        return self.memory.recall(asked, self.answer)

    def said(self, changes: Mapping[Question, object]) -> str | None:
        """The result after such changes."""
        self.dns = {ONE: FIRST, TWO: SECOND, **changes}
        return self.recall()

    def test_same_answers(self) -> None:
        """The result is found where every answer is what it was, each asked for in its order."""
        self.assertEqual((self.recall(), self.asked), ("good", [ONE, TWO]))

    def test_time(self) -> None:
        """What becomes of an answer with time is no matter, nor what the server told about it."""
        later = replace(SECOND, ttl=3, extended_errors=("stale",))
        self.assertEqual(self.said({TWO: later}), "good")

    def test_changes(self) -> None:
        """Whatever else changed, there is no result any more."""
        changed: dict[str, object] = {
            "records": replace(SECOND, records=(b"2",)),
            "order": replace(SECOND, records=(b"two", b"2")),
            "authenticity": replace(SECOND, authentic=False),
            "existence": replace(SECOND, exists=False),
            "alias": replace(SECOND, canonical_name="other.example"),
            "failure": LookupFailed("SERVFAIL"),
            "not yet": None,
        }
        found = {name: self.said({TWO: answer}) for name, answer in changed.items()}
        self.assertEqual(found, dict.fromkeys(changed))
        self.assertEqual(self.said({}), "good")

    def test_nothing_in_vain(self) -> None:
        """Behind an answer that changed nothing is asked: it may be wanted no more."""
        self.said({ONE: replace(FIRST, records=())})
        self.assertEqual(self.asked, [ONE])

    def test_unknown(self) -> None:
        """For what was never asked, nothing is."""
        self.assertEqual((self.recall("other"), self.asked), (None, []))

    def test_failure_is_not_kept(self) -> None:
        """A result that a failed look-up led to is not kept, and the one before it is gone."""
        self.memory.keep("sender", {ONE: FIRST, TWO: LookupFailed("SERVFAIL")}, "bad")
        self.assertEqual((self.recall(), len(self.memory)), (None, 0))

    def test_room(self) -> None:
        """The result that was of no use for longest makes room."""
        self.memory.keep("second", {ONE: FIRST}, "fair")
        self.recall()
        self.memory.keep("third", {ONE: FIRST}, "poor")
        found = [self.recall(asked) for asked in ("sender", "second", "third")]
        self.assertEqual(found, ["good", None, "poor"])

    def test_much_was_read(self) -> None:
        """What follows from many answers, or large ones, is not kept: memory is bounded."""
        many: dict[Question, Answer | BaseException] = {
            Question(f"{number}.example", RRType.TXT): FIRST for number in range(21)
        }
        self.memory.keep("sender", many, "much")
        self.assertEqual(len(self.memory), 0)
        self.memory.keep("sender", dict(list(many.items())[1:]), "enough")
        self.assertEqual(len(self.memory), 1)
        self.memory.keep("sender", {ONE: Answer((b"x" * 4000, b"y" * 4193))}, "large")
        self.assertEqual(len(self.memory), 0)
        self.memory.keep("sender", {ONE: Answer((b"x" * 4000, b"y" * 4192))}, "less")
        self.assertEqual(len(self.memory), 1)
        self.memory.keep("sender", {ONE: Answer((MX(1, "mx"),) * 129)}, "large")
        self.assertEqual(len(self.memory), 0)


class UnaskedTests(SynchronousTestCase):
    """L{Memory} with a clock: what was compared a moment ago is believed."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000)
        self.memory = Memory[str](2, seconds=self.clock.seconds)
        self.answer = FIRST
        self.asked = 0
        self.memory.keep("sender", {ONE: FIRST}, "good")

    def lookup(self, _: Question) -> Answer:
        """What the DNS says now."""
        self.asked += 1
        return self.answer

    def times(self, seconds: float) -> int:
        """How often the DNS was asked, so many seconds later."""
        before = self.asked
        self.clock.rightNow += seconds
        self.assertEqual(self.memory.recall("sender", self.lookup), "good")
        return self.asked - before

    def test_compared_first(self) -> None:
        """What was kept is compared once; then nobody asks for ten seconds."""
        found = [self.times(seconds) for seconds in (5, 0, 9.5, 0.6, 9.5)]
        self.assertEqual(found, [1, 0, 0, 1, 0])

    def test_short_lived(self) -> None:
        """An answer that may not be kept so long is asked for as soon as that is over."""
        self.answer = replace(FIRST, ttl=2)
        self.assertEqual([self.times(seconds) for seconds in (0, 1.9, 0.1)], [1, 0, 1])
        self.answer = replace(FIRST, ttl=0)
        self.assertEqual([self.times(seconds) for seconds in (2, 0, 0)], [1, 1, 1])

    def test_set_back(self) -> None:
        """A clock that is set back does not make it last."""
        self.assertEqual([self.times(seconds) for seconds in (0, -500)], [1, 1])

    def test_changed(self) -> None:
        """A change is seen once it is asked for."""
        self.times(0)
        self.answer = SECOND
        self.times(9)
        self.clock.advance(1)
        self.assertIsNone(self.memory.recall("sender", self.lookup))
