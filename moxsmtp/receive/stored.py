"""A message from outside as the rows that it becomes: one for each mailbox, with its webhook."""

from __future__ import annotations

from collections.abc import Sequence
from mmap import mmap

from moxsmtp.directory import split_local_part
from moxsmtp.interfaces import Echo, HookTarget, IMailStore, NewHook, NewMessage, Provenance
from moxsmtp.message.addresses import Mailbox
from moxsmtp.message.delivery_status import RecipientStatus, status_in
from moxsmtp.message.parameters import media_type
from moxsmtp.message.structure import is_dsn, parse_structure
from moxsmtp.names import Domain
from moxsmtp.receive.copies import Copy
from moxsmtp.receive.partial import Incoming
from moxsmtp.receive.prefix import Prefix
from moxsmtp.receive.provenance import provenance
from moxsmtp.receive.receiver import House
from moxsmtp.receive.verification import Authentication
from moxsmtp.webhooks.payload import Arrival, incoming_payload

__all__ = ["new_messages"]


async def new_messages(
    house: House,
    arrival: Incoming,
    authentication: Authentication,
    author: Mailbox | None,
    copies: Sequence[Copy],
    *,
    hostname: Domain,
) -> list[NewMessage]:
    """
    One for each of C{copies}.

    @param hostname: The listener's; the house has the server's.
    """
    client = arrival.client
    report, status = await _report(house.store, arrival)
    known = provenance(
        authentication,
        author.path if author else None,
        require_tls=arrival.require_tls,
        organizational_domain=house.organizational_domain,
    )
    prefix = Prefix(
        arrival,
        authentication,
        hostname=house.hostname,
        receiver=hostname,
        reply_id=house.reply_id(client.session_id),
    )
    hello = client.hello.name.ascii if client.hello and client.hello.name else ""
    messages = []
    for copy in copies:
        account = copy.account
        target = account.incoming_webhook
        hook = None
        if target is not None:
            hook = await _hook(house.store, arrival, known, copy, target)
        messages.append(
            NewMessage(
                account=account.name,
                prefix=prefix.for_recipient(copy.path, copy.member),
                received=arrival.received,
                reverse_path=arrival.reverse_path,
                forward_path=copy.path,
                mailbox=copy.mailbox,
                remote_address=client.address,
                hello=hello,
                tls=client.tls,
                author=author.address if author else "",
                subject=arrival.subject,
                message_id=arrival.message_id,
                is_dsn=report,
                hand_over=account.maildir is not None,
                hook=hook,
                provenance=known,
                echo=_echo(house, copy, is_dsn=report, status=status),
            )
        )
    return messages


async def _report(store: IMailStore, arrival: Incoming) -> tuple[bool, RecipientStatus | None]:
    """Whether it is a delivery status notification, and what it says, if that is understood."""
    # Only a multipart/report is worth looking for its parts.
    if media_type(arrival.header) != "multipart/report":
        return False, None

    def read(content: bytes | mmap) -> tuple[bool, RecipientStatus | None]:
        structure = parse_structure(content)
        return is_dsn(structure), status_in(content, structure)

    return await store.examine(arrival.spooled, read)


def _echo(house: House, copy: Copy, *, is_dsn: bool, status: RecipientStatus | None) -> Echo | None:
    """What it may mean for a message that the account sent; L{None}: there is no from-id (Q-39)."""
    separators = house.accounts.separators_of(copy.path.domain)
    _, _, from_id = split_local_part(copy.path.local_part, separators)
    if not from_id:
        return None
    return Echo(
        from_id,
        is_dsn=is_dsn,
        status=status,
        target=copy.account.outgoing_webhook,
        keep_hooks=copy.account.keep_retired_webhooks,
    )


async def _hook(
    store: IMailStore, arrival: Incoming, known: Provenance, copy: Copy, target: HookTarget
) -> NewHook:
    """The incoming webhook (Q-71)."""
    facts = Arrival(
        reverse_path=arrival.reverse_path,
        forward_path=copy.path,
        remote_address=arrival.client.address,
        received=arrival.received,
        reverse_path_validated=known.has_valid_sender,
        author_validated=known.has_valid_author,
        dkim_domains=tuple(domain.unicode for domain in known.dkim_domains),
    )

    def payload(content: bytes | mmap) -> bytes:
        return incoming_payload(facts, arrival.header, parse_structure(content), content)

    return NewHook(
        account=copy.account.name,
        target=target,
        event=None,
        payload=await store.examine(arrival.spooled, payload),
        message_id=arrival.message_id,
        subject=arrival.subject,
    )
