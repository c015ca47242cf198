"""
Which policy counts for a domain now: the one that is kept, or a new one (Q-53).

The record in the DNS is looked up for each delivery; only if it announces
another policy than is kept is that fetched.  Neither a record that is gone nor
a fetch that fails takes a policy away before its time, for that is what an
attacker would bring about.  RFC 8461 sections 3.1, 3.3, 5.1 and 10.2.
"""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure as Thrown
from zope.interface import implementer

from moxsmtp.dns.records import LookupFailed, Question, RRType
from moxsmtp.interfaces import (
    InsufficientStorage,
    IPolicies,
    IResolver,
    StorageUnavailable,
    StsFound,
)
from moxsmtp.mtasts.policy import InvalidRecord, Mode, Policy, parse_record, record_name
from moxsmtp.mtasts.storage import Failure, IPolicyStore, Kept, Known, ResultType
from moxsmtp.names import MAXIMUM_DOMAIN, Domain

__all__ = ["Fetch", "Policies", "Refreshed"]

#: Fetches the policy of a domain within a time.
Fetch = Callable[[Domain, timedelta], Awaitable[Policy | Failure]]

#: How long a domain of which no policy is known may keep its mail waiting (Q-51), and
#: one of which one is (Q-53).
_FETCH: Final = timedelta(seconds=60)
_REFETCH: Final = timedelta(seconds=30)

#: How long after a failure nothing is fetched (RFC 8461 section 3.3: five minutes or
#: more).  Where a policy is kept it stands in meanwhile, and what is tried in vain only
#: keeps mail waiting.
_PAUSE: Final = timedelta(minutes=5)
_REFETCH_PAUSE: Final = timedelta(minutes=10)

#: That a policy is in use is noted once in this time.
_NOTE: Final = timedelta(days=1)

#: A policy that was fetched, or found unchanged, since then needs no refreshing (Q-54).
_FRESH: Final = timedelta(hours=12)


class Refreshed(enum.StrEnum):
    """What came of refreshing a policy."""

    UNCHANGED = "unchanged"
    REPLACED = "replaced"
    REMOVED = "removed"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class _Record:
    """@ivar id: Empty: there is none."""

    id: str


class _Shared:
    """One look-up, and who waits for it."""

    def __init__(self) -> None:
        self.finding: Deferred[StsFound] | None = None
        self.waiters: list[Deferred[StsFound]] = []


