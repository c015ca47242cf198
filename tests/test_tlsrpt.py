"""Results of TLS, for reports."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from moxsmtp.dns.records import TLSA
from moxsmtp.tlsrpt import (
    FailureDetails,
    PolicyResult,
    PolicyType,
    ReportedPolicy,
    ResultType,
    merged,
    read_results,
    sts_strings,
    tlsa_strings,
    write_results,
)

POLICY = ReportedPolicy(PolicyType.STS, "there.example", ("version: STSv1",), ("mx.example",))
NONE = ReportedPolicy(PolicyType.NONE, "there.example")


def failure(number: int = 0, sessions: int = 1) -> FailureDetails:
    """One of many."""
    return FailureDetails(
        ResultType.VALIDATION_FAILURE, f"tls-remote-alert-{number}", sessions=sessions
    )


class SumTests(SynchronousTestCase):
    """Results added up."""

    def test_equal_failures(self) -> None:
        """Equal failures become one with more sessions, others stand beside it (Q-86)."""
        total = PolicyResult(POLICY).plus(2, 1, [failure(1)]).plus(0, 2, [failure(2), failure(1)])
        self.assertEqual(total, PolicyResult(POLICY, 2, 3, (failure(1, sessions=2), failure(2))))

    def test_taken_back(self) -> None:
        """A success can be taken back, and no sum goes below nothing (Q-85)."""
        self.assertEqual(PolicyResult(POLICY, 1).plus(-1, 1), PolicyResult(POLICY, 0, 1))
        self.assertEqual(PolicyResult(POLICY).plus(-1, 1), PolicyResult(POLICY, 0, 1))

    def test_bounded(self) -> None:
        """
        What remote servers can vary at will is bounded; what is beyond is still
        counted in the sums.
        """
        total = PolicyResult(POLICY)
        for number in range(1000):
            total = total.plus(0, 1, [failure(number)])
        self.assertEqual((len(total.details), total.failures), (64, 1000))
        total = total.plus(0, 1, [failure(3)])
        self.assertEqual(total.details[3].sessions, 2)
        many = merged(
            (), (PolicyResult(ReportedPolicy(PolicyType.NONE, f"n{n}.example")) for n in range(99))
        )
        self.assertEqual(len(many), 16)
        long = tuple(f"n{n}.example" for n in range(9999))
        policy = ReportedPolicy(PolicyType.STS, "there.example", long, long)
        self.assertEqual((len(policy.strings), len(policy.hosts)), (64, 64))
        self.assertLessEqual(len(FailureDetails(ResultType.TLSA_INVALID, 9999 * "x").reason), 200)
        named = FailureDetails(ResultType.TLSA_INVALID, receiving_helo=9999 * "x")
        self.assertLessEqual(len(named.receiving_helo), 255)

    def test_merged(self) -> None:
        """Results of equal policies are added up, others stand beside them (Q-86)."""
        past = (PolicyResult(POLICY, 1), PolicyResult(NONE, 5))
        more = (PolicyResult(NONE, 1, 1, (failure(),)), PolicyResult(POLICY, 2))
        self.assertEqual(
            merged(past, more), (PolicyResult(POLICY, 3), PolicyResult(NONE, 6, 1, (failure(),)))
        )


class FormTests(SynchronousTestCase):
    """As they are written."""

    def test_report(self) -> None:
        """The names are those of RFC 8460 section 4.4."""
        details = FailureDetails(
            ResultType.CERTIFICATE_EXPIRED, "x", "192.0.2.1", "mx.example", "192.0.2.2", 3, "mail"
        )
        self.assertEqual(
            json.loads(write_results([PolicyResult(POLICY, 2, 3, (details,))])),
            [
                {
                    "policy": {
                        "policy-type": "sts",
                        "policy-string": ["version: STSv1"],
                        "policy-domain": "there.example",
                        "mx-host": ["mx.example"],
                    },
                    "summary": {
                        "total-successful-session-count": 2,
                        "total-failure-session-count": 3,
                    },
                    "failure-details": [
                        {
                            "result-type": "certificate-expired",
                            "sending-mta-ip": "192.0.2.1",
                            "receiving-mx-hostname": "mx.example",
                            "receiving-mx-helo": "mail",
                            "receiving-ip": "192.0.2.2",
                            "failed-session-count": 3,
                            "failure-reason-code": "x",
                        }
                    ],
                }
            ],
        )

    @given(
        st.lists(
            st.builds(
                PolicyResult,
                st.builds(
                    ReportedPolicy,
                    st.sampled_from(PolicyType),
                    st.text(),
                    st.lists(st.text()).map(tuple),
                    st.lists(st.text()).map(tuple),
                ),
                st.integers(0, 2**40),
                st.integers(0, 2**40),
                st.lists(
                    st.builds(
                        FailureDetails,
                        st.sampled_from(ResultType),
                        st.text(max_size=200),
                        receiving_helo=st.text(max_size=255),
                    )
                ).map(tuple),
            ),
            max_size=3,
        )
    )
    @settings(max_examples=50, deadline=None)
    def test_round_trip(self, results: list[PolicyResult]) -> None:
        """What is written is read as it was, whatever a remote put into it."""
        self.assertEqual(read_results(write_results(results)), tuple(results))

    def test_older(self) -> None:
        """What an earlier version wrote, without the name that a host gives itself, is read."""
        results = (PolicyResult(POLICY, 0, 1, (failure(1),)),)
        written = json.loads(write_results(results))
        del written[0]["failure-details"][0]["receiving-mx-helo"]
        self.assertEqual(read_results(json.dumps(written)), results)

    def test_unreadable(self) -> None:
        """What is none of it is told apart by a C{ValueError}."""
        for text in ("", "1", "[1]", "[{}]", '[{"policy": 1, "summary": 2}]', "{", "null"):
            self.assertRaises(ValueError, read_results, text)

    def test_sts(self) -> None:
        """A policy is told by its lines, within bounds (RFC 8460 section 4.4)."""
        self.assertEqual(
            sts_strings("version: STSv1\r\nmode: testing\n\nmx: a\n"),
            ("version: STSv1", "mode: testing", "mx: a"),
        )
        long = sts_strings(f"{9000 * 'x'}\n" + 5000 * "mx: a\n")
        self.assertEqual((len(long), max(map(len, long))), (64, 512))

    def test_tlsa(self) -> None:
        """TLSA records are told as zone files write them, sorted (Q-85)."""
        records = (TLSA(3, 1, 1, b"\xab\xcd"), TLSA(2, 0, 1, b"\x01"))
        self.assertEqual(tlsa_strings(records), ("2 0 1 01", "3 1 1 ABCD"))
        many = tlsa_strings(TLSA(2, 0, 0, bytes([n]) * 2000) for n in range(200))
        self.assertEqual((len(many), max(map(len, many))), (64, 512))
