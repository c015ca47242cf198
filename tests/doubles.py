"""Doubles that only our own tests need."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IReactorFromThreads
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool
from zope.interface import implementer

__all__ = ["HeldPool", "InlinePool", "InlineReactor"]


@implementer(IReactorFromThreads)
class InlineReactor:
    """What a thread asks of the reactor happens at once."""

    def callFromThread(
        self,
        callable: Callable[..., Any],  # noqa: A002 - the interface calls it so
        *args: object,
        **kwargs: object,
    ) -> None:
        callable(*args, **kwargs)


class InlinePool(ThreadPool):
    """A thread pool without threads: work is done while it is asked for."""

    def callInThreadWithCallback(  # type: ignore[override]  # the base class has no annotations
        self,
        onResult: Callable[[bool, Any], None] | None,
        func: Callable[..., Any],
        *args: Any,
        **kw: Any,
    ) -> None:
        try:
            success, result = True, func(*args, **kw)
        except Exception:  # noqa: BLE001 - as the base class does
            success, result = False, Failure()
        if onResult is not None:
            onResult(success, result)


class HeldPool(InlinePool):
    """A thread pool that is busy until L{release}."""

    def __init__(self) -> None:
        super().__init__()
        self.held: list[Callable[[], None]] = []

    def callInThreadWithCallback(  # type: ignore[override]  # the base class has no annotations
        self,
        onResult: Callable[[bool, Any], None] | None,
        func: Callable[..., Any],
        *args: Any,
        **kw: Any,
    ) -> None:
        self.held.append(
            lambda: super(HeldPool, self).callInThreadWithCallback(onResult, func, *args, **kw)
        )

    def release(self) -> None:
        """Do the work that came first."""
        self.held.pop(0)()
