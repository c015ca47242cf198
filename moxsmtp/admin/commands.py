"""
The operator's commands as the server carries them out.

An operator's list may be long: it is read and sent by pages, so that it costs
no memory and no long transaction.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from moxsmtp.admin.arguments import PAGE, account_of, joined, limit_of, numbers_of, text_of
from moxsmtp.admin.control import Command, CommandFailed, Send
from moxsmtp.admin.entries import path_text, time_text
from moxsmtp.admin.ports import AccountAdmin, Backup, MailAdmin
from moxsmtp.admin.wire import PIECE, piece
from moxsmtp.interfaces import Account, Provenance
from moxsmtp.store.message_rows import StoredMessage

__all__ = ["Commands"]


class Commands:
    """The table that the control socket serves."""

    def __init__(self, *, mail: MailAdmin, accounts: AccountAdmin, backup: Backup) -> None:
        self._mail = mail
        self._accounts = accounts
        self._backup = backup

    def table(self) -> Mapping[str, Command]:
        """Each command by its name."""
        return {
            "account.set-password": self._set_password,
            "mail.list": self._mail_list,
            "mail.show": self._mail_show,
            "mail.delete": self._mail_delete,
            "backup": self._make_backup,
        }

    # -- accounts --

    def _account(self, arguments: Mapping[str, Any]) -> Account:
        return account_of(arguments, self._accounts)

    async def _set_password(self, arguments: Mapping[str, Any], send: Send) -> None:
        account = self._account(arguments)
        try:
            await self._accounts.set_password(account.name, text_of(arguments, "password"))
        except ValueError as error:
            raise CommandFailed(f"this cannot be a password: {error}") from None
        await send({"account": account.name})

    # -- mail --

    async def _mail_list(self, arguments: Mapping[str, Any], send: Send) -> None:
        account = self._account(arguments)
        before: int | None = None
        left = limit_of(arguments)
        while left > 0:
            page = await self._mail.list_messages(
                account.name, before=before, limit=min(PAGE, left)
            )
            for message in page:
                await send(_message(message))
            if len(page) < min(PAGE, left):
                return
            left -= len(page)
            before = page[-1].id

    async def _mail_show(self, arguments: Mapping[str, Any], send: Send) -> None:
        account = self._account(arguments)
        (number,) = numbers_of(arguments, most=1)
        found = await self._mail.open(account.name, number)
        if found is None:
            raise CommandFailed(f"account {account.name} has no message {number}")
        message, content = found
        await send(_message(message))
        offset = 0
        while octets := await content.read(offset, PIECE):
            await send(piece(octets))
            offset += len(octets)

    async def _mail_delete(self, arguments: Mapping[str, Any], send: Send) -> None:
        account = self._account(arguments)
        numbers = numbers_of(arguments)
        gone = await self._mail.delete(account.name, numbers)
        for message in gone:
            await send(_message(message))
        missing = sorted(set(numbers) - {message.id for message in gone})
        if missing:
            raise CommandFailed(f"account {account.name} has no message {joined(missing)}")

    # -- backup --

    async def _make_backup(self, arguments: Mapping[str, Any], send: Send) -> None:
        folder = text_of(arguments, "folder")
        if not folder.startswith("/"):
            raise CommandFailed("the folder's name is not absolute")
        await self._backup.backup(folder)
        await send({"folder": folder})


# -- values as JSON -------------------------------------------------------------------


def _message(message: StoredMessage) -> dict[str, object]:
    return {
        "id": message.id,
        "account": message.account,
        "mailbox": message.mailbox,
        "received": time_text(message.received),
        "size": message.size,
        "flags": message.flags,
        "mail_from": path_text(message.reverse_path),
        "rcpt_to": path_text(message.forward_path),
        "author": message.author,
        "subject": message.subject,
        "message_id": message.message_id,
        "is_dsn": message.is_dsn,
        "absent": message.is_absent,
        "remote_ip": str(message.remote_address or ""),
        "hello": message.hello,
        "tls": f"{message.tls.version} {message.tls.cipher}" if message.tls else "",
        **_provenance(message.provenance),
    }


def _provenance(found: Provenance) -> dict[str, object]:
    """What the checks said; empty where nothing was checked."""
    return {
        "hello_validation": found.hello.value,
        "mail_from_validation": found.mail_from.value,
        "author_validation": found.author.value,
        "author_domain": str(found.author_domain or ""),
        "author_organization": str(found.author_organization or ""),
        "dmarc": found.dmarc,
        "dmarc_policy": found.dmarc_policy,
        "dmarc_rejects": found.dmarc_rejects,
        "dkim_domains": [str(domain) for domain in found.dkim_domains],
        "iprev": found.iprev,
        "reverse_name": found.reverse_name,
        "require_tls": found.require_tls.value,
    }
