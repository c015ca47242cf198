"""
The parts of a server, made and joined: mail in, the queue, webhooks, Maildirs.

Nothing here runs yet; L{moxsmtp.service} starts and stops it.
"""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from ipaddress import ip_address
from random import Random, SystemRandom  # noqa: TID251 - here randomness begins
from typing import Any, Final, Protocol

from twisted.internet.threads import deferToThreadPool

from moxsmtp import __version__
from moxsmtp.config import Settings
from moxsmtp.dnsbl import Health
from moxsmtp.engine import Engine
from moxsmtp.interfaces import Maildir
from moxsmtp.judge.limiters import Limiters
from moxsmtp.mailbox.content import MaildirReader
from moxsmtp.mailbox.duty import Sole
from moxsmtp.mailbox.handover import HandOvers as HandOverService
from moxsmtp.mailbox.watch import MaildirWatch
from moxsmtp.metrics import process_metrics
from moxsmtp.names import AddressLiteral, Host, parse_domain
from moxsmtp.operations import KEEP_OF_NOBODY
from moxsmtp.outbound.next_hop import FixedRoute
from moxsmtp.outbound.route import Router
from moxsmtp.outbound_tls import OutboundTLS
from moxsmtp.public_suffix import PublicSuffixes
from moxsmtp.queue.mail import MailWork
from moxsmtp.queue.runner import Runner
from moxsmtp.queue_operations import QueueOperations
from moxsmtp.receive.relay import Relays
from moxsmtp.receive.signing import signature_of, signers_for_host
from moxsmtp.reloading import LiveAccounts
from moxsmtp.store.accounts import Credentials as PasswordHashes
from moxsmtp.store.accounts import Identity
from moxsmtp.store.client_keys import ClientKeys
from moxsmtp.store.duties import Duty
from moxsmtp.store.hand_overs import HandOvers
from moxsmtp.store.history import History
from moxsmtp.store.hold_rules import HoldRules
from moxsmtp.store.hooks import HookStore
from moxsmtp.store.jobs import JobStore
from moxsmtp.store.messages import MailStore
from moxsmtp.store.queue_admin import QueueAdmin
from moxsmtp.store.sending import Sending
from moxsmtp.store.suppressions import Suppressions
from moxsmtp.sts import StsParts, policy_client
from moxsmtp.surroundings import Surroundings
from moxsmtp.tls.client import StrictTLS, client_context
from moxsmtp.unique_words import unique_words
from moxsmtp.way_out import WayOut
from moxsmtp.webhooks.calls import HookWork
from moxsmtp.webhooks.post import Poster

__all__ = ["Parts"]

_USER_AGENT: Final = f"moxsmtp/{__version__}"

#: Seconds between looks at what a worker may have stored and could not tell.
_LOOK: Final = 5.0


