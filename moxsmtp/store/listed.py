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

__all__ = ["LISTED", "among", "listed", "listing", "lock_listed"]

#: The parameter.
LISTED: Final = "listed"


def among(numbers: Column[Any]) -> Mapping[str, ColumnElement[bool]]:
    """@return: By dialect, that a column holds one of the listed numbers."""
    parameter: BindParameter[str] = bindparam(LISTED)
    one = func.json_array_elements_text(cast(parameter, JSON)).table_valued("value")
    return {
        "sqlite": numbers.in_(select(column("value")).select_from(func.json_each(parameter))),
        "postgresql": numbers.in_(select(cast(one.c.value, BigInteger))),
    }


def listed(numbers: Column[Any]) -> Mapping[str, ColumnElement[bool]]:
    """
    As L{among}, for whoever changes the rows: PostgreSQL locks them in their order, so
    that two who change many never wait for each other.
    """
    return {**among(numbers), "postgresql": numbers.in_(lock_listed(numbers))}


def lock_listed(numbers: Column[Any]) -> Select[Any]:
    """@return: For PostgreSQL: the listed rows' numbers, each row locked, in their order."""
    found = select(numbers).where(among(numbers)["postgresql"])
    return found.order_by(numbers).with_for_update()


def listing(numbers: Iterable[int]) -> Mapping[str, str]:
    """The parameter's value."""
    return {LISTED: json.dumps(list(numbers))}
