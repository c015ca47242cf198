"""
Charsets that mail may name, and what reads them.  RFC 2046 section 4.1.2.

Python's codecs hold more than charsets (C{idna}, C{rot13}, C{utf-7}, C{undefined});
a message names only those listed here.
"""

from __future__ import annotations

import codecs
from typing import Final

__all__ = ["codec", "decoder"]

#: Names of which the codec has another one.  Latin-1 is read as its superset
#: windows-1252, as senders mean it; US-ASCII as UTF-8, which RFC 6532 allows.
_OTHER_NAMES: Final = {
    "": "utf-8",
    "ascii": "utf-8",
    "us-ascii": "utf-8",
    "ansi_x3.4-1968": "utf-8",
    "utf8": "utf-8",
    "unicode-1-1-utf-8": "utf-8",
    "iso-8859-1": "cp1252",
    "iso8859-1": "cp1252",
    "latin1": "cp1252",
    "latin-1": "cp1252",
    "iso-8859-8-i": "iso8859-8",
    "iso-8859-8-e": "iso8859-8",
    "macintosh": "mac-roman",
    "ks_c_5601-1987": "cp949",
    "euc-kr": "cp949",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "shift_jis": "cp932",
    "shift-jis": "cp932",
    "x-sjis": "cp932",
    "tis-620": "cp874",
    "windows-874": "cp874",
    "ibm866": "cp866",
}

#: Names that are the codec's own.  UTF-16 and UTF-32 without their byte order are
#: missing: RFC 2781 section 4 keeps them out of text, and their codecs raise.
_SAME_NAMES: Final = frozenset(
    [f"iso-8859-{part}" for part in range(2, 17) if part != 12]
    + [f"windows-{page}" for page in range(1250, 1259)]
    + ["utf-8", "utf-16le", "utf-16be", "koi8-r", "koi8-u"]
    + ["gb18030", "big5", "big5-hkscs", "euc-jp", "iso-2022-jp", "iso-2022-kr"]
)


def codec(charset: str) -> str | None:
    """
    The codec for a charset's name in any case; of no name at all, UTF-8.

    @return: L{None} if we do not read it.
    """
    name = charset.strip().lower()
    if name in _SAME_NAMES:
        return name
    return _OTHER_NAMES.get(name)


def decoder(charset: str) -> codecs.IncrementalDecoder:
    """What turns pieces of octets into text; an unknown charset reads as UTF-8."""
    return codecs.getincrementaldecoder(codec(charset) or "utf-8")("replace")
