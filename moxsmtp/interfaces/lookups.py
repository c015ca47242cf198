"""The one way to the DNS."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from zope.interface import Interface

from moxsmtp.dns.records import Answer, Question

__all__ = ["IOwnResolver", "IResolver"]


class IResolver(Interface):
    """The one way to the DNS."""

    def lookup(question: Question) -> Deferred[Answer]:
        """
        Ask, following CNAMEs.  Cancelling the result harms no other waiter.

        @raise LookupFailed: SERVFAIL, time-out, no server (through the Deferred).
        """


class IOwnResolver(IResolver):
    """A resolver with an end, for whoever made it."""

    def close() -> Deferred[None]:
        """Fail what is under way, and everything later."""
