"""What the modules of the schema have in common."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Integer, MetaData

__all__ = ["ID", "metadata"]

#: An integer primary key that SQLite takes as its rowid.
ID: Final = BigInteger().with_variant(Integer(), "sqlite")

metadata: Final = MetaData()
