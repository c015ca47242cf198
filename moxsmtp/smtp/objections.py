"""
Why a server cannot take a message: what is known before MAIL, and whether what it
says is said of the form that it got.
"""

from __future__ import annotations

from typing import Final

from moxsmtp.smtp.capabilities import Capabilities
from moxsmtp.smtp.mailing import Mailing, Refusal

__all__ = ["is_of_form", "objection_to"]

#: A parameter is not understood: the form in UTF-8 wants more of them.  RFC 5321
#: sections 4.1.1.11 and 4.2.3.
_PARAMETERS: Final = frozenset({501, 504, 555})

#: RFC 8689 section 4.2.1: the host is passed over.
_NO_REQUIRETLS: Final = Refusal(
    permanent=True,
    error="the message needs REQUIRETLS, which the server does not offer",
    code=554,
    status="7.30",
    elsewhere=True,
)


def objection_to(mailing: Mailing, capabilities: Capabilities) -> Refusal | None:
    """
    What is known before MAIL.  RFC 1870 section 5, RFC 6531 section 3.1,
    RFC 6152, RFC 8689 section 4.2.1.
    """
    if mailing.require_tls and not capabilities.require_tls:
        return _NO_REQUIRETLS
    if capabilities.size and mailing.size > capabilities.size:
        return Refusal(
            permanent=True,
            error=f"the message has {mailing.size} octets, the server takes {capabilities.size}",
            status="3.4",
        )
    if not capabilities.smtputf8 and mailing.needs_smtputf8:
        return Refusal(
            permanent=False,
            error="the message needs SMTPUTF8, which the server does not offer",
            status="6.7",
        )
    if mailing.has_8bit and not capabilities.eight_bit:
        return Refusal(
            permanent=True,
            error="the message has 8-bit content, the server does not offer 8BITMIME",
            code=554,
            status="6.3",
        )
    return None


def is_of_form(refusal: Refusal) -> bool:
    """
    Whether it may be the form, and not the message, that is refused for good: its
    parameters, or what can be done with its content.  RFC 3463 section 3.7, RFC 6531
    section 3.5.
    """
    status = refusal.status
    return refusal.permanent and (
        refusal.code in _PARAMETERS or status == "5.4" or status.startswith("6.")
    )
