"""EHLO replies."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from moxsmtp.smtp.capabilities import Capabilities
from moxsmtp.smtp.remote_reply import RemoteReply


def capabilities(*lines: str) -> Capabilities:
    """Of an EHLO reply with these lines behind the first."""
    return Capabilities.of(RemoteReply(250, ("mx.example", *lines)))


class CapabilitiesTests(SynchronousTestCase):
    """Keywords and their parameters."""

    def test_all(self) -> None:
        """Every extension that we use is seen, in any case."""
        self.assertEqual(
            capabilities(
                "pipelining", "SIZE 1000", "8BITMIME", "SMTPUTF8", "STARTTLS",
                "ENHANCEDSTATUSCODES", "LIMITS MAILMAX=9 RCPTMAX=20", "X-OTHER a b",
                "chunking", "DSN", "REQUIRETLS", "AUTH plain SCRAM-SHA-1",
            ),
            Capabilities(
                starttls=True, pipelining=True, eight_bit=True, smtputf8=True,
                enhanced_status=True, chunking=True, dsn=True, require_tls=True, size=1000,
                recipients=20, auth=frozenset({"PLAIN", "SCRAM-SHA-1"}),
            ),
        )  # fmt: skip

    def test_first_line_is_a_name(self) -> None:
        """A host called STARTTLS offers no TLS."""
        self.assertEqual(Capabilities.of(RemoteReply(250, ("STARTTLS",))), Capabilities())

    def test_size(self) -> None:
        """SIZE without a number, or with a bad one, means no limit; absent means unknown."""
        expected = {
            ("SIZE",): 0, ("SIZE 0",): 0, ("SIZE 5",): 5, ("SIZE x",): 0, ("SIZE -5",): 0,
            ("SIZE " + "9" * 21,): 0, ("SIZES 5",): None, (): None,
        }  # fmt: skip
        self.assertEqual({lines: capabilities(*lines).size for lines in expected}, expected)

    def test_limits(self) -> None:
        """
        A syntax error or a limit said twice voids LIMITS; numbers have one to
        six digits and are not zero (Q-67).
        """
        expected = {
            "LIMITS RCPTMAX=1": 1, "LIMITS rcptmax=999999": 999999,
            "LIMITS MAILMAX=5": None, "LIMITS RCPTDOMAINMAX=1 RCPTMAX=7": 7,
            "LIMITS RCPTMAX=0": None, "LIMITS RCPTMAX=01": None, "LIMITS RCPTMAX=1000000": None,
            "LIMITS RCPTMAX=": None, "LIMITS RCPTMAX": None, "LIMITS": None,
            "LIMITS RCPTMAX=5 RCPTMAX=5": None, "LIMITS RCPTMAX=5 rcptmax=6": None,
            "LIMITS RCPTMAX=5 nonsense": None, "LIMITS RCPTMAX=5 X=": None,
        }  # fmt: skip
        self.assertEqual({line: capabilities(line).recipients for line in expected}, expected)

    @settings(max_examples=150, deadline=None)
    @given(st.lists(st.text(max_size=40), max_size=8))
    def test_anything(self, lines: list[str]) -> None:
        """Any lines can be read, and limits are never zero or negative."""
        read = capabilities(*lines)
        self.assertGreaterEqual(read.size or 0, 0)
        self.assertTrue(read.recipients is None or 0 < read.recipients < 1_000_000)
