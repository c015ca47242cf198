"""
The operator's commands as the server carries them out.

An operator's list may be long: it is read and sent by pages, so that it costs
no memory and no long transaction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from moxsmtp.admin.control import Command, CommandFailed, Send
from moxsmtp.admin.ports import AccountAdmin, Backup, MailAdmin, QueueAdmin
from moxsmtp.admin.wire import PIECE, piece
from moxsmtp.interfaces import Account, Provenance
from moxsmtp.queue.job import Job, Result
from moxsmtp.smtp.address import Path
from moxsmtp.store.job_rows import RetiredJob
from moxsmtp.store.message_rows import StoredMessage

__all__ = ["Commands"]

#: Rows read at once.
_PAGE: Final = 100

#: Numbers in one request.
_NUMBERS: Final = 1000


class Commands:
    """The table that the control socket serves."""

    def __init__(
        self, *, mail: MailAdmin, queue: QueueAdmin, accounts: AccountAdmin, backup: Backup
    ) -> None:
        self._mail = mail
        self._queue = queue
        self._accounts = accounts
        self._backup = backup

    def table(self) -> Mapping[str, Command]:
        """Each command by its name."""
        return {
            "account.set-password": self._set_password,
            "mail.list": self._mail_list,
            "mail.show": self._mail_show,
            "mail.delete": self._mail_delete,
            "queue.list": self._queue_list,
            "queue.show": self._queue_show,
            "queue.drop": self._queue_drop,
            "backup": self._make_backup,
        }

    # -- accounts --

    def _account(self, arguments: Mapping[str, Any]) -> Account:
        text = _text(arguments, "account")
        account = self._accounts.named(text)
        if account is None:
            what = "no account has the address" if "@" in text else "there is no account"
            raise CommandFailed(f"{what} {text}")
        return account

    async def _set_password(self, arguments: Mapping[str, Any], send: Send) -> None:
        account = self._account(arguments)
        try:
            await self._accounts.set_password(account.name, _text(arguments, "password"))
        except ValueError as error:
            raise CommandFailed(f"this cannot be a password: {error}") from None
        await send({"account": account.name})

    # -- mail --

    async def _mail_list(self, arguments: Mapping[str, Any], send: Send) -> None:
        account = self._account(arguments)
        before: int | None = None
        left = _limit(arguments)
        while left > 0:
            page = await self._mail.list_messages(
                account.name, before=before, limit=min(_PAGE, left)
            )
            for message in page:
                await send(_message(message))
            if len(page) < min(_PAGE, left):
                return
            left -= len(page)
            before = page[-1].id

    async def _mail_show(self, arguments: Mapping[str, Any], send: Send) -> None:
        account = self._account(arguments)
        (number,) = _numbers(arguments, most=1)
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
        numbers = _numbers(arguments)
        gone = await self._mail.delete(account.name, numbers)
        for message in gone:
            await send(_message(message))
        missing = sorted(set(numbers) - {message.id for message in gone})
        if missing:
            raise CommandFailed(f"account {account.name} has no message {_joined(missing)}")

    # -- queue --

    async def _queue_list(self, arguments: Mapping[str, Any], send: Send) -> None:
        account = self._account(arguments).name if arguments.get("account") else ""
        recipient = _text(arguments, "recipient") if arguments.get("recipient") else ""
        before: int | None = None
        left = _limit(arguments)
        while left > 0:
            page = await self._queue.list_jobs(
                before=before, limit=min(_PAGE, left), account=account, recipient=recipient
            )
            for job in page:
                await send(_job(job))
            if len(page) < min(_PAGE, left):
                return
            left -= len(page)
            before = page[-1].id

    async def _queue_show(self, arguments: Mapping[str, Any], send: Send) -> None:
        (number,) = _numbers(arguments, most=1)
        found = await self._queue.job(number)
        if found is None:
            raise CommandFailed(f"the queue has no job {number}")
        await send(_job(found) if isinstance(found, Job) else _retired(found))

    async def _queue_drop(self, arguments: Mapping[str, Any], send: Send) -> None:
        numbers = _numbers(arguments)
        dropped = await self._queue.drop(numbers)
        for number in dropped:
            await send({"id": number})
        missing = sorted(set(numbers).difference(dropped))
        if missing:
            raise CommandFailed(f"the queue has no job {_joined(missing)}")

    # -- backup --

    async def _make_backup(self, arguments: Mapping[str, Any], send: Send) -> None:
        folder = _text(arguments, "folder")
        if not folder.startswith("/"):
            raise CommandFailed("the folder's name is not absolute")
        await self._backup.backup(folder)
        await send({"folder": folder})


# -- arguments ------------------------------------------------------------------------


def _text(arguments: Mapping[str, Any], name: str) -> str:
    value = arguments.get(name)
    if not isinstance(value, str) or not value:
        raise CommandFailed(f"{name} is missing")
    return value


def _numbers(arguments: Mapping[str, Any], *, most: int = _NUMBERS) -> Sequence[int]:
    values = arguments.get("numbers")
    if not isinstance(values, list) or not 1 <= len(values) <= most:
        raise CommandFailed(f"give 1 to {most} numbers" if most > 1 else "give one number")
    for value in values:
        if not isinstance(value, int) or isinstance(value, bool) or not 0 < value < 2**63:
            raise CommandFailed(f"not a number of anything: {value!r}")
    return values


def _limit(arguments: Mapping[str, Any]) -> int:
    value = arguments.get("limit", _PAGE)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise CommandFailed("the limit is at least 1")
    return value


def _joined(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))


# -- values as JSON -------------------------------------------------------------------


def _time(moment: datetime | None) -> str:
    """RFC 3339; empty for never."""
    return "" if moment is None else moment.isoformat(timespec="milliseconds")


def _path(path: Path | None) -> str:
    """As people write it; the null reverse-path is empty."""
    return "" if path is None else path.unicode


def _message(message: StoredMessage) -> dict[str, object]:
    return {
        "id": message.id,
        "account": message.account,
        "mailbox": message.mailbox,
        "received": _time(message.received),
        "size": message.size,
        "flags": message.flags,
        "mail_from": _path(message.reverse_path),
        "rcpt_to": _path(message.forward_path),
        "author": message.author,
        "subject": message.subject,
        "message_id": message.message_id,
        "is_dsn": message.is_dsn,
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


def _job(job: Job) -> dict[str, object]:
    return {
        "id": job.id,
        "state": "queued",
        "account": job.account,
        "mail_from": _path(job.reverse_path),
        "rcpt_to": _path(job.forward_path),
        "subject": job.subject,
        "message_id": job.message_id,
        "size": job.size,
        "queued": _time(job.queued),
        "attempts": job.attempts,
        "max_attempts": job.max_attempts,
        "last_attempt": _time(job.last_attempt),
        "next_attempt": _time(job.next_attempt),
        "hold": job.hold,
        "require_tls": job.require_tls.value,
        "future_release": job.future_release,
        "dsn_return": job.wishes.returns.value,
        "dsn_notify": str(job.wishes.notify),
        "envelope_id": job.wishes.envelope_id,
        "original_recipient": job.wishes.original_recipient,
        "last_error": job.results[-1].error if job.results else "",
        "results": [_result(result) for result in job.results],
    }


def _retired(retired: RetiredJob) -> dict[str, object]:
    entry = _job(retired.job)
    entry.update(
        state=retired.event.value,
        next_attempt="",
        last_activity=_time(retired.last_activity),
        keep_until=_time(retired.keep_until),
    )
    return entry


def _result(result: Result) -> dict[str, object]:
    return {
        "start": _time(result.start),
        "seconds": result.duration.total_seconds(),
        "success": result.success,
        "code": result.code,
        "status": result.status,
        "error": result.error,
    }
