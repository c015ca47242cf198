"""The plainest way to keep a message, for the peers."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

__all__ = ["store"]

_numbers = itertools.count()


def store(folder: Path, content: bytes) -> None:
    """Write a message as a Maildir wants it, and on disk when this returns."""
    name = f"{os.getpid()}.{next(_numbers)}.bench"
    waiting = folder / "tmp" / name
    descriptor = os.open(waiting, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(descriptor, content)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    waiting.rename(folder / "new" / name)
    descriptor = os.open(folder / "new", os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
