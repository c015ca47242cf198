"""What can be wrong with a store as a whole.  The text of each is one line for people."""

from __future__ import annotations

from moxsmtp.interfaces import StorageUnavailable

__all__ = [
    "ContentMissing", "DatabaseUnavailable", "DriverMissing", "FolderInUse", "FolderUnusable",
    "StoreDamaged", "StoreError", "StoreTooNew", "TransactionLost",
]  # fmt: skip


class StoreError(Exception):
    """The store cannot be used, or not for this."""


class FolderUnusable(StoreError):
    """The data folder cannot be made, entered or written."""


class FolderInUse(StoreError):
    """Another server works on the data folder."""


class StoreTooNew(StoreError):
    """A later version of the program made this store."""


class StoreDamaged(StoreError):
    """It is no database of ours, or not a whole one."""


class DriverMissing(StoreError):
    """An optional library is needed and not installed."""


class DatabaseUnavailable(StoreError, StorageUnavailable):
    """The database does not answer now: locked, gone, or closed by us."""


class TransactionLost(StoreError):
    """The engine has ended a unit's transaction under it; the unit must not go on."""


class ContentMissing(StoreError):
    """Content was removed meanwhile, or is not where its row says."""
