"""
Starts and stops a server in order.

Sockets are bound in L{Server.privilegedStartService}; the folder is locked and
the database brought up to date before that.  So what an operator can put right
is told before the first connection is accepted.
"""

from __future__ import annotations

import gc
import secrets
import sys
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final, TypeVar

from twisted.application.service import IService, Service
from twisted.internet.defer import CancelledError, Deferred, gatherResults, maybeDeferred
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure

from moxsmtp.admin.commands import Commands
from moxsmtp.admin.control import ControlService
from moxsmtp.admin.health import monitoring_site
from moxsmtp.admin.key_commands import KeyCommands
from moxsmtp.admin.reply_id_commands import ReplyIdCommands
from moxsmtp.config import Settings
from moxsmtp.engine import open_engine
from moxsmtp.entrances import Entrances, Hall
from moxsmtp.interfaces import InsufficientStorage, StorageUnavailable
from moxsmtp.list_watch import ListWatch, configured_lists
from moxsmtp.operations import (
    AccountOperations,
    BackupOperations,
    MailOperations,
    QueueOperations,
)
from moxsmtp.parts import Parts
from moxsmtp.periodic import Periodic
from moxsmtp.receive.credentials import Disguise
from moxsmtp.receive.passwords import Pretence, derive, hash_password
from moxsmtp.receive.session_numbers import session_numbers
from moxsmtp.smtp.reply_id import ReplyIds
from moxsmtp.sockets import PassedSockets, Socket
from moxsmtp.store.sweep import sweep
from moxsmtp.surroundings import Surroundings
from moxsmtp.tls.server import CertificateError

__all__ = ["Server", "make_service"]

T = TypeVar("T")

#: Octets of the installation's secret: a key of 16 and a prefix of 8 (S-10).
_REPLY_ID_SECRET: Final = 24

#: Octets of what secrets of unknown users are made from.
_PRETENCE_SECRET: Final = 32

#: Settings that are obeyed at the start only.
_FIXED: Final = (
    "hostname", "data_directory", "http", "resolver", "queue", "outbound",
    "webhooks", "store", "pedantic",
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
) -> Server:
    """
    Build a server.  Blocks while the database is brought up to date.

    @param give_up: Told of an error that keeps the server from starting once
        the reactor runs.
    @param passed: Sockets that are bound already.
    @raise StoreError: The store cannot be used; says why in one line.
    @raise OSError: A file cannot be made.
    """
    engine = open_engine(settings.data_directory, settings.store, reactor)
    try:
        settings = surroundings.prepare(settings, datetime.fromtimestamp(reactor.seconds(), UTC))
        parts = Parts(settings, surroundings, engine, reactor)
    except BaseException:
        engine.folder.close()
        raise
    return Server(parts, give_up, passed)


