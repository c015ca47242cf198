"""Tests for L{moxsmtp.admin.cli_replyid}."""

from __future__ import annotations

import json

from tests.admin.test_cli import CLITestCase

ENTRY = {"session": 1_772_366_400_123, "begun": "2026-03-01T12:00:00.123+00:00"}


class ReplyIdTests(CLITestCase):
    """C{moxsmtp reply-id}."""

    def test_told(self) -> None:
        """Number and time of the session; parentheses around the id do not matter (S-10)."""
        self.answer = [ENTRY]
        for given in ("abc", "(abc)"):
            self.calls.clear()
            result = self.run_cli("reply-id", given)
            self.assertEqual([call[1:3] for call in self.calls], [("reply-id", {"id": "abc"})])
            self.assertIn("1772366400123", result.output)
            self.assertIn("2026-03-01", result.output)

    def test_json(self) -> None:
        """The same for programs."""
        self.answer = [ENTRY]
        result = self.run_cli("--json", "reply-id", "abc")
        self.assertEqual(json.loads(result.output), ENTRY)
