"""
Trace fields that we put in front of a message.  RFC 5321 section 4.4.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Final

from moxsmtp.interfaces import Client
from moxsmtp.message.dates import format_date
from moxsmtp.names import AddressLiteral, Domain, Host, IPAddress
from moxsmtp.smtp.address import Path

__all__ = ["delivered_to", "received", "return_path"]

#: No line goes on behind this column if a fold can help it (S-88).
_LAST_COLUMN: Final = 76


def received(
    client: Client,
    *,
    hostname: Domain,
    reply_id: str,
    forward_path: Path | None,
    smtputf8: bool,
    when: datetime,
    reverse_name: Domain | None = None,
    require_tls: bool = False,
) -> bytes:
    """
    The Received field with its line end (S-83 to S-88).  RFC 5321 section 4.4.

    @param forward_path: L{None} leaves the recipient out, so that copies for
        several stay identical.
    @param smtputf8: The message is internationalized; only then there is
        anything but ASCII in the field.
    @param reverse_name: What the client's address resolves to, if it is known.
    @param require_tls: REQUIRETLS was given (RFC 8689).
    """
    words = ["Received: from"]
    words += _sender(client, hostname, reverse_name, smtputf8=smtputf8)
    words.append("by")
    words += _names(hostname, client.local_address, None, smtputf8=smtputf8)
    words += ["via", "tcp", "with", _protocol(client, smtputf8=smtputf8)]
    if require_tls:
        words.append("(requiretls)")
    words += ["id", reply_id]
    if client.tls is not None:
        words += [f"({client.tls.version}", f"{client.tls.cipher})"]
    if forward_path is not None and (smtputf8 or not forward_path.needs_smtputf8):
        words += ["for", f"<{_recipient(forward_path, hostname)}>"]
    words[-1] += ";"
    words.append(format_date(when))
    return _folded(words)


def return_path(reverse_path: Path | None, *, smtputf8: bool) -> bytes:
    """C{Return-Path}; the null reverse-path is C{<>}."""
    return f"Return-Path: <{_address(reverse_path, smtputf8=smtputf8)}>\r\n".encode()


def delivered_to(forward_path: Path, *, smtputf8: bool) -> bytes:
    """C{Delivered-To}: the mailbox where the message ended."""
    return f"Delivered-To: {_address(forward_path, smtputf8=smtputf8)}\r\n".encode()


def _address(path: Path | None, *, smtputf8: bool) -> str:
    if path is None:
        return ""
    return path.unicode if smtputf8 else path.ascii


def _sender(
    client: Client, hostname: Domain, reverse_name: Domain | None, *, smtputf8: bool
) -> list[str]:
    """From whom; users' own networks are not shown (RFC 6409 section 8)."""
    if client.role.is_submission:
        return _names(hostname, None, None, smtputf8=smtputf8)
    hello = client.hello.name if client.hello is not None else None
    if reverse_name == hello:
        reverse_name = None
    return _names(
        hello or AddressLiteral(client.address), client.address, reverse_name, smtputf8=smtputf8
    )


def _names(
    host: Host, address: IPAddress | None, reverse_name: Domain | None, *, smtputf8: bool
) -> list[str]:
    """Extended-Domain, and behind it the A-label of a name that was written otherwise."""
    words = [host.unicode if smtputf8 else host.ascii]
    if address is not None:
        literal = AddressLiteral(address).ascii
        words.append(f"({reverse_name.ascii} {literal})" if reverse_name else f"({literal})")
    if smtputf8 and host.unicode != host.ascii:
        words.append(f"({host.ascii})")
    return words


def _protocol(client: Client, *, smtputf8: bool) -> str:
    """The word of RFC 3848 and RFC 6531 section 4.3 (S-85)."""
    if smtputf8:
        word = "UTF8SMTP"
    else:
        word = "ESMTP" if client.hello is not None and client.hello.extended else "SMTP"
    return word + ("S" if client.tls else "") + ("A" if client.login else "")


def _recipient(path: Path, hostname: Domain) -> str:
    """With A-labels; the bare postmaster is ours, for the grammar wants a domain here."""
    return path.ascii if path.domain else Path(path.local_part, hostname).ascii


def _folded(words: Iterable[str]) -> bytes:
    """Words with a space between them, or CRLF TAB before one that would not fit."""
    written: list[str] = []
    column = 0
    for word in words:
        width = len(word)
        if written and column + 1 + width > _LAST_COLUMN:
            written.append(f"\r\n\t{word}")
            column = 1 + width
        elif written:
            written.append(f" {word}")
            column += 1 + width
        else:
            written.append(word)
            column = width
    return "".join(written).encode() + b"\r\n"
