"""
From a tree of plain values to the file's tables, checked by pydantic.

The settings are plain dataclasses that know nothing of files.  For each one a
C{TypedDict} with the same keys is made, in which durations, sizes and
addresses are what people write; what passes it builds the dataclass.
"""

from __future__ import annotations

import copy
import difflib
import enum
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass, replace
from datetime import timedelta
from functools import partial
from ipaddress import IPv4Network, IPv6Network
from typing import Annotated, Any, Final, NotRequired, Optional, cast

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    PlainValidator,
    Strict,
    TypeAdapter,
    ValidationError,
)
from pydantic_core import ErrorDetails
from typing_extensions import TypedDict

from moxsmtp.config import values
from moxsmtp.config.mistakes import KeyPath, Problem
from moxsmtp.config.tables import (
    AccountTable,
    DomainTable,
    FileTable,
    HostReportTable,
    ReportTable,
    RouteTable,
    SelectorTable,
)
from moxsmtp.dns.settings import Upstream
from moxsmtp.judge.limiters import LimitSettings
from moxsmtp.names import Domain, IPAddress
from moxsmtp.queue.shaping import ShapingRule
from moxsmtp.receive.relay_settings import RelaySettings
from moxsmtp.receive.settings import DelaySettings, ListenerSettings, ServiceSettings
from moxsmtp.store.settings import StoreSettings

__all__ = ["file_table", "known_keys"]

# The types made here are made of types found at run time; none has a static name.
_Type = Any

#: Nobody has that many processors for mail.
_MOST_WORKERS: Final = 64

_SIZES: Final = {
    (ListenerSettings, "max_message_size"),
    (StoreSettings, "minimum_free"),
    (StoreSettings, "memory"),
}

#: Numbers that may be 0.
_MAY_BE_NONE: Final = {
    (AccountTable, "max_outgoing_messages_per_day"),
    (AccountTable, "max_first_time_recipients_per_day"),
    (AccountTable, "max_queued_messages"),
    (RelaySettings, "max_messages_per_hour"),
    (RouteTable, "minimum_attempts"),
    (ShapingRule, "site_connections"),
    (ShapingRule, "messages_per_minute"),
    (ShapingRule, "connections_per_minute"),
    (ShapingRule, "failures"),
}

#: Names of mailboxes.
_MAILBOXES: Final = {
    (FileTable, "postmaster_mailbox"),
    (HostReportTable, "mailbox"),
    (ReportTable, "mailbox"),
}

_MAILBOX: Final = Annotated[str, Strict(), AfterValidator(values.mailbox)]

#: Arrays that may be written as their only element.
_ONE_OR_MANY: Final = {(DomainTable, "separator")}

#: Durations that may be nothing.
_MAY_BE_ZERO: Final = {
    (AccountTable, "keep_retired_messages"),
    (AccountTable, "keep_retired_webhooks"),
    (SelectorTable, "expiration"),
    (ServiceSettings, "greeting_delay"),
    *((DelaySettings, entry.name) for entry in fields(DelaySettings)),
}


def _longer_than_zero(value: timedelta) -> timedelta:
    if not value:
        raise ValueError("must be longer than 0")
    return value


def _between(low: int, high: int, hint: str = "") -> AfterValidator:
    def check(value: int) -> int:
        if not low <= value <= high:
            raise ValueError(hint or f"must be between {low} and {high}")
        return value

    return AfterValidator(check)


def _permission_bits(value: int) -> int:
    if value & ~0o777 or value & 0o700 != 0o700:
        raise ValueError("must be between 0o700 and 0o777, the owner's bits set; write 0o700")
    return value


def _like(usual: Any, value: tuple[int, ...]) -> tuple[int, ...]:
    """A limit has as many numbers as it has by default."""
    if len(value) != len(usual):
        example = ", ".join(map(str, usual))
        raise ValueError(
            "three numbers are needed, for an address and the two networks around it;"
            f" write [{example}]"
        )
    return value


