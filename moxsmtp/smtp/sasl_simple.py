"""The mechanisms of one or two messages: PLAIN, LOGIN, CRAM-MD5 and EXTERNAL."""

from __future__ import annotations

import hmac
import re
from typing import Final

from moxsmtp.interfaces import CertificateAttempt, Login, LoginSecrets, PasswordAttempt
from moxsmtp.smtp.login_secrets import CramKeys, SecretsWanted
from moxsmtp.smtp.reply import Refused, Reply
from moxsmtp.smtp.sasl import (
    BAD_CREDENTIALS,
    MALFORMED,
    TLS_FIRST,
    Mechanism,
    Scene,
    Step,
    nfc,
)

__all__ = ["CramMD5", "External", "NameAndPassword", "Plain"]

#: In CRAM-MD5 the server speaks first.
_SPOKE_FIRST: Final = Reply(501, "5.2", "this mechanism has no initial response")

_DIGITS: Final = re.compile(rb"[0-9A-Fa-f]{32}")


class Plain(Mechanism):
    """RFC 4616."""

    __slots__ = ()
    name = "PLAIN"

    def __init__(self, scene: Scene) -> None:
        """@raise Refused: Others might read the password."""
        if not scene.is_secret:
            raise Refused(TLS_FIRST)

    def step(self, response: bytes | None) -> Step:
        """One message: authorization identity, NUL, login, NUL, password."""
        if response is None:
            return b""
        tokens = response.split(b"\0")
        if len(tokens) != 3:
            raise Refused(MALFORMED, "not three tokens")
        authorization_id, login, password = (nfc(token) for token in tokens)
        if authorization_id not in {"", login}:
            raise Refused(BAD_CREDENTIALS, f"{login} asks to be somebody else")
        return PasswordAttempt(authorization_id, login, password)


class NameAndPassword(Mechanism):
    """LOGIN, of C{draft-murchison-sasl-login}, which many clients speak."""

    __slots__ = ("_login",)
    name = "LOGIN"

    def __init__(self, scene: Scene) -> None:
        """@raise Refused: Others might read the password."""
        if not scene.is_secret:
            raise Refused(TLS_FIRST)
        self._login: str | None = None

    def step(self, response: bytes | None) -> Step:
        """Two responses: login, password."""
        if response is None:
            return b"Username:"
        if self._login is None:
            self._login = nfc(response)
            return b"Password:"
        return PasswordAttempt("", self._login, nfc(response))


class CramMD5(Mechanism):
    """RFC 2195.  The password is not sent, but the server is not proven either."""

    __slots__ = ("_challenge", "_digest", "_login", "_scene")
    name = "CRAM-MD5"

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._challenge = b""
        self._digest = b""
        self._login = ""

    def step(self, response: bytes | None) -> Step:
        """A challenge that never was before; then the login and the digest of it (S-48)."""
        terms = self._scene.terms
        if response is None:
            number = int.from_bytes(terms.random_bytes(8), "big")
            moment = int(terms.seconds() * 1_000_000_000)
            self._challenge = f"<{number}.{moment}@{terms.hostname}>".encode("ascii")
            return self._challenge
        if not self._challenge:
            raise Refused(_SPOKE_FIRST)
        words = response.split(b" ")
        if len(words) != 2 or not words[0] or not _DIGITS.fullmatch(words[1]):
            raise Refused(MALFORMED, "not a login and 32 digits")
        self._digest, self._login = words[1], nfc(words[0])
        return SecretsWanted(self._login, None)

    def supply(self, secrets: LoginSecrets) -> bytes | Login:
        """Compare the digests (S-48)."""
        if not isinstance(secrets.keys, CramKeys):
            raise TypeError("not the secrets of CRAM-MD5")
        expected = secrets.keys.digest(self._challenge).encode("ascii")
        if not hmac.compare_digest(expected, self._digest) or secrets.login is None:
            raise Refused(BAD_CREDENTIALS, f"wrong digest for {self._login}")
        return secrets.admitted()


class External(Mechanism):
    """RFC 4422 appendix A: who the TLS client certificate belongs to (S-52)."""

    __slots__ = ("_scene",)
    name = "EXTERNAL"

    def __init__(self, scene: Scene) -> None:
        self._scene = scene

    def step(self, response: bytes | None) -> Step:
        """One message: the authorization identity, which may be empty."""
        if response is None:
            return b""
        client = self._scene.client
        if client.tls is None:
            raise Refused(TLS_FIRST)
        if client.certificate is None:
            raise Refused(BAD_CREDENTIALS, "no certificate has logged in")
        return CertificateAttempt(client.tls.client_key, nfc(response))
