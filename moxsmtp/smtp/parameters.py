"""
The parameters of MAIL and RCPT.  RFC 5321 section 4.1.1.11; SIZE (RFC 1870),
BODY (RFC 6152), AUTH (RFC 4954), SMTPUTF8 (RFC 6531), REQUIRETLS (RFC 8689),
HOLDFOR and HOLDUNTIL (RFC 4865), RET, ENVID, NOTIFY and ORCPT (RFC 3461).

They are read from left to right, and the first that is wrong is answered.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from moxsmtp.smtp.commands import BodyType
from moxsmtp.smtp.dialect import BadSyntax, Dialect
from moxsmtp.smtp.future_release import Hold, hold_for, hold_until
from moxsmtp.smtp.notification import Notify, ReturnContent
from moxsmtp.smtp.reply import Refused, Reply
from moxsmtp.smtp.xtext import InvalidXtext, decode_utf8_address, decode_xtext, is_xtext

__all__ = ["DEFAULT_MAXIMUM_SIZE", "mail_parameters", "rcpt_parameters"]

#: Octets; a message that is refused though it is smaller meets a limit that
#: somebody set (S-59, S-78).
DEFAULT_MAXIMUM_SIZE: Final = 104_857_600

#: Characters of an envelope identifier as it is sent.  RFC 3461 section 4.4.
_MAXIMUM_ENVELOPE_ID: Final = 100

#: Characters of an original recipient as it is sent.  RFC 3461 section 4.2.
_MAXIMUM_ORIGINAL_RECIPIENT: Final = 500

_UNKNOWN: Final = Reply(555, "3.3", "parameter not known here")
_REPEATED: Final = Reply(501, "5.4", "parameter given twice")
_NO_SUCH_BODY: Final = Reply(555, "5.4", "BODY can be 7BIT or 8BITMIME")
_TLS_FIRST: Final = Reply(530, "7.10", "REQUIRETLS needs TLS here, too")
_TWO_HOLDS: Final = Reply(501, "5.4", "give HOLDFOR or HOLDUNTIL, not both")

# esmtp-param = esmtp-keyword ["=" esmtp-value], one space before each
_PARAMETER = re.compile(
    r" ([A-Za-z0-9][A-Za-z0-9-]*+)(?>(?:=([!-<>-~\u0080-\U0010ffff]++))?)(?= |\Z)"
)
_SIZE = re.compile(r"[0-9]{1,20}")

# original-recipient = addr-type ";" xtext; addr-type is an atom, of which all in
# use have letters, digits and hyphens.
_ORIGINAL_RECIPIENT = re.compile(r"([A-Za-z0-9][A-Za-z0-9-]{0,39});(.++)")

#: Reads the value of one parameter: given the value and the dialect, the field
#: of the command and what it is to be.  L{None}: the command knows nothing of it.
_Reader = Callable[[str | None, Dialect], tuple[str, Any] | None]


def mail_parameters(text: str, position: int, dialect: Dialect) -> Mapping[str, Any]:
    """
    Read what stands behind the reverse-path.

    @return: The fields of L{moxsmtp.smtp.commands.Mail} that were given.
    @raise BadSyntax: They are against the grammar.
    @raise Refused: They are not, but not taken all the same.
    """
    if position == len(text):
        return {}
    fields = _read(text, position, dialect, _OF_MAIL)
    if "smtputf8" not in fields and not text[position:].isascii():
        raise BadSyntax(text[position:])
    return fields


def rcpt_parameters(text: str, position: int, dialect: Dialect) -> Mapping[str, Any]:
    """
    Read what stands behind the forward-path.

    @return: The fields of L{moxsmtp.smtp.commands.Rcpt} that were given.
    @raise BadSyntax: They are against the grammar.
    @raise Refused: They are not, but not taken all the same.
    """
    if position == len(text):
        return {}
    fields = _read(text, position, dialect, _OF_RCPT)
    if not dialect.smtputf8 and not text[position:].isascii():
        raise BadSyntax(text[position:])
    return fields


def _read(
    text: str, position: int, dialect: Dialect, readers: Mapping[str, _Reader]
) -> Mapping[str, Any]:
    fields: dict[str, Any] = {}
    seen = set()
    end = len(text)
    while position < end:
        match = _PARAMETER.match(text, position)
        if match is None:
            raise BadSyntax(text[position:])
        keyword, value = match.groups()
        keyword = keyword.upper()
        if keyword in seen:
            raise Refused(_REPEATED, keyword)
        seen.add(keyword)
        position = match.end()
        reader = readers.get(keyword)
        if reader is None or (not dialect.submission and keyword in _OF_SUBMISSION):
            raise Refused(_UNKNOWN, keyword)
        try:
            field = reader(value, dialect)
        except ValueError:
            raise BadSyntax(f"{keyword}={value}" if value else keyword) from None
        if field is not None:
            name, meaning = field
            if name in fields:
                raise Refused(_TWO_HOLDS, keyword)
            fields[name] = meaning
    return fields


def _given(value: str | None) -> str:
    """@raise ValueError: There is no value."""
    if value is None:
        raise ValueError("no value")
    return value


# -- of MAIL -----------------------------------------------------------------------------


def _size(value: str | None, dialect: Dialect) -> tuple[str, Any]:
    """RFC 1870 section 6.1; nobody compares it with what comes (S-59)."""
    given = _given(value)
    if not _SIZE.fullmatch(given):
        raise ValueError("not a size")
    size = int(given)
    if dialect.maximum_size is not None and size > dialect.maximum_size:
        status = "2.3" if size < DEFAULT_MAXIMUM_SIZE else "3.4"
        raise Refused(Reply(552, status, "message too large"), f"SIZE={size}")
    return "size", size


def _body(value: str | None, _dialect: Dialect) -> tuple[str, Any]:
    """RFC 6152 (S-60)."""
    try:
        # Only ASCII has two cases here: some letters of others become ASCII in upper case.
        return "body", BodyType(value.upper() if value and value.isascii() else "")
    except ValueError:
        raise Refused(_NO_SUCH_BODY) from None


def _auth(value: str | None, _dialect: Dialect) -> None:
    """
    RFC 4954 section 5: who is said to have written this.  We believe nobody, so
    only the form matters (S-61, S-108).
    """
    if value != "<>" and not is_xtext(_given(value)):
        raise ValueError("not xtext")


def _smtputf8(value: str | None, _dialect: Dialect) -> tuple[str, Any]:
    """RFC 6531 section 3.4 (S-62)."""
    if value is not None:
        raise ValueError("SMTPUTF8 has no value")
    return "smtputf8", True


def _require_tls(value: str | None, dialect: Dialect) -> tuple[str, Any]:
    """RFC 8689 section 2 (S-63)."""
    if value is not None:
        raise ValueError("REQUIRETLS has no value")
    if not dialect.secure:
        raise Refused(_TLS_FIRST)
    if not dialect.require_tls:
        raise Refused(_UNKNOWN, "REQUIRETLS")
    return "require_tls", True


def _hold_for(value: str | None, dialect: Dialect) -> tuple[str, Any]:
    """RFC 4865 (S-64)."""
    return _held(hold_for(_given(value)), dialect)


def _hold_until(value: str | None, dialect: Dialect) -> tuple[str, Any]:
    """RFC 4865 (S-64)."""
    return _held(hold_until(_given(value)), dialect)


def _held(hold: Hold, dialect: Dialect) -> tuple[str, Any]:
    if dialect.now is not None:
        hold.release(dialect.now())
    return "hold", hold


def _return(value: str | None, _dialect: Dialect) -> tuple[str, Any]:
    """RFC 3461 section 4.3."""
    given = _given(value)
    return "returns", ReturnContent(given.upper() if given.isascii() else given)


def _envelope_id(value: str | None, _dialect: Dialect) -> tuple[str, Any]:
    """RFC 3461 section 4.4."""
    if len(_given(value)) > _MAXIMUM_ENVELOPE_ID:
        raise ValueError("too long")
    return "envelope_id", decode_xtext(_given(value))


# -- of RCPT -----------------------------------------------------------------------------


def _notify(value: str | None, _dialect: Dialect) -> tuple[str, Any]:
    """RFC 3461 section 4.1."""
    return "notify", Notify.parse(_given(value))


def _original_recipient(value: str | None, _dialect: Dialect) -> tuple[str, Any]:
    """RFC 3461 section 4.2; addresses of type utf-8 by RFC 6533 section 3."""
    match = _ORIGINAL_RECIPIENT.fullmatch(_given(value))
    if match is None or match.end() > _MAXIMUM_ORIGINAL_RECIPIENT:
        raise InvalidXtext("no address with its type")
    kind, address = match.group(1).lower(), match.group(2)
    decode = decode_utf8_address if kind == "utf-8" else decode_xtext
    return "original_recipient", f"{kind};{decode(address)}"


_OF_MAIL: Final[Mapping[str, _Reader]] = {
    "SIZE": _size,
    "BODY": _body,
    "AUTH": _auth,
    "SMTPUTF8": _smtputf8,
    "REQUIRETLS": _require_tls,
    "HOLDFOR": _hold_for,
    "HOLDUNTIL": _hold_until,
    "RET": _return,
    "ENVID": _envelope_id,
}

_OF_RCPT: Final[Mapping[str, _Reader]] = {
    "NOTIFY": _notify,
    "ORCPT": _original_recipient,
}

#: Known only where users hand in mail; RFC 4865 section 3.
_OF_SUBMISSION: Final = frozenset({"HOLDFOR", "HOLDUNTIL"})
