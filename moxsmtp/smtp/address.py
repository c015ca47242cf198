"""
Reverse-paths and forward-paths as values.  RFC 5321 section 4.1.2, RFC 6531.

The null reverse-path is L{None} in a C{Path | None}; C{<>} exists only in the
grammar.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from moxsmtp.names import Host

__all__ = ["Path"]

# Dot-string = Atom *("." Atom), with UTF8-non-ascii (RFC 6531 section 3.3).
_DOT_STRING = re.compile(
    r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\u0080-\U0010ffff-]+"
    r"(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~\u0080-\U0010ffff-]+)*"
)


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
        if _DOT_STRING.fullmatch(self.local_part):
            return self.local_part
        return '"' + self.local_part.replace("\\", "\\\\").replace('"', '\\"') + '"'

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


