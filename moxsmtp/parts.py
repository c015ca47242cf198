"""
The parts of a server, made and joined, which every process of it needs: the store,
the accounts, the checks.

Nothing here runs; L{moxsmtp.dispatch} is what sends, and L{moxsmtp.service} starts
and stops all of it.
"""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Callable, Mapping, Set
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Protocol

from twisted.internet.threads import deferToThreadPool

from moxsmtp.config import Settings
from moxsmtp.dnsbl import Health
from moxsmtp.engine import Engine
from moxsmtp.interfaces import Maildir
from moxsmtp.judge.limiters import Limiters
from moxsmtp.mailbox.content import MaildirReader
from moxsmtp.metrics import process_metrics
from moxsmtp.operations import KEEP_OF_NOBODY
from moxsmtp.outbound.route import Router
from moxsmtp.public_suffix import PublicSuffixes
from moxsmtp.queue_operations import QueueOperations
from moxsmtp.receive.relay import Relays
from moxsmtp.receive.signing import signature_of, signers_for_host
from moxsmtp.reloading import LiveAccounts
from moxsmtp.store.accounts import Credentials as PasswordHashes
from moxsmtp.store.accounts import Identity
from moxsmtp.store.client_keys import ClientKeys
from moxsmtp.store.history import History
from moxsmtp.store.hold_rules import HoldRules
from moxsmtp.store.hooks import HookStore
from moxsmtp.store.jobs import JobStore
from moxsmtp.store.messages import MailStore
from moxsmtp.store.queue_admin import QueueAdmin
from moxsmtp.store.sending import Sending
from moxsmtp.store.suppressions import Suppressions
from moxsmtp.surroundings import Surroundings

__all__ = ["Parts"]


class Told(Protocol):
    """Who is told what was stored: whoever sends it, or the process that does."""

    def queued(self) -> None:
        """There is mail to deliver."""

    def stored(self, accounts: frozenset[str]) -> None:
        """Mail or webhook calls of these accounts were stored."""


class Parts:
    """
    All of them, by what they are for.

    @ivar accounts: Replaced by a reload, and so are C{signers}: what mail of
        each domain is signed with, C{cram_md5}: whether it is there,
        C{delays}, and C{routing}: what C{router} goes by.
    @ivar limiters: What one network may do (S-12).
    @ivar list_health: Which lists of addresses can be believed (I-73).
    @ivar told: Who sends what is queued and stored here; L{None}: nobody does yet, and
        whoever begins to will look for it.
    @ivar withdraw: Keeps these jobs, which an administrator has changed, from being sent
        as they were; replaced by who sends.
    @ivar owner: Names this process among all that use the database.
    """

    def __init__(
        self,
        settings: Settings,
        surroundings: Surroundings,
        engine: Engine,
        reactor: Any,
        told: Told | None = None,
    ) -> None:
        """@param told: See above."""
        self.told = told
        self.withdraw: Callable[[Set[int]], None] = lambda _: None
        self.settings = settings
        self.surroundings = surroundings
        self.engine = engine
        self.reactor = reactor
        self.metrics = process_metrics()
        self.accounts = LiveAccounts(settings.directory())
        self.signers = settings.signers()
        self.routing = settings.routing
        self.router = Router(lambda: self.routing)
        self.relays = Relays(settings.relays)
        self.limiters = Limiters(settings.limits)
        self.delays = settings.delays
        self.suffixes = PublicSuffixes()
        self.resolver = surroundings.resolver(settings, reactor, self.suffixes.is_public_suffix)
        self.list_health = Health(self.resolver, reactor)
        self.checks = surroundings.checks(
            settings, self.resolver, reactor, self.suffixes.is_public_suffix
        )
        self.cram_md5 = settings.cram_md5
        self.hashes = PasswordHashes(engine.database, now=self.now)
        self.client_keys = ClientKeys(engine.database, now=self.now)
        self.identity = Identity(engine.database)
        self.history = History(engine.database)
        self.sending = Sending(engine.database)
        self.owner = f"{socket.gethostname()}.{os.getpid()}.{secrets.token_hex(4)}"
        self._make_stores()

    def now(self) -> datetime:
        """Aware, UTC."""
        return datetime.fromtimestamp(self.reactor.seconds(), UTC)

    def _make_stores(self) -> None:
        engine = self.engine
        in_thread = partial(deferToThreadPool, self.reactor, engine.pool)
        self.maildirs = MaildirReader(in_thread, self.configured_maildirs)
        self.hook_store = HookStore(engine.database, owner=self.owner, now=self.now)
        self.job_store = JobStore(
            engine.database,
            engine.contents,
            owner=self.owner,
            now=self.now,
            wake=self._wake_mail,
            stored=self._stored,
            keep_hooks=self.keep_hooks,
        )
        self.mail_store = MailStore(
            engine.database,
            engine.contents,
            now=self.now,
            stored=self._stored,
            in_maildir=self.maildirs.open,
        )
        self.queue_admin = QueueAdmin(
            engine.database,
            now=self.now,
            wake=self._wake_mail,
            stored=self._stored,
            keep_hooks=self.keep_hooks,
            changed=self._changed,
        )
        self.queue_operations = QueueOperations(
            self.queue_admin,
            self.accounts,
            content=self.job_store.content,
            settings=self.settings.queue,
            hostname=self.settings.hostname,
            now=self.now,
            unique=lambda: secrets.token_hex(16),
            sign=self.signature_of_host,
        )
        self.hold_rules = HoldRules(engine.database, now=self.now, changed=self._changed)
        self.suppressions = Suppressions(engine.database)

    def obey(self, settings: Settings) -> None:
        """Other settings from now on, as far as that is possible."""
        self.accounts.directory = settings.directory()
        self.signers = settings.signers()
        self.routing = settings.routing
        self.relays.settings = settings.relays
        self.limiters.obey(settings.limits)
        self.delays = settings.delays
        self.cram_md5 = settings.cram_md5

    def signature_of_host(self, content: bytes) -> bytes:
        """The signature fields of a message that the server itself wrote."""
        signers = signers_for_host(self.signers, self.settings.hostname)
        return signature_of(content, signers, now=self.now(), metrics=self.metrics)

    # -- what wakes what ------------------------------------------------------------------

    def wake(self, accounts: frozenset[str], queued: bool) -> None:
        """Another process has stored for these accounts, or queued mail."""
        if queued:
            self._wake_mail()
        self._stored(accounts)

    def _wake_mail(self) -> None:
        if self.told is not None:
            self.told.queued()

    def _changed(self, numbers: Set[int]) -> None:
        self.withdraw(numbers)

    def _stored(self, accounts: frozenset[str]) -> None:
        """Mail or webhook calls of these accounts were stored."""
        # Of most mail there is nothing to say.
        if self.told is not None and any(map(self._is_passed_on, accounts)):
            self.told.stored(accounts)

    def _is_passed_on(self, name: str) -> bool:
        account = self.accounts.account(name)
        return account is not None and (
            account.maildir is not None
            or account.incoming_webhook is not None
            or account.outgoing_webhook is not None
        )

    def configured_maildirs(self) -> Mapping[str, Maildir]:
        """By account, as the configuration in force has them."""
        return {
            account.name: account.maildir
            for account in self.accounts.directory.accounts
            if account.maildir is not None
        }

    def keep_hooks(self, account: str) -> timedelta:
        """How long an account's history of webhook calls stays."""
        found = self.accounts.account(account)
        return found.keep_retired_webhooks if found else KEEP_OF_NOBODY
