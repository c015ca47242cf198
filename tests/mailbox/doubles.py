"""What a hand-over needs, in memory, and a process that can be killed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import ParamSpec, TypeVar

from twisted.internet.defer import Deferred, fail, succeed
from zope.interface import implementer

from moxsmtp.interfaces import IContent
from moxsmtp.mailbox.duty import IDuty
from moxsmtp.mailbox.storage import HandOver, IHandOver, InMaildir
from tests.queue.doubles import MemoryContent

__all__ = ["Killed", "MemoryHandOvers", "Mortal", "SharedDuty", "inline"]

P = ParamSpec("P")
T = TypeVar("T")

RECEIVED = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)


async def inline(work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Work that is done at once, here."""
    return work(*args, **kwargs)


@implementer(IDuty)
class SharedDuty:
    """
    A duty that the test gives and takes.

    @ivar holds: Whether it is held when a clock is asked.
    """

    poll = 5.0

    def __init__(self, *, is_ours: bool = True, takes: int | None = None) -> None:
        """@param takes: Somebody else has it after so many times."""
        self.is_ours = is_ours
        self.holds = True
        self.given_up = False
        self._takes = takes

    async def take(self) -> bool:
        if self._takes is not None:
            self.is_ours = self._takes > 0
            self._takes -= 1
        return self.is_ours

    def is_held(self) -> bool:
        return self.holds

    async def give_up(self) -> None:
        self.given_up = True


class Killed(BaseException):
    """The process dies in the middle of a step."""


class Mortal:
    """
    Stops a process at one of its steps, as a SIGKILL would: the step is done
    or not, and nothing happens after it.

    @ivar steps: How many have been taken.
    """

    def __init__(self, die_at: int | None = None, *, done: bool = False) -> None:
        self.steps = 0
        self._die_at = die_at
        self._done = done

    def run(self, work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Awaitable[T]:
        """One step."""
        number, self.steps = self.steps, self.steps + 1
        dead = self._die_at is not None and number >= self._die_at
        if dead and not (number == self._die_at and self._done):
            return Deferred()
        try:
            result = work(*args, **kwargs)
        except Killed:
            return Deferred()
        except Exception:  # noqa: BLE001 - the owner gets it, whatever it is
            return fail()
        return Deferred() if dead else succeed(result)


@implementer(IHandOver)
class MemoryHandOvers:
    """
    @ivar messages: By number; those handed over have no content any more.
    @ivar known: What is in Maildirs, by account and name.
    @ivar identities: Which folder the Maildir of an account is.
    @ivar failing: Every call ends in it.
    @ivar mortal: Whose steps each call is one of.
    """

    def __init__(self) -> None:
        self.messages: dict[int, HandOver] = {}
        self.contents: dict[int, MemoryContent] = {}
        self.known: dict[str, dict[str, InMaildir]] = {}
        self.identities: dict[str, str] = {}
        self.failing: Exception | None = None
        self.mortal = Mortal()
        self.calls: list[str] = []

    def add(
        self,
        number: int,
        data: bytes = b"Subject: x\r\n\r\nbody\r\n",
        *,
        account: str = "alice",
        prefix: bytes = b"Delivered-To: a\r\n",
        large: bool = False,
        mailbox: str = "Inbox",
        flags: str = "",
    ) -> None:
        """A message that waits."""
        self.contents[number] = MemoryContent(data)
        self.messages[number] = HandOver(
            id=number,
            account=account,
            mailbox=mailbox,
            flags=flags,
            received=RECEIVED,
            size=len(prefix) + len(data),
            prefix=prefix,
            content=number,
            data=None if large else data,
        )

    def _step(self, work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Awaitable[T]:
        self.calls.append(work.__name__)
        if self.failing is not None:
            raise self.failing
        return self.mortal.run(work, *args, **kwargs)

    def pending_hand_overs(self, limit: int, after: int = 0) -> Awaitable[Sequence[HandOver]]:
        """Oldest first."""

        def pending() -> Sequence[HandOver]:
            return [self.messages[n] for n in sorted(self.messages) if n > after][:limit]

        return self._step(pending)

    def content(self, hand_over: HandOver) -> IContent:
        """In memory."""
        content: IContent = self.contents[hand_over.content]
        return content

    def name_hand_overs(self, names: Mapping[int, str]) -> Awaitable[Sequence[int]]:
        """Record them."""

        def name() -> Sequence[int]:
            for number in names.keys() & self.messages.keys():
                self.messages[number] = replace(self.messages[number], name=names[number])
            return sorted(names.keys() & self.messages.keys())

        return self._step(name)

    def handed_over(self, done: Sequence[HandOver]) -> Awaitable[None]:
        """Forget contents."""

        def forget() -> None:
            for hand_over in done:
                waiting = self.messages.pop(hand_over.id, None)
                if waiting is not None and waiting.name is not None:
                    known = self.known.setdefault(waiting.account, {})
                    known[waiting.name] = InMaildir(waiting.name, waiting.mailbox, waiting.flags)

        return self._step(forget)

    def maildir_names(self, account: str) -> Awaitable[Mapping[str, InMaildir]]:
        """All that is known."""

        def names() -> Mapping[str, InMaildir]:
            return dict(self.known.get(account, {}))

        return self._step(names)

    def moved(self, account: str, seen: Sequence[InMaildir]) -> Awaitable[int]:
        """Note them."""

        def move() -> int:
            known = self.known.get(account, {})
            found = [one for one in seen if one.name in known]
            known.update({one.name: one for one in found})
            return len(found)

        return self._step(move)

    def maildir_identity(self, account: str) -> Awaitable[str]:
        """What was recorded."""

        def identity() -> str:
            return self.identities.get(account, "")

        return self._step(identity)

    def recognized(
        self, account: str, identity: str, absent: Sequence[str] = ()
    ) -> Awaitable[None]:
        """Record it."""

        def recognize() -> None:
            self.identities[account] = identity
            known = self.known.get(account, {})
            known.update({name: replace(known[name], is_absent=True) for name in absent})

        return self._step(recognize)

    def expunged(self, account: str, names: Sequence[str]) -> Awaitable[int]:
        """Forget them."""

        def expunge() -> int:
            known = self.known.get(account, {})
            return sum(known.pop(name, None) is not None for name in names)

        return self._step(expunge)
