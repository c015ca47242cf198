"""
Delivery status notifications written.  RFC 3464, RFC 3461 section 6, RFC 6533, RFC 4865.

Errors and replies are the words of strangers: they go in without line ends,
with balanced parentheses, folded, and in ASCII where the DSN is ASCII.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Final

from moxsmtp.message.dates import format_date
from moxsmtp.message.header import is_message_id, parse_header
from moxsmtp.message.reports import SUBJECTS, Action, Dsn, Form, RecipientReport
from moxsmtp.message.writing import (
    CONTROL,
    LAST_COLUMN,
    MAXIMUM_LINE,
    balanced,
    comment,
    field_line,
    in_ascii,
    number,
    plain,
    words,
)
from moxsmtp.smtp.address import Path

__all__ = ["Action", "Dsn", "Form", "RecipientReport", "compose_dsn"]

#: Characters of foreign words that are told.
_MAXIMUM_COMMENT: Final = 500
_MAXIMUM_REPLY: Final = 4000

#: An address with longer U-labels is written with A-labels, so that it fits.
_MAXIMUM_ADDRESS: Final = 500

# bchars without the space, RFC 2046 section 5.1.1
_BOUNDARY: Final = re.compile(r"[0-9A-Za-z'()+_,./:=?-]{1,70}")
# subject "." detail, RFC 3463 section 2
_STATUS: Final = re.compile(r"[0-9]{1,3}\.[0-9]{1,3}")

#: How a report on a recipient begins.
_BEGINNINGS: Final = {
    Action.FAILED: "Your message could not be delivered to",
    Action.DELAYED: "Your message has not been delivered yet to",
    Action.RELAYED: "Your message was handed to a server that reports no deliveries, for",
    Action.EXPANDED: "Your message was passed on to all who are behind",
    Action.DELIVERED: "Your message was delivered to",
}

#: The class of an enhanced status code.  RFC 3463 section 3.1.
_CLASSES: Final = {
    Action.FAILED: 5, Action.DELAYED: 4, Action.RELAYED: 2, Action.EXPANDED: 2,
    Action.DELIVERED: 2,
}  # fmt: skip

#: Of durations, in seconds.
_UNITS: Final = ((86400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))

# What utf-8-addr-xtext writes as a number; RFC 6533 section 3.
_NOT_XTEXT: Final = re.compile(r"[^\0-\x7f]|[\\+= ]")
_LINE_END: Final = re.compile(rb"\r?\n")


def compose_dsn(dsn: Dsn) -> bytes:
    """
    Write the message, with CRLF line ends.

    @raise ValueError: It would go to a null sender (Q-35; RFC 5321 section
        6.1), reports nothing, or its boundary or Message-ID is none.
    """
    if dsn.sender is None:
        raise ValueError("a message from the null sender never has a DSN")
    if not dsn.reports:
        raise ValueError("a DSN reports on at least one recipient")
    if not _BOUNDARY.fullmatch(dsn.boundary):
        raise ValueError("not a boundary")
    if not (is_message_id(dsn.message_id) and dsn.message_id.isascii()):
        raise ValueError("not a Message-ID")
    utf8 = dsn.form.is_utf8
    whole = _whole(dsn) if dsn.full else b""
    sender, dsn = dsn.sender, replace(dsn, full=bool(whole))
    parts = [
        _part(
            f"text/plain; charset={'utf-8' if utf8 else 'us-ascii'}",
            "8bit" if utf8 else "7bit",
            "".join(f"{line}\r\n" for line in _explanation(dsn)).encode(),
        ),
        _part(
            "message/global-delivery-status" if utf8 else "message/delivery-status",
            "8bit" if utf8 else "7bit",
            _status(dsn).encode(),
        ),
        whole or _original(dsn),
    ]
    delimiter = f"--{dsn.boundary}".encode("ascii")
    body = b"".join(delimiter + b"\r\n" + part + b"\r\n" for part in parts)
    return _header(dsn, sender).encode() + b"\r\n" + body + delimiter + b"--\r\n"


def _header(dsn: Dsn, sender: Path) -> str:
    actions = {report.action for report in dsn.reports}
    lines = [
        field_line("From", f"<{_mailbox(dsn.postmaster, dsn.form)}>"),
        field_line("To", _to(sender, dsn.form)),
        field_line("Subject", next(text for of, text in SUBJECTS.items() if of in actions)),
        field_line("Message-Id", dsn.message_id),
    ]
    if is_message_id(dsn.references) and (dsn.references.isascii() or dsn.form.is_utf8):
        lines.append(field_line("References", dsn.references))
    lines += [
        field_line("Date", format_date(dsn.date)),
        field_line("Auto-Submitted", "auto-replied"),
        field_line("MIME-Version", "1.0"),
        field_line(
            "Content-Type",
            f'multipart/report; report-type="delivery-status"; boundary="{dsn.boundary}"',
        ),
    ]
    if dsn.form.is_utf8 or (dsn.full and not dsn.original.isascii()):
        lines.append(field_line("Content-Transfer-Encoding", "8bit"))
    return "".join(lines)


def _part(content_type: str, encoding: str, body: bytes) -> bytes:
    described = f"Content-Type: {content_type}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n"
    return described.encode("ascii") + body


# -- what people read -------------------------------------------------------------------


def _explanation(dsn: Dsn) -> Iterator[str]:
    for report in dsn.reports:
        yield _BEGINNINGS[report.action]
        yield ""
        yield from _quoted(_mailbox(report.recipient, dsn.form), dsn.form)
        yield ""
        yield from _outlook(report)
        if report.error:
            yield "The last attempt ended with this error:"
            yield ""
            yield from _quoted(report.error, dsn.form)
            yield ""
        if report.reply:
            yield "The other mail server answered:"
            yield ""
            for line in report.reply[:_MAXIMUM_REPLY].splitlines():
                yield from _quoted(line, dsn.form)
            yield ""
    whole = "Your message" if dsn.full else "The header of your message"
    yield f"{whole} follows below, for reference."


def _outlook(report: RecipientReport) -> Iterator[str]:
    """What happens next."""
    if report.action is Action.FAILED:
        yield "It will not be tried again."
    elif report.action is not Action.DELAYED:
        return
    elif report.retry_until is not None:
        if report.retry_intervals:
            yield "It will be tried again after these times, each after the one before:"
            yield ""
            yield from _quoted(", ".join(map(_spelled, report.retry_intervals)), Form.ASCII)
            yield ""
        yield f"It will be tried until {format_date(report.retry_until)}."
        yield "You need not send it again."
    else:
        yield "It will be tried again; you need not send it again."
    yield ""


def _spelled(duration: timedelta) -> str:
    """C{7 minutes 30 seconds}."""
    seconds = max(int(duration.total_seconds()), 1)
    parts: list[str] = []
    for size, unit in _UNITS:
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count} {unit}{'s' if count > 1 else ''}")
    return " ".join(parts)


def _quoted(text: str, form: Form) -> Iterator[str]:
    """Indented, so that no line of it is taken for one of ours or for a boundary."""
    line = ""
    for word in words(plain(text[:_MAXIMUM_REPLY], utf8=form.is_utf8)):
        if line and len(line) + 1 + len(word) > LAST_COLUMN - 4:
            yield f"    {line}"
            line = word
        else:
            line = f"{line} {word}" if line else word
    yield f"    {line}"


# -- what programs read -----------------------------------------------------------------


def _status(dsn: Dsn) -> str:
    """The groups of fields: of the message, then of each recipient (Q-37)."""
    groups = [_message_group(dsn)]
    groups += [_recipient_group(report, dsn.form) for report in dsn.reports]
    return "\r\n".join(groups)


def _message_group(dsn: Dsn) -> str:
    """RFC 3464 section 2.2, RFC 4865 section 5."""
    fields: list[str] = []
    if dsn.envelope_id:
        fields.append(
            field_line("Original-Envelope-ID", plain(dsn.envelope_id, utf8=dsn.form.is_utf8))
        )
    fields.append(field_line("Reporting-MTA", f"dns; {dsn.hostname.ascii}"))
    if dsn.gateway is not None:
        fields.append(field_line("DSN-Gateway", f"dns; {dsn.gateway.ascii}"))
    if dsn.received_from is not None:
        fields.append(field_line("Received-From-MTA", f"dns; {dsn.received_from.ascii}"))
    fields.append(field_line("Arrival-Date", format_date(dsn.arrival)))
    if dsn.future_release:
        fields.append(field_line("Future-Release-Request", plain(dsn.future_release, utf8=False)))
    return "".join(fields)


def _recipient_group(report: RecipientReport, form: Form) -> str:
    """RFC 3464 section 2.3."""
    fields: list[str] = []
    if report.original_recipient:
        fields.append(
            field_line("Original-Recipient", _original_recipient(report.original_recipient, form))
        )
    digit = _CLASSES[report.action]
    status = f"{digit}.{report.status if _STATUS.fullmatch(report.status) else '0.0'}"
    if report.error:
        status += f" ({comment(report.error[:_MAXIMUM_COMMENT], utf8=form.is_utf8)})"
    fields += [
        field_line("Final-Recipient", _final_recipient(report.recipient, form)),
        field_line("Action", report.action.value),
        field_line("Status", status),
    ]
    if report.remote_name:
        remote = f"dns; {balanced(plain(report.remote_name, utf8=False))}"
        if report.remote_address is not None:
            remote += f" ({report.remote_address})"
        fields.append(field_line("Remote-MTA", remote))
    if report.reply:
        reply = plain(report.reply[:_MAXIMUM_REPLY], utf8=form.is_utf8)
        fields.append(field_line("Diagnostic-Code", f"smtp; {balanced(reply)}"))
    if report.last_attempt is not None:
        fields.append(field_line("Last-Attempt-Date", format_date(report.last_attempt)))
    if report.retry_until is not None and report.action is Action.DELAYED:
        fields.append(field_line("Will-Retry-Until", format_date(report.retry_until)))
    return "".join(fields)


def _final_recipient(path: Path, form: Form) -> str:
    """The address with its type.  RFC 6533 section 3: rfc822 addresses are ASCII."""
    if form.is_utf8:
        return f"utf-8; {_mailbox(path, form)}"
    if path.needs_smtputf8:
        return f"utf-8; {_NOT_XTEXT.sub(number, _mailbox(path, Form.UTF8, a_labels=True))}"
    return f"rfc822; {_mailbox(path, form)}"


def _original_recipient(text: str, form: Form) -> str:
    """
    As the client gave it.  Where ASCII is wanted, addresses of type utf-8 go by
    utf-8-addr-xtext; RFC 6533 section 4.1.
    """
    kind, _, address = text.partition(";")
    if kind == "utf-8" and not form.is_utf8:
        text = f"{kind};{_NOT_XTEXT.sub(number, address)}"
    return plain(text, utf8=form.is_utf8)


# -- what is sent back ------------------------------------------------------------------


def _whole(dsn: Dsn) -> bytes:
    """
    The message itself, which may not be encoded (RFC 2046 section 5.2.1).

    @return: Empty if a DSN cannot hold it as it is.
    """
    message = _LINE_END.sub(b"\r\n", dsn.original)
    if not _is_writable(message) or f"--{dsn.boundary}".encode("ascii") in message:
        return b""
    section = parse_header(message).section
    if dsn.form is Form.ASCII and section.isascii():
        return _part("message/rfc822", "7bit" if message.isascii() else "8bit", message)
    if dsn.form.is_utf8 and _is_utf8(section):
        return _part("message/global", "8bit", message)
    return b""


def _original(dsn: Dsn) -> bytes:
    """
    The header section of the message.  What a line of the DSN may not hold is
    hidden in base64.
    """
    section = _LINE_END.sub(b"\r\n", parse_header(dsn.original).section)
    writable = _is_writable(section) and f"--{dsn.boundary}".encode("ascii") not in section
    if dsn.form.is_utf8:
        if writable and _is_utf8(section):
            return _part("message/global-headers", "8bit", section)
        return _part("message/global-headers", "base64", _base64(section))
    if dsn.form is Form.ASCII and writable and section.isascii():
        return _part("text/rfc822-headers", "7bit", section)
    return _part("text/rfc822-headers; charset=utf-8", "base64", _base64(section))


def _is_writable(section: bytes) -> bool:
    """No NUL, no lonely CR, no line that is too long."""
    lines = section.split(b"\r\n")
    return not any(len(line) > MAXIMUM_LINE or b"\0" in line or b"\r" in line for line in lines)


def _is_utf8(section: bytes) -> bool:
    try:
        section.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _base64(octets: bytes) -> bytes:
    return base64.encodebytes(octets).replace(b"\n", b"\r\n")


# -- addresses --------------------------------------------------------------------------


def _mailbox(path: Path, form: Form, *, a_labels: bool = False) -> str:
    """An address; U-labels in UTF-8 DSNs only."""
    text = path.unicode if form.is_utf8 and not a_labels else path.ascii
    if len(text.encode("utf-8", "replace")) > _MAXIMUM_ADDRESS:
        text = path.ascii
    text = CONTROL.sub("?", text)
    return text if form.is_utf8 else in_ascii(text)


def _to(sender: Path, form: Form) -> str:
    """
    The To field.  An address that ASCII cannot hold becomes the name of an
    empty group (RFC 6857 section 3.1.8).
    """
    if form.is_utf8 or not sender.needs_smtputf8:
        return f"<{_mailbox(sender, form)}>"
    escaped = _mailbox(sender, form).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}" :;'
