"""
One server looked at by itself: does it answer, how fast, and does it validate?
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from twisted.internet.defer import Deferred, TimeoutError  # noqa: A004 - what addTimeout raises

from moxsmtp.dns.records import LookupFailed, Question
from moxsmtp.dns.settings import ResolverSettings, Upstream
from moxsmtp.dns.upstream import Reactor, Server
from moxsmtp.dns.wire import Response, question_section

__all__ = ["Probe", "probe"]


@dataclass(frozen=True, slots=True)
class Probe:
    """
    What came of asking one server.

    @ivar answers: It said something, be it an error.
    @ivar has_ad: It says that it has validated the answer, believed or not.
    @ivar seconds: Until it answered, or until it was given up.
    @ivar problem: Why there is no answer; empty if there is one.
    """

    answers: bool
    has_ad: bool
    seconds: float
    problem: str = ""


async def probe(
    upstream: Upstream,
    question: Question,
    *,
    reactor: Reactor,
    settings: ResolverSettings,
    randbelow: Callable[[int], int],
) -> Probe:
    """
    Ask one server, as often and as long as a look-up would.

    @raise ValueError: The name cannot be asked for.
    """
    section = question_section(question)
    server = Server(replace(upstream, trust_ad=True), reactor, randbelow)
    begun = reactor.seconds()
    problem = ""
    try:
        for _ in range(max(1, settings.attempts)):
            begun = reactor.seconds()
            try:
                said = await _ask(server, question, section, reactor, settings)
            except LookupFailed as error:
                problem = str(error)
                continue
            has_ad = said.answer is not None and said.answer.authentic
            problem = "" if said.answer else said.failure or "truncated over TCP"
            return Probe(True, has_ad, reactor.seconds() - begun, problem)
        return Probe(False, False, reactor.seconds() - begun, problem)
    finally:
        for closing in server.close():
            await closing


async def _ask(
    server: Server,
    question: Question,
    section: bytes,
    reactor: Reactor,
    settings: ResolverSettings,
) -> Response:
    limit = settings.time_limit.total_seconds()

    def limited(asking: Deferred[Response]) -> Deferred[Response]:
        return asking.addTimeout(limit, reactor)  # type: ignore[arg-type]  # as much of it as is used

    try:
        said = await limited(server.ask(question, section))
        if said.truncated:
            said = await limited(server.ask_stream(question, section, limit))
    except TimeoutError:
        raise LookupFailed(f"no answer within {limit:g} s") from None
    return said
