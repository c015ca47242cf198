"""
Mail from outside, for accounts of ours.

What is known to be refused is refused before the content; an unknown user of a
domain of ours only after it, so that nobody can ask for names one by one.

Who sent it is checked meanwhile, told in header fields and kept with the
message; no outcome of these checks refuses anything by itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from mmap import mmap
from typing import Final

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import LogLevel
from zope.interface import implementer

from moxsmtp.interfaces import (
    Account,
    Client,
    IReceiver,
    ISpool,
    NewHook,
    NewMessage,
    Provenance,
    Spooled,
)
from moxsmtp.message import authres
from moxsmtp.message.addresses import author_of
from moxsmtp.message.header import Header, message_id, parse_header
from moxsmtp.message.parameters import content_type
from moxsmtp.message.structure import is_dsn, parse_structure
from moxsmtp.names import AddressLiteral, Domain
from moxsmtp.receive.intake import HeaderTaken, Intake
from moxsmtp.receive.partial import Incoming, Refusal, folded, partial_failure
from moxsmtp.receive.prefix import Prefix
from moxsmtp.receive.provenance import provenance, requires_tls
from moxsmtp.receive.receiver import House, Receiver, Recipient, storage_refusals
from moxsmtp.receive.running import Site
from moxsmtp.receive.session_log import SessionLog
from moxsmtp.receive.signing import signature_of
from moxsmtp.receive.verification import Authentication, Reverse, Verification
from moxsmtp.smtp.address import Path
from moxsmtp.smtp.commands import Mail
from moxsmtp.smtp.reply import Refused, Reply
from moxsmtp.webhooks.payload import Arrival, incoming_payload

__all__ = ["Delivery"]

#: More Received fields than this are a loop.  RFC 5321 section 6.3.
MAXIMUM_HOPS: Final = 100

_NO_SUCH_USER: Final = Reply(550, "1.1", "no such user here")
_NOT_HERE: Final = Reply(550, "1.1", "this domain is not served here, and mail is not relayed")


@implementer(IReceiver)
class Delivery(Receiver):
    """Takes mail on port 25."""

    def __init__(
        self,
        house: House,
        log: SessionLog,
        *,
        hostname: Domain,
        tls_required: bool,
        unknown_delay: timedelta,
        clock: IReactorTime,
    ) -> None:
        """
        @param hostname: The listener's; the house has the server's.
        @param unknown_delay: How long a message is held for which nobody here
            is known, before it is refused (I-31).
        """
        super().__init__(house, log, tls_required=tls_required)
        self._hostname = hostname
        self._unknown_delay = unknown_delay
        self._clock = clock
        self._site = Site(clock, house.metrics, log)
        self._reverse = Reverse(house.checks, self._site)
        self._verification: Verification | None = None
        self._header: Header | None = None
        self._intake: Intake | None = None

    def check_sender(self, client: Client, path: Path | None) -> None:  # noqa: ARG002 - the base's form
        """Nobody can be answered at an address literal (S-66)."""
        if path is not None and isinstance(path.domain, AddressLiteral):
            raise Refused(Reply(550, "7.0", "a sender's domain may not be an address literal"))

    def account_of(self, client: Client, path: Path) -> Account | None:  # noqa: ARG002 - the base's form
        """Addresses of domains that are not ours are refused (S-73)."""
        account = self.house.accounts.account_of(path)
        if account is None and (
            isinstance(path.domain, AddressLiteral) or not self.house.accounts.is_local(path.domain)
        ):
            raise Refused(_NOT_HERE)
        return account

    async def mail(self, client: Client, command: Mail) -> Reply:
        """Begin a transaction, and to ask who sends."""
        reply = await super().mail(client, command)
        self._verification = Verification(
            self.house.checks,
            self._site,
            client,
            command.reverse_path,
            hostname=self._hostname,
            reverse=self._reverse.begin(client),
        )
        return reply

    async def data(self, client: Client) -> ISpool:
        """A place for the content, past the checks."""
        spool = await super().data(client)
        self._intake = Intake(spool, self._header_complete, self.house.header_room)
        return self._intake

    def reset(self) -> None:
        """Forget the transaction; nobody waits for what is still being asked."""
        super().reset()
        verification, self._verification = self._verification, None
        if verification is not None:
            verification.cancel()
            self._reverse.cancel()
        intake, self._intake = self._intake, None
        if intake is not None:
            intake.release()
        self._header = None

    @property
    def verification(self) -> Verification:
        """Of the transaction under way."""
        if self._verification is None:
            raise RuntimeError("no transaction")
        return self._verification

    def _header_complete(self, section: bytes) -> HeaderTaken:
        """
        The checks see the header section as it came; kept is what does not
        claim to be an outcome of ours.  RFC 8601 section 5.
        """
        header = parse_header(section)
        verification = self.verification
        verification.header_complete(section, header)
        kept = authres.without_own(section, self.house.hostname)
        if kept == section:
            self._header = header
            return HeaderTaken(section, verification.body)
        self._header = parse_header(kept)
        return HeaderTaken(kept, verification.body)

    async def message(self, client: Client, spooled: Spooled) -> Reply:
        """
        Store the message for each recipient in one transaction (S-82), in the
        order of I-1.

        @raise Refused: For none of them it could be stored.
        """
        envelope, verification, header = self.envelope, self.verification, self._header
        if header is None:
            raise RuntimeError("content that came another way than through the spool")
        self._check(header)
        arrival = Incoming(
            client,
            spooled,
            header,
            self.house.now(),
            envelope.reverse_path,
            envelope.mail.smtputf8,
            message_id(header),
            header.text("Subject"),
            requires_tls(header),
        )
        await verification.identities()
        if all(recipient.account is None for recipient in envelope.recipients):
            await deferLater(self._clock, self._unknown_delay.total_seconds())
        authentication = await verification.authentication()
        accepted, refusals = await self._sorted(envelope.recipients)
        if accepted:
            await self._store(arrival, authentication, accepted)
        for refusal in refusals:
            if refusal.reply == _NO_SUCH_USER:
                self._count("unknownuser")
        if not accepted:
            raise Refused(folded(refusals))
        if refusals:
            await self._report(arrival, refusals)
        return Reply(250, "2.0", "message accepted")

    async def _sorted(
        self, recipients: Sequence[Recipient]
    ) -> tuple[list[tuple[Account, Path]], list[Refusal]]:
        """Who gets the message, and who does not and why."""
        accepted: list[tuple[Account, Path]] = []
        refusals: list[Refusal] = []
        for recipient in recipients:
            if recipient.account is None:
                refusals.append(Refusal(recipient.path, _NO_SUCH_USER))
                continue
            try:
                with self.policy_refusals():
                    await self.house.policy.delivery(recipient.path)
            except Refused as refused:
                refusals.append(Refusal(recipient.path, refused.reply))
            else:
                accepted.append((recipient.account, recipient.path))
        return accepted, refusals

    async def _store(
        self,
        arrival: Incoming,
        authentication: Authentication,
        accepted: Sequence[tuple[Account, Path]],
    ) -> None:
        """Content and rows together, durably."""
        house = self.house
        with self._counted_failures(len(accepted)), storage_refusals():
            report = await self._is_dsn(arrival)
            author = author_of(arrival.header)
            known = provenance(
                authentication,
                author.path if author else None,
                require_tls=arrival.require_tls,
                organizational_domain=house.organizational_domain,
            )
            usual = NewMessage(
                account="",
                prefix=b"",
                received=arrival.received,
                reverse_path=arrival.reverse_path,
                forward_path=accepted[0][1],
                remote_address=arrival.client.address,
                hello=_hello(arrival.client),
                tls=arrival.client.tls,
                author=author.address if author else "",
                subject=arrival.subject,
                message_id=arrival.message_id,
                is_dsn=report,
                provenance=known,
            )
            prefix = Prefix(
                arrival,
                authentication,
                hostname=house.hostname,
                receiver=self._hostname,
                reply_id=house.reply_id(arrival.client.session_id),
            )
            messages = [
                replace(
                    usual,
                    account=account.name,
                    prefix=prefix.for_recipient(path),
                    forward_path=path,
                    hand_over=account.maildir is not None,
                    hook=await self._hook(arrival, known, account, path),
                )
                for account, path in accepted
            ]
            numbers = await self.house.store.deliver(arrival.spooled, messages)
        for message, number in zip(messages, numbers, strict=True):
            self._count("delivered")
            self.log.write(
                LogLevel.info,
                "delivered {size} octets to {recipient} as message {number} of {account}",
                size=arrival.spooled.size,
                recipient=message.forward_path.unicode,
                number=number,
                account=message.account,
            )

    async def _is_dsn(self, arrival: Incoming) -> bool:
        # Only a multipart/report is worth looking for its parts.
        if content_type(arrival.header).value != "multipart/report":
            return False
        return await self.house.store.examine(
            arrival.spooled, lambda content: is_dsn(parse_structure(content))
        )

    async def _hook(
        self, arrival: Incoming, known: Provenance, account: Account, path: Path
    ) -> NewHook | None:
        """The incoming webhook (Q-71)."""
        target = account.incoming_webhook
        if target is None:
            return None
        facts = Arrival(
            reverse_path=arrival.reverse_path,
            forward_path=path,
            remote_address=arrival.client.address,
            received=arrival.received,
            reverse_path_validated=known.has_valid_sender,
            author_validated=known.has_valid_author,
            dkim_domains=tuple(domain.unicode for domain in known.dkim_domains),
        )

        def payload(content: bytes | mmap) -> bytes:
            return incoming_payload(facts, arrival.header, parse_structure(content), content)

        return NewHook(
            account=account.name,
            target=target,
            event=None,
            payload=await self.house.store.examine(arrival.spooled, payload),
            message_id=arrival.message_id,
            subject=arrival.subject,
        )

    async def _report(self, arrival: Incoming, refusals: Sequence[Refusal]) -> None:
        """
        Tell the sender whom the message did not reach, since 250 says that it
        is ours now.  RFC 5321 section 6.1.
        """
        if arrival.reverse_path is None or not self.house.policy.reports_refusals:
            return
        postmaster = self.house.accounts.postmaster()
        report = partial_failure(
            arrival,
            refusals,
            hostname=self.house.hostname,
            account=postmaster.name if postmaster else "",
            token=self.house.random_bytes(16),
            sign=self._signed,
        )
        try:
            with storage_refusals():
                await self.house.queue.add(report.content, [report.job])
        except Refused as refused:
            # The message is stored for the others: asking for it again would
            # bring them a second copy.
            self.house.metrics.count("mox_smtpserver_errors_total", error="queuedsn")
            self.log.write(
                LogLevel.error,
                "{sender} is not told of {count} recipients without delivery: {reason}",
                sender=arrival.reverse_path.unicode,
                count=len(refusals),
                reason=refused.reason,
            )

    def _signed(self, author: Domain, message: bytes) -> bytes:
        """Our signatures under a report (I-93)."""
        house = self.house
        signers = house.signers().get(author, ())
        return signature_of(message, signers, now=house.now(), metrics=house.metrics)

    def _check(self, header: Header) -> None:
        """@raise Refused: It goes in circles, or its author cannot be told."""
        if header.count("Received") > MAXIMUM_HOPS:
            self._count("reject", "loop")
            raise Refused(
                Reply(550, "4.6", f"more than {MAXIMUM_HOPS} Received fields: a mail loop")
            )
        if header.count("From") > 1:
            self._count("reject", "several-from")
            raise Refused(Reply(550, "6.0", "more than one From field"))

    @contextmanager
    def policy_refusals(self) -> Iterator[None]:
        """Counted at every step (S-110)."""
        try:
            yield
        except Refused:
            self._count("delivererror", self.house.policy.reason)
            raise

    @contextmanager
    def _counted_failures(self, recipients: int) -> Iterator[None]:
        """Within, what is refused has failed for so many recipients."""
        try:
            yield
        except Refused:
            for _ in range(recipients):
                self._count("delivererror")
            raise

    def _count(self, result: str, reason: str = "") -> None:
        self.house.metrics.count("mox_smtpserver_delivery_total", result=result, reason=reason)


def _hello(client: Client) -> str:
    """The name given with HELO or EHLO; empty for none."""
    return client.hello.name.ascii if client.hello and client.hello.name else ""
