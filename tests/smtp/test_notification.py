"""What a sender wants to be told."""

from __future__ import annotations

from itertools import combinations

from twisted.trial import unittest

from moxsmtp.smtp.notification import UNSAID, Notify, Occasion


class NotifyTests(unittest.SynchronousTestCase):
    """RFC 3461 section 4.1."""

    def test_read(self) -> None:
        """NEVER alone, or any of the others, in any case and order; nothing else (S-68)."""
        expected = {
            "NEVER": "NEVER",
            "never": "NEVER",
            "Failure": "FAILURE",
            "delay,SUCCESS": "SUCCESS,DELAY",
            "SUCCESS,SUCCESS": "SUCCESS",
            "": "",
            "NEVER,DELAY": None,
            "SUCCESS,": None,
            ",": None,
            "SUCCESS, DELAY": None,
            "ALWAYS": None,
            "\u017fUCCESS": None,
        }
        found: dict[str, str | None] = {}
        for text in expected:
            try:
                found[text] = str(Notify.parse(text))
            except ValueError:
                found[text] = None
        self.assertEqual(found, expected)

    def test_wanted(self) -> None:
        """
        Who said nothing hears of failure and delay, not of success; who said
        NEVER of nothing.  RFC 3461 section 4.1.
        """
        occasions = (Occasion.SUCCESS, Occasion.FAILURE, Occasion.DELAY)
        told = {
            text: [Notify.parse(text).wants(occasion) for occasion in occasions]
            for text in ("", "NEVER", "SUCCESS", "FAILURE,DELAY")
        }
        self.assertEqual(
            told,
            {
                "": [False, True, True],
                "NEVER": [False, False, False],
                "SUCCESS": [True, False, False],
                "FAILURE,DELAY": [False, True, True],
            },
        )

    def test_back(self) -> None:
        """What is written is read back, whichever it is."""
        words = (Occasion.SUCCESS, Occasion.FAILURE, Occasion.DELAY)
        every = [
            UNSAID,
            Notify(frozenset({Occasion.NEVER})),
            *(Notify(frozenset(some)) for n in (1, 2, 3) for some in combinations(words, n)),
        ]
        self.assertEqual([Notify.parse(str(one)) for one in every], every)
