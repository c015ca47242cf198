"""
How much TLS a session needs: what MTA-STS, DANE and the sender demand, added up.
RFC 7435, RFC 7672 section 2.2, RFC 8461 section 5, RFC 8689 section 4.

Each policy may raise what is asked for or refuse a host; none lowers what
another demands.  Only a sender who says C{TLS-Required: No} lowers what
MTA-STS asks for.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final

from moxsmtp.dns.records import TLSA
from moxsmtp.interfaces import RequireTLS
from moxsmtp.names import Domain, Host
from moxsmtp.outbound.transport import Smarthost, SmarthostTLS
from moxsmtp.smtp.mailing import StartTLS

__all__ = [
    "NO_DANE", "Dane", "Demand", "Refused", "StartTLS", "Sts", "decide", "plain", "to_smarthost",
]  # fmt: skip


class Sts(enum.Enum):
    """
    What a domain's MTA-STS policy says of a host.

    @cvar SILENT: There is none, or none that is to be enforced.
    @cvar ENFORCED: It names the host.
    @cvar MISMATCH: It is to be enforced, and does not name the host.
    """

    SILENT = "silent"
    ENFORCED = "enforced"
    MISMATCH = "mismatch"


@dataclass(frozen=True, slots=True)
class Dane:
    """
    What the DNS says of a host's certificates.

    @ivar base: The TLSA base domain, which SNI asks for; empty: DANE does not
        apply to the host.  RFC 7672 section 2.2.3.
    @ivar names: That a certificate may be for (DANE-TA), the base first.
    @ivar records: All that there are, also those of no use; empty: DANE does
        not apply.
    @ivar usable: Those that a certificate can be compared with.
    @ivar error: Why it is not known whether there are any; empty: it is.
    """

    base: str = ""
    names: tuple[str, ...] = ()
    records: tuple[TLSA, ...] = ()
    usable: tuple[TLSA, ...] = ()
    error: str = ""

    @property
    def applies(self) -> bool:
        """There are records, so that TLS is mandatory."""
        return bool(self.records)


NO_DANE: Final = Dane()


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """
    What a session has to fulfil.

    @ivar pkix: The certificate has to be trusted, and for C{host}.
    @ivar dane: The certificate has to match one of these; empty: none is asked for.
    @ivar host: Whose name PKIX looks for; what it says is known even if it
        does not count.
    @ivar names: That DANE-TA looks for; the first goes into SNI.  Empty for an
        address literal.
    @ivar may_fall_back: Where the handshake fails, or the session under TLS
        before it is of any use, a new connection in the clear may follow (Q-60).
    @ivar require_tls: REQUIRETLS has to be announced, and is sent with MAIL (Q-61).
    @ivar mode: For metrics (Q-91).
    @ivar why: For people.
    """

    starttls: StartTLS
    host: Host
    pkix: bool = False
    dane: tuple[TLSA, ...] = ()
    names: tuple[str, ...] = ()
    may_fall_back: bool = False
    require_tls: bool = False
    mode: str = "opportunistic"
    why: str = ""

    @property
    def is_verified(self) -> bool:
        """A session that fulfils it is with the host that was meant."""
        return self.pkix or bool(self.dane)


@dataclass(frozen=True, slots=True)
class Refused:
    """
    This host gets nothing.

    @ivar permanent: No later attempt will find it otherwise.  Another host may
        do at once all the same (Q-61).
    @ivar code: The SMTP code that the rule gives, or 0.
    @ivar status: Subject and detail of the enhanced status code.
    """

    error: str
    permanent: bool = False
    code: int = 0
    status: str = "7.5"


def decide(
    host: Host,
    *,
    sts: Sts,
    dane: Dane,
    require_tls: RequireTLS,
    is_dmarc_report: bool = False,
) -> Demand | Refused:
    """
    Say what a session with C{host} needs (Q-59).

    @param is_dmarc_report: It is never repeated in the clear (Q-60).
    """
    ignoring = require_tls is RequireTLS.NO
    if sts is Sts.MISMATCH and not ignoring:
        return Refused(f"{host} is not among the hosts of the domain's MTA-STS policy")
    if dane.error and not ignoring:
        return Refused(f"TLSA records of {host}: {dane.error}")
    if require_tls is RequireTLS.YES and not (dane.usable or sts is Sts.ENFORCED):
        return _no_required_tls(f"REQUIRETLS, but neither MTA-STS nor DANE vouches for {host}")
    return _demand(host, sts, dane, require_tls, is_dmarc_report=is_dmarc_report)


def _demand(
    host: Host, sts: Sts, dane: Dane, require_tls: RequireTLS, *, is_dmarc_report: bool
) -> Demand:
    ignoring = require_tls is RequireTLS.NO
    # A sender can waive what MTA-STS verifies, but not together with DANE.
    pkix = sts is Sts.ENFORCED and not (ignoring and not dane.usable)
    required = pkix or dane.applies
    mode = "requiredstarttls" if required else "opportunistic"
    mode += "+mtasts" if sts is Sts.ENFORCED else ""
    mode += "+dane" if dane.applies else ""
    return Demand(
        starttls=StartTLS.ALWAYS if required else StartTLS.IF_OFFERED,
        host=host,
        pkix=pkix,
        dane=dane.usable,
        names=dane.names or ((host.ascii,) if isinstance(host, Domain) else ()),
        may_fall_back=not required and (ignoring or not is_dmarc_report),
        require_tls=require_tls is RequireTLS.YES,
        mode=mode,
        why=_why(sts, dane, require_tls, pkix=pkix),
    )


def _no_required_tls(error: str) -> Refused:
    """RFC 8689 section 4.2.1."""
    return Refused(error, permanent=True, code=554, status="7.30")


def _why(sts: Sts, dane: Dane, require_tls: RequireTLS, *, pkix: bool) -> str:
    reasons = []
    if dane.usable:
        reasons.append(f"{len(dane.usable)} usable TLSA records (DANE)")
    elif dane.applies:
        reasons.append("TLSA records, none of them usable: TLS, unverified (DANE)")
    if sts is Sts.ENFORCED:
        reasons.append("MTA-STS" if pkix else "MTA-STS, which the sender waives (TLS-Required: No)")
    if require_tls is RequireTLS.NO and sts is Sts.MISMATCH:
        reasons.append("not in the MTA-STS policy, which the sender waives (TLS-Required: No)")
    if require_tls is RequireTLS.NO and dane.error:
        reasons.append("TLSA records unknown, which the sender waives (TLS-Required: No)")
    if require_tls is RequireTLS.YES:
        reasons.append("REQUIRETLS")
    return "; ".join(reasons) or "opportunistic"


def plain(host: Host) -> Demand:
    """No TLS: what follows a failed handshake where L{Demand.may_fall_back} (Q-60)."""
    return Demand(starttls=StartTLS.NEVER, host=host, mode="skip", why="TLS failed before")


_MODES: Final = {
    SmarthostTLS.IMMEDIATE: (StartTLS.IMMEDIATE, "immediate"),
    SmarthostTLS.STARTTLS: (StartTLS.ALWAYS, "requiredstarttls"),
    SmarthostTLS.STARTTLS_UNVERIFIED: (StartTLS.ALWAYS, "requiredstarttls"),
    SmarthostTLS.NONE: (StartTLS.NEVER, "skip"),
}


def to_smarthost(transport: Smarthost, require_tls: RequireTLS) -> Demand | Refused:
    """What a session with a smarthost needs: what is configured, no less (Q-45)."""
    if require_tls is RequireTLS.YES and not transport.tls.is_verified:
        return _no_required_tls(f"REQUIRETLS, but TLS with {transport.host} is not verified")
    starttls, mode = _MODES[transport.tls]
    return Demand(
        starttls=starttls,
        host=transport.host,
        pkix=transport.tls.is_verified,
        names=(transport.host.ascii,) if isinstance(transport.host, Domain) else (),
        require_tls=require_tls is RequireTLS.YES,
        mode=mode,
        why=f"transport {transport.name}",
    )
