"""
SASL mechanisms as machines, the server's side.  RFC 4422, RFC 4954.

A machine is given one response after the other, decoded, and says what comes
next: a challenge, or what is to be verified.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from typing import Final, Protocol
from unicodedata import normalize

from moxsmtp.interfaces import PasswordAttempt
from moxsmtp.smtp.reply import Refused, Reply

__all__ = ["BAD_CREDENTIALS", "MECHANISMS", "Mechanism", "decoded", "encoded"]

#: The same for a wrong password and for a user that is none.
BAD_CREDENTIALS: Final = Reply(535, "7.8", "bad user or password")

_MALFORMED: Final = Reply(501, "5.4", "that is no message of this mechanism")
_NOT_BASE64: Final = Reply(501, "5.2", "that is not base64")

# base64 with its padding and nothing else; RFC 4648 section 4.
_BASE64 = re.compile(
    rb"(?:[A-Za-z0-9+/]{4})*+(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?+",
)


class Mechanism(Protocol):
    """One exchange."""

    #: As in the EHLO reply.
    name: str

    def step(self, response: bytes | None) -> bytes | PasswordAttempt:
        """
        Take the client's next response.

        @param response: L{None} at first, if there was no initial response.
        @return: A challenge, or what the exchange ends in.
        @raise Refused: The exchange is over.
        """


class Plain:
    """RFC 4616."""

    __slots__ = ()
    name = "PLAIN"

    def step(self, response: bytes | None) -> bytes | PasswordAttempt:
        """One message: authorization identity, NUL, login, NUL, password."""
        if response is None:
            return b""
        tokens = response.split(b"\0")
        if len(tokens) != 3:
            raise Refused(_MALFORMED, "not three tokens")
        authorization_id, login, password = (_text(token) for token in tokens)
        if authorization_id not in {"", login}:
            raise Refused(BAD_CREDENTIALS, "another authorization identity")
        return PasswordAttempt(authorization_id, login, password)


class Login:
    """The mechanism of C{draft-murchison-sasl-login}, which many clients speak."""

    __slots__ = ("_login",)
    name = "LOGIN"

    def __init__(self) -> None:
        self._login: str | None = None

    def step(self, response: bytes | None) -> bytes | PasswordAttempt:
        """Two responses: login, password."""
        if response is None:
            return b"Username:"
        if self._login is None:
            self._login = _text(response)
            return b"Password:"
        return PasswordAttempt("", self._login, _text(response))


#: In the order of the EHLO reply, strongest first.
MECHANISMS: Final[Mapping[str, Callable[[], Mechanism]]] = {
    Plain.name: Plain,
    Login.name: Login,
}


def decoded(response: bytes) -> bytes:
    """
    A response line, without its line end.

    @raise Refused: It is not base64 (S-44).
    """
    if not _BASE64.fullmatch(response):
        raise Refused(_NOT_BASE64)
    return binascii.a2b_base64(response)


def encoded(challenge: bytes) -> Reply:
    """The 334 that carries a challenge.  RFC 4954 section 4."""
    return Reply(334, None, base64.b64encode(challenge).decode("ascii"))


def _text(octets: bytes) -> str:
    try:
        return normalize("NFC", octets.decode("utf-8"))
    except UnicodeDecodeError:
        raise Refused(_MALFORMED, "not UTF-8") from None
