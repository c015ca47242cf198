"""
MAIL and RCPT as a client writes them, with those parameters alone that the
server has announced.  RFC 5321 section 4.1.1, RFC 1870, RFC 3461, RFC 6152, RFC
6531, RFC 6533, RFC 8689.
"""

from __future__ import annotations

from typing import Final

from moxsmtp.smtp.address import Path
from moxsmtp.smtp.capabilities import Capabilities
from moxsmtp.smtp.mailing import Mailing
from moxsmtp.smtp.notification import NO_WISHES, Wishes
from moxsmtp.smtp.xtext import InvalidXtext, encode_utf8_address, encode_xtext

__all__ = ["mail_command", "rcpt_command"]

#: Octets of the values of ENVID and ORCPT.  RFC 3461 sections 4.2 and 4.4.
_LONGEST_ENVELOPE_ID: Final = 100
_LONGEST_ORIGINAL: Final = 500


def mail_command(mailing: Mailing, capabilities: Capabilities, *, smtputf8: bool) -> bytes:
    """MAIL with its line end (Q-65).  C{smtputf8}: as L{Mailing.needs_smtputf8}."""
    words = [f"MAIL FROM:<{_address(mailing.reverse_path, smtputf8=smtputf8)}>"]
    if capabilities.size is not None:
        words.append(f"SIZE={mailing.size}")
    if capabilities.eight_bit:
        words.append("BODY=8BITMIME" if mailing.has_8bit else "BODY=7BIT")
    if smtputf8:
        words.append("SMTPUTF8")
    if mailing.require_tls:
        words.append("REQUIRETLS")
    if mailing.wishes and capabilities.dsn:
        wishes = mailing.wishes[0]
        if wishes.returns:
            words.append(f"RET={wishes.returns}")
        envelope_id = _xtext(wishes.envelope_id)
        if 0 < len(envelope_id) <= _LONGEST_ENVELOPE_ID:
            words.append(f"ENVID={envelope_id}")
    return " ".join(words).encode() + b"\r\n"


def rcpt_command(
    mailing: Mailing, number: int, capabilities: Capabilities, *, smtputf8: bool
) -> bytes:
    """RCPT for one of the recipients, with its line end."""
    command = f"RCPT TO:<{_address(mailing.forward_paths[number], smtputf8=smtputf8)}>"
    if mailing.wishes and capabilities.dsn:
        wishes = mailing.wishes[number]
        if wishes is not NO_WISHES:
            command += _recipient_wishes(wishes, smtputf8=smtputf8)
    return f"{command}\r\n".encode()


def _address(path: Path | None, *, smtputf8: bool) -> str:
    if path is None:
        return ""
    return path.unicode if smtputf8 else path.ascii


def _recipient_wishes(wishes: Wishes, *, smtputf8: bool) -> str:
    """
    What was said to us, and no more: a relay adds nothing of its own.  RFC 3461
    section 5.2.1.
    """
    words = ""
    if wishes.notify.occasions:
        words += f" NOTIFY={wishes.notify}"
    kind, semicolon, address = wishes.original_recipient.partition(";")
    if semicolon:
        encoded = (
            _utf8_address(address, smtputf8=smtputf8)
            if kind.lower() == "utf-8"
            else _xtext(address)
        )
        if encoded and len(kind) + 1 + len(encoded.encode()) <= _LONGEST_ORIGINAL:
            words += f" ORCPT={kind};{encoded}"
    return words


def _xtext(text: str) -> str:
    """Empty for what has no such form: better no parameter than a broken command."""
    try:
        return encode_xtext(text)
    except InvalidXtext:
        return ""


def _utf8_address(text: str, *, smtputf8: bool) -> str:
    try:
        return encode_utf8_address(text, smtputf8=smtputf8)
    except InvalidXtext:
        return ""
