"""Words that nobody can guess."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from moxsmtp.unique_words import unique_words


class WordTests(SynchronousTestCase):
    """Words from pages."""

    def test_words(self) -> None:
        """Each is another 16 octets of what the system gives; none is given twice."""
        pages = []

        def page(size: int) -> bytes:
            pages.append(size)
            return bytes((number // 16 + len(pages)) % 256 for number in range(size))

        word = unique_words(page)
        self.assertEqual([word(), word()], ["01" * 16, "02" * 16])
        for _ in range(254):
            word()
        self.assertEqual(len(pages), 1)
        self.assertEqual(word(), "02" * 16)
        self.assertEqual(len(pages), 2)
