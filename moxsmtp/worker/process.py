"""
A worker process: speaks with the clients of connections that it is handed, and
stores what they bring in the same store as all others.

It ends when its parent tells it to, or is gone; then new commands get 421, and
what is under way has three seconds (S-15).
"""

from __future__ import annotations

import gc
import os
import socket
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from twisted.internet.defer import CancelledError, Deferred, maybeDeferred, succeed
from twisted.internet.interfaces import IProtocolFactory, IReadDescriptor
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from moxsmtp.config import Settings
from moxsmtp.engine import join_engine
from moxsmtp.entrances import Door, Entrances, Hall
from moxsmtp.hall import find_reply_ids, key_watch, make_hall
from moxsmtp.logs import Threshold
from moxsmtp.names import IPAddress
from moxsmtp.parts import Parts
from moxsmtp.periodic import Periodic
from moxsmtp.receive.admission import TOO_MANY
from moxsmtp.surroundings import Surroundings
from moxsmtp.tls.server import CertificateError
from moxsmtp.worker.acceptor import NO_ROOM
from moxsmtp.worker.channel import Channel
from moxsmtp.worker.frames import Message
from moxsmtp.worker.news import News
from moxsmtp.worker.orders import Orders, unpacked
from moxsmtp.worker.passing import receive_connections
from moxsmtp.worker.refusal import refuse
from moxsmtp.worker.share import Share

__all__ = ["WorkerServer"]

#: Seconds that the end may take where nobody waits for it any more: four for
#: connections, the rest for what they brought.
_ALONE: Final = 8.0

_FAMILIES: Final = {4: socket.AF_INET, 6: socket.AF_INET6}

_log: Final = Logger()


class _Doorway:
    """Stands for a socket of the parent's."""

    def __init__(self, address: IPAddress, port: int) -> None:
        self.address = address
        self.port = port
        self.factory: IProtocolFactory | None = None

    def serve(self, factory: IProtocolFactory, reactor: Any) -> None:  # noqa: ARG002 - the form of a socket's
        """See L{Place}."""
        self.factory = factory

    def unbind(self) -> None:
        """See L{Place}."""

    async def close(self) -> None:
        """See L{Place}."""


