"""MTA-STS policies of other domains (Q-53, Q-54)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import and_, bindparam, case, delete, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql.expression import Executable

from moxsmtp.mtasts.policy import parse_policy
from moxsmtp.mtasts.storage import Failure, Kept, Known, ResultType
from moxsmtp.names import Domain
from moxsmtp.store.columns import read_time, write_text, write_time
from moxsmtp.store.database import Database
from moxsmtp.store.schema import sts_policy
from moxsmtp.store.transaction import Transaction

__all__ = ["StsPolicies"]

_SECOND: Final = timedelta(seconds=1)

#: Of one look-up; C{domain} is known.
_READ: Final = (
    "record_id", "policy", "fetched", "valid_until", "used", "failed_at", "failure",
)  # fmt: skip

#: What a fetch replaces.
_FETCHED: Final = ("record_id", "policy", "mode", "max_age", "fetched", "valid_until")

#: What a failed one does.
_FAILED: Final = ("failed_at", "failure")


_Insert = sqlite.Insert | postgresql.Insert


def _keep(insert: _Insert) -> Executable:
    """A policy is fetched when it is to be used, so that it counts as used then."""
    new = insert.values({name: bindparam(name) for name in ("domain", *_FETCHED, *_FAILED, "used")})
    used = case((sts_policy.c.used == 0, new.excluded.used), else_=sts_policy.c.used)
    replaced = {name: new.excluded[name] for name in (*_FETCHED, *_FAILED)}
    return new.on_conflict_do_update(index_elements=["domain"], set_={**replaced, "used": used})


def _keep_failure(insert: _Insert) -> Executable:
    new = insert.values({name: bindparam(name) for name in ("domain", *_FAILED)})
    return new.on_conflict_do_update(
        index_elements=["domain"], set_={name: new.excluded[name] for name in _FAILED}
    )


_KEEP: Final[Mapping[str, Executable]] = {
    "sqlite": _keep(sqlite.insert(sts_policy)),
    "postgresql": _keep(postgresql.insert(sts_policy)),
}
_KEEP_FAILURE: Final[Mapping[str, Executable]] = {
    "sqlite": _keep_failure(sqlite.insert(sts_policy)),
    "postgresql": _keep_failure(postgresql.insert(sts_policy)),
}

_HERE: Final = sts_policy.c.domain == bindparam("the_domain")

#: That policy, and no other that has been kept since it was read.
_SAME: Final = and_(
    _HERE,
    sts_policy.c.record_id == bindparam("the_record"),
    sts_policy.c.policy == bindparam("the_policy"),
)

_KNOWN: Final = select(*(sts_policy.c[name] for name in _READ)).where(_HERE)
_MARK_USED: Final = update(sts_policy).where(_HERE).values(used=bindparam("when"))
_EXTEND: Final = (
    update(sts_policy)
    .where(_SAME)
    .values(
        fetched=bindparam("when"),
        valid_until=bindparam("until"),
        failed_at=0,
        failure="",
    )
)
_DUE: Final = select(sts_policy.c.domain).where(
    sts_policy.c.policy != "", sts_policy.c.fetched < bindparam("before")
)
_REMOVE: Final = delete(sts_policy).where(_SAME)
_REMOVE_OLD: Final = delete(sts_policy).where(
    or_(
        and_(sts_policy.c.policy == "", sts_policy.c.failed_at < bindparam("failed")),
        and_(
            sts_policy.c.policy != "",
            sts_policy.c.used < bindparam("unused"),
        ),
    )
)


class StsPolicies:
    """All of them; see L{moxsmtp.mtasts.storage.IPolicyStore}."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def known(self, domain: Domain) -> Known:
        """What is kept of C{domain}."""
        rows = await self._database.read(
            lambda tx: tx.execute(_KNOWN, {"the_domain": domain.ascii})
        )
        return _known(rows[0]) if rows else Known()

    async def keep(self, domain: Domain, kept: Kept) -> None:
        """Instead of what there was; the last fetch has not failed."""
        parameters = {
            "domain": domain.ascii,
            "record_id": kept.record_id,
            "policy": kept.policy.text,
            "mode": kept.policy.mode.value,
            "max_age": kept.policy.max_age // _SECOND,
            "fetched": write_time(kept.fetched),
            "valid_until": write_time(kept.valid_until),
            "used": write_time(kept.fetched),
            "failed_at": 0,
            "failure": "",
        }
        await self._execute_of(_KEEP, parameters)

    async def keep_failure(self, domain: Domain, failure: Failure, when: datetime) -> None:
        """A fetch failed.  A policy that is there stays."""
        parameters = {
            "domain": domain.ascii,
            "failed_at": write_time(when),
            # No type has a space in it.
            "failure": f"{failure.type.value} {write_text(failure.reason)}",
        }
        await self._execute_of(_KEEP_FAILURE, parameters)

    async def mark_used(self, domain: Domain, when: datetime) -> None:
        """Mail went by the policy."""
        await self._execute(_MARK_USED, {"the_domain": domain.ascii, "when": write_time(when)})

    async def extend(self, domain: Domain, kept: Kept) -> None:
        """It was found to be unchanged; nothing is done if another is there by now."""
        times = {"when": write_time(kept.fetched), "until": write_time(kept.valid_until)}
        await self._execute(_EXTEND, {**_same(domain, kept), **times})

    async def due(self, before: datetime) -> Sequence[Domain]:
        """Whose policies were last fetched or found unchanged before that."""
        parameters = {"before": write_time(before)}
        rows = await self._database.read(lambda tx: tx.execute(_DUE, parameters))
        return [Domain(row.domain) for row in rows]

    async def remove(self, domain: Domain, kept: Kept) -> None:
        """Forget it, unless another is there by now."""
        await self._execute(_REMOVE, _same(domain, kept))

    async def remove_old(self, *, unused: datetime, failed: datetime) -> int:
        """Forget what nobody needs.  @return: How many."""
        parameters = {"unused": write_time(unused), "failed": write_time(failed)}
        return await self._execute(_REMOVE_OLD, parameters)

    async def _execute(self, statement: Executable, parameters: Mapping[str, object]) -> int:
        def work(tx: Transaction) -> int:
            tx.execute(statement, parameters)
            return tx.changed

        return await self._database.transact(work)

    async def _execute_of(
        self, statements: Mapping[str, Executable], parameters: Mapping[str, object]
    ) -> None:
        await self._database.transact(lambda tx: tx.execute(statements[tx.dialect], parameters))


def _same(domain: Domain, kept: Kept) -> Mapping[str, object]:
    return {
        "the_domain": domain.ascii,
        "the_record": kept.record_id,
        "the_policy": kept.policy.text,
    }


def _known(row: Any) -> Known:
    kept = None
    if row.policy:
        kept = Kept(
            policy=parse_policy(row.policy),
            record_id=row.record_id,
            fetched=read_time(row.fetched),
            valid_until=read_time(row.valid_until),
        )
    kind, _, reason = row.failure.partition(" ")
    return Known(
        kept=kept,
        used=read_time(row.used) if row.used else None,
        failure=Failure(ResultType(kind), reason) if kind else None,
        failed_at=read_time(row.failed_at) if row.failed_at else None,
    )
