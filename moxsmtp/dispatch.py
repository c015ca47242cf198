"""
What leaves a server, joined: queued mail, webhook calls, and what is handed over
to Maildirs.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from functools import partial
from ipaddress import ip_address
from random import Random, SystemRandom  # noqa: TID251 - of spread, not of secrets
from typing import Final

from twisted.application.service import IService, Service
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.internet.threads import deferToThreadPool

from moxsmtp import __version__
from moxsmtp.mailbox.duty import Sole
from moxsmtp.mailbox.handover import HandOvers as HandOverService
from moxsmtp.mailbox.watch import MaildirWatch
from moxsmtp.names import AddressLiteral, Host, parse_domain
from moxsmtp.outbound.next_hop import FixedRoute
from moxsmtp.outbound_tls import OutboundTLS
from moxsmtp.parts import Parts
from moxsmtp.queue.mail import MailWork
from moxsmtp.queue.runner import Runner
from moxsmtp.steady_timers import steady_clock
from moxsmtp.store.duties import Duty
from moxsmtp.store.hand_overs import HandOvers
from moxsmtp.sts import StsParts, policy_client
from moxsmtp.tls.client import StrictTLS, client_context
from moxsmtp.unique_words import unique_words
from moxsmtp.way_out import WayOut
from moxsmtp.webhooks.calls import HookWork
from moxsmtp.webhooks.post import Poster

__all__ = ["Dispatch"]

_USER_AGENT: Final = f"moxsmtp/{__version__}"

#: Seconds between looks at what a worker may have stored and could not tell.
_LOOK: Final = 5.0


class Dispatch(Service):
    """
    @ivar mail: Delivers the queue; C{hooks} calls webhooks, C{hand_over} fills
        Maildirs, and C{watch} follows what readers do there.
    @ivar sts: MTA-STS, as mail and forecasts ask it.
    """

    def __init__(self, parts: Parts) -> None:
        """Is told from now on what C{parts} have stored."""
        self._parts = parts
        settings, reactor = parts.settings, parts.reactor
        strict = client_context(strict=True, certificates=settings.outbound.certificates or None)
        self._tls_for = lambda host: StrictTLS(strict, _host(host))
        self._chance = SystemRandom()
        client = policy_client(
            reactor,
            parts.resolver,
            self._tls_for,
            settings.outbound,
            allow_loopback=parts.surroundings.allow_loopback,
        )
        self.sts = StsParts(
            resolver=parts.resolver,
            database=parts.engine.database,
            client=client,
            metrics=parts.metrics,
            reactor=reactor,
            shuffle=self._chance.shuffle,
            user_agent=_USER_AGENT,
        )
        self._make_mail()
        self._make_hooks()
        self._make_hand_over()
        self._services: Sequence[IService] = [
            self.mail,
            self.hooks,
            self.hand_over,
            self.watch,
            self.sts.service(),
            *self._outbound_tls.services(),
        ]
        parts.told = self

    def _make_mail(self) -> None:
        parts, settings, reactor = self._parts, self._parts.settings, self._parts.reactor
        # Nobody gains by guessing when exactly a message is tried again.
        jitter = Random(self._chance.random())  # noqa: S311 - no secret
        route = parts.surroundings.route(settings, parts.resolver, reactor)
        self._outbound_tls = OutboundTLS(
            settings,
            resolver=parts.resolver,
            sts=None if isinstance(route, FixedRoute) else self.sts.policies,
            database=parts.engine.database,
            reactor=reactor,
            now=parts.now,
            metrics=parts.metrics,
        )
        self._way_out = WayOut(
            settings,
            route=route,
            router=parts.router,
            tls=self._outbound_tls,
            store=parts.job_store,
            metrics=parts.metrics,
            reactor=reactor,
            now=parts.now,
        )
        work = MailWork(
            reactor,
            parts.job_store,
            self._way_out.attempt,
            parts.accounts,
            settings=settings.queue,
            hostname=settings.hostname,
            randint=jitter.randint,
            unique=unique_words(secrets.token_bytes),
            detained=parts.router.detained,
            sign=parts.signature_of_host,
            metrics=parts.metrics,
            shaper=self._way_out.shaper,
            steady=steady_clock(reactor),
            is_waiting=self._way_out.is_waiting,
            is_shared=not parts.engine.is_sole,
        )
        parts.withdraw = work.withdraw
        self.mail = Runner(
            reactor,
            parts.job_store,
            work,
            limit=settings.queue.max_deliveries,
            sole=parts.engine.is_sole,
            steady=steady_clock(reactor),
        )

    def _make_hooks(self) -> None:
        parts, settings, reactor = self._parts, self._parts.settings, self._parts.reactor
        self._poster = Poster(
            reactor,
            parts.resolver,
            self._tls_for,
            settings.webhooks,
            user_agent=_USER_AGENT,
            allow_loopback=parts.surroundings.allow_loopback,
        )
        work = HookWork(
            reactor,
            parts.hook_store,
            self._poster.post,
            parts.accounts,
            parts.metrics,
            self._chance.randint,
        )
        self.hooks = Runner(
            reactor,
            parts.hook_store,
            work,
            limit=settings.webhooks.max_calls,
            sole=parts.engine.is_sole,
            steady=steady_clock(reactor),
        )

    def _make_hand_over(self) -> None:
        parts, settings = self._parts, self._parts.settings
        database = parts.engine.database
        in_thread = partial(deferToThreadPool, parts.reactor, parts.engine.pool)
        hand_overs = HandOvers(database)
        self.watch = MaildirWatch(
            parts.reactor,
            in_thread,
            hand_overs,
            parts.configured_maildirs,
            unique=lambda: secrets.token_hex(16),
        )
        self.hand_over = HandOverService(
            parts.reactor,
            in_thread,
            hand_overs,
            parts.configured_maildirs,
            parts.metrics,
            duty=(
                Sole(_LOOK if settings.workers > 1 else None)
                if parts.engine.is_sole
                else Duty(database, "hand-over", owner=parts.owner, now=parts.now)
            ),
            host=settings.hostname.ascii,
        )

    def startService(self) -> None:
        """Begin to send."""
        super().startService()  # type: ignore[no-untyped-call]  # Twisted has no annotation
        for service in self._services:
            service.startService()

    def stopService(self) -> Deferred[None]:
        """Finish what is under way, then let go of connections."""
        super().stopService()  # type: ignore[no-untyped-call]  # Twisted has no annotation
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        await gatherResults([maybeDeferred(service.stopService) for service in self._services])
        self._way_out.sessions.close()
        await self._poster.close()
        await self._outbound_tls.close()
        await self.sts.close()

    # -- what was stored

    def queued(self) -> None:
        """See L{moxsmtp.parts.Told}."""
        self.mail.wake()

    def stored(self, accounts: frozenset[str]) -> None:
        """See L{moxsmtp.parts.Told}."""
        found = [one for one in map(self._parts.accounts.account, accounts) if one is not None]
        if any(one.maildir is not None for one in found):
            self.hand_over.wake()
        if any(one.incoming_webhook or one.outgoing_webhook for one in found):
            self.hooks.wake()


def _host(text: str) -> Host:
    """The host of a URL, which has been checked when the configuration was read."""
    try:
        return AddressLiteral(ip_address(text))
    except ValueError:
        return parse_domain(text)
