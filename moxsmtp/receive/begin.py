"""
Coroutines that mostly end without waiting.

A C{Deferred} round a coroutine costs more than the answer to most commands, so
it is made only for one that has begun to wait.
"""

from __future__ import annotations

from collections.abc import Coroutine, Generator
from functools import partial
from types import coroutine as resumable
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, fail

__all__ = ["begin", "rest"]

T = TypeVar("T")


def begin(work: Coroutine[Deferred[Any], Any, None]) -> Deferred[None] | None:
    """
    Run C{work} until it waits.

    @return: What comes of the rest, or of its failure; cancelling it reaches
        what is awaited.  L{None}: it has ended already, well.
    """
    try:
        waiting = work.send(None)
    except StopIteration:
        return None
    except Exception:  # noqa: BLE001 - the owner of the result decides
        return fail()
    return Deferred.fromCoroutine(rest(work, waiting))


@resumable
def rest(
    work: Coroutine[Deferred[Any], Any, T], waiting: Deferred[Any]
) -> Generator[Deferred[Any], Any, T]:
    """
    What C{await work} does, from its second step on.  PEP 380.

    @param waiting: What its first step waits for.
    """
    while True:
        try:
            result = yield waiting
        except GeneratorExit:
            work.close()
            raise
        except BaseException as error:  # noqa: BLE001 - all of them are for the one who awaits
            step = partial(work.throw, error)
        else:
            step = partial(work.send, result)
        try:
            waiting = step()
        except StopIteration as end:
            value: T = end.value
            return value
