"""Tests for L{moxsmtp.smtp.objections}; what is known before MAIL stands in test_exchange."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from moxsmtp.smtp.mailing import Refusal
from moxsmtp.smtp.objections import is_of_form


class FormTests(SynchronousTestCase):
    """What is said of a form, and what of a message."""

    def test_form(self) -> None:
        """Parameters, or what can be done with the content, for good (Q-38)."""
        of_form = {
            (501, ""): True, (501, "5.4"): True, (504, ""): True, (555, ""): True,
            (550, "6.7"): True, (554, "6.9"): True, (554, "6.0"): True, (554, "5.4"): True,
            (500, ""): False, (550, ""): False, (554, "5.1"): False, (550, "1.6"): False,
            (554, "7.1"): False, (552, "3.4"): False, (0, ""): False,
        }  # fmt: skip
        found = {
            (code, status): is_of_form(
                Refusal(permanent=True, error="no", code=code, status=status)
            )
            for code, status in of_form
        }
        self.assertEqual(found, of_form)

    def test_for_now(self) -> None:
        """What is refused for now is not refused for its form."""
        for code, status in ((450, "6.7"), (455, ""), (555, "6.7")):
            refusal = Refusal(permanent=False, error="later", code=code, status=status)
            self.assertFalse(is_of_form(refusal), refusal)
