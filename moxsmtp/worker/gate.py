"""
Takes the place of the entrances in a server with workers: accepts connections
and passes each to the worker that it belongs to.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final, cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall

from moxsmtp.config import Settings
from moxsmtp.entrances import Door, Entrances, Hall
from moxsmtp.metrics import Metrics
from moxsmtp.receive.admission import SHUTTING_DOWN, TOO_MANY
from moxsmtp.receive.entrance import address_of
from moxsmtp.smtp.reply import Reply
from moxsmtp.sockets import Socket
from moxsmtp.worker.acceptor import Acceptor
from moxsmtp.worker.affinity import Affinity
from moxsmtp.worker.frames import Message
from moxsmtp.worker.orders import Doorway, Orders, packed
from moxsmtp.worker.passing import Arrival
from moxsmtp.worker.places import Places
from moxsmtp.worker.refusal import refuse
from moxsmtp.worker.samples import Samples, Tally
from moxsmtp.worker.spawn import Spawner
from moxsmtp.worker.supervisor import Crew, Worker

__all__ = ["Gate", "Staff"]

#: Seconds that a worker is waited for which is asked something.
_ANSWER: Final = 2.0
_OBEY: Final = 10.0


@dataclass(frozen=True, slots=True)
class Staff:
    """
    What is done for workers in the process that keeps them.

    @ivar heard: Told which accounts got mail, and whether mail was queued.
    """

    spawn: Spawner
    session_ids: Iterator[int]
    metrics: Metrics
    heard: Callable[[frozenset[str], bool], None]
    reactor: Any


class _Round:
    """A question to all workers, until each has answered or time is up."""

    def __init__(self, numbers: set[int], clock: Any, seconds: float) -> None:
        self.over: Deferred[None] = Deferred()
        self._left = numbers
        self._timer: IDelayedCall | None = clock.callLater(seconds, self._end)
        self.answered(-1)

    def answered(self, number: int) -> None:
        """One has, or is gone."""
        self._left.discard(number)
        if not self._left:
            self._end()

    def _end(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            if timer.active():
                timer.cancel()
            self.over.callback(None)


class Gate:
    """See L{Entrances}, which has bound the sockets."""

    def __init__(self, entrances: Entrances, settings: Settings, staff: Staff) -> None:
        self._entrances = entrances
        self._settings = settings
        self._staff = staff
        self._crew = Crew(staff.reactor, settings.workers, staff.spawn, self)
        self._places = Places(self._tell_crowded)
        self._tally = Tally()
        self._affinity = Affinity((), ())
        self._acceptors: list[Acceptor] = []
        self._rounds: dict[int, _Round] = {}
        self._round = 0
        self._is_serving = False
        self._is_closing = False
        self._settle(settings)

    # -- as entrances do ---------------------------------------------------------------

    async def serve(self, settings: Settings) -> None:
        """
        Start the workers, then let people in.

        @raise CertificateError: A listener's certificate cannot be used.
        @raise WorkerFailed: A worker cannot run.
        """
        self._entrances.check(settings)
        await self._crew.start()
        for number, door in enumerate(self._entrances.doors):
            welcome = partial(self._welcome, number, door)
            listening = cast("Socket", door.socket).listening  # we are where they are bound
            self._acceptors.append(Acceptor(listening, welcome, self._staff.reactor))
        self._is_serving = True
        self.changed()

    def reload(self, settings: Settings, hall: Hall) -> Sequence[str]:  # noqa: ARG002 - as above
        """See L{Entrances.reload}."""
        self._entrances.check(settings)
        named = {listener.name for listener in settings.listeners}
        # Their sockets stay, and so does what they obey.
        kept = tuple(each for each in self._settings.listeners if each.name not in named)
        self._settle(replace(settings, listeners=(*settings.listeners, *kept)))
        _ = self._ask({"kind": "obey", "settings": packed(self._settings)}, _OBEY)
        return self._entrances.unserved(settings)

    async def obeyed(self) -> None:
        """Until every worker obeys what it was told last, or has not within ten seconds."""
        found = self._rounds.get(self._round)
        if found is not None:
            await found.over

    async def renew_tickets(self) -> None:
        """See L{Entrances.renew_tickets}."""
        self._crew.tell({"kind": "tickets"})

    def listening(self) -> Sequence[str]:
        """See L{Entrances.listening}."""
        return self._entrances.listening()

    async def close(self) -> None:
        """See L{Entrances.close}."""
        self._is_closing = True
        self.changed()
        await self._crew.stop()
        for acceptor in self._acceptors:
            acceptor.close()
        await self._entrances.close()

    def kill(self) -> None:
        """End all workers at once."""
        self._crew.kill()

    # -- what others ask -----------------------------------------------------------------

    def trouble(self) -> str | None:
        """What is wrong with the workers; L{None}: nothing."""
        down = len(self._crew.workers) - len(self._crew.present)
        return f"{down} of {len(self._crew.workers)} workers are not ready" if down else None

    async def samples(self) -> Samples:
        """What all workers have counted, those that are gone included."""
        await self._ask({"kind": "samples"}, _ANSWER)
        silent = self._tally.silent([worker.number for worker in self._crew.present])
        for _ in range(silent):
            self._staff.metrics.count("moxsmtp_worker_silent_total")
        self._staff.metrics.level("moxsmtp_workers", len(self._crew.present))
        return self._tally.total()

    # -- connections ---------------------------------------------------------------------

    def _welcome(self, number: int, door: Door, connection: socket.socket, host: str) -> None:
        if self._is_closing:
            self._refuse(connection, door, SHUTTING_DOWN)
            return
        key = self._affinity.key(address_of(host), self._proxies[door.listener])
        worker = self._crew.chosen(key) if key else self._least()
        link = None if worker is None else worker.link
        # Others go on being served then, and its own clients may come again later.
        if (
            worker is None
            or link is None
            or (link.is_clogged and worker.is_silent)
            or not self._places.take(door.listener, worker.number)
        ):
            self._refuse(connection, door, TOO_MANY)
            return
        link.pass_on(connection, Arrival(number, next(self._staff.session_ids)))
        if link.is_clogged:
            self.changed()

    def _least(self) -> Worker | None:
        present = self._crew.present
        return min(
            present,
            key=lambda one: (one.is_silent, self._places.held(one.number)),
            default=None,
        )

    def _refuse(self, connection: socket.socket, door: Door, reply: Reply) -> None:
        kind = "submission" if door.role.is_submission else "smtp"
        self._staff.metrics.count("mox_smtpserver_connection_total", kind=kind)
        refuse(connection, door.role, reply)

    def _tell_crowded(self, listener: str, is_crowded: bool) -> None:
        self._crew.tell({"kind": "crowded", "listener": listener, "is_crowded": is_crowded})

    # -- workers -------------------------------------------------------------------------

    def _settle(self, settings: Settings) -> None:
        self._settings = settings
        self._affinity = Affinity(settings.limits.limits_exempt, settings.relays)
        self._proxies = {one.name: one.proxy.networks for one in settings.listeners}
        self._places.obey({one.name: one.max_connections for one in settings.listeners})

    def first_message(self) -> Message:
        """See L{ICrewOwner}."""
        doors = [
            Doorway(door.listener, door.role, door.socket.address, door.socket.port)
            for door in self._entrances.doors
        ]
        return {
            "kind": "start",
            "orders": packed(Orders(self._settings, doors)),
            "crowds": sorted(self._places.crowds),
        }

    def heard(self, worker: Worker, message: Message) -> None:
        """See L{ICrewOwner}."""
        match message:
            case {"kind": "news", "ended": ended, "accounts": accounts, "queued": queued}:
                for listener, count in ended.items():
                    self._places.give(listener, worker.number, count)
                if accounts or queued:
                    self._staff.heard(frozenset(accounts), bool(queued))
            case {"kind": "samples", "samples": samples}:
                self._tally.heard(worker.number, samples)
            case _:
                pass
        asked = self._rounds.get(message.get("round", 0))
        if asked is not None:
            asked.answered(worker.number)

    def changed(self) -> None:
        """See L{ICrewOwner}."""
        takes = self._crew.present and not any(
            worker.link is not None and worker.link.is_clogged and not worker.is_silent
            for worker in self._crew.present
        )
        for acceptor in self._acceptors:
            if self._is_serving and (takes or self._is_closing):
                acceptor.resume()
            else:
                acceptor.pause()

    def lost(self, worker: Worker) -> None:
        """See L{ICrewOwner}."""
        if not self._crew.is_stopping:
            self._staff.metrics.count("moxsmtp_worker_ends_total")
        self._places.forsake(worker.number)
        self._tally.lost(worker.number)
        for asked in list(self._rounds.values()):
            asked.answered(worker.number)

    def _ask(self, message: Message, seconds: float) -> Deferred[None]:
        """Until those who are there have answered, or time is up."""
        self._round += 1
        mine = self._round
        numbers = {worker.number for worker in self._crew.present}
        asked = self._rounds[mine] = _Round(numbers, self._staff.reactor, seconds)
        self._crew.tell({**message, "round": mine})

        def forget(_: None) -> None:
            del self._rounds[mine]

        if asked.over.called:
            forget(None)
        else:
            _ = asked.over.addCallback(forget)
        return asked.over
