"""Rows of stored messages, and how one is added."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import ip_address
from typing import Any, Final

from sqlalchemy import bindparam, insert

from moxsmtp.interfaces import (
    UNCHECKED,
    NewMessage,
    Provenance,
    RequireTLS,
    TLSInfo,
    Validation,
)
from moxsmtp.names import IPAddress
from moxsmtp.smtp.address import Path
from moxsmtp.store.columns import (
    read_domain,
    read_domains,
    read_path,
    read_time,
    read_tls,
    write_domain,
    write_domains,
    write_path,
    write_text,
    write_time,
    write_tls,
)
from moxsmtp.store.hook_rows import add_hook
from moxsmtp.store.schema import message
from moxsmtp.store.transaction import Transaction

__all__ = ["COLUMNS", "StoredMessage", "insert_messages", "message_row", "read_message"]

#: What L{read_message} reads: all but the prefix, which may be long.
COLUMNS: Final = tuple(column for column in message.columns if column.name != "prefix")

_INSERT: Final = (
    insert(message)
    .values(
        {
            name: bindparam(name)
            for name in (
                "account", "mailbox", "content_id", "prefix", "size", "received", "remote_ip",
                "hello", "tls", "mail_from", "rcpt_to", "author", "subject", "message_id",
                "is_dsn", "flags", "hand_over", "hello_validation", "mail_from_validation",
                "author_validation", "author_domain", "author_organization", "dmarc",
                "dmarc_policy", "dmarc_rejects", "dkim_domains", "iprev", "reverse_name",
                "require_tls",
            )
        }
    )
    .returning(message.c.id)
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """
    A message of an account, without its content.

    @ivar size: Octets of prefix and content, with CRLF.
    @ivar remote_address: Who gave it to us; L{None} if we made it.
    @ivar author: The From address for people, empty if there is none.
    @ivar flags: Maildir flag letters, sorted.
    @ivar content: Key of the content; L{None} where it is in the Maildir only.
    @ivar maildir_name: Its name there, if it was handed over or is about to be.
    @ivar provenance: What is known of its sender.
    @ivar is_absent: It was handed over, and is not in the folder that is the Maildir now.
    """

    id: int
    account: str
    mailbox: str
    size: int
    received: datetime
    reverse_path: Path | None
    forward_path: Path
    remote_address: IPAddress | None = None
    hello: str = ""
    tls: TLSInfo | None = None
    author: str = ""
    subject: str = ""
    message_id: str = ""
    is_dsn: bool = False
    flags: str = ""
    content: int | None = None
    maildir_name: str | None = None
    provenance: Provenance = UNCHECKED
    is_absent: bool = False


def read_message(row: Any) -> StoredMessage:
    """@param row: L{COLUMNS}."""
    return StoredMessage(
        id=row.id,
        account=row.account,
        mailbox=row.mailbox,
        size=row.size,
        received=read_time(row.received),
        reverse_path=None if row.mail_from is None else read_path(row.mail_from),
        forward_path=read_path(row.rcpt_to),
        remote_address=ip_address(row.remote_ip) if row.remote_ip else None,
        hello=row.hello,
        tls=read_tls(row.tls),
        author=row.author,
        subject=row.subject,
        message_id=row.message_id,
        is_dsn=bool(row.is_dsn),
        flags=row.flags,
        content=row.content_id,
        maildir_name=row.maildir_name,
        provenance=_read_provenance(row),
        is_absent=bool(row.absent),
    )


def _read_provenance(row: Any) -> Provenance:
    return Provenance(
        hello=Validation(row.hello_validation),
        mail_from=Validation(row.mail_from_validation),
        author=Validation(row.author_validation),
        author_domain=read_domain(row.author_domain),
        author_organization=read_domain(row.author_organization),
        dmarc=row.dmarc,
        dmarc_policy=row.dmarc_policy,
        dmarc_rejects=bool(row.dmarc_rejects),
        dkim_domains=read_domains(row.dkim_domains),
        iprev=row.iprev,
        reverse_name=row.reverse_name,
        require_tls=RequireTLS(row.require_tls),
    )


def _write_provenance(found: Provenance) -> dict[str, object]:
    return {
        "hello_validation": found.hello.value,
        "mail_from_validation": found.mail_from.value,
        "author_validation": found.author.value,
        "author_domain": write_domain(found.author_domain),
        "author_organization": write_domain(found.author_organization),
        "dmarc": found.dmarc,
        "dmarc_policy": found.dmarc_policy,
        "dmarc_rejects": int(found.dmarc_rejects),
        "dkim_domains": write_domains(found.dkim_domains),
        "iprev": found.iprev,
        "reverse_name": write_text(found.reverse_name),
        "require_tls": found.require_tls.value,
    }


def insert_messages(
    tx: Transaction,
    messages: Sequence[NewMessage],
    *,
    content: int,
    size: int,
    now: int,
    rows: Sequence[Mapping[str, object]] | None = None,
) -> list[int]:
    """
    Add messages whose content is there already, and their webhook calls.

    @param size: Octets of the content, without prefix.
    @param rows: L{message_row} of each, from before the transaction; L{None}: made now.
    @return: Their numbers.
    """
    if rows is None:
        rows = [message_row(new, size) for new in messages]
    numbers = [_inserted(tx, row, content) for row in rows]
    calls = [
        # One for incoming mail takes nobody's place, so there is none to keep.
        (new.hook, timedelta() if new.echo is None else new.echo.keep_hooks, number)
        for new, number in zip(messages, numbers, strict=True)
        if new.hook is not None
    ]
    # In the order of their destinations, as L{add_due} demands.
    for hook, keep, number in sorted(calls, key=lambda call: call[0].target.url):
        add_hook(tx, hook, now=now, keep=keep, message=number)
    return numbers


def message_row(new: NewMessage, size: int) -> Mapping[str, object]:
    """
    What becomes of a message in the table, but for the number of its content:
    while a transaction is open others wait, so this is made before.

    @param size: Octets of the content, without prefix.
    """
    return {
        "account": new.account,
        "mailbox": new.mailbox,
        "prefix": new.prefix,
        "size": len(new.prefix) + size,
        "received": write_time(new.received),
        "remote_ip": "" if new.remote_address is None else str(new.remote_address),
        "hello": write_text(new.hello),
        "tls": write_tls(new.tls),
        "mail_from": write_path(new.reverse_path),
        "rcpt_to": new.forward_path.ascii,
        "author": write_text(new.author),
        "subject": write_text(new.subject),
        "message_id": write_text(new.message_id),
        "is_dsn": int(new.is_dsn),
        "flags": new.flags,
        "hand_over": int(new.hand_over),
        **_write_provenance(new.provenance),
    }


def _inserted(tx: Transaction, row: Mapping[str, object], content: int) -> int:
    ((number,),) = tx.execute(_INSERT, {**row, "content_id": content})
    return int(number)
