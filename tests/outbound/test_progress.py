"""Tests for L{moxsmtp.outbound.progress}."""

from __future__ import annotations

from ipaddress import ip_address

from twisted.trial.unittest import SynchronousTestCase

from moxsmtp.outbound.progress import Progress
from moxsmtp.queue.job import Batch, Failed, RemoteMTA
from moxsmtp.smtp.mailing import Refusal
from moxsmtp.smtp.remote_reply import RemoteReply
from tests.outbound.test_attempt import NOW, job

REMOTE = RemoteMTA("mx.example", ip_address("192.0.2.1"))


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
