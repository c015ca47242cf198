"""
What deliveries came to as regards TLS, by day, for reports on it (Q-86).

A delivery's results are kept in memory first, where those of a busy domain
become one, and written every few seconds: they are sums, of which a crash may
cost the latest.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Final

from sqlalchemy import bindparam, delete, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql.expression import Executable
from twisted.logger import Logger

from moxsmtp.store.columns import write_text
from moxsmtp.store.database import Database
from moxsmtp.store.schema import tls_result
from moxsmtp.store.transaction import Transaction
from moxsmtp.tlsrpt import PolicyResult, TLSResult, merged, read_results, write_results

__all__ = ["DayOfResults", "TLSResults"]

#: Results that wait to be written; what is beyond is lost, which takes a
#: database that is away and thousands of domains.
_MOST_WAITING: Final = 20_000

#: Written in one transaction, for others wait meanwhile.
_AT_ONCE: Final = 200

_EPOCH: Final = date(1970, 1, 1)

_Insert = sqlite.Insert | postgresql.Insert

_Key = tuple[str, int, str]

_KEYS: Final = ("policy_domain", "day", "recipient_domain")


def _make(insert: _Insert) -> Executable:
    return insert.values(
        **{name: bindparam(name) for name in _KEYS},
        is_host=bindparam("is_host"),
        send_report=0,
        results="[]",
    ).on_conflict_do_nothing()


_MAKE: Final[Mapping[str, Executable]] = {
    "sqlite": _make(sqlite.insert(tls_result)),
    "postgresql": _make(postgresql.insert(tls_result)),
}
_here = tuple(tls_result.c[name] == bindparam(f"the_{name}") for name in _KEYS)
_LOCK: Final = (
    select(tls_result.c.send_report, tls_result.c.results).where(*_here).with_for_update()
)
_WRITE: Final = (
    update(tls_result)
    .where(*_here)
    .values(send_report=bindparam("send_report"), results=bindparam("results"))
)
_OF_DAY: Final = (
    select(tls_result)
    .where(tls_result.c.day == bindparam("day"))
    .order_by(tls_result.c.is_host, tls_result.c.policy_domain, tls_result.c.recipient_domain)
)
_REMOVE: Final = delete(tls_result).where(tls_result.c.day < bindparam("day"))


@dataclass(frozen=True, slots=True)
class DayOfResults:
    """
    A day of one policy domain and one recipient domain (Q-86).

    @ivar is_host: C{policy_domain} is a host's.
    @ivar send_report: A report is due on it.
    """

    policy_domain: str
    recipient_domain: str
    is_host: bool
    send_report: bool
    results: tuple[PolicyResult, ...]


class TLSResults:
    """Adds up results."""

    _log = Logger()

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: dict[_Key, DayOfResults] = {}

    def note(self, results: Iterable[TLSResult], at: datetime) -> None:
        """
        Put down what an attempt came to.

        @param at: Of which day, UTC, it is.
        """
        day = _number(at.astimezone(UTC).date())
        for each in results:
            key = each.policy_domain, day, each.recipient_domain
            if key in self._waiting or len(self._waiting) < _MOST_WAITING:
                new = DayOfResults(
                    each.policy_domain,
                    each.recipient_domain,
                    each.is_host,
                    each.send_report,
                    (each.result,),
                )
                self._waiting[key] = _sum(self._waiting.get(key), new)

    async def flush(self) -> None:
        """
        Write what waits.

        @raise StorageUnavailable: The database is away; it goes on waiting.
        """
        while self._waiting:
            # In one order everywhere: two processes never wait for each other.
            keys = sorted(self._waiting)[:_AT_ONCE]
            batch = {key: self._waiting.pop(key) for key in keys}
            try:
                await self._database.transact(lambda tx, batch=batch: _add(tx, batch))  # type: ignore[misc]  # mypy knows no default of a lambda
            except BaseException:
                for key, past in batch.items():
                    self._waiting[key] = _sum(past, self._waiting.get(key))
                raise

    async def of_day(self, day: date) -> Sequence[DayOfResults]:
        """All of one day that has been written, of recipient domains first."""
        parameters = {"day": _number(day)}
        return await self._database.read(
            lambda tx: [_read(row) for row in tx.execute(_OF_DAY, parameters)]
        )

    async def remove_before(self, day: date) -> int:
        """Forget older ones; reports on them come too late.  @return: How many."""

        def work(tx: Transaction) -> int:
            tx.execute(_REMOVE, {"day": _number(day)})
            return tx.changed

        return await self._database.transact(work)


def _add(tx: Transaction, batch: Mapping[_Key, DayOfResults]) -> None:
    for key, new in batch.items():
        named = dict(zip(_KEYS, key, strict=True))
        the = {f"the_{name}": value for name, value in named.items()}
        tx.execute(_MAKE[tx.dialect], {**named, "is_host": int(new.is_host)})
        ((send_report, results),) = tx.execute(_LOCK, the)
        total = merged(_read_kept(results), new.results)
        tx.execute(
            _WRITE,
            {
                **the,
                "send_report": int(bool(send_report) or new.send_report),
                "results": write_text(write_results(total)),
            },
        )


def _sum(past: DayOfResults | None, new: DayOfResults | None) -> DayOfResults:
    """Once a report is due, it stays so (Q-86)."""
    both = [each for each in (past, new) if each is not None]
    first = both[0]
    return DayOfResults(
        first.policy_domain,
        first.recipient_domain,
        first.is_host,
        any(each.send_report for each in both),
        merged((), (result for each in both for result in each.results)),
    )


def _read_kept(text: str) -> tuple[PolicyResult, ...]:
    """What cannot be read is begun anew: a sum is not worth a failure each time."""
    try:
        return read_results(text)
    except ValueError:
        return ()


def _read(row: Any) -> DayOfResults:
    return DayOfResults(
        row.policy_domain,
        row.recipient_domain,
        bool(row.is_host),
        bool(row.send_report),
        _read_kept(row.results),
    )


def _number(day: date) -> int:
    """Days since 1970."""
    return (day - _EPOCH).days
