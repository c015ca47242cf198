"""
What a crash leaves behind is found and removed: at start, and daily.

A file that was spooled and never got a row, a row of content that nobody
refers to.  A row whose file is missing is reported and stays: somebody may
bring the file back.
"""

from __future__ import annotations

import stat
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from sqlalchemy import and_, bindparam, delete, exists, select
from twisted.logger import Logger

from moxsmtp.store.database import Database
from moxsmtp.store.files import ContentFiles
from moxsmtp.store.schema import content, content_chunk, job, message
from moxsmtp.store.transaction import Transaction

__all__ = ["Swept", "sweep"]

#: Rows looked at in one transaction, so that nobody waits long for it.
_ROWS: Final = 1000

_UNUSED: Final = and_(
    *(
        ~exists().where(column == content.c.id)
        for column in (message.c.content_id, job.c.content_id, job.c.alternative_id)
    )
)
_LAST: Final = (
    select(content.c.id)
    .where(content.c.id > bindparam("after"))
    .order_by(content.c.id)
    .limit(1)
    .offset(_ROWS - 1)
)
_FIND_UNUSED: Final = (
    select(content.c.id, content.c.file)
    .where(content.c.id > bindparam("after"), content.c.id <= bindparam("last"), _UNUSED)
    .order_by(content.c.id)
)
_DELETE_CHUNKS: Final = delete(content_chunk).where(content_chunk.c.content_id == bindparam("key"))
_DELETE: Final = delete(content).where(content.c.id == bindparam("key"))
_FILES: Final = (
    select(content.c.id, content.c.file)
    .where(content.c.id > bindparam("after"), content.c.file.is_not(None))
    .order_by(content.c.id)
    .limit(_ROWS)
)
_FILE: Final = select(content.c.file).where(content.c.id == bindparam("key"))

#: Above every number.
_ALL: Final = 2**63 - 1

_log: Final = Logger()


@dataclass(frozen=True, slots=True)
class Swept:
    """
    @ivar files: Removed from the content folder.
    @ivar rows: Removed from the tables.
    @ivar missing: Content whose file is not there.
    """

    files: int = 0
    rows: int = 0
    missing: int = 0


async def sweep(database: Database, now: datetime, orphan_age: timedelta) -> Swept:
    """
    Clean up.

    @param orphan_age: Younger files may belong to mail that is coming in.
    """
    rows = await _unused_rows(database)
    # The folder is listed before the rows are: a file gets its row later.
    old = await database.read(lambda tx: _old_files(tx.files, now - orphan_age))
    named = await _named_files(database)
    orphans = frozenset(old) - frozenset(named.values())
    await database.read(lambda tx: tx.files.unlink(orphans))
    missing = 0
    for key, file in named.items():
        if file not in old and await database.read(partial(_is_missing, key=key)):
            missing += 1
            _log.error("content {key}: its file {file} is missing", key=key, file=file)
    if orphans or rows:
        _log.info(
            "removed {files} files and {rows} rows of content that nobody refers to",
            files=len(orphans),
            rows=rows,
        )
    return Swept(len(orphans), rows, missing)


async def _unused_rows(database: Database) -> int:
    removed = 0
    after = 0
    while True:
        found, last = await database.read(partial(_unused, after=after))
        if found:
            removed += await database.transact(partial(_remove_unused, after=after))
        if last is None:
            return removed
        after = last


def _unused(tx: Transaction, after: int) -> tuple[Mapping[int, str | None], int | None]:
    """Content among the next rows that nobody refers to, and where to go on."""
    stop = tx.execute(_LAST, {"after": after})
    last: int | None = stop[0][0] if stop else None
    place = {"after": after, "last": _ALL if last is None else last}
    return dict(map(tuple, tx.execute(_FIND_UNUSED, place))), last


def _remove_unused(tx: Transaction, after: int) -> int:
    found, _ = _unused(tx, after)
    for key, file in found.items():
        tx.execute(_DELETE_CHUNKS, {"key": key})
        tx.execute(_DELETE, {"key": key})
        if file is not None:
            tx.doom(file)
    return len(found)


def _old_files(files: ContentFiles, before: datetime) -> frozenset[str]:
    """Files in the content folder that were last written before C{before}, by name."""
    old = set()
    limit = before.timestamp()
    for path in files.folder.iterdir():
        with suppress(FileNotFoundError):
            status = path.lstat()
            # A folder is not ours, and cannot be unlinked: a disk of its own has lost+found.
            if stat.S_ISREG(status.st_mode) and status.st_mtime < limit:
                old.add(path.name)
    return frozenset(old)


async def _named_files(database: Database) -> Mapping[int, str]:
    """Files that have a row, by content."""
    named: dict[int, str] = {}
    after = 0
    while rows := await database.read(partial(_some_files, after=after)):
        named.update(rows)
        after = max(rows)
    return named


def _some_files(tx: Transaction, after: int) -> Mapping[int, str]:
    return dict(tx.execute(_FILES, {"after": after}))


def _is_missing(tx: Transaction, key: int) -> bool:
    """Whether the content has a row, and its file is not there."""
    rows = tx.execute(_FILE, {"key": key})
    return bool(rows) and rows[0][0] is not None and not tx.files.path(rows[0][0]).exists()
