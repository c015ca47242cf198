"""
One call of a webhook over HTTP (Q-73).  RFC 9110 section 9.3.3.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.web.http_headers import Headers

from moxsmtp.https.addresses import AddressPolicy
from moxsmtp.https.client import Client, Request, in_words
from moxsmtp.https.endpoint import IReactorTCPTime, TLSFor
from moxsmtp.interfaces import IResolver
from moxsmtp.queue.job import Hook, HookResult
from moxsmtp.webhooks.settings import WebhookSettings
from moxsmtp.webhooks.signing import signature_headers

__all__ = ["Poster"]

#: Octets of an answer that are kept.
_KEPT: Final = 512

#: Octets of an answer that are read at all, so that the connection may be used again.
_READ: Final = 64 * 1024


class Poster:
    """Calls webhooks."""

    def __init__(
        self,
        reactor: IReactorTCPTime,
        resolver: IResolver,
        tls_for: TLSFor,
        settings: WebhookSettings,
        *,
        user_agent: str,
        allow_loopback: bool,
    ) -> None:
        """
        @param tls_for: TLS that proves the name of the host given.
        @param allow_loopback: Whether this machine itself may be called.
        """
        self._clock: IReactorTime = reactor
        self._limit = settings.time_limit
        self._user_agent = user_agent
        policy = AddressPolicy(settings.allow_private, allow_loopback=allow_loopback)
        self._client = Client(reactor, resolver, tls_for, policy)

    def close(self) -> Deferred[None]:
        """Let go of idle connections."""
        return self._client.close()

    async def post(self, hook: Hook) -> HookResult:
        """
        Call once.  Only status 200 is a success; redirects are not followed.

        @param hook: Its C{attempts} include this call.
        """
        start = datetime.fromtimestamp(self._clock.seconds(), UTC)
        code, error, kept = 0, "", b""
        try:
            answer = await self._client.call(self._request(hook))
        except CancelledError:
            raise
        except Exception as failure:  # noqa: BLE001 - whatever keeps a call from success is its result
            error = in_words(failure)
        else:
            # A body that is cut does not change what the status said.
            code, kept = answer.code, answer.body
        if code and code != 200:
            error = f"HTTP status {code}, not 200"
        return HookResult(
            start=start,
            duration=datetime.fromtimestamp(self._clock.seconds(), UTC) - start,
            url=hook.url,
            success=code == 200,
            code=code,
            error=error,
            response=_readable(kept, hook.authorization),
        )

    def _request(self, hook: Hook) -> Request:
        return Request(
            method="POST",
            url=hook.url,
            headers=self._headers(hook),
            body=hook.payload,
            time_limit=self._limit,
            kept=_KEPT,
            read=_READ,
        )

    def _headers(self, hook: Hook) -> Headers:
        headers = Headers(
            {
                "Content-Type": ["application/json; charset=utf-8"],
                "User-Agent": [self._user_agent],
                "X-Mox-Webhook-ID": [str(hook.id)],
                "X-Mox-Webhook-Attempt": [str(hook.attempts)],
            }
        )
        now = datetime.fromtimestamp(self._clock.seconds(), UTC)
        for name, value in signature_headers(hook, now).items():
            headers.addRawHeader(name, value)
        if hook.authorization:
            headers.addRawHeader("Authorization", hook.authorization)
        return headers


def _readable(kept: bytes, authorization: str) -> str:
    """An answer as text.  A server for trying things out may repeat what it was sent."""
    text = kept.decode("utf-8", "replace")
    return text.replace(authorization, "***") if authorization else text
