"""Our doubles of the queue's storage."""

from __future__ import annotations

from twisted.trial import unittest
from zope.interface.verify import verifyObject

from moxsmtp.interfaces import IContent
from moxsmtp.queue.storage import IHookStore, IJobStore, ILeases
from tests.queue.doubles import MemoryContent, MemoryHooks, MemoryJobs, MemoryLeases


class DoublesTests(unittest.SynchronousTestCase):
    """They stand for the real ones."""

    def test_interfaces(self) -> None:
        """Each double provides what it stands for."""
        verifyObject(ILeases, MemoryLeases(lambda: 0.0))
        verifyObject(IJobStore, MemoryJobs(lambda: 0.0))
        verifyObject(IHookStore, MemoryHooks(lambda: 0.0))
        verifyObject(IContent, MemoryContent(b""))
