"""What attempts to deliver are made of, joined."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from twisted.logger import Logger
from zope.interface import implementer

from moxsmtp.config import Settings
from moxsmtp.interfaces import (
    IContent,
    IMetrics,
    InsufficientStorage,
    StorageUnavailable,
)
from moxsmtp.names import Domain, IPAddress
from moxsmtp.outbound.attempt import Deliver
from moxsmtp.outbound.content import Forms
from moxsmtp.outbound.dial import Connect, dialer
from moxsmtp.outbound.next_hop import FixedRoute, NextHops
from moxsmtp.outbound.route import Router
from moxsmtp.outbound.sessions import Sessions
from moxsmtp.outbound.smarthost_terms import login_to
from moxsmtp.outbound.socks import socks_connect
from moxsmtp.outbound.visit import Visits
from moxsmtp.outbound.ways import Environment
from moxsmtp.outbound_tls import OutboundTLS, sources
from moxsmtp.queue.job import Batch, Job
from moxsmtp.queue.shaping import Shaper
from moxsmtp.queue.storage import IJobStore
from moxsmtp.steady_timers import steady_clock
from moxsmtp.tls.binding import client_channel_binding
from moxsmtp.tlsrpt import TLSResult

__all__ = ["WayOut"]


class _Records:
    """What sessions came to, put down where it belongs."""

    _log = Logger()

    def __init__(self, tls: OutboundTLS, now: Callable[[], datetime]) -> None:
        self._tls = tls
        self._now = now

    def results(self, results: Sequence[TLSResult]) -> None:
        """See L{moxsmtp.outbound.attempt.Records}."""
        self._tls.results.note(results, self._now())

    async def seen(self, job: Job, *, starttls: bool, require_tls: bool) -> None:
        """See L{moxsmtp.outbound.attempt.Records}."""
        domain = job.destination
        if not job.account or not isinstance(domain, Domain):
            return
        try:
            await self._tls.seen.remember(
                job.account, domain, starttls=starttls, require_tls=require_tls
            )
        except (StorageUnavailable, InsufficientStorage) as error:
            self._log.warn(
                "what {domain} announced is not kept: {error}", domain=domain, error=error
            )


class WayOut:
    """
    @ivar attempt: Tries a batch once.
    @ivar is_waiting: Whether an attempt has not heard a word for so many seconds.
    @ivar sessions: Those that wait; closed when the server stops.
    @ivar shaper: How hard each site may be worked.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        route: NextHops | FixedRoute,
        router: Router,
        tls: OutboundTLS,
        store: IJobStore,
        metrics: IMetrics,
        reactor: Any,
        now: Callable[[], datetime],
    ) -> None:
        """@param store: Where what is to be sent is read."""
        steady = steady_clock(reactor)
        self.sessions = Sessions(steady)
        self.shaper = Shaper(settings.queue.shaping)
        found = sources(settings)
        direct = dialer(reactor, found)
        plain = dialer(reactor)

        def through(proxy: Sequence[IPAddress], port: int) -> Connect:
            return socks_connect(plain, proxy, port, steady)

        deliver = Deliver(
            router=router,
            environment=Environment(
                route=route,
                policies=tls.policies,
                hostname=settings.hostname.ascii,
                connect=plain if isinstance(route, FixedRoute) else direct,
                sources=found,
                through=through,
                metrics=metrics,
                login=lambda smarthost: login_to(smarthost, secrets.token_bytes),
            ),
            visits=Visits(
                clock=steady,
                sessions=self.sessions,
                metrics=metrics,
                binding=client_channel_binding,
            ),
            shaper=self.shaper,
            clock=reactor,
            steady=steady,
            forms=lambda batch: _forms(batch, store),
            metrics=metrics,
            records=_Records(tls, now),
        )
        self.attempt, self.is_waiting = deliver.attempt, deliver.is_waiting


@implementer(IContent)
class _Body:
    """Content that was read along with its jobs."""

    def __init__(self, octets: bytes) -> None:
        self.size: int = len(octets)
        self._octets = octets

    async def read(self, offset: int, length: int) -> bytes:
        """See L{IContent.read}."""
        return self._octets[offset : offset + length]


def _forms(batch: Batch, store: IJobStore) -> Forms:
    leader = batch.leader
    content: IContent = store.content(leader) if batch.body is None else _Body(batch.body)
    return Forms(content, store.alternative(leader))
