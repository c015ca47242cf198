"""What time it is, for all who share a database."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final

from sqlalchemy import BigInteger, cast, extract, func, select

from moxsmtp.store.columns import write_time
from moxsmtp.store.transaction import Transaction

__all__ = ["Clock", "database_clock", "given_clock", "moved"]

Clock = Callable[[Transaction, datetime], int]
"""Microseconds since the epoch, in a transaction, where C{datetime} is the process's own time."""

_DATABASE_NOW: Final = select(
    cast(extract("epoch", func.clock_timestamp()) * 1_000_000, BigInteger)
)


def database_clock(tx: Transaction, now: datetime) -> int:
    """
    The database's clock on PostgreSQL, where several machines must agree; on
    SQLite there is but one machine, and its clock was given.
    """
    if tx.dialect != "postgresql":
        return write_time(now)
    ((microseconds,),) = tx.execute(_DATABASE_NOW)
    return int(microseconds)


def given_clock(_: Transaction, now: datetime) -> int:
    """The time as given, on any database."""
    return write_time(now)


def moved(time: datetime, now: datetime, moment: int) -> int:
    """
    What a process means by C{time}, where it is C{now}, for all others, where it
    is C{moment}: else one whose clock is a day behind would try again at once,
    and give up within seconds.
    """
    return moment + write_time(time) - write_time(now)
