"""
Mail that our own users hand in.  RFC 6409.

It is checked when its header section is complete, and signed when all of it is
there.  Every recipient becomes a job of the queue, local ones too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from zope.interface import implementer

from moxsmtp.dkim.sign import Signer
from moxsmtp.interfaces import (
    Allowance,
    Client,
    IReceiver,
    ISpool,
    LocalRecipient,
    Login,
    NewJob,
    RequireTLS,
    Spooled,
)
from moxsmtp.message import trace
from moxsmtp.message.authres import MethodResult, Property, authentication_results, without_own
from moxsmtp.message.extra import BadExtra, extra_fields
from moxsmtp.message.header import Header, parse_header
from moxsmtp.message.submission import Acceptable, Unacceptable, examine
from moxsmtp.names import AddressLiteral, Domain
from moxsmtp.queue.job import (
    FromIdInUse,
    MessageLimitReached,
    QueueFull,
    RecipientLimitReached,
)
from moxsmtp.receive.accepted import tell_queued
from moxsmtp.receive.form import smtputf8_of
from moxsmtp.receive.from_id import IdentifiedSender, identified_senders, wants_from_id
from moxsmtp.receive.intake import HeaderTaken, Intake
from moxsmtp.receive.provenance import requires_tls
from moxsmtp.receive.receiver import Envelope, Receiver, storage_refusals
from moxsmtp.receive.signing import Signature, Signers
from moxsmtp.smtp.address import Path
from moxsmtp.smtp.commands import Mail
from moxsmtp.smtp.reply import Refused, Reply

__all__ = ["Submission"]

_NO_SUCH_USER: Final = Reply(550, "1.1", "no such user here")
_HAS_RETURN_PATH: Final = Reply(550, "6.0", "a message on its way out has no Return-Path")
_FROM_ID_IN_USE: Final = Reply(554, "1.7", "the identifier in the sender has been used already")
_DOMAIN_GONE: Final = Reply(451, "3.0", "the From domain is no longer served here, try again")

#: The settings that limit what an account sends, as they are written.
_MESSAGES: Final = "max_outgoing_messages_per_day"
_RECIPIENTS: Final = "max_first_time_recipients_per_day"


@dataclass(frozen=True, slots=True)
class _Begun:
    """
    A message whose header section has come.

    @ivar section: As it is stored.
    """

    section: bytes
    header: Header
    found: Acceptable | Unacceptable
    signature: Signature


@implementer(IReceiver)
class Submission(Receiver):
    """Takes mail on the submission ports."""

    #: Our domains when the transaction began.
    _signers: Signers
    _begun: _Begun | None = None
    #: When the message may leave; L{None}: at once.
    _release: datetime | None = None

    def check_sender(self, client: Client, path: Path | None) -> None:
        """Only who owns an address may send as it (S-66)."""
        if path is not None and not self._owns(client, path):
            raise Refused(Reply(550, "7.1", "this sender address is not yours"))

    def find(self, client: Client, path: Path) -> LocalRecipient | None:  # noqa: ARG002 - the base's form
        """An unknown user of a domain of ours is refused; all others go to the queue (S-73)."""
        found = self.house.accounts.recipient_of(path)
        if found is None and self.house.accounts.is_local(path.domain):
            raise Refused(_NO_SUCH_USER)
        return found

    async def mail(self, client: Client, command: Mail) -> Reply:
        """
        Begin a transaction (S-67).

        @raise Refused: The mail cannot be held so long (S-64), or nobody may
            send as this.
        """
        release = command.hold.release(self.house.now()) if command.hold else None
        reply = await super().mail(client, command)
        self._release = release
        self._signers = self.house.signers()
        return reply

    async def data(self, client: Client) -> ISpool:
        """A place for the content, which is hashed on its way there (S-75, S-96)."""
        return Intake(await super().data(client), self._header_complete)

    def _header_complete(self, section: bytes) -> HeaderTaken:
        # Only we speak in our name; RFC 8601 section 5.
        section = without_own(section, self.house.hostname)
        now = self.house.now()
        header = parse_header(section)
        found = examine(
            header,
            hostname=self.house.hostname,
            token=lambda: self.house.random_bytes(16),
            when=now,
        )
        signature = Signature(self._signers_of(found), now=now, metrics=self.house.metrics)
        self._begun = _Begun(section, header, found, signature)
        return HeaderTaken(section, signature.feed)

    def _signers_of(self, found: Acceptable | Unacceptable) -> Sequence[Signer]:
        """Those of the From domain (S-96)."""
        if isinstance(found, Unacceptable) or not isinstance(found.author.domain, Domain):
            return ()
        return self.house.signers().get(found.author.domain, ())

    def reset(self) -> None:
        """Forget the transaction, if there is one."""
        super().reset()
        self._begun = None
        self._release = None

    async def message(self, client: Client, spooled: Spooled) -> Reply:
        """
        Check the message and queue it, once for each recipient (S-99).

        @raise Refused: It is not acceptable, or cannot be queued.
        """
        envelope, begun = self.envelope, self._begun
        if begun is None:
            raise RuntimeError("a message without a header section")
        smtputf8 = await smtputf8_of(self.house, client, envelope, spooled, begun.header)
        found = begun.found
        if isinstance(found, Unacceptable):
            self.count("badmessage")
            raise Refused(Reply(550, "6.0", found.text))
        is_gone = self._is_gone(found.author)
        if not is_gone and not self.may_write_as(client, found.author):
            self.count("badfrom")
            raise Refused(Reply(550, "7.1", "the message's From address is not yours"))
        if self.house.pedantic and begun.header.has("Return-Path"):
            self.count("badheader")
            raise Refused(_HAS_RETURN_PATH)
        try:
            _check_domain(is_gone=is_gone)
            extra = _extra(begun.header)
            senders = self._senders(client)
            await self.house.policy.submission(
                [recipient.path for recipient in envelope.recipients]
            )
        except Refused:
            # Who may send nothing more hears that first (S-94).
            with self._limits():
                await self._check_limits(client)
            raise
        added = found.missing + begun.signature.fields(found.missing + begun.section)
        jobs = self._jobs(
            client, begun, found, added, smtputf8=smtputf8, senders=senders, extra=extra
        )
        numbers = await self.queued(client, spooled, jobs)
        self.count("ok")
        owner = self.owner_name(client)
        tell_queued(self.log, client, jobs, numbers, owner=owner, size=spooled.size)
        return Reply(250, "2.0", "message queued")

    async def queued(
        self, client: Client, spooled: Spooled, jobs: Sequence[NewJob]
    ) -> Sequence[int]:
        """
        Into the queue, if the account may send so much (S-94, S-99).

        @raise Refused: It may not, or it cannot be done.
        """
        with self._limits():
            try:
                with storage_refusals():
                    return await self.house.queue.add(spooled, jobs, self._allowance(client))
            except FromIdInUse:
                raise Refused(_FROM_ID_IN_USE) from None
            except Refused:
                self.count("queueerror")
                raise

    async def _check_limits(self, client: Client) -> None:
        """
        See whether the account may send so much (S-94).

        @raise LimitReached: It may not.
        """
        allowance = self._allowance(client)
        if allowance is not None:
            paths = [self._destined(recipient.path) for recipient in self.envelope.recipients]
            await self.house.queue.check(allowance, paths)

    @contextmanager
    def _limits(self) -> Iterator[None]:
        """What has been reached, as the client hears it."""
        try:
            yield
        except MessageLimitReached as reached:
            self.count("messagelimiterror")
            raise Refused(_too_much(reached.limit, "messages", _MESSAGES)) from None
        except RecipientLimitReached as reached:
            self.count("recipientlimiterror")
            raise Refused(_too_much(reached.limit, "new recipients", _RECIPIENTS)) from None
        except QueueFull as reached:
            self.count("queuelimiterror")
            raise Refused(_queue_full(reached.limit)) from None

    def _allowance(self, client: Client) -> Allowance | None:
        """What the account may send (S-94)."""
        account = self.house.accounts.account(self.account_name(client))
        if account is None:
            return None
        return Allowance(
            account.name,
            messages=account.max_outgoing_messages_per_day,
            first_time_recipients=account.max_first_time_recipients_per_day,
            queued=account.max_queued_messages,
        )

    def _senders(self, client: Client) -> Sequence[IdentifiedSender]:
        """As whom each recipient's copy is sent (S-98)."""
        sender, count = self.envelope.reverse_path, len(self.envelope.recipients)
        accounts = self.house.accounts
        account = accounts.account(self.account_name(client))
        if sender is None or client.login is None:
            return [IdentifiedSender(sender)] * count
        if not wants_from_id(accounts, account, client.login):
            return [IdentifiedSender(sender)] * count
        return identified_senders(
            sender,
            accounts.separators_of(sender.domain),
            count=count,
            random_bytes=self.house.random_bytes,
        )

    def account_name(self, client: Client) -> str:
        """In whose name it is sent."""
        return _login(client).account

    def owner_name(self, client: Client) -> str:
        """The same for the log."""
        return f"account {self.account_name(client)}"

    def _jobs(
        self,
        client: Client,
        begun: _Begun,
        found: Acceptable,
        added: bytes,
        *,
        smtputf8: bool,
        senders: Sequence[IdentifiedSender],
        extra: Mapping[str, str],
    ) -> list[NewJob]:
        """
        @param added: What the message lacked, and its signatures.
        @param smtputf8: It is internationalized, whatever was declared (S-80).
        @param senders: As whom each recipient's copy is sent.
        """
        envelope, mail = self.envelope, self.envelope.mail
        paths = [self._destined(recipient.path) for recipient in envelope.recipients]
        prefix = trace.received(
            client,
            hostname=self.house.hostname,
            reply_id=self.house.reply_id(client.session_id),
            # With several recipients their copies stay identical, so that one
            # transaction can carry them.
            forward_path=paths[0] if len(paths) == 1 else None,
            smtputf8=smtputf8,
            when=self.house.now(),
            require_tls=mail.require_tls,
        )
        prefix += added + self.login_result(envelope, smtputf8=smtputf8)
        return [
            NewJob(
                account=self.account_name(client),
                reverse_path=sender.reverse_path,
                forward_path=path,
                prefix=prefix,
                message_id=found.message_id,
                subject=found.subject,
                smtputf8=smtputf8,
                # Who demands TLS does not waive it (S-91).
                require_tls=RequireTLS.YES if mail.require_tls else requires_tls(begun.header),
                next_attempt=self._release,
                future_release=mail.hold.request if mail.hold is not None else "",
                wishes=envelope.wishes(recipient.command),
                from_id=sender.from_id,
                extra=extra,
            )
            for path, recipient, sender in zip(paths, envelope.recipients, senders, strict=True)
        ]

    def login_result(self, envelope: Envelope, *, smtputf8: bool) -> bytes:
        """Authentication-Results: our own user (S-97).  RFC 8601 section 2.7.4."""
        sender = envelope.reverse_path
        mailfrom = () if sender is None else (Property("smtp", "mailfrom", sender.unicode),)
        return authentication_results(
            self.house.hostname,
            [MethodResult("auth", "pass", properties=mailfrom)],
            smtputf8=smtputf8,
        )

    def may_write_as(self, client: Client, author: Path) -> bool:
        """Whether the client may send what C{author} wrote (S-90)."""
        return self._owns(client, author)

    @property
    def header(self) -> Header:
        """Of the message that has come."""
        if self._begun is None:
            raise RuntimeError("a message without a header section")
        return self._begun.header

    def _is_gone(self, author: Path) -> bool:
        """Whether a reload took the author's domain away since MAIL (S-96)."""
        return author.domain in self._signers and author.domain not in self.house.signers()

    def _destined(self, path: Path) -> Path:
        """The bare postmaster is ours; the queue needs a domain to go to."""
        return path if path.domain else Path(path.local_part, self.house.hostname)

    def _owns(self, client: Client, path: Path) -> bool:
        return not isinstance(path.domain, AddressLiteral) and self.house.accounts.may_send_as(
            _login(client).account, path
        )

    def count(self, result: str) -> None:
        self.house.metrics.count("mox_smtpserver_submission_total", result=result)


def _check_domain(*, is_gone: bool) -> None:
    """@raise Refused: The From domain is no longer ours (S-96)."""
    if is_gone:
        raise Refused(_DOMAIN_GONE, is_ours=True)


def _extra(header: Header) -> Mapping[str, str]:
    """
    What goes with the message through queue and webhooks (S-95).

    @raise Refused: The same key stands there twice.
    """
    try:
        return extra_fields(header)
    except BadExtra as error:
        raise Refused(Reply(554, "6.0", str(error))) from None


def _too_much(limit: int, what: str, setting: str) -> Reply:
    return Reply(
        451,
        "7.1",
        f"no more than {limit} {what} in 24 hours (the account's setting {setting}), try later",
    )


def _queue_full(limit: int) -> Reply:
    """Not the recipient's trouble nor the message's (Q-95).  RFC 3463 section 3.4."""
    return Reply(
        452,
        "3.1",
        f"no more than {limit} messages of the account may wait (its setting max_queued_messages),"
        " try later",
    )


def _login(client: Client) -> Login:
    """The session lets nobody get here who has not logged in (S-25)."""
    if client.login is None:
        raise RuntimeError("mail submitted without a login")
    return client.login
