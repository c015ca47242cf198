"""Many rows by one statement: their numbers are listed in a parameter, as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from sqlalchemy import (
    JSON,
    BigInteger,
    BindParameter,
    Column,
    ColumnElement,
    Select,
    bindparam,
    cast,
    column,
    func,
    select,
)

__all__ = ["LISTED", "listed", "listing", "lock_listed"]

#: The parameter.
LISTED: Final = "listed"


def listed(numbers: Column[Any]) -> Mapping[str, ColumnElement[bool]]:
    """
    @return: By dialect, that a column holds one of the listed numbers.  PostgreSQL locks
        the rows in their order, so that two who change many never wait for each other.
    """
    parameter: BindParameter[str] = bindparam(LISTED)
    return {
        "sqlite": numbers.in_(select(column("value")).select_from(func.json_each(parameter))),
        "postgresql": numbers.in_(lock_listed(numbers)),
    }


def lock_listed(numbers: Column[Any]) -> Select[Any]:
    """@return: For PostgreSQL: the listed rows' numbers, each row locked, in their order."""
    parameter: BindParameter[str] = bindparam(LISTED)
    one = func.json_array_elements_text(cast(parameter, JSON)).table_valued("value")
    among = numbers.in_(select(cast(one.c.value, BigInteger)))
    return select(numbers).where(among).order_by(numbers).with_for_update()


def listing(numbers: Iterable[int]) -> Mapping[str, str]:
    """The parameter's value."""
    return {LISTED: json.dumps(list(numbers))}