def _upstream(value: object) -> object:
    """An address alone is short for a table."""
    return {"address": value} if isinstance(value, str) else value


def _one_or_many(value: object) -> object:
    """Text alone is short for an array of it; empty text for an empty one."""
    if isinstance(value, str):
        return [value] if value else []
    return value


_LEAVES: Final[Mapping[_Type, _Type]] = {
    str: Annotated[str, Strict(), AfterValidator(values.plain_text)],
    bool: Annotated[bool, Strict()],
    Domain: Annotated[Domain, PlainValidator(values.domain)],
    IPAddress: Annotated[object, PlainValidator(values.network_address)],
    IPv4Network | IPv6Network: Annotated[object, PlainValidator(values.network)],
}


def _leaf(owner: type, name: str, hint: _Type) -> _Type:
    """The written form of one simple value."""
    if hint is timedelta:
        written = Annotated[timedelta, PlainValidator(values.duration)]
        if (owner, name) in _MAY_BE_ZERO:
            return written
        return Annotated[written, AfterValidator(_longer_than_zero)]
    if hint is int:
        return _whole_number(owner, name)
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return Annotated[hint, Strict(False)]
    return _LEAVES[hint]


def _whole_number(owner: type, name: str) -> _Type:
    if (owner, name) in _SIZES:
        return Annotated[int, PlainValidator(values.octets)]
    if (owner, name) == (FileTable, "workers"):
        return Annotated[int, Strict(), _between(1, _MOST_WORKERS)]
    if name == "maildir_mode":
        return Annotated[int, Strict(), AfterValidator(_permission_bits)]
    least = 0 if (owner, name) in _MAY_BE_NONE else 1
    return Annotated[int, Strict(), _between(least, 65535 if "port" in name else 10**9)]


def _written(owner: type, name: str, hint: _Type, default: object) -> _Type:
    """What may stand in the file for a field of this type."""
    origin: _Type = typing.get_origin(hint)
    arguments: tuple[_Type, ...] = typing.get_args(hint)
    if hint in _LEAVES:
        return _MAILBOX if (owner, name) in _MAILBOXES else _LEAVES[hint]
    if origin in {types.UnionType, typing.Union} and type(None) in arguments:
        inner = next(argument for argument in arguments if argument is not type(None))
        return Optional[_written(owner, name, inner, None)]  # noqa: UP045 - not a static type
    if origin in {tuple, frozenset}:
        element: _Type = _written(owner, name, arguments[0], None)
        shape: _Type = origin[element, ...] if origin is tuple else origin[element]
        array = Annotated[shape, Strict(False)]
        is_limit = owner is LimitSettings and arguments[0] is int
        return Annotated[array, AfterValidator(partial(_like, default))] if is_limit else array
    if origin is not None and issubclass(origin, Mapping):
        shape = dict
        return shape[arguments[0], _written(owner, name, arguments[1], None)]
    if is_dataclass(hint):
        table = _table(cast("type", hint), default)
        return Annotated[table, BeforeValidator(_upstream)] if hint is Upstream else table
    return _leaf(owner, name, hint)


def _default(entry: Field[Any]) -> object:
    if entry.default_factory is not MISSING:
        return entry.default_factory()
    return None if entry.default is MISSING else entry.default


def _table(settings: type, base: object = None) -> _Type:
    """
    The written form of a settings class.

    @param base: Where keys that are left out come from, if the field that
        holds the table has a default of its own: port 587 of a submission.
    """
    hints = typing.get_type_hints(settings)
    keys: dict[str, _Type] = {}
    for entry in fields(settings):
        written = _written(settings, entry.name, hints[entry.name], _default(entry))
        if (settings, entry.name) in _ONE_OR_MANY:
            written = Annotated[written, BeforeValidator(_one_or_many)]
        required = entry.default is MISSING and entry.default_factory is MISSING
        keys[entry.name] = written if required else NotRequired[written]
    shape = TypedDict(settings.__name__, keys)  # type: ignore[misc]  # made at run time
    shape.__pydantic_config__ = ConfigDict(extra="forbid", strict=True)  # type: ignore[attr-defined]  # pydantic's way to configure a TypedDict

    def build(given: Mapping[str, Any]) -> object:
        return settings(**given) if base is None else replace(cast("Any", base), **given)

    return Annotated[shape, AfterValidator(build)]


