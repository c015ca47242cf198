"""
Starts and stops a server in order.

Sockets are bound in L{Server.privilegedStartService}; the folder is locked and
the database brought up to date before that.  So what an operator can put right
is told before the first connection is accepted.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from importlib import import_module
from typing import Any, Final

from twisted.application.service import IService, Service
from twisted.internet.defer import CancelledError, Deferred, gatherResults, maybeDeferred
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure

from moxsmtp.config import Settings
from moxsmtp.engine import open_engine
from moxsmtp.entrances import Entrances, Hall
from moxsmtp.hall import find_reply_ids, in_hashing_thread, key_watch, make_hall
from moxsmtp.interfaces import InsufficientStorage, StorageUnavailable
from moxsmtp.list_watch import ListWatch, configured_lists
from moxsmtp.parts import Parts
from moxsmtp.periodic import Periodic
from moxsmtp.receive.passwords import derive
from moxsmtp.receive.session_numbers import session_numbers
from moxsmtp.sockets import PassedSockets, Socket
from moxsmtp.store.sweep import sweep
from moxsmtp.surroundings import Surroundings
from moxsmtp.tls.server import CertificateError
from moxsmtp.worker.gate import Gate, Staff
from moxsmtp.worker.logging import LogLines
from moxsmtp.worker.spawn import Spawner

__all__ = ["Server", "make_service"]

#: Settings that are obeyed at the start only.
_FIXED: Final = (
    "hostname", "data_directory", "http", "resolver", "queue", "outbound",
    "webhooks", "store", "pedantic",
    "workers",
)  # fmt: skip

#: Rows of history that are removed at once.
_CLEANED: Final = 1000

_DAY: Final = timedelta(days=1)
_HOUR: Final = timedelta(hours=1)


def make_service(
    settings: Settings,
    surroundings: Surroundings,
    reactor: Any,
    give_up: Callable[[BaseException], None],
    passed: PassedSockets | None = None,
    log: LogLines | None = None,
) -> Server:
    """
    Build a server.  Blocks while the database is brought up to date.

    @param give_up: Told of an error that keeps the server from starting once
        the reactor runs.
    @param passed: Sockets that are bound already.
    @param log: Where lines of worker processes go; by default into our log.
    @raise StoreError: The store cannot be used; says why in one line.
    @raise OSError: A file cannot be made.
    """
    engine = open_engine(settings.data_directory, settings.store, reactor, workers=settings.workers)
    try:
        settings = surroundings.prepare(settings, datetime.fromtimestamp(reactor.seconds(), UTC))
        parts = Parts(settings, surroundings, engine, reactor)
    except BaseException:
        engine.folder.close()
        raise
    return Server(parts, give_up, passed, log)


class Server(Service):
    """All of it as one service."""

    _log = Logger()

    def __init__(
        self,
        parts: Parts,
        give_up: Callable[[BaseException], None],
        passed: PassedSockets | None = None,
        log: LogLines | None = None,
    ) -> None:
        self._parts = parts
        self._log_lines = LogLines() if log is None else log
        self._passed = PassedSockets() if passed is None else passed
        self._give_up = give_up
        self._settings = parts.settings
        self._http: list[Socket] = []
        self._services: list[IService] = []
        self._starting: Deferred[None] | None = None
        self._is_bound = False
        self._is_up = False
        #: To be obeyed once we are up.
        self._pending: Settings | None = None
        self._entrances: Entrances | Gate
        self._gate: Gate | None = None
        self._hall: Hall

    # -- start ----------------------------------------------------------------------------

    def privilegedStartService(self) -> None:
        """
        Bind every port.

        @raise CannotListenError: One cannot be bound, or was passed to us for
            nothing.
        """
        super().privilegedStartService()  # type: ignore[no-untyped-call]  # Twisted has no annotation
        entrances = self._entrances = Entrances(self._settings, self._passed)
        try:
            for address in self._settings.http.addresses:
                self._http.append(Socket(address, self._settings.http.port, self._passed))
            self._passed.check_all_taken()
        except BaseException:
            entrances.unbind()
            raise
        if self._settings.workers > 1:
            self._entrances = self._gate = self._made_gate(entrances)
        self._is_bound = True

    def _made_gate(self, entrances: Entrances) -> Gate:
        parts, lines = self._parts, self._log_lines
        spawn = Spawner(parts.reactor, parts.engine.folder.lock, lines.form, lines.write)
        numbers = session_numbers(parts.reactor)
        staff = Staff(spawn, numbers, parts.metrics, parts.wake, parts.reactor)
        return Gate(entrances, self._settings, staff)

    def startService(self) -> None:
        """
        Begin to work; what cannot begin is told to C{give_up}.

        @raise CannotListenError: See L{privilegedStartService}.
        """
        if not self._is_bound:
            # twist(1) has no privileges to shed, and goes on without that step.
            self.privilegedStartService()
        super().startService()  # type: ignore[no-untyped-call]  # Twisted has no annotation
        self._parts.engine.pool.start()
        self._parts.engine.hashing.start()
        self._starting = Deferred.fromCoroutine(self._start())
        _ = self._starting.addErrback(self._failed)

    def _failed(self, failure: Failure) -> None:
        if failure.check(CancelledError) is None and failure.value is not None:
            self._give_up(failure.value)

    async def _start(self) -> None:
        parts, settings, reactor = self._parts, self._settings, self._parts.reactor
        reply_ids = await find_reply_ids(parts)
        await self._set_passwords()
        self._hall = await make_hall(parts, reply_ids, session_numbers(reactor))
        await self._let_in()
        # To read this code takes a tenth of a second, which nobody at the door waits for.
        await deferToThreadPool(reactor, parts.engine.pool, import_module, "moxsmtp.office")
        from moxsmtp.office import monitoring_site, office

        self._services = [
            *office(parts, reply_ids),
            *self._housekeeping(),
            # With workers it is they who shake hands, and who look.
            *([key_watch(parts)] if self._gate is None else []),
        ]
        for service in self._services:
            service.startService()
        site = monitoring_site(
            exposition=self._exposition,
            checks=self._checks(),
            clock=reactor,
        )
        for socket in self._http:
            socket.serve(site, reactor)
        # What stands by now lives as long as the server: the collector of
        # garbage need not look at it again and again.
        gc.freeze()
        self._is_up = True
        if self._pending is not None:
            self._obey_pending(self._pending)
        for text in self._entrances.listening():
            self._log.info("listening for {what}", what=text)
        announcement = parts.surroundings.announcement(settings)
        if announcement and sys.__stdout__ is not None:
            # For whoever sits at the terminal, not for the log.
            sys.__stdout__.write(announcement)
            sys.__stdout__.flush()

    async def _let_in(self) -> None:
        if self._gate is not None:
            await self._gate.serve(self._settings)
        elif isinstance(self._entrances, Entrances):
            self._entrances.serve(self._settings, self._hall)

    async def _set_passwords(self) -> None:
        parts = self._parts
        if not parts.cram_md5:
            await parts.hashes.forget_cram_md5()
        for account, password in parts.surroundings.passwords.items():
            if await parts.hashes.password_secrets(account) is None:
                make = partial(derive, cram_md5=parts.cram_md5)
                await parts.hashes.set_password_secrets(
                    account, await in_hashing_thread(parts, make, password)
                )

    def _housekeeping(self) -> list[IService]:
        """What is done again and again (Q-1)."""
        parts, clock = self._parts, self._parts.reactor
        history = parts.history

        async def clean_up() -> None:
            age = self._settings.store.orphan_age
            if self._gate is not None:
                # What a worker is about to store, nobody here knows of.
                age = max(age, _HOUR)
            swept = await sweep(parts.engine.database, parts.now(), age)
            for _ in range(swept.missing):
                parts.metrics.count("moxsmtp_store_missing_content_total")
            await _all_of(parts.sending.remove_old, parts.now())

        async def measure() -> None:
            waiting = await history.waiting()
            parts.metrics.level("moxsmtp_queue_messages", waiting.jobs)
            parts.metrics.level("mox_queue_hold", waiting.held)
            parts.metrics.level("moxsmtp_webhook_queue", waiting.hooks)

        return [
            Periodic(
                "retired messages",
                lambda: _all_of(history.remove_retired_jobs, parts.now()),
                first=timedelta(seconds=3),
                interval=_HOUR,
                clock=clock,
            ),
            Periodic(
                "retired webhooks",
                lambda: _all_of(history.remove_retired_hooks, parts.now()),
                first=timedelta(seconds=4),
                interval=_HOUR,
                clock=clock,
            ),
            Periodic(
                "ticket keys",
                self._entrances.renew_tickets,
                first=_DAY,
                interval=_DAY,
                clock=clock,
            ),
            Periodic(
                "lists of addresses",
                ListWatch(
                    parts.list_health, lambda: configured_lists(self._settings), parts.metrics
                ).look,
                first=timedelta(seconds=2),
                # More often than a list is asked, so that new ones are seen soon.
                interval=timedelta(minutes=10),
                clock=clock,
            ),
            Periodic("clean-up", clean_up, first=timedelta(seconds=5), interval=_DAY, clock=clock),
            Periodic(
                "levels",
                measure,
                first=timedelta(seconds=1),
                interval=timedelta(seconds=15),
                clock=clock,
            ),
        ]

    async def _exposition(self) -> bytes:
        others = {} if self._gate is None else await self._gate.samples()
        return self._parts.metrics.exposition(others)

    def _checks(self) -> Mapping[str, Callable[[], Awaitable[str | None]]]:
        checks = {"database": self._database_trouble, "resolver": self._resolver_trouble}
        if self._gate is not None:
            checks["workers"] = self._workers_trouble
        return checks

    async def _workers_trouble(self) -> str | None:
        return None if self._gate is None else self._gate.trouble()

    async def _database_trouble(self) -> str | None:
        """Whether something can be written."""
        if not self._parts.engine.has_room():
            return "less disk space is free than has to be"
        try:
            await self._parts.engine.database.transact(lambda _: None)
        except (StorageUnavailable, InsufficientStorage) as error:
            return str(error)
        return None

    async def _resolver_trouble(self) -> str | None:
        return await self._parts.surroundings.resolver_trouble(self._parts.resolver)

    # -- reload -----------------------------------------------------------------------------

    def reload(self, settings: Settings) -> None:
        """
        Obey other settings as far as that is possible without a restart:
        accounts, domains, certificates, limits.  While the server starts, they
        are kept until it is up.

        @raise CertificateError: A certificate cannot be used; then nothing
            has changed.
        """
        if not self._is_up:
            self._pending = settings
            return
        old = self._parts.settings
        fixed = {name: getattr(old, name) for name in _FIXED}
        needs_restart = [name for name in _FIXED if getattr(settings, name) != fixed[name]]
        # The rest is obeyed as if these had not been touched, not half and half.
        settings = replace(settings, **fixed)
        needs_restart += self._entrances.reload(settings, self._hall)
        if self._parts.cram_md5 and not settings.cram_md5:
            forgotten = Deferred.fromCoroutine(self._forget_cram_md5())
            _ = forgotten.addErrback(self._not_forgotten)
        self._parts.obey(settings)
        self._settings = settings
        if self._parts.told is not None:
            # What waits for an account that had no Maildir for a while, nobody else looks for.
            self._parts.told.stored(frozenset(account.name for account in settings.accounts))
        for what in needs_restart:
            self._log.warn("a restart is needed before this change counts: {what}", what=what)

    async def _forget_cram_md5(self) -> None:
        if self._gate is not None:
            # One that does not know yet would keep them anew.
            await self._gate.obeyed()
        await self._parts.hashes.forget_cram_md5()

    def _not_forgotten(self, failure: Failure) -> None:
        self._log.error(
            "secrets of CRAM-MD5 are still kept, until the next start: {error}",
            error=str(failure.value),
        )

    def _obey_pending(self, settings: Settings) -> None:
        try:
            self.reload(settings)
        except CertificateError as error:
            self._log.error("the configuration was not reloaded: {error}", error=error)

    # -- stop ---------------------------------------------------------------------------------

    def stopService(self) -> Deferred[None]:
        """Sessions end first (S-15), then what they feed, then the store."""
        super().stopService()  # type: ignore[no-untyped-call]  # Twisted has no annotation
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        parts = self._parts
        if self._starting is not None:
            self._starting.cancel()
        http = [Deferred.fromCoroutine(socket.close()) for socket in self._http]
        await gatherResults([Deferred.fromCoroutine(self._entrances.close()), *http])
        await gatherResults([maybeDeferred(service.stopService) for service in self._services])
        await maybeDeferred(parts.resolver.close)
        await parts.engine.close()


async def _all_of(remove: Callable[[datetime, int], Awaitable[int]], now: datetime) -> None:
    """In transactions of bounded size, so that mail gets its turn between them."""
    while await remove(now, _CLEANED) == _CLEANED:
        pass
