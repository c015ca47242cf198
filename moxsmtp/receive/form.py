"""
What is asked of a message before anybody judges it: that it is one, and how it
is to be carried on (S-79, S-80, S-111).
"""

from __future__ import annotations

from typing import Final

from moxsmtp.interfaces import Client, Spooled
from moxsmtp.message.form import has_8bit_header, mime_problem
from moxsmtp.message.header import Header
from moxsmtp.message.parameters import media_type
from moxsmtp.receive.receiver import Envelope, House
from moxsmtp.smtp.commands import BodyType
from moxsmtp.smtp.reply import Reply, Unjudged

__all__ = ["smtputf8_of"]

_NO_BODY: Final = Reply(554, "6.0", "an empty line must part the header from the body")
_UNDECLARED_8BIT: Final = Reply(500, "6.0", "8-bit content needs BODY=8BITMIME")
_UNDECLARED_UTF8: Final = Reply(550, "6.0", "this message needs SMTPUTF8 with MAIL")


async def smtputf8_of(
    house: House, client: Client, envelope: Envelope, spooled: Spooled, header: Header
) -> bool:
    """
    Check the form of a message that has come whole.

    @return: Whether it is internationalized, whatever was declared.
    @raise Unjudged: It is no message as we take them here.
    """
    if client.role.is_submission:
        _check_submitted(house, envelope, spooled)
    if house.strict_mime:
        problem = await house.store.examine(spooled, mime_problem)
        if problem:
            raise Unjudged(Reply(554, "6.0", f"message cannot be parsed: {problem}"))
    declared = envelope.mail.smtputf8
    if not (declared or house.pedantic or client.role.is_submission):
        return False
    needed = await _needs_smtputf8(house, envelope, spooled, header)
    if needed and not declared and house.pedantic:
        house.metrics.count("mox_smtpserver_submission_total", result="missingsmtputf8")
        raise Unjudged(_UNDECLARED_UTF8)
    return needed


def _check_submitted(house: House, envelope: Envelope, spooled: Spooled) -> None:
    """RFC 6409 section 6.3 (S-79)."""
    section = spooled.header
    if not (section.startswith(b"\r\n") or section.endswith(b"\r\n\r\n")):
        raise Unjudged(_NO_BODY)
    if house.pedantic and spooled.has_8bit and envelope.mail.body is not BodyType.EIGHT_BIT:
        raise Unjudged(_UNDECLARED_8BIT)


async def _needs_smtputf8(
    house: House, envelope: Envelope, spooled: Spooled, header: Header
) -> bool:
    """Domains do not count: they have A-labels.  RFC 6531 section 3.6 (S-80)."""
    paths = (envelope.reverse_path, *(recipient.path for recipient in envelope.recipients))
    if any(path is not None and path.needs_smtputf8 for path in paths):
        return True
    if not spooled.has_8bit:
        return False
    if not header.is_ascii:
        return True
    # Only the parts of a multipart have headers of their own.
    if not media_type(header).startswith("multipart/"):
        return False
    return await house.store.examine(spooled, has_8bit_header)
