"""
Mail from outside, for accounts of ours.

What is known to be refused is refused before the content; an unknown user of a
domain of ours only after it, so that nobody can ask for names one by one.

Who sent it is checked meanwhile, told in header fields and kept with the
message; no outcome of these checks refuses anything by itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Final, TypeVar

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from zope.interface import implementer

from moxsmtp.interfaces import (
    Alias,
    Client,
    IMetrics,
    IReceiver,
    ISpool,
    LocalRecipient,
    RequireTLS,
    Spooled,
)
from moxsmtp.message import authres
from moxsmtp.message.addresses import Mailbox, author_of
from moxsmtp.message.header import Header, message_id, parse_header
from moxsmtp.names import AddressLiteral, Domain
from moxsmtp.reachability import Reachability
from moxsmtp.receive.accepted import tell_delivered, tell_partly_refused
from moxsmtp.receive.copies import Copy, copies_for, in_order
from moxsmtp.receive.explaining import explain
from moxsmtp.receive.form import smtputf8_of
from moxsmtp.receive.intake import HeaderTaken, Intake
from moxsmtp.receive.partial import Incoming, Refusal, folded
from moxsmtp.receive.provenance import requires_tls
from moxsmtp.receive.receiver import (
    MAXIMUM_HOPS,
    TOO_MANY_HOPS,
    House,
    Receiver,
    Recipient,
    storage_refusals,
)
from moxsmtp.receive.reporting import report
from moxsmtp.receive.running import Kind, Running, Site
from moxsmtp.receive.session_log import SessionLog
from moxsmtp.receive.stored import new_messages
from moxsmtp.receive.unverified import Unverified
from moxsmtp.receive.verification import Authentication, Reverse, Verification
from moxsmtp.smtp.address import Path
from moxsmtp.smtp.commands import Mail
from moxsmtp.smtp.reply import Refused, Rejected, Reply

__all__ = ["Delivery"]

T = TypeVar("T")

_NO_SUCH_USER: Final = Reply(550, "1.1", "no such user here")
_NOT_HERE: Final = Reply(550, "1.1", "this domain is not served here, and mail is not relayed")
_MAY_NOT_POST: Final = Reply(550, "7.2", "the author may not write to this address")
_ONE_AT_A_TIME: Final = Reply(452, "5.3", "one recipient at a time from this sender, please")

#: What is said to a sender that nobody could answer (S-65).
_UNANSWERABLE: Final[Mapping[Reachability, Reply]] = {
    Reachability.NULL_MX: Reply(550, "7.27", "the sender's domain takes no mail (null MX)"),
    Reachability.UNREACHABLE: Reply(550, "7.27", "the sender's domain has no mail server"),
    Reachability.UNKNOWN: Reply(451, "4.0", "the sender's domain cannot be looked up at present"),
}


def _unmeasured(metrics: IMetrics, found: object, seconds: float) -> None:
    """Nobody counts it."""


_REACHABILITY: Final = Kind("reachability", lambda _: Reachability.UNKNOWN, _unmeasured)
_HELLO: Final = Kind("hello", lambda _: True, _unmeasured)


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
        checked: bool = True,
    ) -> None:
        """
        @param hostname: The listener's; the house has the server's.
        @param checked: Otherwise somebody in front of us has made the checks.
        @param unknown_delay: How long a message is held for which nobody here
            is known, before it is refused (I-31).
        """
        super().__init__(house, log, tls_required=tls_required)
        self._hostname = hostname
        self._checked = checked
        self._unknown_delay = unknown_delay
        self._clock = clock
        self._site = Site(clock, house.metrics, log)
        self._reverse = Reverse(house.checks, self._site)
        self._verification: Verification | Unverified | None = None
        self._header: Header | None = None
        self._intake: Intake | None = None

    def check_sender(self, client: Client, path: Path | None) -> None:  # noqa: ARG002 - the base's form
        """Nobody can be answered at an address literal (S-66)."""
        if path is not None and isinstance(path.domain, AddressLiteral):
            raise Refused(Reply(550, "7.0", "a sender's domain may not be an address literal"))

    def find(self, client: Client, path: Path) -> LocalRecipient | None:  # noqa: ARG002 - the base's form
        """Addresses of domains that are not ours are refused (S-73)."""
        found = self.house.accounts.recipient_of(path)
        if found is None and (
            isinstance(path.domain, AddressLiteral) or not self.house.accounts.is_local(path.domain)
        ):
            raise Refused(_NOT_HERE)
        return found

    async def may_exist(self, name: Domain) -> bool:
        """As the base has it, within the time of one step (S-16)."""
        if not self._checked:
            return True
        return await _found(Running(self._site, _HELLO, super().may_exist, name))

    async def mail(self, client: Client, command: Mail) -> Reply:
        """
        Begin a transaction, and to ask who sends.

        @raise Refused: Nobody could answer the sender (S-65).
        """
        if not self._checked:
            reply = await super().mail(client, command)
            self._verification = Unverified()
            return reply
        sender = command.reverse_path
        if sender is not None and isinstance(sender.domain, Domain):
            reachability = await _found(
                Running(self._site, _REACHABILITY, self.house.checks.reachability, sender.domain)
            )
            if reachability is not Reachability.REACHABLE:
                raise Refused(_UNANSWERABLE[reachability])
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

    async def admit_another(self, others: tuple[Recipient, ...]) -> None:
        """
        The null sender writes to one recipient at a time, for what it reports
        concerns one (S-71); others prove first that they are who they say
        (S-72).

        @raise Refused: This is not one for several recipients.
        """
        if self.envelope.reverse_path is None:
            raise Refused(_ONE_AT_A_TIME)
        if len(others) == 1 and not await self.verification.sender_passes():
            raise Refused(_ONE_AT_A_TIME)

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
    def verification(self) -> Verification | Unverified:
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
        smtputf8 = await smtputf8_of(self.house, client, envelope, spooled, header)
        self._check(header)
        arrival = Incoming(
            client,
            spooled,
            header,
            self.house.now(),
            envelope.reverse_path,
            smtputf8,
            message_id(header),
            header.text("Subject"),
            RequireTLS.YES if envelope.mail.require_tls else requires_tls(header),
        )
        await verification.identities()
        if all(recipient.local is None for recipient in envelope.recipients):
            await deferLater(self._clock, self._unknown_delay.total_seconds())
            # Without DMARC, whose time is the sender's to choose.
            _, refusals = await self._sorted(envelope.recipients, None)
            raise Refused(folded(refusals))
        authentication = await verification.authentication()
        explain(
            self.log,
            authentication,
            address=client.address,
            organizational_domain=self.house.organizational_domain,
        )
        author = author_of(header)
        writer = self._canonical(author)
        accepted, refusals = await self._sorted(envelope.recipients, writer)
        copies = copies_for(accepted, envelope.recipients, writer, self.house.accounts.canonical)
        if copies:
            await self._store(arrival, authentication, author, copies)
        if refusals and not accepted:
            raise Refused(folded(refusals))
        tell_partly_refused(self.log, refusals)
        await report(self.house, self.log, arrival, envelope, refusals)
        if not copies and self._intake is not None:
            # All members of an alias have it already: it is nobody's now.
            self._intake.abort()
        return Reply(250, "2.0", "message accepted")

    async def _sorted(
        self, recipients: Sequence[Recipient], author: Path | None
    ) -> tuple[list[Recipient], list[Refusal]]:
        """Who gets the message, and who does not and why."""
        accepted: list[Recipient] = []
        refusals: list[Refusal] = []
        for recipient in in_order(recipients):
            local = recipient.local
            if local is None:
                self._count("unknownuser")
                refusals.append(Refusal(recipient.path, _NO_SUCH_USER))
                continue
            if isinstance(local, Alias) and not local.admits(author):
                self._count("reject", "alias-posting")
                refusals.append(Refusal(recipient.path, _MAY_NOT_POST))
                continue
            try:
                await self.house.policy.delivery(recipient.path)
            except Refused as refused:
                self.count_policy_refusal()
                refusals.append(Refusal(recipient.path, refused.reply))
            else:
                accepted.append(recipient)
        return accepted, refusals

    def _canonical(self, author: Mailbox | None) -> Path | None:
        """The author in the spelling of our own addresses."""
        if author is None or author.path is None:
            return None
        return self.house.accounts.canonical(author.path)

    async def _store(
        self,
        arrival: Incoming,
        authentication: Authentication,
        author: Mailbox | None,
        copies: Sequence[Copy],
    ) -> None:
        """Content and rows together, durably."""
        try:
            with storage_refusals():
                messages = await new_messages(
                    self.house, arrival, authentication, author, copies, hostname=self._hostname
                )
                numbers = await self.house.store.deliver(arrival.spooled, messages)
        except Refused:
            for _ in copies:
                self._count("delivererror")
            raise
        for _ in numbers:
            self._count("delivered")
        size = arrival.spooled.size
        tell_delivered(self.log, arrival.client, messages, numbers, size=size)

    def _check(self, header: Header) -> None:
        """@raise Refused: It goes in circles, or its author cannot be told."""
        if header.count("Received") > MAXIMUM_HOPS:
            self._count("reject", "loop")
            raise Refused(TOO_MANY_HOPS)
        if header.count("From") > 1:
            self._count("reject", "several-from")
            raise Rejected(Reply(550, "6.0", "more than one From field"))

    def _count(self, result: str, reason: str = "") -> None:
        self.house.metrics.count("mox_smtpserver_delivery_total", result=result, reason=reason)


async def _found(asking: Running[T]) -> T:
    """What it finds, or nothing more of it."""
    if asking.value is not None:
        return asking.value
    try:
        return await asking.result()
    finally:
        asking.cancel()
