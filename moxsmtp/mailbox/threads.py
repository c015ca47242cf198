"""Where disk work is done."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import ParamSpec, Protocol, TypeVar

from moxsmtp.interfaces import Maildir
from moxsmtp.mailbox.maildir import Tree

__all__ = ["InThread", "Maildirs", "tree_of"]

P = ParamSpec("P")
T = TypeVar("T")

#: The Maildirs in force, by account.
Maildirs = Callable[[], Mapping[str, Maildir]]


class InThread(Protocol):
    """Runs blocking work elsewhere: C{partial(deferToThreadPool, reactor, pool)}."""

    def __call__(self, work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Awaitable[T]:
        """@return: What C{work} returns or raises."""


def tree_of(maildir: Maildir) -> Tree:
    """The folders of a Maildir."""
    return Tree(Path(maildir.path), maildir.mode)
