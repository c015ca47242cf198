"""Single requests over HTTP."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial import unittest

from moxsmtp.https.client import mistake_in_url


class MistakeTests(unittest.SynchronousTestCase):
    """URLs."""

    def test_good(self) -> None:
        """Ordinary URLs have no mistake."""
        for url in ("http://a.example/", "https://a.example:8443/x?y=z#f", "http://192.0.2.1/"):
            self.assertIsNone(mistake_in_url(url))

    @settings(max_examples=200, deadline=None)
    @given(st.text(max_size=60))
    def test_any_text(self, text: str) -> None:
        """Any text gets an answer."""
        mistake_in_url(text)
        mistake_in_url("http://" + text)
