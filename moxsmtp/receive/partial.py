"""What is said when a message could not be stored for some of its recipients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from moxsmtp.interfaces import Client, NewJob, RequireTLS, Spooled
from moxsmtp.message.dsn import Action, Dsn, Form, RecipientReport, compose_dsn
from moxsmtp.message.header import Header
from moxsmtp.message.submission import new_message_id
from moxsmtp.names import Domain
from moxsmtp.smtp.address import Path
from moxsmtp.smtp.reply import Reply

__all__ = ["Incoming", "Refusal", "Report", "folded", "partial_failure"]


@dataclass(frozen=True, slots=True)
class Incoming:
    """
    A message from outside that has come whole.

    @ivar reverse_path: L{None} for the null reverse-path.
    @ivar message_id: With angle brackets, empty if there is none.
    @ivar require_tls: What its header demands or waives, for what is said about it too.
    """

    client: Client
    spooled: Spooled
    header: Header
    received: datetime
    reverse_path: Path | None
    smtputf8: bool
    message_id: str
    subject: str
    require_tls: RequireTLS = RequireTLS.UNSET


@dataclass(frozen=True, slots=True)
class Refusal:
    """One recipient who does not get the message, and why."""

    path: Path
    reply: Reply


def folded(refusals: Sequence[Refusal]) -> Reply:
    """
    One reply for a message that nobody gets (I-91).

    @param refusals: At least one.
    """
    kinds = {(refusal.reply.code, refusal.reply.status) for refusal in refusals}
    if len(kinds) == 1:
        texts = dict.fromkeys(refusal.reply.text for refusal in refusals)
        first = refusals[0].reply
        return Reply(first.code, first.status, "\n".join(texts))
    lines = [
        f"{refusal.path.ascii if refusal.path.ascii.isascii() else 'a recipient'}: "
        f"{refusal.reply.code} {refusal.reply.enhanced_status or ''} {refusal.reply.text}"
        for refusal in refusals
    ]
    permanent = any(code >= 500 for code, _ in kinds)
    text = "\n".join([*lines, "delivery failed for all recipients"])
    return Reply(554, "3.0", text) if permanent else Reply(451, "3.0", text)


def _unsigned(domain: Domain, message: bytes) -> bytes:  # noqa: ARG001 - as one who signs
    return b""


@dataclass(frozen=True, slots=True)
class Report:
    """A DSN for the queue."""

    content: Spooled
    job: NewJob


def partial_failure(
    incoming: Incoming,
    refusals: Sequence[Refusal],
    *,
    hostname: Domain,
    account: str,
    token: bytes,
    sign: Callable[[Domain, bytes], bytes] = _unsigned,
) -> Report:
    """
    Tell the sender of a message that was stored for some recipients for whom
    it was not (Q-38).  RFC 3464.

    @param refusals: At least one.
    @param account: In whose name it is queued: the postmaster's.
    @param token: 16 random octets.
    @param sign: The DKIM-Signature fields for a whole message whose author is
        of the domain (I-93).
    @raise ValueError: The sender is the null reverse-path.
    """
    sender = incoming.reverse_path
    if sender is None:
        raise ValueError("nobody is to be told")
    refused = refusals[0].path.domain
    domain = refused if isinstance(refused, Domain) else hostname
    identifier = new_message_id(hostname, token)
    content = compose_dsn(
        Dsn(
            hostname=hostname,
            postmaster=Path("postmaster", domain),
            sender=sender,
            date=incoming.received,
            boundary=token.hex(),
            message_id=identifier,
            references=incoming.message_id,
            arrival=incoming.received,
            reports=tuple(
                RecipientReport(
                    recipient=refusal.path,
                    action=Action.FAILED,
                    status=refusal.reply.status or "",
                    error=refusal.reply.text,
                    last_attempt=incoming.received,
                )
                for refusal in refusals
            ),
            original=incoming.header.section,
            form=Form.ASCII_OF_UTF8 if incoming.smtputf8 else Form.ASCII,
            received_from=incoming.client.hello.name if incoming.client.hello else None,
        )
    )
    job = NewJob(
        account=account,
        reverse_path=None,
        forward_path=sender,
        prefix=sign(domain, content),
        message_id=identifier,
        smtputf8=sender.needs_smtputf8,
        require_tls=incoming.require_tls,
    )
    end = content.index(b"\r\n\r\n") + 4
    return Report(
        Spooled(
            size=len(content),
            header=content[:end],
            has_8bit=not content.isascii(),
            inline=content,
        ),
        job,
    )
