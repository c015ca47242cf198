"""An empty database, made once for all tests of a process."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

from moxsmtp.store.upgrade import prepare_sqlite

__all__ = ["put_empty"]


@functools.cache
def _empty() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "moxsmtp.sqlite")
        prepare_sqlite(file)
        return file.read_bytes()


def put_empty(file: Path) -> None:
    """A database of this version, without having gone through all of the former ones."""
    file.write_bytes(_empty())
    file.chmod(0o600)
