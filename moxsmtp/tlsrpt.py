"""
What deliveries came to as regards TLS, as reports on it count it.  RFC 8460.

A result belongs to a policy: a recipient domain's MTA-STS, a host's DANE, or
that there is none.  Results of one day are merged, within bounds: what remote
servers can vary at will must not grow without end.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from moxsmtp.dns.records import TLSA

__all__ = [
    "FailureDetails", "PolicyResult", "PolicyType", "ReportedPolicy", "ResultType", "TLSResult",
    "merged", "read_results", "sts_strings", "tlsa_strings", "write_results",
]  # fmt: skip

#: Kept of one day and domain: policies, and for each kinds of failures and
#: lines of its text.  What is beyond is counted in the sums alone.
_MOST_POLICIES: Final = 16
_MOST_DETAILS: Final = 64
_MOST_STRINGS: Final = 64
_LONGEST_STRING: Final = 512
_LONGEST_REASON: Final = 200
_LONGEST_NAME: Final = 255


class PolicyType(enum.StrEnum):
    """RFC 8460 section 4.4."""

    STS = "sts"
    TLSA = "tlsa"
    NONE = "no-policy-found"


class ResultType(enum.StrEnum):
    """RFC 8460 section 4.3."""

    STARTTLS_NOT_SUPPORTED = "starttls-not-supported"
    CERTIFICATE_HOST_MISMATCH = "certificate-host-mismatch"
    CERTIFICATE_NOT_TRUSTED = "certificate-not-trusted"
    CERTIFICATE_EXPIRED = "certificate-expired"
    VALIDATION_FAILURE = "validation-failure"
    TLSA_INVALID = "tlsa-invalid"
    DNSSEC_INVALID = "dnssec-invalid"
    DANE_REQUIRED = "dane-required"
    STS_POLICY_FETCH_ERROR = "sts-policy-fetch-error"
    STS_POLICY_INVALID = "sts-policy-invalid"
    STS_WEBPKI_INVALID = "sts-webpki-invalid"


@dataclass(frozen=True, slots=True)
class ReportedPolicy:
    """
    The policy that a session was under.  Of a long one the beginning is kept.

    @ivar domain: Whose: A-labels.
    @ivar strings: The policy itself: lines of MTA-STS, records of DANE.
    @ivar hosts: Patterns of hosts that MTA-STS names; the host that DANE is of.
    """

    type: PolicyType
    domain: str
    strings: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "strings", self.strings[:_MOST_STRINGS])
        object.__setattr__(self, "hosts", self.hosts[:_MOST_STRINGS])


@dataclass(frozen=True, slots=True)
class FailureDetails:
    """
    Sessions that something was wrong with.  RFC 8460 section 4.4.

    @ivar reason: The C{failure-reason-code}: a word, or several behind plus signs.
    @ivar sending_ip: Ours; empty: not known, as is C{receiving_ip} of a host
        that was never connected to.
    @ivar receiving_helo: What the host calls itself; empty: it has not said so.
    """

    result_type: ResultType
    reason: str = ""
    sending_ip: str = ""
    receiving_host: str = ""
    receiving_ip: str = ""
    sessions: int = 1
    receiving_helo: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "reason", self.reason[:_LONGEST_REASON])
        object.__setattr__(self, "receiving_helo", self.receiving_helo[:_LONGEST_NAME])


@dataclass(frozen=True, slots=True)
class PolicyResult:
    """
    What sessions under one policy came to.

    @ivar successes: With as much TLS as was demanded.
    @ivar failures: With less, or that did not come about for that reason.
    @ivar details: What was wrong, also where it was not demanded.
    """

    policy: ReportedPolicy
    successes: int = 0
    failures: int = 0
    details: tuple[FailureDetails, ...] = ()

    def plus(
        self, successes: int = 0, failures: int = 0, details: Iterable[FailureDetails] = ()
    ) -> PolicyResult:
        """With more of each; equal failures become one."""
        by_kind = {replace(each, sessions=0): each.sessions for each in self.details}
        for each in details:
            kind = replace(each, sessions=0)
            if kind in by_kind or len(by_kind) < _MOST_DETAILS:
                by_kind[kind] = by_kind.get(kind, 0) + each.sessions
        return PolicyResult(
            self.policy,
            max(0, self.successes + successes),
            self.failures + failures,
            tuple(replace(kind, sessions=sessions) for kind, sessions in by_kind.items()),
        )


@dataclass(frozen=True, slots=True)
class TLSResult:
    """
    What one attempt adds to the results of a day (Q-85, Q-86).

    @ivar policy_domain: To whom a report on it goes: A-labels.
    @ivar recipient_domain: Whose mail it was.
    @ivar is_host: C{policy_domain} is a host's.
    @ivar send_report: False where a report would lead to another one.
    """

    policy_domain: str
    recipient_domain: str
    is_host: bool
    send_report: bool
    result: PolicyResult


def sts_strings(text: str) -> tuple[str, ...]:
    """The lines of an MTA-STS policy, without empty ones."""
    lines = [line.strip()[:_LONGEST_STRING] for line in text.splitlines()]
    return tuple(line for line in lines if line)[:_MOST_STRINGS]


def tlsa_strings(records: Iterable[TLSA]) -> tuple[str, ...]:
    """TLSA records as zone files write them, sorted."""
    written = sorted(
        f"{each.usage} {each.selector} {each.matching_type} {each.association.hex().upper()}"
        for each in records
    )
    return tuple(each[:_LONGEST_STRING] for each in written)[:_MOST_STRINGS]


def merged(past: Sequence[PolicyResult], more: Iterable[PolicyResult]) -> tuple[PolicyResult, ...]:
    """Results of one day and domain, those of equal policies added up (Q-86)."""
    by_policy = {each.policy: each for each in past}
    for each in more:
        known = by_policy.get(each.policy)
        if known is not None:
            by_policy[each.policy] = known.plus(each.successes, each.failures, each.details)
        elif len(by_policy) < _MOST_POLICIES:
            by_policy[each.policy] = each
    return tuple(by_policy.values())


def write_results(results: Iterable[PolicyResult]) -> str:
    """As the C{policies} of a report are written.  RFC 8460 section 4.4."""
    return json.dumps([_written(each) for each in results], ensure_ascii=True)


def _written(result: PolicyResult) -> Mapping[str, object]:
    policy = result.policy
    return {
        "policy": {
            "policy-type": policy.type.value,
            "policy-string": list(policy.strings),
            "policy-domain": policy.domain,
            "mx-host": list(policy.hosts),
        },
        "summary": {
            "total-successful-session-count": result.successes,
            "total-failure-session-count": result.failures,
        },
        "failure-details": [
            {
                "result-type": each.result_type.value,
                "sending-mta-ip": each.sending_ip,
                "receiving-mx-hostname": each.receiving_host,
                "receiving-mx-helo": each.receiving_helo,
                "receiving-ip": each.receiving_ip,
                "failed-session-count": each.sessions,
                "failure-reason-code": each.reason,
            }
            for each in result.details
        ],
    }


def read_results(text: str) -> tuple[PolicyResult, ...]:
    """
    What L{write_results} wrote.

    @raise ValueError: Something else did.
    """
    try:
        return tuple(_read(each) for each in json.loads(text))
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not the results of TLS: {error}") from None


def _read(written: Mapping[str, Any]) -> PolicyResult:
    policy, summary = written["policy"], written["summary"]
    return PolicyResult(
        ReportedPolicy(
            PolicyType(policy["policy-type"]),
            policy["policy-domain"],
            tuple(policy["policy-string"]),
            tuple(policy["mx-host"]),
        ),
        summary["total-successful-session-count"],
        summary["total-failure-session-count"],
        tuple(
            FailureDetails(
                ResultType(each["result-type"]),
                each["failure-reason-code"],
                each["sending-mta-ip"],
                each["receiving-mx-hostname"],
                each["receiving-ip"],
                each["failed-session-count"],
                # An older version wrote none.
                each.get("receiving-mx-helo", ""),
            )
            for each in written["failure-details"]
        ),
    )
