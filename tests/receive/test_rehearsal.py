"""Tests for L{moxsmtp.receive.rehearsal}."""

from __future__ import annotations

from collections.abc import Coroutine

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from moxsmtp.names import parse_domain
from moxsmtp.receive.policy import IPolicy, Welcome
from moxsmtp.receive.rehearsal import Rehearsal, rehearsed_code
from moxsmtp.smtp.address import Path
from moxsmtp.smtp.reply import Refused


def path(local_part: str) -> Path:
    return Path(local_part, parse_domain("localhost"))


class CodeTests(SynchronousTestCase):
    """What a local-part asks for."""

    def test_table(self) -> None:
        """The end of the local-part names the code, within 400 to 599 (S-109, Q-90)."""
        expected = {
            "a-temperror": 451,
            "permerror": 550,
            "xtimeout": 0,
            "x400": 400,
            "x599": 599,
            "x600": None,
            "x399": None,
            "451x": None,
            "51": None,
            "x\u0664\u0665\u0661": None,
            "": None,
        }
        self.assertEqual(expected, {part: rehearsed_code(part) for part in expected})

    @settings(max_examples=100, deadline=None)
    @given(st.text())
    def test_any_text(self, local_part: str) -> None:
        """Whatever is asked for is a reply code that may be sent."""
        code = rehearsed_code(local_part)
        self.assertTrue(code is None or code == 0 or 400 <= code <= 599)


class RehearsalTests(SynchronousTestCase):
    """At which step a failure comes."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.policy = Rehearsal(self.clock)

    def refusal(self, step: Coroutine[Deferred[object], object, None]) -> int | None:
        async def code() -> int | None:
            try:
                await step
            except Refused as refused:
                return refused.reply.code
            return None

        return self.successResultOf(Deferred.fromCoroutine(code()))

    def test_port(self) -> None:
        """Both policies are what the receiver asks for."""
        verifyObject(IPolicy, self.policy)
        verifyObject(IPolicy, Welcome())

    def test_steps(self) -> None:
        """mailfrom fails at MAIL, rcptto at RCPT, others with the message (S-110)."""
        steps = {
            "MAIL mailfrom451": self.policy.sender(path("mailfrom451")),
            "MAIL x451": self.policy.sender(path("x451")),
            "MAIL null": self.policy.sender(None),
            "RCPT rcptto550": self.policy.recipient(path("rcptto550")),
            "RCPT x550": self.policy.recipient(path("x550")),
            "submission x550": self.policy.submission([path("ok"), path("x550")]),
            "submission ok": self.policy.submission([path("ok")]),
            "delivery x452": self.policy.delivery(path("x452")),
            "delivery ok": self.policy.delivery(path("ok")),
        }
        self.assertEqual(
            {
                "MAIL mailfrom451": 451,
                "MAIL x451": None,
                "MAIL null": None,
                "RCPT rcptto550": 550,
                "RCPT x550": None,
                "submission x550": 550,
                "submission ok": None,
                "delivery x452": 452,
                "delivery ok": None,
            },
            {name: self.refusal(step) for name, step in steps.items()},
        )

    def test_queue(self) -> None:
        """queue passes submission and fails when the queue delivers it (Q-90)."""
        self.assertIsNone(self.refusal(self.policy.submission([path("queue451")])))
        self.assertEqual(451, self.refusal(self.policy.delivery(path("queue451"))))

    def test_timeout(self) -> None:
        """timeout answers after an hour, and can be cut short (S-109)."""
        waiting = Deferred.fromCoroutine(self.policy.recipient(path("rcpttotimeout")))
        self.clock.advance(3599)
        self.assertNoResult(waiting)
        self.clock.advance(1)
        refused = self.failureResultOf(waiting, Refused).value
        self.assertEqual((451, "4.3.0"), (refused.reply.code, refused.reply.enhanced_status))
        stopped = Deferred.fromCoroutine(self.policy.delivery(path("timeout")))
        stopped.cancel()
        self.failureResultOf(stopped)
        self.assertEqual([], self.clock.getDelayedCalls())
