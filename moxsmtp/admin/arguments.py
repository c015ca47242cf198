"""Arguments of an operator's command, which come from outside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from moxsmtp.admin.control import CommandFailed
from moxsmtp.admin.ports import AccountAdmin
from moxsmtp.interfaces import Account
from moxsmtp.smtp.address import InvalidPath, Path, parse_mailbox

__all__ = [
    "PAGE", "account_of", "address_of", "boolean_of", "joined", "limit_of", "maybe_boolean_of",
    "numbers_of", "text_of",
]  # fmt: skip

#: Rows read at once.
PAGE: Final = 100

#: Numbers in one request.
_NUMBERS: Final = 1000


def text_of(arguments: Mapping[str, Any], name: str, *, default: str | None = None) -> str:
    """
    Some text.

    @param default: If it is missing or empty; L{None}: that is a mistake.
    @raise CommandFailed: It is none.
    """
    value = arguments.get(name)
    if isinstance(value, str) and value:
        return value
    if default is None or (value is not None and not isinstance(value, str)):
        raise CommandFailed(f"{name} is missing")
    return default


def numbers_of(arguments: Mapping[str, Any], *, most: int = _NUMBERS) -> Sequence[int]:
    """@raise CommandFailed: There are none, too many, or something else."""
    values = arguments.get("numbers")
    if not isinstance(values, list) or not 1 <= len(values) <= most:
        raise CommandFailed(f"give 1 to {most} numbers" if most > 1 else "give one number")
    for value in values:
        if not isinstance(value, int) or isinstance(value, bool) or not 0 < value < 2**63:
            raise CommandFailed(f"not a number of anything: {value!r}")
    return values


def limit_of(arguments: Mapping[str, Any]) -> int:
    """How many are wanted.  @raise CommandFailed: It is no number from 1."""
    value = arguments.get("limit", PAGE)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise CommandFailed("the limit is at least 1")
    return value


def maybe_boolean_of(arguments: Mapping[str, Any], name: str) -> bool | None:
    """@raise CommandFailed: It is neither true, false nor left out."""
    value = arguments.get(name)
    if value is None or isinstance(value, bool):
        return value
    raise CommandFailed(f"{name} is true or false")


def boolean_of(arguments: Mapping[str, Any], name: str) -> bool:
    """Left out, it is false.  @raise CommandFailed: It is neither."""
    return bool(maybe_boolean_of(arguments, name))


def address_of(arguments: Mapping[str, Any], name: str) -> Path:
    """@raise CommandFailed: It is no address."""
    given = text_of(arguments, name)
    try:
        return parse_mailbox(given)
    except InvalidPath as error:
        raise CommandFailed(f"{given} is not an address: {error}") from None


def account_of(arguments: Mapping[str, Any], accounts: AccountAdmin) -> Account:
    """One that is named by its name or an address.  @raise CommandFailed: There is none."""
    given = text_of(arguments, "account")
    account = accounts.named(given)
    if account is None:
        what = "no account has the address" if "@" in given else "there is no account"
        raise CommandFailed(f"{what} {given}")
    return account


def joined(values: Sequence[int]) -> str:
    """For people."""
    return ", ".join(map(str, values))
