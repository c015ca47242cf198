"""
One host: a session that waits for a message, or a new one, and what becomes of
the message there.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from datetime import timedelta
from itertools import dropwhile
from typing import Final

from OpenSSL import SSL
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as TooSlow
from twisted.internet.error import ConnectError
from twisted.internet.error import TimeoutError as ConnectTimeout
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from moxsmtp.interfaces import ChannelBinding, IMetrics, RequireTLS
from moxsmtp.names import IPAddress
from moxsmtp.outbound.connection import ESMTPClient
from moxsmtp.outbound.content import Forms
from moxsmtp.outbound.dial import DIAL_LIMIT, share_of
from moxsmtp.outbound.progress import Progress
from moxsmtp.outbound.sessions import MOST_MESSAGES, Likeness, Session, Sessions
from moxsmtp.outbound.smarthost_terms import SETUP_LIMIT, transaction_limit
from moxsmtp.outbound.tls_policy import Demand
from moxsmtp.outbound.unreachable import Unreachable
from moxsmtp.outbound.ways import Target
from moxsmtp.queue.job import RemoteMTA
from moxsmtp.smtp.exchange import Exchange
from moxsmtp.smtp.mailing import Accepted, Fate, Refusal

__all__ = ["Visit", "Visits"]

_NO_TIME: Final = timedelta()

#: Hosts of which it is remembered that BDAT will not do.
_MOST_WITHOUT_CHUNKS: Final = 1000

#: What the replies to a message begin with, behind those of the opening.
_BEGINNINGS: Final = frozenset({"MAIL", "RSET"})


class Visit:
    """
    What came of one.

    @ivar word: For the metric (Q-91).
    @ivar session: The last one there was; L{None}: it came to none.
    @ivar is_new: It was made for this visit.
    @ivar errors: Of addresses that could not be connected to.
    @ivar is_last: Nothing follows on its session: with TLS is how the next message is to go.
    @ivar is_put_off: No connection may be made now (Q-93).
    """

    def __init__(self) -> None:
        self.word = "error"
        self.session: Session | None = None
        self.is_new = False
        self.errors: list[str] = []
        self.is_last = False
        self.is_put_off = False


class Visits:
    """Makes them."""

    _log = Logger()

    def __init__(
        self,
        *,
        clock: IReactorTime,
        sessions: Sessions,
        metrics: IMetrics,
        binding: Callable[[SSL.Connection], ChannelBinding | None] | None = None,
    ) -> None:
        """
        @param clock: One that nobody sets.
        @param binding: Ties a login to its TLS connection.
        """
        self._clock = clock
        self._sessions = sessions
        self._metrics = metrics
        self._binding = binding
        #: Hosts that announce CHUNKING, and do not know BDAT.
        self._without_chunks: OrderedDict[str, None] = OrderedDict()

    async def anew(
        self, visit: Visit, progress: Progress, target: Target, forms: Forms, *, began: float
    ) -> None:
        """
        Hand over what is left of C{progress}, as far as the host takes it, on a new session.

        @param began: When the host's addresses were asked for, in seconds.
        """
        session = await self._reached(visit, progress, target, began)
        if session is None:
            return
        await self._hand_over(visit, progress, target, session, forms)

    async def in_the_clear(
        self, visit: Visit, progress: Progress, target: Target, forms: Forms, failed: Session
    ) -> None:
        """Once more over a new connection without TLS, to the same address (Q-60)."""
        address = failed.likeness.address
        self._metrics.count("mox_queue_plaintext_fallback_total")
        if progress.batch.leader.require_tls is RequireTLS.NO:
            self._metrics.count("mox_queue_tlsrequiredno_ignored_total", ignored="badtls")
        self._log.info(
            "TLS with {host} failed, going on without: {error}",
            host=target.name,
            error=failed.client.exchange.tls_failed,
        )
        session = self._session(target, address, target.plain)
        error = await self._dial(session, target, DIAL_LIMIT)
        if error:
            visit.word = "temperror"
            progress.note(error)
            progress.refuse(Unreachable(permanent=False, status="4.1", error=error))
            return
        visit.is_new = visit.is_last = True
        await self._hand_over(visit, progress, target, session, forms)

    # -- a session

    async def again(self, visit: Visit, progress: Progress, target: Target, forms: Forms) -> bool:
        """
        Over a session that waits (Q-94).

        @return: False: there was none, or it had ended.
        """
        addresses = target.addresses
        if progress.batch.leader.dialed.get(target.name):
            # Which family has its turn is by what was tried before.
            addresses = tuple(each for each in addresses if each.version == addresses[0].version)
        session = self._sessions.take(
            [_likeness(target, address, target.demand) for address in addresses]
        )
        if session is None:
            return False
        progress.note(f"session with {target.name} ({session.likeness.address}) used again")
        await self._hand_over(visit, progress, target, session, forms)
        if not session.client.exchange.is_unheard:
            progress.note_dialed(target.name, session.likeness.address)
            return True
        progress.note("it had ended")
        return False

    async def _reached(
        self, visit: Visit, progress: Progress, target: Target, began: float
    ) -> Session | None:
        """The first address that can be connected to decides (Q-50)."""
        left = DIAL_LIMIT - (self._clock.seconds() - began)
        share = share_of(left, len(target.addresses))
        for address in target.addresses:
            session = self._session(target, address, target.demand)
            error = await self._dial(session, target, share)
            if not error:
                progress.note_dialed(target.name, address)
                progress.note(f"connected to {target.name} ({address}) port {target.port}")
                visit.is_new = True
                return session
            visit.word = "temperror"
            visit.errors.append(error)
            progress.note(error)
            progress.refuse(Unreachable(permanent=False, status="4.1", error=error))
        return None

    def _session(self, target: Target, address: IPAddress, demand: Demand) -> Session:
        security = target.security() if demand is target.demand else None
        client = ESMTPClient(
            exchange=Exchange(
                hostname=target.hostname,
                starttls=demand.starttls,
                login=target.login,
                chunking=target.name not in self._without_chunks,
            ),
            security=security,
            clock=self._clock,
            binding=self._binding if target.login is not None else None,
        )
        return Session(client, _likeness(target, address, demand), security=security)

    async def _dial(self, session: Session, target: Target, seconds: float) -> str:
        """@return: Why it cannot be connected to; empty if it is."""
        address = session.likeness.address
        result = "error"
        try:
            await target.connect(session.client, address, target.port, seconds)
            result = "ok"
        except CancelledError:
            result = "canceled"
            raise
        except ConnectTimeout:
            result = "timeout"
            return f"no connection to {target.name} ({address}) in time"
        except (ConnectError, OSError) as error:
            return f"no connection to {target.name} ({address}): {error}"
        finally:
            self._metrics.count("mox_queue_connection_total", result=result)
        return ""

    # -- a message

    async def _hand_over(
        self, visit: Visit, progress: Progress, target: Target, session: Session, forms: Forms
    ) -> None:
        """
        Fates are recorded, when this is cancelled those that are known; none
        where the message is to be handed over once more.
        """
        client, was_used = session.client, session.messages > 0
        visit.session = session
        session.messages += 1
        mailing = progress.mailing(require_tls=session.likeness.demand.require_tls)
        handing = client.deliver(
            mailing, progress.batch.leader.prefix, forms.content, forms.alternative
        )
        try:
            if target.is_limited:
                limit = transaction_limit(mailing.size) + (
                    SETUP_LIMIT if not was_used else _NO_TIME
                )
                timed = Deferred.fromCoroutine(handing)
                await timed.addTimeout(limit.total_seconds(), self._clock)
            else:
                await handing
        except TooSlow:
            visit.word = "timeout"
            late = Refusal(permanent=False, error="the server took too long", status="4.2")
            self._heed(progress, target, session, [fate or late for fate in client.exchange.fates])
            return
        except CancelledError:
            self._heed(progress, target, session, client.exchange.fates)
            raise
        if was_used and client.exchange.is_unheard:
            client.abort()
            return
        self._tell_security(session)
        if session.is_to_be_repeated:
            progress.note(f"TLS failed: {client.exchange.tls_failed}")
            visit.word = "temperror"
            client.leave()
            return
        fates = client.exchange.fates
        exchange = client.exchange
        if exchange.is_chunk_unknown:
            self._remember_without_chunks(target.name)
        if mailing.require_tls and exchange.is_open and not exchange.capabilities.require_tls:
            self._metrics.count("mox_queue_requiretls_unsupported_total", reason="norequiretls")
        self._heed(progress, target, session, fates)
        visit.word = "timeout" if client.is_late else _result(fates)

    def _remember_without_chunks(self, name: str) -> None:
        self._without_chunks[name] = None
        if len(self._without_chunks) > _MOST_WITHOUT_CHUNKS:
            self._without_chunks.popitem(last=False)

    def _heed(
        self, progress: Progress, target: Target, session: Session, fates: Sequence[Fate | None]
    ) -> None:
        client = session.client
        if session.security is not None and session.security.description and session.messages == 1:
            progress.note(f"TLS: {session.security.description}")
        heard = client.exchange.heard
        if session.messages > 1:
            # The opening stands in the trace of the first.
            heard = tuple(dropwhile(lambda each: each[0] not in _BEGINNINGS, heard))
        progress.note(*(f"{said}: {reply.text}" for said, reply in heard))
        if client.exchange.is_in_utf8:
            progress.note("sent in UTF-8, as the server takes 8BITMIME and SMTPUTF8")
        if client.exchange.was_refused_in_utf8:
            progress.note("sent in ASCII, as the server refused the form in UTF-8")
        remote = RemoteMTA(target.name, session.likeness.address)
        other_family = target.is_dual_stack and progress.batch.leader.attempts == 1
        progress.heed(fates, remote, other_family=other_family)

    def _tell_security(self, session: Session) -> None:
        """What came of STARTTLS, where it did not come to a handshake."""
        security, opening = session.security, session.client.exchange.opening
        if security is None or session.messages > 1:
            return
        security.announced = opening.announced
        if opening.starttls_refused:
            security.refused(opening.starttls_refused)
        elif opening.uses_tls:
            security.has_spoken()
        elif session.client.exchange.is_open and not opening.tls_begun:
            security.not_offered()

    def finish(self, visit: Visit, *, most: int = MOST_MESSAGES) -> None:
        """Let the session wait for another message, or end it."""
        if visit.session is not None:
            self._sessions.keep(visit.session, most=0 if visit.is_last else most)


def _likeness(target: Target, address: IPAddress, demand: Demand) -> Likeness:
    return Likeness(
        name=target.name,
        address=address,
        port=target.port,
        source=target.sources.towards(address),
        hostname=target.hostname,
        transport=target.transport,
        demand=demand,
    )


def _result(fates: Sequence[Fate | None]) -> str:
    """The word for the metric (Q-91)."""
    accepted = sum(isinstance(fate, Accepted) for fate in fates)
    if accepted:
        return "ok" if accepted == len(fates) else "okpartial"
    refusals = [fate for fate in fates if isinstance(fate, Refusal)]
    return "permerror" if all(refusal.permanent for refusal in refusals) else "temperror"
