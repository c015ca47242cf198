"""What the log is told of messages that are ours now."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from twisted.logger import LogLevel

from moxsmtp.interfaces import Client, NewJob, NewMessage
from moxsmtp.receive.partial import Refusal
from moxsmtp.receive.session_log import SessionLog
from moxsmtp.smtp.address import Path

__all__ = ["greeted_as", "shown", "tell_delivered", "tell_partly_refused", "tell_queued"]

#: Refused recipients that are named.
_NAMED: Final = 5

_DELIVERED: Final = (
    "delivered {size} octets from <{reverse_path}> by {hello} to {recipient}, one of {recipients},"
    " as message {number} of {account}"
)
_QUEUED: Final = (
    "queued {size} octets from <{reverse_path}> by {hello} of {owner} for {recipient}, one of"
    " {recipients}, as job {number}"
)


def greeted_as(client: Client) -> str:
    """The name that the client has given itself; its address where none counts for us (S-29)."""
    hello = client.hello
    return str(client.address) if hello is None or hello.name is None else hello.name.ascii


def shown(path: Path | None) -> str:
    """A reverse-path, empty for the null one."""
    return "" if path is None else path.unicode


def _identified(text: str, message_id: str) -> str:
    """Not every message has one."""
    return f"{text}; Message-ID {{message_id}}" if message_id else text


def tell_delivered(
    log: SessionLog,
    client: Client,
    messages: Sequence[NewMessage],
    numbers: Sequence[int],
    *,
    size: int,
) -> None:
    """One line for each that is stored for an account."""
    hello = greeted_as(client)
    for message, number in zip(messages, numbers, strict=True):
        log.write(
            LogLevel.info,
            _identified(_DELIVERED, message.message_id),
            size=size,
            reverse_path=shown(message.reverse_path),
            hello=hello,
            recipient=message.forward_path.unicode,
            recipients=len(messages),
            number=number,
            account=message.account,
            message_id=message.message_id,
        )


def tell_partly_refused(log: SessionLog, refusals: Sequence[Refusal]) -> None:
    """One line: others get the message."""
    if not refusals:
        return
    named = [
        f"<{one.path.unicode}>: {one.reply.code} {one.reply.enhanced_status} {one.reply.text}"
        for one in refusals[:_NAMED]
    ]
    log.write(
        LogLevel.info,
        "not taken for {count} more recipients: {recipients}",
        count=len(refusals),
        recipients="; ".join(named) + ("; and others" if len(refusals) > _NAMED else ""),
    )


def tell_queued(
    log: SessionLog,
    client: Client,
    jobs: Sequence[NewJob],
    numbers: Sequence[int],
    *,
    owner: str,
    size: int,
) -> None:
    """
    One line for each recipient.

    @param owner: In whose name it leaves.
    """
    hello = greeted_as(client)
    for job, number in zip(jobs, numbers, strict=True):
        log.write(
            LogLevel.info,
            _identified(_QUEUED, job.message_id),
            size=size,
            reverse_path=shown(job.reverse_path),
            hello=hello,
            owner=owner,
            account=job.account or None,
            recipient=job.forward_path.unicode,
            recipients=len(jobs),
            number=number,
            message_id=job.message_id,
        )