class Server(Service):
    """All of it as one service."""

    _log = Logger()

    def __init__(
        self,
        parts: Parts,
        give_up: Callable[[BaseException], None],
        passed: PassedSockets | None = None,
    ) -> None:
        self._parts = parts
        self._passed = PassedSockets() if passed is None else passed
        self._give_up = give_up
        self._settings = parts.settings
        self._http: list[Socket] = []
        self._services: list[IService] = []
        self._starting: Deferred[None] | None = None
        self._is_up = False
        #: To be obeyed once we are up.
        self._pending: Settings | None = None
        self._entrances: Entrances
        self._hall: Hall

    # -- start ----------------------------------------------------------------------------

    def privilegedStartService(self) -> None:
        """
        Bind every port.

        @raise CannotListenError: One cannot be bound, or was passed to us for
            nothing.
        """
        super().privilegedStartService()  # type: ignore[no-untyped-call]  # Twisted has no annotation
        self._entrances = Entrances(self._settings, self._passed)
        try:
            for address in self._settings.http.addresses:
                self._http.append(Socket(address, self._settings.http.port, self._passed))
            self._passed.check_all_taken()
        except BaseException:
            self._entrances.unbind()
            raise

    def startService(self) -> None:
        """Begin to work; what cannot begin is told to C{give_up}."""
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
        secret = await parts.identity.secret(
            "reply_id", lambda: secrets.token_bytes(_REPLY_ID_SECRET)
        )
        reply_ids = ReplyIds(secret[:16], secret[16:])
        await self._set_passwords()
        disguise = Disguise(
            await _in_thread(parts, hash_password, secrets.token_urlsafe(32)),
            Pretence(
                await parts.identity.secret(
                    "login_pretence", lambda: secrets.token_bytes(_PRETENCE_SECRET)
                )
            ),
        )
        self._hall = Hall(
            receivers=parts.receivers(reply_ids, disguise),
            session_ids=session_numbers(reactor),
            reply_id=reply_ids.encode,
            random_bytes=secrets.token_bytes,
            reactor=reactor,
            metrics=parts.metrics,
            limiters=parts.limiters,
        )
        self._entrances.serve(settings, self._hall)
        self._services = [
            parts.mail,
            parts.hooks,
            parts.hand_over,
            parts.watch,
            parts.sts.service(),
            *self._housekeeping(),
            self._control(reply_ids),
        ]
        for service in self._services:
            service.startService()
        site = monitoring_site(
            exposition=parts.metrics.exposition,
            checks={"database": self._database_trouble, "resolver": self._resolver_trouble},
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

    async def _set_passwords(self) -> None:
        parts = self._parts
        if not parts.cram_md5:
            await parts.hashes.forget_cram_md5()
        for account, password in parts.surroundings.passwords.items():
            if await parts.hashes.password_secrets(account) is None:
                make = partial(derive, cram_md5=parts.cram_md5)
                await parts.hashes.set_password_secrets(
                    account, await _in_thread(parts, make, password)
                )

    def _housekeeping(self) -> list[IService]:
        """What is done again and again (Q-1)."""
        parts, clock = self._parts, self._parts.reactor
        history = parts.history

        async def clean_up() -> None:
            swept = await sweep(parts.engine.database, parts.now(), self._settings.store.orphan_age)
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

    def _control(self, reply_ids: ReplyIds) -> IService:
        parts = self._parts
        commands = Commands(
            mail=MailOperations(parts.mail_store, parts.maildirs.remove),
            queue=QueueOperations(parts.queue_admin, parts.accounts, parts.now),
            accounts=AccountOperations(
                parts.accounts,
                parts.hashes,
                parts.engine,
                parts.reactor,
                cram_md5=lambda: parts.cram_md5,
            ),
            backup=BackupOperations(parts.engine, parts.reactor),
        )
        keys = KeyCommands(parts.client_keys, parts.accounts)
        sessions = ReplyIdCommands(reply_ids.decode)
        table = {**commands.table(), **keys.table(), **sessions.table()}
        return ControlService(str(parts.engine.folder.path), table, parts.reactor)

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
        self._parts.accounts.directory = settings.directory()
        self._parts.signers = settings.signers()
        self._parts.routing = settings.routing
        self._parts.relays.settings = settings.relays
        self._parts.limiters.obey(settings.limits)
        self._parts.delays = settings.delays
        if self._parts.cram_md5 and not settings.cram_md5:
            forgotten = Deferred.fromCoroutine(self._parts.hashes.forget_cram_md5())
            _ = forgotten.addErrback(self._not_forgotten)
        self._parts.cram_md5 = settings.cram_md5
        self._settings = settings
        for what in needs_restart:
            self._log.warn("a restart is needed before this change counts: {what}", what=what)

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
        await parts.poster.close()
        await parts.sts.close()
        await maybeDeferred(parts.resolver.close)
        await parts.engine.close()


def _in_thread(parts: Parts, make: Callable[[str], T], password: str) -> Deferred[T]:
    """What is made of a password takes long on purpose."""
    return deferToThreadPool(parts.reactor, parts.engine.hashing, make, password)


async def _all_of(remove: Callable[[datetime, int], Awaitable[int]], now: datetime) -> None:
    """In transactions of bounded size, so that mail gets its turn between them."""
    while await remove(now, _CLEANED) == _CLEANED:
        pass
