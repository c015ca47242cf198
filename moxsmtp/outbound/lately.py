"""Where messages went a moment ago, for those that follow on the same session (Q-94)."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from moxsmtp.interfaces import RequireTLS
from moxsmtp.names import Host
from moxsmtp.outbound.transport import Direct, Smarthost, Socks
from moxsmtp.outbound.ways import Target

__all__ = ["Key", "Lately"]

#: Transport as it is configured, destination, what the sender demands, and which report
#: of ours it is.
Key = tuple[Direct | Socks | Smarthost, Host, RequireTLS, str]

#: Seconds for which what the DNS and policies said is believed without asking; no
#: longer than a session waits.
_BELIEVED: Final = 10.0

_MOST: Final = 1000


class Lately:
    """
    Targets that took a message.  A target's demand is part of it, so that a
    message that demands more never gets there by this way.
    """

    def __init__(self) -> None:
        self._targets: OrderedDict[Key, tuple[Target, float]] = OrderedDict()

    def put(self, key: Key, target: Target, now: float) -> None:
        """
        It took a message.  However many follow, what was asked is asked again
        once it is too old: only the first counts.
        """
        known = self._targets.get(key)
        if known is not None and known[0] is target:
            return
        self._targets[key] = target, now
        self._targets.move_to_end(key)
        if len(self._targets) > _MOST:
            self._targets.popitem(last=False)

    def get(self, key: Key, now: float) -> Target | None:
        """L{None}: nothing, or nothing that can still be believed."""
        known = self._targets.get(key)
        if known is None:
            return None
        target, then = known
        if 0 <= now - then < _BELIEVED:
            return target
        del self._targets[key]
        return None
