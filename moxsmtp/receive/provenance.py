"""What the checks say, as it is kept with a message for later decisions (I-15, I-105)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from moxsmtp import spf
from moxsmtp.interfaces import Provenance, RequireTLS, Validation
from moxsmtp.message.header import Header
from moxsmtp.names import Domain
from moxsmtp.receive.verification import Authentication
from moxsmtp.smtp.address import Path

__all__ = ["provenance", "requires_tls"]

#: By the words of SPF and of DMARC's alignment.
_VALIDATIONS: Final[Mapping[str, Validation]] = {one.value: one for one in Validation}


def provenance(
    authentication: Authentication,
    author: Path | None,
    *,
    require_tls: RequireTLS,
    organizational_domain: Callable[[Domain], Domain],
) -> Provenance:
    """
    Sum up what is known of a message's sender.

    @param author: The one author; L{None}: there is none to speak of (I-6).
    @param organizational_domain: By the public suffix list.
    """
    domain = author.domain if author and isinstance(author.domain, Domain) else None
    if not authentication.is_made:
        return Provenance(
            author_domain=domain,
            author_organization=organizational_domain(domain) if domain else None,
            require_tls=require_tls,
        )
    result = authentication.spf
    said = _VALIDATIONS[result.status]
    return Provenance(
        hello=said if result.scope is spf.Scope.HELO else Validation.UNKNOWN,
        mail_from=said if result.scope is spf.Scope.MAIL_FROM else Validation.UNKNOWN,
        author=_VALIDATIONS[authentication.dmarc.alignment] if domain else Validation.NONE,
        author_domain=domain,
        author_organization=organizational_domain(domain) if domain else None,
        dmarc=authentication.dmarc.status.value,
        dmarc_policy=authentication.dmarc.policy.value if authentication.dmarc.policy else "",
        dmarc_rejects=authentication.dmarc.rejects,
        dkim_domains=authentication.dkim.verified_domains,
        iprev=authentication.iprev.status.value,
        reverse_name=authentication.iprev.name,
        require_tls=require_tls,
    )


def requires_tls(header: Header) -> RequireTLS:
    """
    Whether the sender would rather have the message delivered than secured
    (I-10).  RFC 8689 section 5.
    """
    values = header.values("TLS-Required")
    if values and all(value.lower() == "no" for value in values):
        return RequireTLS.NO
    return RequireTLS.UNSET
