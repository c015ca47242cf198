"""Tests for L{moxsmtp.store.files}."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from moxsmtp.store.files import ContentFiles


class HoldTests(SynchronousTestCase):
    """Files whose rows are dropped while a backup copies."""

    def made(self, *, shared: bool) -> ContentFiles:
        """With two files, one of them condemned, held, unlinked, and let go of again."""
        folder = Path(self.mktemp())
        folder.mkdir()
        files = ContentFiles(folder, shared=shared)
        for name in ("kept", "dropped"):
            files.path(name).write_bytes(b"octets")
        files.hold()
        files.condemn("dropped")
        files.unlink(["dropped"])
        self.assertTrue(files.path("dropped").exists())
        self.assertTrue(files.is_condemned("dropped"))
        files.resume()
        self.assertFalse(files.is_condemned("dropped"))
        return files

    def names(self, files: ContentFiles) -> list[str]:
        """What is there."""
        return sorted(path.name for path in files.folder.iterdir())

    def test_alone(self) -> None:
        """They are unlinked at its end."""
        self.assertEqual(self.names(self.made(shared=False)), ["kept"])

    def test_shared(self) -> None:
        """
        Another process may have referred to one of them again: they stay for the sweep;
        what is dropped later is unlinked at once.
        """
        files = self.made(shared=True)
        self.assertEqual(self.names(files), ["dropped", "kept"])
        files.unlink(["kept"])
        self.assertEqual(self.names(files), ["dropped"])
