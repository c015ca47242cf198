"""
Which process hands mail over, where several share a store.

A duty is had for a while and has to be taken again before the while is over.
Who was away for longer than that, a process that was frozen, say, finds it gone.
"""

from __future__ import annotations

from collections.abc import Awaitable

from zope.interface import Attribute, Interface, implementer

__all__ = ["IDuty", "Sole"]


class IDuty(Interface):
    """Something that one process at a time may do."""

    poll = Attribute("Seconds between looks at what others have stored; None: no others store.")

    def take() -> Awaitable[bool]:
        """
        Have it, or keep it for another while.

        @return: C{False}: another process has it.
        """

    def is_held() -> bool:
        """Whether we have it at this moment, as far as a clock can tell; from any thread."""

    def give_up() -> Awaitable[None]:
        """Let another process have it at once."""


@implementer(IDuty)
class Sole:
    """Of the one process of a store that hands mail over, whoever else stores."""

    def __init__(self, poll: float | None = None) -> None:
        """
        @param poll: Seconds; where others store, one may be killed before it can
            tell what it has stored.
        """
        self.poll = poll

    async def take(self) -> bool:
        """See L{IDuty.take}."""
        return True

    def is_held(self) -> bool:
        """See L{IDuty.is_held}."""
        return True

    async def give_up(self) -> None:
        """See L{IDuty.give_up}."""
