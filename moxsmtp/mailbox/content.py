"""Messages read back out of a Maildir, with CRLF."""

from __future__ import annotations

from bisect import bisect_right
from typing import Final

from zope.interface import implementer

from moxsmtp.interfaces import IContent
from moxsmtp.mailbox.maildir import Tree, Vanished
from moxsmtp.mailbox.names import wire_size
from moxsmtp.mailbox.threads import InThread, Maildirs, tree_of

__all__ = ["MaildirContent", "MaildirReader", "NoMaildir"]

#: Octets of a file that are turned into wire form at a time.
_PIECE: Final = 64 * 1024


class NoMaildir(LookupError):
    """The configuration has no Maildir for an account: not any more, if mail is in one."""


class MaildirReader:
    """Opens and removes messages that were handed over."""

    def __init__(self, in_thread: InThread, maildirs: Maildirs) -> None:
        self._in_thread = in_thread
        self._maildirs = maildirs

    def open(self, account: str, name: str) -> IContent:
        """
        The message called C{name}, prefix and all.  It is looked for when it
        is read.

        @raise NoMaildir: The account has none.
        @raise LookupError: The name is not ours.
        """
        content: IContent = MaildirContent(self._in_thread, self._tree(account), name, account)
        return content

    async def remove(self, account: str, name: str) -> bool:
        """
        Remove the file, in whichever folder it is.

        @return: Whether it was there.
        @raise NoMaildir: The account has none.
        @raise Vanished: Its Maildir is not there.
        """
        tree = self._tree(account)
        try:
            return await self._in_thread(tree.remove, name)
        except Vanished:
            raise _vanished(account, tree) from None

    def _tree(self, account: str) -> Tree:
        maildir = self._maildirs().get(account)
        if maildir is None:
            raise NoMaildir(f"account {account} has no Maildir in the configuration")
        return tree_of(maildir)


def _vanished(account: str, tree: Tree) -> Vanished:
    """The same for people: whose it is."""
    return Vanished(f"the Maildir of {account} at {tree.root} is not there; is its disk mounted?")


@implementer(IContent)
class MaildirContent:
    """
    One file.  Reading forwards is cheap, and so is going back: where CRLF
    offsets are in the file is remembered every 64 KiB.
    """

    def __init__(self, in_thread: InThread, tree: Tree, name: str, account: str) -> None:
        """@raise LookupError: The name does not tell the size."""
        size = wire_size(name)
        if size is None:
            raise LookupError(f"not a name of ours: {name}")
        self.size: int = size
        self._in_thread = in_thread
        self._tree = tree
        self._name = name
        self._account = account
        self._path = ""
        #: Offsets with CRLF, and where they are in the file.
        self._wire = [0]
        self._file = [0]

    async def read(self, offset: int, length: int) -> bytes:
        """
        See L{IContent.read}.

        @raise FileNotFoundError: It is in no folder of the Maildir.
        @raise Vanished: The Maildir is not there.
        """
        if offset >= self.size or length <= 0:
            return b""
        try:
            return await self._in_thread(self._read, offset, length)
        except Vanished:
            raise _vanished(self._account, self._tree) from None

    def _read(self, offset: int, length: int) -> bytes:
        if self._path:
            try:
                return self._read_file(offset, length)
            except FileNotFoundError:
                pass  # somebody has moved it
        sighting = self._tree.find([self._name]).get(self._name)
        if sighting is None:
            raise FileNotFoundError(f"{self._name} is not in {self._tree.root}")
        self._path = sighting.path
        return self._read_file(offset, length)

    def _read_file(self, offset: int, length: int) -> bytes:
        known = bisect_right(self._wire, offset) - 1
        wire, place = self._wire[known], self._file[known]
        found = bytearray()
        with (self._tree.root / self._path).open("rb") as file:
            file.seek(place)
            while len(found) < length:
                piece = file.read(_PIECE)
                if not piece:
                    break
                text = piece.replace(b"\n", b"\r\n")
                begin = max(0, offset - wire)
                found += text[begin : begin + length - len(found)]
                wire, place = wire + len(text), place + len(piece)
                if wire > self._wire[-1]:
                    self._wire.append(wire)
                    self._file.append(place)
        return bytes(found)