_FILE: Final[TypeAdapter[FileTable]] = TypeAdapter(_table(FileTable))


def file_table(tree: Mapping[str, object]) -> tuple[FileTable, list[Problem]]:
    """
    Read a tree, with all that is wrong in it.

    @param tree: As C{tomllib} gives it, with C{listener} as a mapping from
        numbers.
    @return: What is left when everything wrong is taken out, so that
        relations between keys can be looked at all the same.
    """
    left = copy.deepcopy(dict(tree))
    problems: list[Problem] = []
    while True:
        try:
            return _FILE.validate_python(left), problems
        except ValidationError as error:
            for details in error.errors(include_url=False):
                path = tuple(part for part in details["loc"] if part != "[key]")
                # What is missing only because it was taken out is no news.
                if not any(known[: len(path)] == path for known, _ in problems):
                    problems.append((path, _explanation(path, details)))
                _take_out(left, path, is_missing=details["type"] == "missing")


def _take_out(tree: dict[str, Any], path: KeyPath, *, is_missing: bool) -> None:
    """Remove what is at C{path}: an array is emptied, an incomplete table goes."""
    nodes: list[Any] = [tree]
    for part in path[:-1]:
        node = nodes[-1]
        if not isinstance(node, dict) or part not in node:
            break
        nodes.append(node[part])
    depth = len(nodes) - 1
    if isinstance(nodes[depth], list):
        nodes[depth].clear()
        return
    if is_missing or not isinstance(nodes[depth], dict):
        depth -= 1
    nodes[depth].pop(path[depth], None)


def _explanation(path: KeyPath, details: ErrorDetails) -> str:
    """What pydantic found, for people who never heard of it."""
    context = details.get("ctx", {})
    match details["type"]:
        case "missing":
            return "is missing and has no default; write it"
        case "extra_forbidden":
            return _unknown_key(path)
        case "value_error":
            return str(context["error"])
        case "enum":
            return (
                f"unknown word; write one of {str(context['expected']).replace(chr(39), chr(34))}"
            )
        case kind:
            return _WANTED.get(kind, details["msg"])


_WANTED: Final[Mapping[str, str]] = {
    "int_type": "not a whole number; write digits without quotes",
    "bool_type": "neither true nor false; write one of them without quotes",
    "string_type": 'not text; write it in quotes, "like this"',
    "tuple_type": 'not an array; write it in square brackets, ["like this"]',
    "frozen_set_type": 'not an array; write it in square brackets, ["like this"]',
    "dict_type": "not a table; write it as a section of its own",
}


def _unknown_key(path: KeyPath) -> str:
    known = sorted(known_keys(path[:-1]))
    near = difflib.get_close_matches(str(path[-1]), known, n=1)
    if near:
        return f'unknown key; did you mean "{near[0]}"?'
    return f"unknown key; known here: {', '.join(known)}"


def known_keys(path: KeyPath) -> frozenset[str]:
    """The keys that the table at C{path} may have; none, if it is no table."""
    hint: _Type = FileTable
    for part in path:
        hint = next(_steps(hint, part), None)
    return frozenset(entry.name for entry in fields(hint)) if is_dataclass(hint) else frozenset()


def _steps(hint: _Type, part: str | int) -> Iterator[_Type]:
    """What is found inside C{hint} under C{part}."""
    if is_dataclass(hint):
        inner = typing.get_type_hints(hint).get(str(part))
        choices = typing.get_args(inner)
        if typing.get_origin(inner) in {types.UnionType, typing.Union} and type(None) in choices:
            inner = next(choice for choice in choices if choice is not type(None))
        yield inner
    elif typing.get_args(hint):
        arguments = [argument for argument in typing.get_args(hint) if argument is not Ellipsis]
        yield arguments[-1]
