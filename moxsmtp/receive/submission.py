"""
Mail that our own users hand in.  RFC 6409.

Every recipient becomes a job of the queue, local ones too.
"""

from __future__ import annotations

from typing import Final

from twisted.logger import LogLevel
from zope.interface import implementer

from moxsmtp.interfaces import Account, Client, IReceiver, Login, NewJob, Spooled
from moxsmtp.message import trace
from moxsmtp.message.header import parse_header
from moxsmtp.message.submission import Acceptable, Unacceptable, examine
from moxsmtp.names import AddressLiteral
from moxsmtp.receive.receiver import Envelope, Receiver, storage_refusals
from moxsmtp.smtp.address import Path
from moxsmtp.smtp.reply import Refused, Reply

__all__ = ["Submission"]

_NO_SUCH_USER: Final = Reply(550, "1.1", "no such user here")


@implementer(IReceiver)
class Submission(Receiver):
    """Takes mail on the submission ports."""

    def check_sender(self, client: Client, path: Path | None) -> None:
        """Only who owns an address may send as it (S-66)."""
        if path is not None and not self._owns(client, path):
            raise Refused(Reply(550, "7.1", "this sender address is not yours"))

    def account_of(self, client: Client, path: Path) -> Account | None:  # noqa: ARG002 - the base's form
        """An unknown user of a domain of ours is refused; all others go to the queue (S-73)."""
        account = self.house.accounts.account_of(path)
        if account is None and self.house.accounts.is_local(path.domain):
            raise Refused(_NO_SUCH_USER)
        return account

    async def message(self, client: Client, spooled: Spooled) -> Reply:
        """
        Check the message and queue it, once for each recipient (S-99).

        @raise Refused: It is not acceptable, or cannot be queued.
        """
        envelope = self.envelope
        found = examine(
            parse_header(spooled.header),
            hostname=self.house.hostname,
            token=self.house.random_bytes(16),
            when=self.house.now(),
        )
        if isinstance(found, Unacceptable):
            self._count("badmessage")
            raise Refused(Reply(550, "6.0", found.text))
        if not self._owns(client, found.author):
            self._count("badfrom")
            raise Refused(Reply(550, "7.1", "the message's From address is not yours"))
        await self.house.policy.submission([recipient.path for recipient in envelope.recipients])
        jobs = self._jobs(client, envelope, found)
        try:
            with storage_refusals():
                numbers = await self.house.queue.add(spooled, jobs)
        except Refused:
            self._count("queueerror")
            raise
        self._count("ok")
        for job, number in zip(jobs, numbers, strict=True):
            self.log.write(
                LogLevel.info,
                "queued {size} octets from {account} for {recipient} as job {number}",
                size=spooled.size,
                account=job.account,
                recipient=job.forward_path.unicode,
                number=number,
            )
        return Reply(250, "2.0", "message queued")

    def _jobs(self, client: Client, envelope: Envelope, found: Acceptable) -> list[NewJob]:
        paths = [self._destined(recipient.path) for recipient in envelope.recipients]
        prefix = trace.received(
            client,
            hostname=self.house.hostname,
            reply_id=self.house.reply_id(client.session_id),
            # With several recipients their copies stay identical, so that one
            # transaction can carry them.
            forward_path=paths[0] if len(paths) == 1 else None,
            smtputf8=envelope.mail.smtputf8,
            when=self.house.now(),
        )
        return [
            NewJob(
                account=_login(client).account,
                reverse_path=envelope.reverse_path,
                forward_path=path,
                prefix=prefix + found.missing,
                message_id=found.message_id,
                subject=found.subject,
                smtputf8=envelope.mail.smtputf8,
            )
            for path in paths
        ]

    def _destined(self, path: Path) -> Path:
        """The bare postmaster is ours; the queue needs a domain to go to."""
        return path if path.domain else Path(path.local_part, self.house.hostname)

    def _owns(self, client: Client, path: Path) -> bool:
        return not isinstance(path.domain, AddressLiteral) and self.house.accounts.may_send_as(
            _login(client).account, path
        )

    def _count(self, result: str) -> None:
        self.house.metrics.count("mox_smtpserver_submission_total", result=result)


def _login(client: Client) -> Login:
    """The session lets nobody get here who has not logged in (S-25)."""
    if client.login is None:
        raise RuntimeError("mail submitted without a login")
    return client.login