@implementer(IReadDescriptor)
class WorkerServer:
    """
    All of it.

    @ivar channel: To the parent.
    """

    def __init__(
        self,
        reactor: Any,
        surroundings: Surroundings,
        passing: socket.socket,
        threshold: Threshold,
        leave: Callable[[int], None],
    ) -> None:
        """
        @param passing: Where connections come from.
        @param leave: Ends the process, with that status.
        """
        self.channel = Channel(self._hear, self._orphaned)
        self._reactor = reactor
        self._surroundings = surroundings
        self._passing = passing
        self._threshold = threshold
        self._leave = leave
        self._news = News(reactor, self.channel.tell)
        self._places: list[_Doorway] = []
        self._doors: list[Door] = []
        self._numbers: deque[int] = deque()
        self._shares: dict[str, Share] = {}
        self._crowds: frozenset[str] = frozenset()
        self._parts: Parts | None = None
        self._hall: Hall | None = None
        self._entrances: Entrances | None = None
        self._keys: Periodic | None = None
        self._start_under_way: Deferred[None] = succeed(None)
        #: To be obeyed once we are up.
        self._pending: Settings | None = None
        self._is_stopping = False
        self._has_stopped = False

    # -- what the parent says ------------------------------------------------------------

    def _hear(self, message: Message) -> None:
        match message:
            case {"kind": "start", "orders": orders, "crowds": crowds}:
                self._crowds = frozenset(crowds)
                self._start_under_way = Deferred.fromCoroutine(self._start(unpacked(orders)))
                _ = self._start_under_way.addErrback(self._failed)
            case {"kind": "obey", "settings": settings}:
                self._obey(unpacked(settings))
                self.channel.tell({"kind": "obeyed", "round": message["round"]})
            case {"kind": "crowded", "listener": listener, "is_crowded": is_crowded}:
                self._share(listener).is_crowded = bool(is_crowded)
            case {"kind": "samples", "round": asked}:
                self._tell_samples(asked)
            case {"kind": "tickets"} if self._entrances is not None:
                _ = Deferred.fromCoroutine(self._entrances.renew_tickets())
            case {"kind": "alive"}:
                self.channel.tell({"kind": "alive"})
            case {"kind": "stop"}:
                self.stop()
            case _:
                pass

    def _tell_samples(self, asked: int) -> None:
        samples = [] if self._parts is None else self._parts.metrics.samples()
        self.channel.tell({"kind": "samples", "round": asked, "samples": samples})

    # -- start -----------------------------------------------------------------------------

    async def _start(self, orders: Orders) -> None:
        settings, reactor = orders.settings, self._reactor
        self._threshold.set(settings.log.level)
        engine = join_engine(
            settings.data_directory, settings.store, reactor, workers=settings.workers
        )
        parts = self._parts = Parts(settings, self._surroundings, engine, reactor, self._news)
        engine.pool.start()
        engine.hashing.start()
        self._places = [_Doorway(door.address, door.port) for door in orders.doors]
        self._doors = [
            Door(door.listener, door.role, place)
            for door, place in zip(orders.doors, self._places, strict=True)
        ]
        self._hall = await make_hall(
            parts,
            await find_reply_ids(parts),
            iter(self._numbers.popleft, None),
            lambda listener, _: self._share(listener),
        )
        self._keys = key_watch(parts)
        self._keys.startService()
        self._entrances = Entrances(settings, doors=self._doors)
        self._entrances.serve(settings, self._hall)
        # As in the parent: this stays as long as the process does.
        gc.freeze()
        if self._pending is not None:
            self._obey(self._pending)
        if not self._is_stopping:
            reactor.addReader(self)
            self.channel.tell({"kind": "ready"})

    def _failed(self, failure: Failure) -> None:
        if self._is_stopping and failure.check(CancelledError) is not None:
            return
        if failure.check(CertificateError) is not None:
            _log.error("the worker cannot start: {error}", error=failure.value)
        else:
            _log.failure("the worker cannot start", failure)
        self._leave(1)

    def _share(self, listener: str) -> Share:
        share = self._shares.get(listener)
        if share is None:
            share = self._shares[listener] = Share(
                lambda: self._news.ended(listener, is_crowded=self._share(listener).is_crowded),
                self._numbers.popleft,
            )
            share.is_crowded = listener in self._crowds
        return share

    def _obey(self, settings: Settings) -> None:
        parts, entrances, hall = self._parts, self._entrances, self._hall
        if parts is None or entrances is None or hall is None:
            self._pending = settings
            return
        try:
            entrances.reload(settings, hall)
        except CertificateError as error:
            _log.error("worker: TLS goes on as it was: {error}", error=error)
        parts.obey(settings)
        self._threshold.set(settings.log.level)

    # -- connections -------------------------------------------------------------------------

    def fileno(self) -> int:
        """See L{IReadDescriptor}."""
        return self._passing.fileno()

    def logPrefix(self) -> str:
        """See L{IReadDescriptor}."""
        return "arrivals"

    def connectionLost(self, reason: Failure) -> None:
        """The reactor ends, or the parent does, which we hear of elsewhere."""

    def doRead(self) -> None:
        """Take those that came."""
        try:
            for arrival, descriptor in receive_connections(self._passing):
                self._numbers.append(arrival.number)
                self._adopt(arrival.door, descriptor)
        except (EOFError, ConnectionError):
            self._reactor.removeReader(self)

    def _adopt(self, number: int, descriptor: int) -> None:
        door, place = self._doors[number], self._places[number]
        if descriptor < 0:
            _log.warn("a connection is lost: too many files are open")
            self._share(door.listener).missed()
            return
        try:
            os.set_blocking(descriptor, False)
            family = _FAMILIES[place.address.version]
            self._reactor.adoptStreamConnection(descriptor, family, place.factory)
        except OSError as error:
            # There is no room, or it had gone before it was looked at.
            level = _log.warn if error.errno in NO_ROOM else _log.debug
            level("a connection is lost: {error}", error=error)
            self._share(door.listener).missed()
            refuse(socket.socket(fileno=descriptor), door.role, TOO_MANY)
        else:
            os.close(descriptor)

    # -- stop --------------------------------------------------------------------------------

    def stop(self) -> None:
        """End, with all that is under way.  May be repeated."""
        if not self._is_stopping:
            self._is_stopping = True
            self._start_under_way.cancel()
            ending = Deferred.fromCoroutine(self._stop())
            _ = ending.addErrback(self._failed)

    async def _stop(self) -> None:
        parts = self._parts
        if self._entrances is not None:
            await self._entrances.close()
        if self._keys is not None:
            self._keys.stopService()
        self._reactor.removeReader(self)
        if parts is not None:
            await maybeDeferred(parts.resolver.close)
            await parts.engine.close()
        self._news.flush()
        self._tell_samples(0)
        self._has_stopped = True
        if self.channel.is_open:
            self.channel.close()
        else:
            self._leave(1)

    def _orphaned(self) -> None:
        """The channel is closed: by us in the end, or by a parent that is gone."""
        if self._has_stopped:
            self._leave(0)
        elif self._is_stopping:
            # It was told to stop a second time.
            self._leave(1)
        else:
            _log.error("the server is gone, and so this worker ends")
            self._reactor.callLater(_ALONE, self._leave, 1)
            self.stop()
