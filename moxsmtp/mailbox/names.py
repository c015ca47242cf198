"""
Names in a Maildir++: of files, with what they tell of their content, and of
folders.

A file of ours is called C{1700000000.M123456P77Q42I1f3a.mx.example,S=25,W=29}:
when the message came, in seconds and microseconds; our process; the message's
number in the store; the file's inode, in hex; who we are; its size with LF and
with CRLF.  Behind it programs write C{:2,} and flag letters.  Time, inode and
size together recognize the file even where a program gave it another name.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from moxsmtp.interfaces import INBOX

__all__ = ["FileIdentity", "folder_directory", "folder_name", "split_flags", "unique_name",
           "wire_size"]  # fmt: skip

_OURS: Final = re.compile(
    r"([0-9]{1,12})\.M[0-9]+P[0-9]+Q[0-9]+I([0-9a-f]{1,16})\..*,S=([0-9]{1,15})"
)
_WIRE_SIZE: Final = re.compile(r",W=([0-9]{1,15})")
_UNFIT: Final = re.compile(r"[^A-Za-z0-9.-]")

#: Octets of a host name that go into a file name.
_HOST: Final = 100

# RFC 3501 section 5.1.3: "&", then "-" for itself, or base64 of UTF-16 and "-".
_SHIFTED: Final = re.compile(r"&([^-]*)-")
_UNPRINTED: Final = re.compile(r"[^\x20-\x7e]+|&")


@dataclass(frozen=True, slots=True)
class FileIdentity:
    """
    What recognizes a file of ours under any name.

    @ivar seconds: Its modification time.
    """

    inode: int
    size: int
    seconds: int

    @classmethod
    def from_name(cls, name: str) -> FileIdentity | None:
        """What the name says; L{None} if it is no name of ours."""
        match = _OURS.match(name)
        if match is None:
            return None
        return cls(int(match[2], 16), int(match[3]), int(match[1]))


def unique_name(
    *,
    received: datetime,
    pid: int,
    number: int,
    inode: int,
    host: str,
    size: int,
    wire: int,
) -> str:
    """
    A name for a new file, without flags.

    @param number: The message's number in the store.
    @param size: Octets of the file.
    @param wire: Octets with CRLF.
    """
    seconds = int(received.timestamp())
    place = _UNFIT.sub("_", host)[:_HOST] or "localhost"
    unique = f"{seconds}.M{received.microsecond:06}P{pid}Q{number}I{inode:x}"
    return f"{unique}.{place},S={size},W={wire}"


def wire_size(name: str) -> int | None:
    """Octets of the message with CRLF, if its name tells."""
    match = _WIRE_SIZE.search(name)
    return int(match[1]) if match else None


def split_flags(filename: str) -> tuple[str, str]:
    """The unique name, and the flag letters sorted; none if there are none."""
    name, _, rest = filename.partition(":")
    if not rest.startswith("2,"):
        return name, ""
    letters = rest[2:].partition(",")[0]
    return name, "".join(sorted({one for one in letters if one.isascii() and one.isalpha()}))


def folder_name(directory: str) -> str:
    """
    The mailbox that a directory of a Maildir++ holds: C{.Junk} is C{Junk}, and
    the root, C{""}, is the Inbox.  What is no modified UTF-7 stands as it is.
    """
    # An octet that is no UTF-8 comes from the operating system as half a surrogate.
    name = directory.removeprefix(".").encode("utf-8", "replace").decode("utf-8")
    return _SHIFTED.sub(_decoded, name) if name else INBOX


def folder_directory(mailbox: str) -> str:
    """
    The inverse of L{folder_name}.  Levels are parted by dots; a slash counts
    as one, and no level is empty, so that no name leads out of the Maildir.
    """
    levels = [level for level in mailbox.replace("/", ".").split(".") if level]
    if mailbox == INBOX or not levels:
        return ""
    return "." + _UNPRINTED.sub(_encoded, ".".join(levels))


def _decoded(match: re.Match[str]) -> str:
    if not match[1]:
        return "&"
    coded = match[1].replace(",", "/")
    try:
        text = base64.b64decode(coded + "=" * (-len(coded) % 4), validate=True).decode("utf-16-be")
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return match[0]
    return text if text.isprintable() else match[0]


def _encoded(match: re.Match[str]) -> str:
    if match[0] == "&":
        return "&-"
    octets = match[0].encode("utf-16-be", "replace")
    return "&" + base64.b64encode(octets).decode("ascii").rstrip("=").replace("/", ",") + "-"
