"""The operator's commands about keys of TLS client certificates, as the server carries them out."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Awaitable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, Protocol

from moxsmtp.admin.control import Command, CommandFailed, Send
from moxsmtp.directory import InvalidAddress, parse_address
from moxsmtp.interfaces import Account, IAccounts, Login
from moxsmtp.store.client_keys import ClientKey

__all__ = ["ClientKeyAdmin", "KeyCommands"]

_HEXADECIMAL: Final = re.compile(r"[0-9a-f]{64}")

#: Characters of what a user may call a key.
_LONGEST_NAME: Final = 200


class ClientKeyAdmin(Protocol):
    """The keys that are registered; C{store.client_keys.ClientKeys} offers this."""

    def add(self, fingerprint: str, login: Login, name: str) -> Awaitable[ClientKey]:
        """Register a key.  @return: What is registered now, perhaps since long."""

    def registered(self, account: str = "") -> Awaitable[Sequence[ClientKey]]:
        """Those of an account, or all."""

    def remove(self, fingerprint: str) -> Awaitable[ClientKey | None]:
        """L{None}: it was not registered."""


class KeyCommands:
    """Part of the table that the control socket serves."""

    def __init__(self, keys: ClientKeyAdmin, accounts: IAccounts) -> None:
        self._keys = keys
        self._accounts = accounts

    def table(self) -> Mapping[str, Command]:
        """Each command by its name."""
        return {
            "tlspubkey.add": self._add,
            "tlspubkey.list": self._list,
            "tlspubkey.remove": self._remove,
        }

    async def _add(self, arguments: Mapping[str, Any], send: Send) -> None:
        fingerprint = _fingerprint(arguments)
        text = _text(arguments, "login")
        try:
            path = parse_address(text)
        except InvalidAddress as error:
            raise CommandFailed(f"{text} is not an address: {error}") from None
        account = self._accounts.owner_of(path)
        if account is None:
            raise CommandFailed(f"no account has the address {text}")
        name = arguments.get("name") or ""
        if not isinstance(name, str) or len(name) > _LONGEST_NAME or not name.isprintable():
            raise CommandFailed(f"a name has at most {_LONGEST_NAME} printable characters")
        found = await self._keys.add(fingerprint, Login(account.name, path.unicode), name)
        if (found.account, found.login, found.name) != (account.name, path.unicode, name):
            raise CommandFailed(
                f"this key is registered for {found.login} already; remove it there first"
            )
        await send(_entry(found))

    async def _list(self, arguments: Mapping[str, Any], send: Send) -> None:
        account = self._account(_text(arguments, "account")) if arguments.get("account") else ""
        for key in await self._keys.registered(account):
            await send(_entry(key))

    async def _remove(self, arguments: Mapping[str, Any], send: Send) -> None:
        fingerprint = _fingerprint(arguments)
        gone = await self._keys.remove(fingerprint)
        if gone is None:
            raise CommandFailed(f"no key has the fingerprint {fingerprint}")
        await send(_entry(gone))

    def _account(self, text: str) -> str:
        """Keys of accounts that there are no longer can be listed too, by name."""
        if "@" not in text:
            return text
        account: Account | None = None
        with suppress(InvalidAddress):
            account = self._accounts.owner_of(parse_address(text))
        if account is None:
            raise CommandFailed(f"no account has the address {text}")
        return account.name


def _text(arguments: Mapping[str, Any], name: str) -> str:
    value = arguments.get(name)
    if not isinstance(value, str) or not value:
        raise CommandFailed(f"{name} is missing")
    return value


def _fingerprint(arguments: Mapping[str, Any]) -> str:
    """In base64url without padding (S-37); other programs write it in hexadecimal."""
    text = _text(arguments, "fingerprint")
    octets = b""
    if _HEXADECIMAL.fullmatch(text.lower()):
        octets = bytes.fromhex(text)
    else:
        with suppress(binascii.Error, ValueError):
            octets = base64.b64decode(text.encode() + b"=", altchars=b"-_", validate=True)
    if len(octets) != 32:
        raise CommandFailed(f"{text} is no fingerprint: 43 characters of base64url are")
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def _entry(key: ClientKey) -> dict[str, object]:
    return {
        "fingerprint": key.fingerprint,
        "account": key.account,
        "login": key.login,
        "name": key.name,
        "created": key.created.isoformat(timespec="milliseconds"),
    }