@implementer(IPolicies)
class Policies:
    """The policies of all domains, kept in a store that other processes use too."""

    _log = Logger()

    def __init__(
        self, *, resolver: IResolver, store: IPolicyStore, fetch: Fetch, clock: IReactorTime
    ) -> None:
        self._resolver = resolver
        self._store = store
        self._fetch = fetch
        self._clock = clock
        self._under_way: dict[Domain, _Shared] = {}

    def now(self) -> datetime:
        """Aware, UTC."""
        return datetime.fromtimestamp(self._clock.seconds(), UTC)

    # -- for mail --

    def policy_for(self, domain: Domain) -> Deferred[StsFound]:
        """See L{IPolicies.policy_for}."""
        shared = self._under_way.get(domain)
        is_first = shared is None
        if shared is None:
            shared = self._under_way[domain] = _Shared()
        waiter: Deferred[StsFound] = Deferred(lambda waiter: self._leave(domain, shared, waiter))
        shared.waiters.append(waiter)
        if is_first:
            shared.finding = Deferred.fromCoroutine(self._find(domain))
            _ = shared.finding.addBoth(self._tell, domain, shared)
        return waiter

    def _leave(self, domain: Domain, shared: _Shared, waiter: Deferred[StsFound]) -> None:
        """One waits no more; the last one ends the work."""
        shared.waiters.remove(waiter)
        if self._under_way.get(domain) is not shared or shared.waiters:
            return
        del self._under_way[domain]
        if shared.finding is not None:
            shared.finding.cancel()

    def _tell(self, outcome: StsFound | Thrown, domain: Domain, shared: _Shared) -> None:
        if self._under_way.get(domain) is shared:
            del self._under_way[domain]
        while shared.waiters:
            waiter = shared.waiters.pop(0)
            if isinstance(outcome, Thrown):
                waiter.errback(outcome)
            else:
                waiter.callback(outcome)

    async def _find(self, domain: Domain) -> StsFound:
        try:
            known = await self._store.known(domain)
        except StorageUnavailable as error:
            return StsFound(None, reason=f"the store: {error}", temporary=True)
        kept = self._counting(known)
        found = await self._found(domain, known, kept)
        if kept is not None and found.policy is kept.policy:
            await self._note_use(domain, known)
        return found

    def _counting(self, known: Known) -> Kept | None:
        """The policy that is kept, if its time is not over."""
        kept = known.kept
        return kept if kept is not None and self.now() < kept.valid_until else None

    async def _found(self, domain: Domain, known: Known, kept: Kept | None) -> StsFound:
        policy = kept.policy if kept else None
        try:
            record = await self._record(domain)
        except LookupFailed as error:
            # Whether there is a policy is what an attacker might want to hide.
            return StsFound(policy, reason=f"DNS: {error}", temporary=policy is None)
        if isinstance(record, Failure):
            return StsFound(policy, record.type.value, record.reason)
        if not record.id:
            return StsFound(policy)
        if kept is not None and kept.record_id == record.id:
            return StsFound(policy, record_id=record.id)
        failure = self._recent_failure(known, is_kept=kept is not None)
        is_back_off = failure is not None
        if failure is None:
            time_limit = _REFETCH if kept else _FETCH
            fetched = await self._fetch_and_keep(domain, record.id, time_limit, stands_in=kept)
            if isinstance(fetched, Policy):
                return StsFound(fetched, record_id=record.id)
            failure = fetched
        return StsFound(
            policy,
            failure.type.value,
            failure.reason,
            record_id=record.id,
            is_back_off=is_back_off,
        )

    async def _record(self, domain: Domain) -> _Record | Failure:
        """@raise LookupFailed: The DNS does not say."""
        name = record_name(domain)
        if len(name) > MAXIMUM_DOMAIN:
            return _Record("")
        answer = await self._resolver.lookup(Question(name, RRType.TXT))
        try:
            return _Record(parse_record(answer.records) or "")
        except InvalidRecord as error:
            return Failure(ResultType.INVALID, str(error))

    def _recent_failure(self, known: Known, *, is_kept: bool) -> Failure | None:
        """Of a fetch that is not to be tried again yet."""
        if known.failure is None or known.failed_at is None:
            return None
        pause = _REFETCH_PAUSE if is_kept else _PAUSE
        # A failure in the future is from before the clock was set back.
        is_recent = timedelta() <= self.now() - known.failed_at < pause
        return known.failure if is_recent else None

    async def _fetch_and_keep(
        self, domain: Domain, record_id: str, time_limit: timedelta, *, stands_in: Kept | None
    ) -> Policy | Failure:
        began = self.now()
        fetched = await self._fetch(domain, time_limit)
        if isinstance(fetched, Policy):
            kept = Kept(fetched, record_id, began, began + fetched.max_age)
            self._log.info(
                "the MTA-STS policy of {domain} is now {mode}, for {age}, id {id}",
                domain=domain.ascii,
                mode=fetched.mode.value,
                age=str(fetched.max_age),
                id=record_id,
            )
            await self._write(self._store.keep(domain, kept))
        else:
            text = "the MTA-STS policy of {domain} cannot be fetched ({type}): {reason}; {then}"
            then = "mail goes as if there were none"
            if stands_in is not None:
                then = f"the one of {stands_in.fetched:%Y-%m-%d %H:%M} UTC still counts"
            self._log.warn(
                text,
                domain=domain.ascii,
                type=fetched.type.value,
                reason=fetched.reason,
                then=then,
            )
            await self._write(self._store.keep_failure(domain, fetched, self.now()))
        return fetched

    async def _note_use(self, domain: Domain, known: Known) -> None:
        now = self.now()
        if known.used is None or not timedelta() <= now - known.used < _NOTE:
            await self._write(self._store.mark_used(domain, now))

    async def _write(self, writing: Awaitable[None]) -> None:
        """What cannot be kept is of use to the mail at hand all the same."""
        try:
            await writing
        except (StorageUnavailable, InsufficientStorage) as error:
            self._log.warn("what is known of MTA-STS cannot be kept: {error}", error=error)

    # -- between mails --

    async def refresh(self, domain: Domain) -> Refreshed:
        """
        See that a policy does not grow old unnoticed (Q-54).  RFC 8461 section 10.2.

        @raise StorageUnavailable: Nothing is known.
        """
        kept = (await self._store.known(domain)).kept
        if kept is None or timedelta() <= self.now() - kept.fetched < _FRESH:
            # Another process was faster.
            return Refreshed.UNCHANGED
        try:
            record = await self._record(domain)
        except LookupFailed:
            return Refreshed.FAILED
        if isinstance(record, Failure):
            return Refreshed.FAILED
        return await self._bring_up_to(domain, kept, record)

    async def _bring_up_to(self, domain: Domain, kept: Kept, record: _Record) -> Refreshed:
        now = self.now()
        if not record.id:
            if kept.policy.mode is Mode.NONE or kept.valid_until <= now:
                await self._store.remove(domain, kept)
                return Refreshed.REMOVED
            return Refreshed.UNCHANGED
        if record.id == kept.record_id:
            renewed = replace(kept, fetched=now, valid_until=now + kept.policy.max_age)
            await self._store.extend(domain, renewed)
            return Refreshed.UNCHANGED
        stands_in = kept if now < kept.valid_until else None
        fetched = await self._fetch_and_keep(domain, record.id, _REFETCH, stands_in=stands_in)
        return Refreshed.REPLACED if isinstance(fetched, Policy) else Refreshed.FAILED
