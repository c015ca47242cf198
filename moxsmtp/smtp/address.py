"""
Reverse-paths and forward-paths as values.  RFC 5321 section 4.1.2, RFC 6531.

The null reverse-path is L{None} in a C{Path | None}; C{<>} exists only in the
grammar.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import Final
from unicodedata import normalize

from moxsmtp.names import Host, InvalidName, parse_host

__all__ = ["MAXIMUM_LOCAL_PART", "STANDARD_LOCAL_PART", "InvalidPath", "Path", "parse_mailbox"]

#: Octets of a decoded local-part (S-104): twice what RFC 5321 section 4.5.3.1.1
#: asks for, for generated senders are longer than that.
MAXIMUM_LOCAL_PART: Final = 128

#: What RFC 5321 asks for, and the pedantic allow.
STANDARD_LOCAL_PART: Final = 64

#: Characters of a mailbox up to which it is kept.
_USUAL: Final = 256

# Dot-string = Atom *("." Atom), with UTF8-non-ascii (RFC 6531 section 3.3).
_ATOM: Final = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\u0080-\U0010ffff-]++"
_DOT_STRING = re.compile(rf"{_ATOM}(?>(?:\.{_ATOM})*)")

# Quoted-string = DQUOTE *(qtextSMTP / quoted-pairSMTP) DQUOTE; the pair is a
# backslash and printable ASCII.
_QUOTED_STRING = re.compile(r'"((?:[^"\\\x00-\x1f\x7f]|\\[\x20-\x7e])*+)"')
_QUOTED_PAIR = re.compile(r"\\(.)")


class InvalidPath(ValueError):
    """What was given is no mailbox; the text says why."""


@dataclass(frozen=True, slots=True)
class Path:
    """
    A mailbox: local-part and where it lives.

    @ivar local_part: Decoded (no quotes, no backslashes), NFC.
    @ivar domain: L{None} only for the bare C{postmaster} of RFC 5321 section
        4.5.1.
    """

    local_part: str
    domain: Host | None

    @property
    def quoted_local_part(self) -> str:
        """The local-part as it stands in a command, quoted only if it must be."""
        return _quoted(self.local_part)

    @property
    def needs_smtputf8(self) -> bool:
        """Whether the local-part has non-ASCII; a domain always has an A-label form."""
        return not self.local_part.isascii()

    @property
    def ascii(self) -> str:
        """C{local-part@domain} with A-labels; the local-part stays as it is."""
        return self._joined(self.domain.ascii) if self.domain else self.quoted_local_part

    @property
    def unicode(self) -> str:
        """C{local-part@domain} with U-labels: for people, logs, filters."""
        return self._joined(self.domain.unicode) if self.domain else self.quoted_local_part

    def _joined(self, domain: str) -> str:
        return f"{self.quoted_local_part}@{domain}"

    def __str__(self) -> str:
        return self.unicode


def parse_mailbox(text: str, *, longest: int = MAXIMUM_LOCAL_PART) -> Path:
    """
    Read C{Mailbox = Local-part "@" ( Domain / address-literal )}, in Unicode.

    @param longest: Octets of a decoded local-part, before and after it becomes NFC.
    @raise InvalidPath: The text is none; the message says what is wrong.
    """
    return _read_before(text, longest) if len(text) <= _USUAL else _read(text, longest)


def _read(text: str, longest: int) -> Path:
    match = _DOT_STRING.match(text)
    if match is not None:
        local_part = match.group()
    else:
        match = _QUOTED_STRING.match(text)
        if match is None:
            raise InvalidPath("no local-part")
        local_part = _QUOTED_PAIR.sub(r"\1", match.group(1))
    if not text.startswith("@", match.end()):
        raise InvalidPath("no at sign behind the local-part")
    if not local_part.isascii():
        if len(local_part.encode()) > longest:
            raise InvalidPath("the local-part is too long")
        local_part = normalize("NFC", local_part)
        # A few characters are longer in it, and what we write must be read again.
        if len(local_part.encode()) > longest:
            raise InvalidPath("the local-part is too long")
    elif len(local_part) > longest:
        raise InvalidPath("the local-part is too long")
    try:
        return Path(local_part, parse_host(text[match.end() + 1 :]))
    except InvalidName as error:
        raise InvalidPath(str(error)) from None


# Who writes, writes again; what raises is not kept.
_read_before = functools.lru_cache(maxsize=1024)(_read)


@functools.lru_cache(maxsize=1024)
def _quoted(local_part: str) -> str:
    if _DOT_STRING.fullmatch(local_part):
        return local_part
    return '"' + local_part.replace("\\", "\\\\").replace('"', '\\"') + '"'
