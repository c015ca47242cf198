"""Tests for L{moxsmtp.outbound.progress}."""

from __future__ import annotations

from ipaddress import ip_address

from twisted.trial.unittest import SynchronousTestCase

from moxsmtp.outbound.progress import Progress
from moxsmtp.queue.job import Batch, Failed, RemoteMTA
from moxsmtp.smtp.mailing import Accepted, Refusal
from moxsmtp.smtp.notification import NO_WISHES, Notify, Occasion, Wishes
from moxsmtp.smtp.remote_reply import RemoteReply
from tests.outbound.test_attempt import NOW, job

REMOTE = RemoteMTA("mx.example", ip_address("192.0.2.1"))


class MailingTests(SynchronousTestCase):
    """What is to be sent."""

    def test_wishes(self) -> None:
        """S-68: what the sender wants to hear goes along, each recipient's with him."""
        wishes = Wishes(notify=Notify(frozenset({Occasion.NEVER})))
        progress = Progress(Batch((job(1), job(2, wishes=wishes), job(3)), NOW))
        self.assertEqual(progress.mailing(require_tls=False).wishes, (NO_WISHES, wishes, NO_WISHES))
        accepted = Accepted(RemoteReply(250, ("ok",)))
        progress.heed([accepted, None, None], REMOTE, other_family=False)
        self.assertEqual(progress.mailing(require_tls=False).wishes, (wishes, NO_WISHES))

    def test_no_wishes(self) -> None:
        """Where nobody wants to hear anything, nothing is said."""
        mailing = Progress(Batch((job(1), job(2)), NOW)).mailing(require_tls=False)
        self.assertEqual(mailing.wishes, ())

    def test_8bit(self) -> None:
        """Q-65: what stands before the content counts, too."""
        self.assertEqual(
            [
                Progress(Batch((job(has_8bit=has, prefix=prefix),), NOW))
                .mailing(require_tls=False)
                .has_8bit
                for has in (False, True)
                for prefix in (b"A: b\r\n", b"A: \xc3\xa4\r\n")
            ],
            [False, True, True, True],
        )


class EndTests(SynchronousTestCase):
    """What becomes of those of whom nothing was said."""

    def test_not_tried(self) -> None:
        """Q-32: that is transient."""
        outcome = Progress(Batch((job(),), NOW)).attempt().outcomes[1]
        assert isinstance(outcome, Failed)
        self.assertFalse(outcome.permanent)


class OtherFamilyTests(SynchronousTestCase):
    """Refusals of a host that has addresses of both families."""

    def outcome(self, refusal: Refusal) -> Failed:
        """Of the first attempt."""
        progress = Progress(Batch((job(),), NOW))
        progress.heed([refusal], REMOTE, other_family=True)
        found = progress.attempt().outcomes[1]
        assert isinstance(found, Failed)
        return found

    def test_theirs(self) -> None:
        """What the host said of its policy may not hold for the other family (Q-33)."""
        reply = RemoteReply(550, ("5.7.1 not from there",))
        refusal = Refusal(permanent=True, error="no", code=550, status="7.1", reply=reply)
        self.assertFalse(self.outcome(refusal).permanent)

    def test_ours(self) -> None:
        """What we found out ourselves holds for both: no REQUIRETLS is no REQUIRETLS (Q-61)."""
        refusal = Refusal(permanent=True, error="no REQUIRETLS", code=554, status="7.30")
        self.assertTrue(self.outcome(refusal).permanent)
