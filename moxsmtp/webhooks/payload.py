"""
What webhooks say: JSON with the names of mox (Q-69 to Q-72).

The order of the names is part of the promise, so every object is built in it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from moxsmtp.interfaces import INBOX, HookTarget, OutgoingEvent
from moxsmtp.message.addresses import addresses
from moxsmtp.message.dates import parse_date
from moxsmtp.message.decoding import decoded_size, decoded_text
from moxsmtp.message.header import Header, message_id, message_ids
from moxsmtp.message.parameters import media_type
from moxsmtp.message.structure import Content, Part
from moxsmtp.names import IPAddress
from moxsmtp.queue.job import Failed, Job
from moxsmtp.smtp.address import Path

__all__ = [
    "MAXIMUM_TEXT", "Arrival", "incoming_payload", "is_automated", "outgoing_payload", "wants",
]  # fmt: skip

#: Octets in UTF-8 of Text and of HTML (Q-72).
MAXIMUM_TEXT: Final = 1 << 20

_AUTOMATED: Final = ("List-Id", "List-Unsubscribe", "List-Unsubscribe-Post", "Precedence")

_JSON = dict[str, object]


def wants(target: HookTarget, event: OutgoingEvent) -> bool:
    """Whether a call is made for this event (Q-69): all of them if none is named."""
    return not target.events or event in target.events


# -- outgoing ------------------------------------------------------------------------------


def outgoing_payload(
    job: Job,
    event: OutgoingEvent,
    *,
    queued: datetime,
    failure: Failed | None = None,
    suppressing: bool = False,
    is_dsn: bool = False,
) -> bytes:
    """
    What became of a queued message (Q-70).

    @param queued: When the call is queued.
    @param failure: Codes and error are for errors, and for what a DSN claims; a
        delivery of ours has none.
    @param suppressing: The address goes on the suppression list.
    @param is_dsn: We know it from a DSN.
    """
    return _encoded(
        {
            "Version": 0,
            "Event": event.value,
            "DSN": is_dsn,
            "Suppressing": suppressing,
            "QueueMsgID": job.id,
            "FromID": job.from_id,
            "MessageID": job.message_id,
            "Subject": job.subject,
            "WebhookQueued": _time(queued),
            "SMTPCode": failure.code if failure else 0,
            "SMTPEnhancedCode": _enhanced_code(failure) if failure else "",
            "Error": failure.error if failure else "",
            "Extra": dict(job.extra),
        }
    )


def _enhanced_code(failure: Failed) -> str:
    """C{5.1.1}; the class follows the code if there is one."""
    if not failure.status:
        return ""
    if failure.code:
        return f"{failure.code // 100}.{failure.status}"
    return f"{5 if failure.permanent else 4}.{failure.status}"


# -- incoming ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """
    What is known of a message beside its content.

    @ivar reverse_path: L{None} for the null reverse-path.
    @ivar forward_path: As the client named the recipient.
    @ivar reverse_path_validated: SPF passed for it.
    @ivar author_validated: DMARC or its like passed for the author.
    @ivar dkim_domains: Those of signatures that passed.
    """

    reverse_path: Path | None
    forward_path: Path
    remote_address: IPAddress | None
    received: datetime
    mailbox: str = INBOX
    reverse_path_validated: bool = False
    author_validated: bool = False
    dkim_domains: tuple[str, ...] = ()


def incoming_payload(arrival: Arrival, header: Header, structure: Part, content: Content) -> bytes:
    """
    A message that came for an account (Q-71).

    Reads the whole content: for a large one, call it in a thread.

    @param content: What C{header} and C{structure} were read from.
    @return: JSON with one NUL octet where the message's number goes (see
        L{moxsmtp.interfaces.NewHook}).
    """
    text, html = _readable_parts(content, structure) or ("", "")
    replied = message_ids(header.first("In-Reply-To") or "")
    date = parse_date(header.first("Date") or "")
    references = [found for value in header.values("References") for found in message_ids(value)]
    payload = _encoded(
        {
            "Version": 0,
            "From": _people(header, "From"),
            "To": _people(header, "To"),
            "CC": _people(header, "Cc"),
            "BCC": _people(header, "Bcc"),
            "ReplyTo": _people(header, "Reply-To"),
            "Subject": header.text("Subject"),
            "MessageID": message_id(header),
            "InReplyTo": replied[0] if replied else "",
            "References": references,
            "Date": _time(date) if date else None,
            "Text": text,
            "HTML": html,
            "Structure": _structure(content, structure),
        }
    )
    meta = _encoded(_meta(arrival, header))
    return payload[:-1] + b',"Meta":{"MsgID":\0,' + meta[1:] + b"}"


def is_automated(header: Header, reverse_path: Path | None) -> bool:
    """Whether no human wrote it just now, so that none is to be answered (Q-72)."""
    if reverse_path is None or any(header.has(name) for name in _AUTOMATED):
        return True
    for value in header.values("Auto-Submitted"):
        if value.partition(";")[0].partition("(")[0].strip().lower() != "no":
            return True
    return media_type(header) == "multipart/report"


def _meta(arrival: Arrival, header: Header) -> _JSON:
    """All of it but MsgID, which goes first."""
    return {
        "MailFrom": arrival.reverse_path.unicode if arrival.reverse_path else "",
        "MailFromValidated": arrival.reverse_path_validated,
        "MsgFromValidated": arrival.author_validated,
        "RcptTo": arrival.forward_path.unicode,
        "DKIMVerifiedDomains": list(arrival.dkim_domains),
        "RemoteIP": str(arrival.remote_address) if arrival.remote_address else "",
        "Received": _time(arrival.received),
        "MailboxName": arrival.mailbox,
        "Automated": is_automated(header, arrival.reverse_path),
    }


def _people(header: Header, name: str) -> list[_JSON]:
    return [{"Name": one.name, "Address": one.address} for one in addresses(header, name)]


def _structure(content: Content, part: Part) -> _JSON:
    return {
        "ContentType": part.content_type,
        "ContentTypeParams": dict(part.parameters),
        "ContentID": part.content_id,
        "ContentDisposition": part.disposition,
        "Filename": part.filename,
        "DecodedSize": decoded_size(content, part),
        "Parts": [_structure(content, inner) for inner in part.parts],
    }


def _readable_parts(content: Content, part: Part) -> tuple[str, str] | None:
    """
    Text and HTML of a message (Q-72).

    @return: L{None} if there is neither in this part.
    """
    if not part.parts:
        return _readable(content, [part])
    children = [one for one in part.parts if one.content_type in {"text/plain", "text/html"}]
    if part.content_type != "multipart/alternative":
        children = children[:1]
    if children:
        return _readable(content, children)
    for inner in part.parts:
        found = _readable_parts(content, inner)
        if found is not None:
            return found
    return None


def _readable(content: Content, parts: Sequence[Part]) -> tuple[str, str] | None:
    """The first of each kind."""
    kinds: Mapping[str, Part] = {part.content_type: part for part in reversed(parts)}
    plain, html = kinds.get("text/plain"), kinds.get("text/html")
    if plain is None and html is None:
        return None
    return (
        decoded_text(content, plain, MAXIMUM_TEXT) if plain else "",
        decoded_text(content, html, MAXIMUM_TEXT) if html else "",
    )


# -- both ------------------------------------------------------------------------------------


def _time(when: datetime) -> str:
    """RFC 3339; UTC as Z."""
    if when.utcoffset() is None:
        raise ValueError("a time in a webhook has a zone")
    text = when.isoformat()
    return text.removesuffix("+00:00") + "Z" if when.tzinfo is UTC else text


def _encoded(body: _JSON) -> bytes:
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
