"""
What monitors ask over HTTP: C{/metrics}, C{/healthz}, C{/readyz}.

No credentials are asked for: the listener belongs on an address that only
monitors reach.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any

from twisted.internet import defer
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web import http
from twisted.web.http import INTERNAL_SERVER_ERROR, SERVICE_UNAVAILABLE
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

__all__ = ["Check", "monitoring_site"]

#: Answers L{None} if all is well, else says what is wrong in a few words.
Check = Callable[[], Awaitable[str | None]]

#: Seconds a check may take before it counts as failed.
_PATIENCE = 5

_log = Logger()


class _Page(Resource):
    """One that is made anew at each request, and has to be waited for."""

    isLeaf = True

    def __init__(self, answer: Callable[[Request], Coroutine[Any, Any, None]]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # twisted.web is not annotated
        self._answer = answer

    def render_GET(self, request: Request) -> int:
        answering = Deferred.fromCoroutine(self._answer(request))
        _ = request.notifyFinish().addErrback(lambda _: answering.cancel())
        # Cancelled: the client went away.  Anything else is a bug.
        _ = answering.addErrback(_log_failure)
        return NOT_DONE_YET


class _Text:
    """What a function says."""

    def __init__(self, content_type: bytes, text: Callable[[], Awaitable[bytes]]) -> None:
        self._content_type = content_type
        self._text = text

    async def answer(self, request: Request) -> None:
        text = await self._text()
        request.setHeader(b"content-type", self._content_type)
        request.setHeader(b"content-length", b"%d" % len(text))
        request.write(text)
        request.finish()


class _Ready:
    """200 if every check is content, else 503 with what is wrong, a line each."""

    def __init__(self, checks: Mapping[str, Check], clock: IReactorTime) -> None:
        self._checks = checks
        self._clock = clock

    async def answer(self, request: Request) -> None:
        asked = [Deferred.fromCoroutine(self._verdict(name)) for name in self._checks]
        try:
            wrong = [line for verdict in asked if (line := await verdict)]
        finally:
            for verdict in asked:
                verdict.cancel()
        if wrong:
            request.setResponseCode(SERVICE_UNAVAILABLE)
        request.setHeader(b"content-type", b"text/plain; charset=utf-8")
        request.write("".join(f"{line}\n" for line in wrong or ["ready"]).encode())
        request.finish()

    async def _verdict(self, name: str) -> str:
        asked = Deferred.fromCoroutine(_awaited(self._checks[name]))
        try:
            trouble = await asked.addTimeout(_PATIENCE, self._clock)
        except defer.TimeoutError:
            trouble = "no answer"
        except CancelledError:
            raise
        except Exception:  # noqa: BLE001 - a check with a bug is no sign of health
            _log.failure("the readiness check {name} is broken", name=name)
            trouble = "the check failed"
        return f"{name}: {trouble}" if trouble else ""


async def _awaited(check: Check) -> str | None:
    return await check()


async def _alive() -> bytes:
    return b"alive\n"


def _log_failure(failure: Failure) -> None:
    if failure.check(CancelledError) is None:
        _log.failure("a page for monitors is broken", failure)


class _Site(Site):
    """Answers without the traces and the noise that the framework would add."""

    noisy = False
    displayTracebacks = False

    def log(self, request: http.Request) -> None:
        """Monitors ask every few seconds; that is not worth a line."""
        if request.code >= INTERNAL_SERVER_ERROR:
            _log.debug("{path} answered {code}", path=request.path, code=request.code)


def monitoring_site(
    *,
    exposition: Callable[[], Awaitable[bytes]],
    checks: Mapping[str, Check],
    clock: IReactorTime,
) -> Site:
    """
    The pages.

    @param exposition: The text of C{/metrics}.
    @param checks: By name, what C{/readyz} asks.
    """
    root = Resource()
    exposed = _Text(b"text/plain; version=0.0.4; charset=utf-8", exposition)
    root.putChild(b"metrics", _Page(exposed.answer))
    root.putChild(b"healthz", _Page(_Text(b"text/plain; charset=utf-8", _alive).answer))
    root.putChild(b"readyz", _Page(_Ready(checks, clock).answer))
    return _Site(root, timeout=60)  # type: ignore[no-untyped-call]  # twisted.web is not annotated
