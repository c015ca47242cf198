"""
What a sender is told about a message that is ours now, as far as he wants to
hear it: whom it did not reach, and whom it did.  RFC 3461, RFC 3464.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from twisted.logger import LogLevel

from moxsmtp.interfaces import NewJob, Spooled
from moxsmtp.message.dsn import compose_dsn
from moxsmtp.message.reports import Action, Dsn, Form, RecipientReport
from moxsmtp.message.submission import new_message_id
from moxsmtp.names import Domain
from moxsmtp.receive.partial import Incoming, Refusal
from moxsmtp.receive.receiver import Envelope, House, storage_refusals
from moxsmtp.receive.session_log import SessionLog
from moxsmtp.receive.signing import signature_of
from moxsmtp.smtp.address import Path
from moxsmtp.smtp.commands import Mail
from moxsmtp.smtp.notification import Occasion, ReturnContent
from moxsmtp.smtp.reply import Refused

__all__ = ["report"]


async def report(
    house: House,
    log: SessionLog,
    incoming: Incoming,
    envelope: Envelope,
    refusals: Sequence[Refusal],
) -> None:
    """
    Queue what is to be told, if anything is, once the message is stored for
    those of the envelope's recipients who are not among C{refusals}.  RFC 5321
    section 6.1, RFC 3461 section 5.2.3.

    Never fails: the message is stored, and asking for it again would bring its
    readers a second copy.
    """
    sender = incoming.reverse_path
    if sender is None:
        return
    reports = tuple(_reports(house, incoming, envelope, refusals))
    if not reports:
        return
    content, job = _composed(house, incoming, sender, envelope.mail, reports)
    try:
        with storage_refusals():
            await house.queue.add(content, [job])
    except Refused as refused:
        house.metrics.count("mox_smtpserver_errors_total", error="queuedsn")
        log.write(
            LogLevel.error,
            "{sender} is not told about {count} recipients: {reason}",
            sender=sender.unicode,
            count=len(reports),
            reason=refused.reason,
        )


def _reports(
    house: House, incoming: Incoming, envelope: Envelope, refusals: Sequence[Refusal]
) -> Iterator[RecipientReport]:
    """Failures first.  RFC 3461 section 4.1."""
    commands = {recipient.path: recipient.command for recipient in envelope.recipients}
    for refusal in refusals:
        command = commands.pop(refusal.path)
        if house.policy.reports_refusals and command.notify.wants(Occasion.FAILURE):
            yield RecipientReport(
                recipient=refusal.path,
                action=Action.FAILED,
                original_recipient=command.original_recipient,
                status=refusal.reply.status or "",
                error=refusal.reply.text,
                last_attempt=incoming.received,
            )
    for path, command in commands.items():
        if command.notify.wants(Occasion.SUCCESS):
            yield RecipientReport(
                recipient=path,
                action=Action.DELIVERED,
                original_recipient=command.original_recipient,
                last_attempt=incoming.received,
            )


@dataclass(frozen=True, slots=True)
class _Returned:
    """@ivar is_whole: It is all of the message, not just its header section."""

    octets: bytes
    is_whole: bool


def _returned(incoming: Incoming, mail: Mail, reports: Sequence[RecipientReport]) -> _Returned:
    """
    All of a message that is small, ASCII so that every host takes the report,
    and did not reach somebody; else its header section.  RFC 3461 section 4.3.
    """
    content = incoming.spooled.inline
    if (
        content is not None
        and mail.returns is ReturnContent.FULL
        and not incoming.spooled.has_8bit
        and any(one.action is Action.FAILED for one in reports)
    ):
        return _Returned(content, is_whole=True)
    return _Returned(incoming.header.section, is_whole=False)


def _composed(
    house: House,
    incoming: Incoming,
    sender: Path,
    mail: Mail,
    reports: tuple[RecipientReport, ...],
) -> tuple[Spooled, NewJob]:
    """
    The report, and where it goes (Q-38): from the postmaster of the first
    recipient's domain, signed (I-93), on an SMTPUTF8 message in UTF-8, too.
    """
    first = reports[0].recipient.domain
    domain = first if isinstance(first, Domain) else house.hostname
    token = house.random_bytes(16)
    identifier = new_message_id(house.hostname, token)
    returned = _returned(incoming, mail, reports)
    client, postmaster = incoming.client, house.accounts.postmaster()
    dsn = Dsn(
        hostname=house.hostname,
        postmaster=Path("postmaster", domain),
        sender=sender,
        date=incoming.received,
        boundary=token.hex(),
        message_id=identifier,
        references=incoming.message_id,
        arrival=incoming.received,
        reports=reports,
        original=returned.octets,
        full=returned.is_whole,
        envelope_id=mail.envelope_id,
        received_from=client.hello.name if client.hello else None,
    )
    signers = house.signers().get(domain, ())

    def signature(message: bytes) -> bytes:
        return signature_of(message, signers, now=house.now(), metrics=house.metrics)

    content, *others = (
        compose_dsn(replace(dsn, form=form)) for form in Form.leaving(smtputf8=incoming.smtputf8)
    )
    job = NewJob(
        account=postmaster.name if postmaster else "",
        reverse_path=None,
        forward_path=sender,
        prefix=signature(content),
        message_id=identifier,
        smtputf8=sender.needs_smtputf8,
        require_tls=incoming.require_tls,
        alternative=b"".join(signature(other) + other for other in others),
    )
    spooled = Spooled(
        size=len(content),
        header=content[: content.index(b"\r\n\r\n") + 4],
        has_8bit=not content.isascii(),
        inline=content,
    )
    return spooled, job
