"""
Content in the tables: put in, counted, given back, read in pieces.

On SQLite content up to one row goes into the database, larger content stays
the file that it came in.  On PostgreSQL it is rows of L{CHUNK} octets, so that
every node reads it.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final

from sqlalchemy import bindparam, delete, func, insert, select, update
from twisted.internet.defer import Deferred
from zope.interface import implementer

from moxsmtp.interfaces import IContent, Spooled
from moxsmtp.store.database import Database
from moxsmtp.store.errors import ContentMissing
from moxsmtp.store.files import header_end
from moxsmtp.store.listed import listed, listing
from moxsmtp.store.schema import CHUNK, content, content_chunk
from moxsmtp.store.transaction import Transaction

__all__ = [
    "StoredContent", "content_header", "insert_content", "release_contents",
]  # fmt: skip

_INSERT: Final = (
    insert(content)
    .values(size=bindparam("size"), refs=bindparam("refs"), file=bindparam("file"))
    .returning(content.c.id)
)
_INSERT_CHUNK: Final = insert(content_chunk).values(
    content_id=bindparam("content_id"), number=bindparam("number"), data=bindparam("data")
)
_COUNT: Final = (
    update(content)
    .where(content.c.id == bindparam("key"))
    .values(refs=content.c.refs + bindparam("count"))
    .returning(content.c.refs, content.c.file)
)
_COUNT_FILE: Final = (
    update(content)
    .where(content.c.id == bindparam("key"), content.c.file == bindparam("name"))
    .values(refs=content.c.refs + bindparam("count"))
    .returning(content.c.refs)
)
_DISCOUNT: Final = {
    dialect: update(content)
    .where(condition)
    .values(refs=content.c.refs - bindparam("count"))
    .returning(content.c.id, content.c.refs, content.c.file)
    for dialect, condition in listed(content.c.id).items()
}
_DELETE: Final = {
    dialect: delete(content).where(condition) for dialect, condition in listed(content.c.id).items()
}
_DELETE_CHUNKS: Final = {
    dialect: delete(content_chunk).where(condition)
    for dialect, condition in listed(content_chunk.c.content_id).items()
}
_WHERE: Final = select(content.c.size, content.c.file).where(content.c.id == bindparam("key"))
_READ: Final = select(
    func.substr(content_chunk.c.data, bindparam("start"), bindparam("length"))
).where(
    content_chunk.c.content_id == bindparam("key"), content_chunk.c.number == bindparam("number")
)


def insert_content(tx: Transaction, spooled: Spooled, refs: int) -> int:
    """
    Store content for C{refs} rows that are about to refer to it.

    The same spooled file may be stored more than once; it is one content then.

    @return: Its number.
    @raise ContentMissing: Its file has vanished.
    """
    known = None if spooled.file is None else _stored_before(tx, spooled.file, refs)
    if known is not None:
        return known
    in_file = spooled.file is not None and tx.dialect == "sqlite"
    file = _own_file(tx, spooled.file) if in_file and spooled.file is not None else None
    ((key,),) = tx.execute(_INSERT, {"size": spooled.size, "refs": refs, "file": file})
    if not in_file:
        for number, data in enumerate(_chunks(tx, spooled)):
            tx.execute(_INSERT_CHUNK, {"content_id": key, "number": number, "data": data})
    if spooled.file is not None:
        tx.files.remember(spooled.file, key, file)
    return int(key)


def _stored_before(tx: Transaction, name: str, refs: int) -> int | None:
    """Refer to what came in C{name} and was stored already."""
    stored = tx.files.stored(name)
    if stored is None:
        return None
    key, file = stored
    if file is None:  # PostgreSQL's numbers come back in no case
        found = tx.execute(_COUNT, {"key": key, "count": refs})
    else:  # a number that was given in a unit that failed is another's now
        found = tx.execute(_COUNT_FILE, {"key": key, "name": file, "count": refs})
    return key if found else None


def _own_file(tx: Transaction, name: str) -> str:
    """C{name}, or another one for it if it is about to be unlinked."""
    try:
        if tx.files.is_condemned(name):
            return tx.files.copy(name)
        tx.files.path(name).stat()
    except FileNotFoundError:
        raise ContentMissing(f"content file {name} has vanished") from None
    return name


def _chunks(tx: Transaction, spooled: Spooled) -> Iterator[bytes]:
    if spooled.inline is not None:
        for start in range(0, len(spooled.inline), CHUNK):
            yield spooled.inline[start : start + CHUNK]
    elif spooled.file is not None:
        try:
            with tx.files.path(spooled.file).open("rb", buffering=0) as file:
                while data := _read_full(file.fileno(), CHUNK):
                    yield data
        except FileNotFoundError:
            raise ContentMissing(f"content file {spooled.file} has vanished") from None


def _read_full(descriptor: int, length: int) -> bytes:
    pieces = []
    while length and (piece := os.read(descriptor, length)):
        pieces.append(piece)
        length -= len(piece)
    return b"".join(pieces)


def release_contents(tx: Transaction, numbers: Iterable[int]) -> None:
    """
    One row fewer refers to each, for each time that it is listed; those rows have been
    removed or changed before.  What nobody refers to any more is removed, its file
    after the commit.
    """
    by_count: dict[int, list[int]] = {}
    for number, count in sorted(Counter(numbers).items()):
        by_count.setdefault(count, []).append(number)
    unused = []
    for count, equal in by_count.items():
        rows = tx.execute(_DISCOUNT[tx.dialect], {**listing(equal), "count": count})
        unused += [row for row in rows if row.refs <= 0]
    if not unused:
        return
    gone = listing(row.id for row in unused)
    tx.execute(_DELETE_CHUNKS[tx.dialect], gone)
    tx.execute(_DELETE[tx.dialect], gone)
    for row in unused:
        if row.file is not None:
            tx.doom(row.file)


def _piece(tx: Transaction, content_id: int, offset: int, length: int) -> bytes:
    """At most C{length} octets, up to the end of a row."""
    rows = tx.execute(_WHERE, {"key": content_id})
    if not rows:
        raise ContentMissing(f"content {content_id} is gone")
    size, file = rows[0]
    if offset >= size or length <= 0:
        return b""
    if file is not None:
        return _pread(tx, file, offset, min(length, size - offset))
    number, start = divmod(offset, CHUNK)
    place = {"key": content_id, "number": number, "start": start + 1, "length": length}
    found = tx.execute(_READ, place)
    if not found or not found[0][0]:
        raise ContentMissing(f"content {content_id} lacks its octets from {offset}")
    return bytes(found[0][0])


def _pread(tx: Transaction, name: str, offset: int, length: int) -> bytes:
    try:
        descriptor = os.open(tx.files.path(name), os.O_RDONLY)
    except FileNotFoundError:
        raise ContentMissing(f"content file {name} has vanished") from None
    try:
        data = os.pread(descriptor, length, offset)
    finally:
        os.close(descriptor)
    if not data:
        raise ContentMissing(f"content file {name} is shorter than it was")
    return data


def content_header(tx: Transaction, content_id: int, limit: int) -> bytes:
    """
    The header section up to and with its empty line, or its first C{limit}
    octets.
    """
    head = bytearray()
    while len(head) < limit:
        data = _piece(tx, content_id, len(head), min(limit - len(head), CHUNK))
        before = len(head)
        head += data
        end = header_end(head, before)
        if end is not None:
            return bytes(head[:end])
        if not data:
            break
    return bytes(head)


def content_octets(tx: Transaction, content_id: int, size: int) -> bytes:
    """
    All of it, which the caller knows to be small enough.

    @raise ContentMissing: It is not all there.
    """
    whole = bytearray()
    while len(whole) < size:
        piece = _piece(tx, content_id, len(whole), CHUNK)
        if not piece:
            raise ContentMissing(f"content {content_id} ends after {len(whole)} octets")
        whole += piece
    return bytes(whole)


@implementer(IContent)
class StoredContent:
    """Content by its number, read in the database's threads."""

    def __init__(self, database: Database, content_id: int, size: int) -> None:
        self.size = size
        self._database = database
        self._id = content_id

    def read(self, offset: int, length: int) -> Deferred[bytes]:
        """
        See L{IContent.read}.

        @raise ContentMissing: It was removed, or its file is damaged.
        """
        return self._database.read(lambda tx: _piece(tx, self._id, offset, length))