class Told(Protocol):
    """Who is told, in a worker process, instead of what does not run there."""

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
    @ivar mail: Delivers the queue; C{hooks} calls webhooks.
    """

    def __init__(
        self,
        settings: Settings,
        surroundings: Surroundings,
        engine: Engine,
        reactor: Any,
        told: Told | None = None,
    ) -> None:
        """@param told: Another process delivers what is queued and stored here."""
        self._told = told
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
        # Names this process among all that use the database.
        owner = f"{socket.gethostname()}.{os.getpid()}.{secrets.token_hex(4)}"
        self._make_stores(owner)
        self._make_policies()
        self._make_runners()

    def now(self) -> datetime:
        """Aware, UTC."""
        return datetime.fromtimestamp(self.reactor.seconds(), UTC)

    def _make_stores(self, owner: str) -> None:
        engine = self.engine
        in_thread = partial(deferToThreadPool, self.reactor, engine.pool)
        self.maildirs = MaildirReader(in_thread, self._configured_maildirs)
        hand_overs = HandOvers(engine.database)
        self.watch = MaildirWatch(self.reactor, in_thread, hand_overs, self._configured_maildirs)
        self.hand_over = HandOverService(
            self.reactor,
            in_thread,
            hand_overs,
            self._configured_maildirs,
            self.metrics,
            duty=(
                Sole(_LOOK if self.settings.workers > 1 else None)
                if engine.is_sole
                else Duty(engine.database, "hand-over", owner=owner, now=self.now)
            ),
            host=self.settings.hostname.ascii,
        )
        self.hook_store = HookStore(engine.database, owner=owner, now=self.now)
        self.job_store = JobStore(
            engine.database,
            engine.contents,
            owner=owner,
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
        )
        self.queue_operations = QueueOperations(
            self.queue_admin,
            self.accounts,
            content=self.job_store.content,
            settings=self.settings.queue,
            hostname=self.settings.hostname,
            now=self.now,
            unique=lambda: secrets.token_hex(16),
            sign=self._signature_of_host,
        )
        self.hold_rules = HoldRules(engine.database, now=self.now)
        self.suppressions = Suppressions(engine.database)

    def _make_policies(self) -> None:
        outbound, reactor = self.settings.outbound, self.reactor
        strict = client_context(strict=True, certificates=outbound.certificates or None)
        self._tls_for = lambda host: StrictTLS(strict, _host(host))
        client = policy_client(
            reactor,
            self.resolver,
            self._tls_for,
            outbound,
            allow_loopback=self.surroundings.allow_loopback,
        )
        self.sts = StsParts(
            resolver=self.resolver,
            database=self.engine.database,
            client=client,
            metrics=self.metrics,
            reactor=reactor,
            shuffle=SystemRandom().shuffle,
            user_agent=_USER_AGENT,
        )

    def _make_runners(self) -> None:
        settings, reactor, sole = self.settings, self.reactor, self.engine.is_sole
        chance = SystemRandom()
        # Nobody gains by guessing when exactly a message is tried again.
        jitter = Random(chance.random())  # noqa: S311 - no secret
        route = self.surroundings.route(settings, self.resolver, reactor)
        self.outbound_tls = OutboundTLS(
            settings,
            resolver=self.resolver,
            sts=None if isinstance(route, FixedRoute) else self.sts.policies,
            database=self.engine.database,
            reactor=reactor,
            now=self.now,
            metrics=self.metrics,
        )
        self.way_out = WayOut(
            settings,
            route=route,
            router=self.router,
            tls=self.outbound_tls,
            content=self.job_store.content,
            metrics=self.metrics,
            reactor=reactor,
            now=self.now,
        )
        mail = MailWork(
            reactor,
            self.job_store,
            self.way_out.attempt,
            self.accounts,
            settings=settings.queue,
            hostname=settings.hostname,
            randint=jitter.randint,
            unique=unique_words(secrets.token_bytes),
            detained=self.router.detained,
            sign=self._signature_of_host,
            metrics=self.metrics,
            shaper=self.way_out.shaper,
            report_failed=lambda: self.metrics.count("mox_queue_dmarcreport_failure_total"),
        )
        self.mail = Runner(
            reactor, self.job_store, mail, limit=settings.queue.max_deliveries, sole=sole
        )
        self.poster = Poster(
            reactor,
            self.resolver,
            self._tls_for,
            settings.webhooks,
            user_agent=_USER_AGENT,
            allow_loopback=self.surroundings.allow_loopback,
        )
        calls = HookWork(
            reactor,
            self.hook_store,
            self.poster.post,
            self.accounts,
            self.metrics,
            chance.randint,
        )
        self.hooks = Runner(
            reactor, self.hook_store, calls, limit=settings.webhooks.max_calls, sole=sole
        )

    def obey(self, settings: Settings) -> None:
        """Other settings from now on, as far as that is possible."""
        self.accounts.directory = settings.directory()
        self.signers = settings.signers()
        self.routing = settings.routing
        self.relays.settings = settings.relays
        self.limiters.obey(settings.limits)
        self.delays = settings.delays
        self.cram_md5 = settings.cram_md5

    def _signature_of_host(self, content: bytes) -> bytes:
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
        if self._told is not None:
            self._told.queued()
        else:
            self.mail.wake()

    def _stored(self, accounts: frozenset[str]) -> None:
        """Mail or webhook calls of these accounts were stored."""
        found = [one for one in map(self.accounts.account, accounts) if one is not None]
        mailed = any(one.maildir is not None for one in found)
        called = any(one.incoming_webhook or one.outgoing_webhook for one in found)
        if self._told is not None:
            # Of most mail there is nothing to say.
            if mailed or called:
                self._told.stored(accounts)
            return
        if mailed:
            self.hand_over.wake()
        if called:
            self.hooks.wake()

    def _configured_maildirs(self) -> Mapping[str, Maildir]:
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


def _host(text: str) -> Host:
    """The host of a URL, which has been checked when the configuration was read."""
    try:
        return AddressLiteral(ip_address(text))
    except ValueError:
        return parse_domain(text)
