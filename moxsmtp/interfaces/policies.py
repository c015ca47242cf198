"""What domains demand of who brings them mail: MTA-STS.  RFC 8461."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass

from zope.interface import Interface

from moxsmtp.mtasts.policy import Policy
from moxsmtp.names import Domain

__all__ = ["IPolicies", "StsFound"]


@dataclass(frozen=True, slots=True)
class StsFound:
    """
    What is known of a domain's policy.

    @ivar policy: The one that counts now, C{none} modes included; L{None}:
        there is none.
    @ivar failure: What went wrong with record or policy, as reports call it
        (RFC 8460 section 4.3.2.1), such as C{sts-policy-fetch-error}; empty:
        nothing.  There may be a policy all the same, of an earlier fetch.
    @ivar reason: The same for people.
    @ivar is_back_off: That went wrong a moment ago, and was not tried again.
    @ivar temporary: The DNS did not say whether there is a policy, and none is
        known: the attempt has to wait.
    @ivar record_id: That of the record now in the DNS; empty if there is none,
        or if it is not known.
    """

    policy: Policy | None
    failure: str = ""
    reason: str = ""
    temporary: bool = False
    record_id: str = ""
    is_back_off: bool = False


class IPolicies(Interface):
    """The policies of all domains."""

    def policy_for(domain: Domain) -> Awaitable[StsFound]:
        """
        What counts for mail to C{domain}: the one in the address, before any
        CNAME is followed.  Look-ups of one domain at once share their work.

        @return: In every case; only cancelling raises.
        """
