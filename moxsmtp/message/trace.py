"""
Trace fields that we put in front of a message.  RFC 5321 section 4.4.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from datetime import datetime
from typing import Final

from moxsmtp.interfaces import Client
from moxsmtp.message.dates import format_date
from moxsmtp.message.tokens import comment_words, folded, one_line, quoted
from moxsmtp.names import AddressLiteral, Domain, Host, IPAddress
from moxsmtp.smtp.address import Path

__all__ = ["delivered_to", "received", "received_spf", "return_path"]

#: No line goes on behind this column if a fold can help it (S-88).
_LAST_COLUMN: Final = 76

#: Octets of a problem in Received-SPF (I-78).
_MAXIMUM_PROBLEM: Final = 67

# dot-atom-text = 1*atext *("." 1*atext); RFC 5322 section 3.2.3, RFC 6532.
_ATOM: Final = r"[!#$%&'*+\-/0-9=?A-Z^_`a-z{|}~\u00a1-\U0010ffff]++"
_DOT_ATOM: Final = re.compile(rf"{_ATOM}(?>(?:\.{_ATOM})*)")


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
    return folded(words, _LAST_COLUMN).encode() + b"\r\n"


def return_path(reverse_path: Path | None, *, smtputf8: bool) -> bytes:
    """C{Return-Path}; the null reverse-path is C{<>}."""
    return f"Return-Path: <{_address(reverse_path, smtputf8=smtputf8)}>\r\n".encode()


def delivered_to(forward_path: Path, *, smtputf8: bool) -> bytes:
    """C{Delivered-To}: the mailbox where the message ended."""
    return f"Delivered-To: {_address(forward_path, smtputf8=smtputf8)}\r\n".encode()


@functools.lru_cache(maxsize=512)
def received_spf(  # noqa: PLR0913 - the field's own parts, each by its name
    *,
    result: str,
    comment: str,
    client: IPAddress,
    reverse_path: Path | None,
    hello: Host | None,
    problem: str,
    mechanism: str,
    receiver: Domain,
    identity: str,
    smtputf8: bool,
) -> bytes:
    """
    The Received-SPF field with its line end (I-78).  RFC 7208 section 9.1.

    Of one sender it is the same each time, so the last ones are kept.

    @param result: C{pass}, C{softfail} and so on.
    @param comment: For people; empty: none.
    @param hello: L{None}: nothing usable was given, and nothing is said.
    @param problem: What C{temperror} or C{permerror} is about; empty: not said.
    @param mechanism: The one that decided; empty: not said.
    @param identity: C{mailfrom} or C{helo}; empty: neither was there to be checked.
    @raise ValueError: The result is no word.
    """
    if not (result.isascii() and result.isalpha()):
        raise ValueError(f"not a result: {result[:64]!r}")
    sender = _address(reverse_path, smtputf8=smtputf8)
    pairs = [[f"client-ip={_atom_or_quoted(str(client), utf8=smtputf8)}"]]
    pairs.append([f"envelope-from={_atom_or_quoted(sender, utf8=smtputf8)}"])
    if reverse_path is not None and reverse_path.domain is not None:
        pairs[-1] += _ascii_name(reverse_path.domain, smtputf8=smtputf8)
    if hello is not None:
        pairs.append(list(_host_pair("helo", hello, smtputf8=smtputf8)))
    if problem:
        shown = one_line(problem, utf8=smtputf8, octets=_MAXIMUM_PROBLEM)
        pairs.append([f"problem={_atom_or_quoted(shown, utf8=smtputf8)}"])
    if mechanism:
        pairs.append([f"mechanism={_atom_or_quoted(mechanism, utf8=smtputf8)}"])
    pairs.append(list(_host_pair("receiver", receiver, smtputf8=smtputf8)))
    if identity:
        pairs.append([f"identity={_atom_or_quoted(identity, utf8=smtputf8)}"])
    words = ["Received-SPF:", result, *comment_words(comment, utf8=smtputf8)]
    for pair in pairs[:-1]:
        pair[-1] += ";"
    words += [word for pair in pairs for word in pair]
    return folded(words, _LAST_COLUMN).encode() + b"\r\n"


def _host_pair(key: str, host: Host, *, smtputf8: bool) -> Iterator[str]:
    name = host.unicode if smtputf8 else host.ascii
    yield f"{key}={_atom_or_quoted(name, utf8=smtputf8)}"
    yield from _ascii_name(host, smtputf8=smtputf8)


def _ascii_name(host: Host, *, smtputf8: bool) -> Iterator[str]:
    """The A-labels of a name that was written otherwise, as a comment."""
    if smtputf8 and host.unicode != host.ascii:
        yield f"({host.ascii})"


def _atom_or_quoted(text: str, *, utf8: bool) -> str:
    text = one_line(text, utf8=utf8)
    return text if _DOT_ATOM.fullmatch(text) and text.isprintable() else quoted(text)


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
