"""
The stub resolver: asks the configured servers, keeps what they say.

It trusts a server's word on CNAMEs and, where the server is on this machine or
said to be trusted, on authenticity; recursion and validation are the server's.
RFC 1035 section 5.3.1, RFC 4035 section 4.9.3.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from typing import Any, Final

from twisted.internet.defer import (
    CancelledError,
    Deferred,
    DeferredList,
    fail,
    succeed,
)
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from moxsmtp.dns.cache import Cache
from moxsmtp.dns.records import Answer, LookupFailed, Question
from moxsmtp.dns.settings import ResolverSettings, Upstream
from moxsmtp.dns.sharing import Shared
from moxsmtp.dns.turns import Turns, site_of
from moxsmtp.dns.upstream import Reactor, Server
from moxsmtp.dns.wire import MOST_ALIASES, Response, question_section
from moxsmtp.interfaces import IOwnResolver
from moxsmtp.names import MAXIMUM_DOMAIN, Domain
from moxsmtp.time_limit import TimeLimit

__all__ = ["StubResolver"]

#: Look-ups under way at once; more wait for their turn.  One costs some 5 KiB, and
#: names that never answer hold theirs for ten seconds with the settings as they
#: come: 4096 take in 400 such names a second before anybody waits at all.
_MOST_LOOKUPS: Final = 4096

#: Of them, those for names of one site: a sixteenth, so that it takes as many
#: domains that never answer to keep others waiting.  A site that answers
#: within 50 ms is asked 5000 questions a second with so many.
_SHARE: Final = 256

#: Connections under way at once, each an open file, and those for one site.
_MOST_STREAMS: Final = 128
_STREAMS_SHARE: Final = 16

#: Seconds for which a server that kept silent is asked after the others.
_SILENCE: Final = 30.0


class _Failed(Exception):
    """One server gave no answer.  @ivar silent: It may be overloaded or dead: ask it again."""

    def __init__(self, text: str, *, silent: bool) -> None:
        super().__init__(text)
        self.silent = silent


@implementer(IOwnResolver)
class StubResolver:
    """
    Asks servers in order until one answers.

    A server that answers with an error is not asked again for the same
    look-up; one that is silent or refuses is, up to C{settings.attempts} times.
    """

    _log = Logger()

    def __init__(
        self,
        *,
        reactor: Reactor,
        servers: Sequence[Upstream],
        settings: ResolverSettings,
        randbelow: Callable[[int], int],
        is_public_suffix: Callable[[Domain], bool] = lambda _: False,
    ) -> None:
        """
        @param servers: See L{moxsmtp.dns.system.upstreams}.
        @param randbelow: Unpredictable numbers below a bound, such as
            C{secrets.randbelow}.
        @param is_public_suffix: Whether others register below a domain, so that
            names below it are not those of one site; without it, none is known.
        """
        self._reactor = reactor
        self._servers = [Server(upstream, reactor, randbelow) for upstream in servers]
        self._limit = settings.time_limit.total_seconds()
        self._limits = TimeLimit[Shared](reactor, self._limit, self._too_late)
        self._attempts = max(1, settings.attempts)
        self._cache = Cache(settings.cache)
        self._turns = Turns(reactor, most=_MOST_LOOKUPS, share=_SHARE, seconds=self._limit)
        self._streams = Turns(
            reactor, most=_MOST_STREAMS, share=_STREAMS_SHARE, seconds=self._limit
        )
        self._is_public_suffix = is_public_suffix
        self._under_way: dict[Question, Shared] = {}
        self._silent_since: dict[Server, float] = {}
        self._closed = False

    def lookup(self, question: Question) -> Deferred[Answer]:
        """See L{IResolver.lookup}."""
        now = self._reactor.seconds()
        known = self._cache.get(question, now)
        if known is not None:
            return fail(LookupFailed(known)) if isinstance(known, str) else succeed(known)
        if self._closed:
            return fail(LookupFailed("the resolver is closed"))
        shared = self._under_way.get(question)
        if shared is not None:
            return shared.waiter()
        shared = self._under_way[question] = Shared(self, question)
        waiter = shared.waiter()
        self._begin(shared, now)
        return waiter

    def close(self) -> Deferred[None]:
        """
        Fail what is under way, and everything later.

        @return: Fires when all sockets are closed.
        """
        self._closed = True
        self._cache.clear()
        for shared in list(self._under_way.values()):
            self._stop(shared)
            self._finish(None, shared)
        self._limits.close()
        closing = [closed for server in self._servers for closed in server.close()]
        return DeferredList(closing, consumeErrors=True).addCallback(lambda _: None)

    # -- who waits --

    def left(self, shared: Shared) -> None:
        """Nobody waits for it any more."""
        if self._under_way.get(shared.question) is shared:
            del self._under_way[shared.question]
            self._stop(shared)

    def _stop(self, shared: Shared) -> None:
        asking, shared.asking = shared.asking, None
        if asking is not None:
            asking.cancel()
        elif shared.socket is not None:
            self._limits.end(shared)
            shared.drop()
            self._turns.give(shared.site)

    def _finish(self, outcome: Answer | str | None, shared: Shared) -> None:
        """
        Tell all who wait, each by itself; whatever happened, nobody is left waiting.

        @param outcome: Why there is no answer, if there is none; L{None}: closed.
        """
        question = shared.question
        if self._under_way.get(question) is shared:
            del self._under_way[question]
        if outcome is not None and not self._closed:
            self._cache.put(question, outcome, self._reactor.seconds())
        while shared.waiters:
            waiter = shared.waiters.pop(0)
            if isinstance(outcome, Answer):
                waiter.callback(outcome)
            else:
                waiter.errback(LookupFailed(outcome or "the resolver is closed"))

    def _ended(self, outcome: Answer | Failure, shared: Shared) -> None:
        """What comes after the first query is over."""
        if not isinstance(outcome, Failure):
            self._finish(outcome, shared)
        elif outcome.check(CancelledError):
            # Closed, or nobody waits: that is nothing to be kept.
            self._finish(None, shared)
        else:
            self._finish(self._explained(outcome), shared)

    def _explained(self, failure: Failure) -> str:
        if failure.check(LookupFailed):
            return failure.getErrorMessage()
        self._log.failure("a look-up went wrong", failure)
        return "internal error"

    # -- the first query --

    def _begin(self, shared: Shared, now: float) -> None:
        question = shared.question
        try:
            shared.section = question_section(question)
        except ValueError as error:
            self._finish(_impossible(question, error), shared)
            return
        try:
            shared.site = self._site(question)
        except Exception:  # noqa: BLE001 - a bug in what was given fails the look-up, not who asks
            self._finish(self._explained(Failure()), shared)
            return
        shared.servers = self._in_order(now)
        if not shared.servers:
            self._finish(f"{question.type} of {question.name}: no DNS server", shared)
        elif self._turns.taken(shared.site):
            self._limits.begin(shared, now)
            try:
                shared.servers[0].send(shared)
            except Exception:  # noqa: BLE001 - as above; the turn is to be given back
                shared.drop()
                self._go_on(shared, fail())
        else:
            self._await(shared, self._ask_in_turn(shared))

    def heard(self, shared: Shared, said: Response) -> None:
        """The first server answered."""
        answer = said.answer
        if answer is None or said.is_partial:
            self._go_on(shared, succeed(said))
            return
        self._limits.end(shared)
        if self._silent_since:
            self._silent_since.pop(shared.servers[0], None)
        self._turns.give(shared.site)
        self._finish(answer, shared)

    def unheard(self, shared: Shared, why: str) -> None:
        """The first server does not answer."""
        self._go_on(shared, fail(LookupFailed(why)))

    def _too_late(self, shared: Shared) -> None:
        shared.drop()
        self.unheard(shared, f"no answer within {self._limit:g} s")

    def _go_on(self, shared: Shared, first: Deferred[Response]) -> None:
        self._limits.end(shared)
        self._await(shared, self._ask(shared, shared.servers, first))

    def _await(self, shared: Shared, rest: Coroutine[Deferred[Any], Any, Answer]) -> None:
        shared.asking = Deferred.fromCoroutine(rest)
        _ = shared.asking.addBoth(self._ended, shared)

    # -- what comes after it --

    async def _ask_in_turn(self, shared: Shared) -> Answer:
        await self._turns.take(shared.site)
        return await self._ask(shared, self._in_order(self._reactor.seconds()))

    async def _ask(
        self,
        shared: Shared,
        servers: Sequence[Server],
        first: Deferred[Response] | None = None,
    ) -> Answer:
        """
        Ask on.  Whoever calls has a turn, which is given back.

        @param first: What the first server said.
        """
        question = shared.question
        try:
            asked = self._ask_servers(question, shared.section, servers, first)
            answer, is_partial = await asked
            return await self._follow(question, answer) if is_partial else answer
        finally:
            self._turns.give(shared.site)

    def _in_order(self, now: float) -> Sequence[Server]:
        """The servers; those that kept silent of late come last."""
        silent = self._silent_since
        if not silent:
            return self._servers
        # No longer than that, where the clock was set back.
        return sorted(
            self._servers, key=lambda server: 0 <= now - silent.get(server, -_SILENCE) < _SILENCE
        )

    def _site(self, question: Question) -> str:
        # What is longer than a name may be ends like one.
        return site_of(question.name[-MAXIMUM_DOMAIN:], self._is_public_suffix)

    async def _follow(self, question: Question, answer: Answer) -> Answer:
        """Ask on where a reply ends with a CNAME, as those of simple servers do."""
        names = [question.name]
        told = [answer]
        is_partial = True
        while is_partial:
            name = told[-1].canonical_name
            if name in names or len(names) > MOST_ALIASES:
                raise LookupFailed(f"{question.type} of {question.name}: CNAME chain too long")
            names.append(name)
            following = Question(name, question.type)
            try:
                section = question_section(following)
            except ValueError as error:
                raise LookupFailed(_impossible(following, error)) from None
            servers = self._in_order(self._reactor.seconds())
            answer, is_partial = await self._ask_servers(following, section, servers)
            told.append(answer)
        return replace(
            answer,
            authentic=all(answer.authentic for answer in told),
            ttl=min(answer.ttl for answer in told),
            extended_errors=tuple(error for answer in told for error in answer.extended_errors),
        )

    async def _ask_servers(
        self,
        question: Question,
        section: bytes,
        servers: Sequence[Server],
        first: Deferred[Response] | None = None,
    ) -> tuple[Answer, bool]:
        """What one of them says, and whether that ends with a CNAME."""
        left = list(servers)
        errors: dict[str, str] = {}
        for _ in range(self._attempts):
            for server in tuple(left):
                asked, first = first or server.ask(question, section), None
                try:
                    return await self._ask_server(server, question, section, asked)
                except _Failed as failed:
                    errors[server.name] = str(failed)
                    if not failed.silent:
                        left.remove(server)
        told = "; ".join(f"{error} ({name})" for name, error in errors.items())
        raise LookupFailed(f"{question.type} of {question.name}: {told}")

    async def _ask_server(
        self, server: Server, question: Question, section: bytes, asked: Deferred[Response]
    ) -> tuple[Answer, bool]:
        said = await self._within(server, asked)
        if said.truncated:
            site = self._site(question)
            await self._streams.take(site)
            try:
                said = await self._within(server, server.ask_stream(question, section, self._limit))
            finally:
                self._streams.give(site)
        if said.answer is None:
            raise _Failed(said.failure or "truncated over TCP", silent=False)
        return said.answer, said.is_partial

    async def _within(self, server: Server, asking: Deferred[Response]) -> Response:
        """The response, or L{_Failed} once the time for it is over."""
        late = False

        def give_up() -> None:
            nonlocal late
            late = True
            asking.cancel()

        timer = self._reactor.callLater(self._limit, give_up)
        try:
            said = await asking
        except LookupFailed as error:
            self._mark_silent(server)
            raise _Failed(str(error), silent=True) from None
        except CancelledError:
            if not late:
                raise
            self._mark_silent(server)
            raise _Failed(f"no answer within {self._limit:g} s", silent=True) from None
        finally:
            if timer.active():
                timer.cancel()
        self._silent_since.pop(server, None)
        return said

    def _mark_silent(self, server: Server) -> None:
        self._silent_since[server] = self._reactor.seconds()


def _impossible(question: Question, error: ValueError) -> str:
    return f"{question.name[:255]} cannot be looked up: {error}"
