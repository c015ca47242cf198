"""
Which jobs and webhook calls are meant, of the history likewise, and in which
order they are shown.  Q-20, Q-22.

All conditions that are given have to hold.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from moxsmtp.interfaces import OutgoingEvent
from moxsmtp.names import InvalidName, parse_host
from moxsmtp.queue.job import Hook, Job
from moxsmtp.smtp.address import Path

__all__ = [
    "EVENTS", "EVERYTHING", "INCOMING", "NULL_SENDER", "Always", "HoldRule", "HookFilter",
    "InvalidCondition", "JobFilter", "Order", "RetiredFilter", "RetiredHookFilter", "Span",
    "matches_address", "parse_duration", "parse_moment", "parse_span",
]  # fmt: skip

#: What stands for the null reverse-path.
NULL_SENDER: Final = "<>"

#: What stands for the event of a webhook call for incoming mail.
INCOMING: Final = "incoming"

#: All that a webhook call can be for.
EVENTS: Final = (INCOMING, *(event.value for event in OutgoingEvent))

_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}

# duration = ["+" / "-"] 1*( 1*DIGIT ["." 1*DIGIT] unit )
_DURATION: Final = re.compile(r"([+-]?)((?:\d{1,9}(?:\.\d{1,6})?[smhdw])+)", re.ASCII)
_PART: Final = re.compile(r"(\d{1,9}(?:\.\d{1,6})?)([smhdw])", re.ASCII)


class InvalidCondition(ValueError):
    """What was given is no condition; the text says why."""


@dataclass(frozen=True, slots=True)
class HoldRule:
    """
    What is put on hold as it is queued (Q-20).  An empty condition is none;
    the others have to hold together.

    @ivar sender_domain: A-labels or C{[ip]}, like C{recipient_domain}.
    """

    id: int
    account: str
    sender_domain: str
    recipient_domain: str
    created: datetime

    def matches(self, account: str, sender_domain: str, recipient_domain: str) -> bool:
        """@param sender_domain: Empty for the null reverse-path, which no condition means."""
        return (
            self.account in {"", account}
            and self.sender_domain in {"", sender_domain}
            and self.recipient_domain in {"", recipient_domain}
        )


@dataclass(frozen=True, slots=True)
class Span:
    """
    A time, both ends excluded.

    @ivar after: L{None}: however early; C{before} likewise.
    """

    after: datetime | None = None
    before: datetime | None = None

    def holds(self, moment: datetime) -> bool:
        """Whether it is in there."""
        return (self.after is None or moment > self.after) and (
            self.before is None or moment < self.before
        )


#: Any time.
Always: Final = Span()


@dataclass(frozen=True, slots=True)
class JobFilter:
    """
    Conditions for jobs that wait.  What is empty or L{None} is none.

    @ivar ids: Numbers.
    @ivar sender: See L{matches_address}; C{recipient} likewise.
    @ivar transport: Empty: those that routes are followed for.
    """

    ids: tuple[int, ...] = ()
    account: str = ""
    sender: str = ""
    recipient: str = ""
    hold: bool | None = None
    submitted: Span = Always
    next_attempt: Span = Always
    transport: str | None = None

    def matches(self, job: Job) -> bool:
        """Whether all conditions hold."""
        return (
            (not self.ids or job.id in self.ids)
            and self.account in {"", job.account}
            and matches_address(self.sender, job.reverse_path)
            and matches_address(self.recipient, job.forward_path)
            and self.hold in {None, job.hold}
            and self.submitted.holds(job.queued)
            and self.next_attempt.holds(job.next_attempt)
            and self.transport in {None, job.transport}
        )


#: No condition at all.
EVERYTHING: Final = JobFilter()


@dataclass(frozen=True, slots=True)
class RetiredFilter:
    """Conditions for the history; as L{JobFilter}."""

    account: str = ""
    sender: str = ""
    recipient: str = ""
    submitted: Span = Always
    last_activity: Span = Always
    transport: str | None = None
    success: bool | None = None


@dataclass(frozen=True, slots=True)
class HookFilter:
    """
    Conditions for webhook calls that wait; as L{JobFilter}.

    @ivar event: One of L{EVENTS}.
    """

    ids: tuple[int, ...] = ()
    account: str = ""
    event: str = ""
    submitted: Span = Always
    next_attempt: Span = Always

    def matches(self, hook: Hook) -> bool:
        """Whether all conditions hold."""
        return (
            (not self.ids or hook.id in self.ids)
            and self.account in {"", hook.account}
            and self.event in {"", hook.event or INCOMING}
            and self.submitted.holds(hook.submitted)
            and self.next_attempt.holds(hook.next_attempt)
        )


@dataclass(frozen=True, slots=True)
class RetiredHookFilter:
    """Conditions for the history of webhook calls; as L{HookFilter}."""

    account: str = ""
    event: str = ""
    submitted: Span = Always
    last_activity: Span = Always


@dataclass(frozen=True, slots=True)
class Order:
    """
    Of a list; ties go by the number.

    @ivar by_queued: By when they were queued, calls when they were submitted;
        not by their next attempt, or in the history their last activity.
    """

    by_queued: bool = False
    ascending: bool = False


def matches_address(part: str, path: Path | None) -> bool:
    """
    Whether C{part} stands in an address as people write it, ASCII letters in
    either case.  C{@example.com} is the domain, no other that begins so; L{NULL_SENDER}
    the null reverse-path.
    """
    if not part:
        return True
    if path is None:
        return part == NULL_SENDER
    if part.startswith("@"):
        return path.domain is not None and path.domain.ascii == _domain(part[1:])
    return _lower(part) in _lower(path.unicode)


def _domain(text: str) -> str:
    try:
        return parse_host(text).ascii
    except InvalidName:
        return text


def _lower(text: str) -> str:
    """ASCII letters only, as databases do it."""
    return text.translate(_LOWER)


_LOWER: Final = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}


def parse_duration(text: str) -> timedelta:
    """
    Read C{1h30m}, C{-2d}, C{+0.5h}: seconds, minutes, hours, days, weeks.

    @raise InvalidCondition: It is none.
    """
    match = _DURATION.fullmatch(text)
    if match is None:
        raise InvalidCondition(f"not a duration: {text!r}; write 30m, 1h30m, -2d")
    seconds = sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(match[2]))
    try:
        return timedelta(seconds=-seconds if match[1] == "-" else seconds)
    except OverflowError:
        raise InvalidCondition(f"too long: {text!r}") from None


def parse_moment(text: str, now: datetime) -> datetime:
    """
    Read C{now}, a duration that is added to now, or a time of RFC 3339.

    @raise InvalidCondition: It is none of them.
    """
    if text == "now":
        return now
    try:
        if _DURATION.fullmatch(text):
            return now + parse_duration(text)
        moment = datetime.fromisoformat(text)
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise InvalidCondition(
            f"not a time: {text!r}; write now, 1h30m, -2d or 2026-01-31T12:00:00Z"
        ) from None


def parse_span(text: str, now: datetime) -> Span:
    """
    Read C{<d} for before, C{>d} for after; C{d} is what L{parse_moment} reads.

    @raise InvalidCondition: It is neither.
    """
    if not text.startswith(("<", ">")):
        raise InvalidCondition(
            f"a time is given as '<-1h' (before) or '>now' (after), not {text!r}"
        )
    moment = parse_moment(text[1:], now)
    return Span(before=moment) if text[0] == "<" else Span(after=moment)
