"""Policies fetched over HTTPS.  RFC 8461 section 3.3."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from twisted.internet.defer import CancelledError
from twisted.web.http_headers import Headers

from moxsmtp.https.client import Client, Ending, Request, in_words, is_untrusted
from moxsmtp.interfaces import IMetrics
from moxsmtp.mtasts.policy import LONGEST_POLICY, Policy, PolicyError, parse_policy, policy_url
from moxsmtp.mtasts.storage import Failure, ResultType
from moxsmtp.names import Domain

__all__ = ["Fetcher"]

_OK: Final = 200

_ENDINGS: Final = {
    Ending.LARGE: (ResultType.INVALID, f"it has more than {LONGEST_POLICY} octets"),
    Ending.BROKEN: (ResultType.FETCH_ERROR, "the connection was lost before its end"),
}


class Fetcher:
    """Asks the policy hosts of domains."""

    def __init__(self, client: Client, metrics: IMetrics, *, user_agent: str) -> None:
        """@param client: Its TLS has the hosts prove their names."""
        self._client = client
        self._metrics = metrics
        self._user_agent = user_agent

    async def fetch(self, domain: Domain, time_limit: timedelta) -> Policy | Failure:
        """The policy that C{domain} has now."""
        found = await self._fetch(domain, time_limit)
        result = found.type.value if isinstance(found, Failure) else "ok"
        self._metrics.count("moxsmtp_mtasts_fetches_total", result=result)
        return found

    async def _fetch(self, domain: Domain, time_limit: timedelta) -> Policy | Failure:
        request = Request(
            method="GET",
            url=policy_url(domain),
            headers=Headers({"User-Agent": [self._user_agent]}),
            time_limit=time_limit,
            kept=LONGEST_POLICY,
            read=LONGEST_POLICY,
        )
        try:
            answer = await self._client.call(request)
        except CancelledError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever keeps it from us is the result
            untrusted = is_untrusted(error)
            kind = ResultType.UNTRUSTED if untrusted else ResultType.FETCH_ERROR
            return Failure(kind, in_words(error))
        # Redirects are statuses as any other.
        if answer.code != _OK:
            return Failure(ResultType.FETCH_ERROR, f"HTTP status {answer.code}, not 200")
        return _read(answer.body, answer.ending)


def _read(body: bytes, ending: Ending) -> Policy | Failure:
    # Where only the end of the connection tells the end, a line that is cut could
    # read like a whole one; lines that are missing make no policy weaker.
    if ending is Ending.OPEN and not body.endswith(b"\n"):
        ending = Ending.BROKEN
    if ending in _ENDINGS:
        return Failure(*_ENDINGS[ending])
    try:
        return parse_policy(body.decode("utf-8"))
    except UnicodeDecodeError:
        return Failure(ResultType.INVALID, "it is not UTF-8")
    except PolicyError as error:
        return Failure(ResultType.INVALID, str(error))
