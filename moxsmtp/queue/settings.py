"""What the queue and its way out obey."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from moxsmtp.queue.shaping import ShapingRule

__all__ = ["QueueSettings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueSettings:
    """
    @ivar retry_after: The first interval; each later one is twice the one
        before (Q-11).
    @ivar max_attempts: How often a message is tried (Q-12).
    @ivar max_deliveries: Attempts at work at once, over all destinations; four
        times as many may wait for a server's word beside them (Q-9).
    @ivar outbound_port: Where mail servers listen; other than 25 for laboratories.
    @ivar shaping: How hard some sites may be worked; the first rule that covers
        a site counts (Q-93).
    """

    retry_after: timedelta = timedelta(seconds=450)
    max_attempts: int = 8
    max_deliveries: int = 100
    outbound_port: int = 25
    shaping: tuple[ShapingRule, ...] = ()
