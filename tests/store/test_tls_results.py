"""Tests for L{moxsmtp.store.tls_results}."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta, timezone

from sqlalchemy import update

from moxsmtp.store.schema import tls_result
from moxsmtp.store.tls_results import DayOfResults, TLSResults
from moxsmtp.tlsrpt import (
    FailureDetails,
    PolicyResult,
    PolicyType,
    ReportedPolicy,
    ResultType,
    TLSResult,
)
from tests.store.contract import NOW, Broken, Contract

TODAY = NOW.date()
NO_POLICY = ReportedPolicy(PolicyType.NONE, "there.example")
EXPIRED = FailureDetails(ResultType.CERTIFICATE_EXPIRED, receiving_host="mx.there.example")


def result(
    *details: FailureDetails,
    successes: int = 1,
    failures: int = 0,
    policy: ReportedPolicy = NO_POLICY,
    recipient_domain: str = "there.example",
    send_report: bool = True,
    is_host: bool = False,
) -> TLSResult:
    """Of one session."""
    return TLSResult(
        policy.domain,
        recipient_domain,
        is_host,
        send_report,
        PolicyResult(policy, successes, failures, details),
    )


class TLSResultsTests(Contract):
    """Sums of a day."""

    def setUp(self) -> None:
        """None yet."""
        super().setUp()
        self.results = TLSResults(self.failing)

    def note(self, *results: TLSResult) -> None:
        """Today."""
        self.results.note(results, NOW)

    def written(self) -> Sequence[DayOfResults]:
        """Of today."""
        self.result(self.results.flush())
        return self.result(self.results.of_day(TODAY))

    def test_merged(self) -> None:
        """Results of one policy domain, day and recipient domain are one (Q-86)."""
        self.note(result(), result(EXPIRED, successes=0, failures=1))
        self.assertEqual(len(self.written()), 1)
        self.note(result(EXPIRED, successes=0, failures=1), result())
        details = FailureDetails(
            ResultType.CERTIFICATE_EXPIRED, receiving_host="mx.there.example", sessions=2
        )
        self.assertEqual(
            self.written(),
            [
                DayOfResults(
                    "there.example",
                    "there.example",
                    False,
                    True,
                    (PolicyResult(NO_POLICY, 2, 2, (details,)),),
                )
            ],
        )

    def test_apart(self) -> None:
        """Other recipient domains and hosts are apart, domains first (Q-86)."""
        host = ReportedPolicy(PolicyType.NONE, "mx.example")
        self.note(
            result(policy=host, is_host=True),
            result(policy=host, is_host=True, recipient_domain="else.example"),
            result(),
        )
        self.assertEqual(
            [(row.policy_domain, row.recipient_domain, row.is_host) for row in self.written()],
            [
                ("there.example", "there.example", False),
                ("mx.example", "else.example", True),
                ("mx.example", "there.example", True),
            ],
        )

    def test_policies(self) -> None:
        """A policy that has changed stands beside the one before."""
        other = ReportedPolicy(PolicyType.STS, "there.example", ("mode: enforce",), ("mx",))
        self.note(result(), result(policy=other))
        (row,) = self.written()
        self.assertEqual([each.policy for each in row.results], [NO_POLICY, other])

    def test_days(self) -> None:
        """A day ends at midnight UTC, wherever the clock stands (Q-86)."""
        midnight = NOW.replace(hour=0, minute=0, second=0, microsecond=0)
        east = timezone(timedelta(hours=5))
        for at in (
            midnight,
            midnight - timedelta(microseconds=1),
            (midnight + timedelta(hours=22)).astimezone(east),
        ):
            self.results.note([result()], at)
        (today,) = self.written()
        (yesterday,) = self.result(self.results.of_day(TODAY - timedelta(days=1)))
        self.assertEqual(today.results[0].successes, 2)
        self.assertEqual(yesterday.results[0].successes, 1)

    def test_send_report(self) -> None:
        """Whether a report is due: once it is, it stays so (Q-86)."""
        told = []
        for due in (False, False, True, False):
            self.note(result(send_report=due))
            (row,) = self.written()
            told.append(row.send_report)
        self.assertEqual(told, [False, False, True, True])
        self.note(result(recipient_domain="x.example", send_report=True))
        self.note(result(recipient_domain="x.example", send_report=False))
        self.assertEqual([row.send_report for row in self.written()], [True, True])

    def test_several_processes(self) -> None:
        """What another process adds to the same day is added, not replaced."""
        other = TLSResults(self.database)
        other.note([result()], NOW)
        self.note(result())
        self.result(other.flush())
        (row,) = self.written()
        self.assertEqual(row.results[0].successes, 2)

    def test_database_away(self) -> None:
        """What could not be written waits, and is written once."""
        self.note(result())
        self.failing.succeed = 0
        self.failure(self.results.flush(), Broken)
        self.note(result())
        self.failing.succeed = None
        (row,) = self.written()
        self.assertEqual(row.results[0].successes, 2)
        (row,) = self.written()
        self.assertEqual(row.results[0].successes, 2)

    def test_many(self) -> None:
        """More than one transaction takes is written all the same."""
        self.note(*(result(recipient_domain=f"n{n}.example") for n in range(450)))
        self.assertEqual(len(self.written()), 450)

    def test_bounded(self) -> None:
        """What waits is bounded, and the domains that wait already go on counting."""
        for n in range(25_000):
            self.note(result(recipient_domain=f"n{n % 22_000}.example"))
        self.assertEqual(len(self.results._waiting), 20_000)

    def test_unreadable(self) -> None:
        """A row that nobody can read is begun anew."""
        self.note(result())
        self.written()
        spoil = update(tls_result).values(results='[{"policy": 1}]')
        self.result(self.database.transact(lambda tx: tx.execute(spoil) and None))
        self.note(result())
        (row,) = self.written()
        self.assertEqual(row.results[0].successes, 1)

    def test_remove(self) -> None:
        """Old days are forgotten, those that are asked for are not."""
        for days in range(4):
            self.results.note([result()], NOW - timedelta(days=days))
        self.result(self.results.flush())
        removed = self.result(self.results.remove_before(TODAY - timedelta(days=1)))
        self.assertEqual(removed, 2)
        self.assertEqual(
            [len(self.result(self.results.of_day(TODAY - timedelta(days=n)))) for n in range(4)],
            [1, 1, 0, 0],
        )
