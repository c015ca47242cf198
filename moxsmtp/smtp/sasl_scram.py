"""
SCRAM, the server's side.  RFC 5802, RFC 7677, RFC 9266, RFC 5929.

Each side proves to the other that it knows the password, or what was derived
from it; with a channel binding also that both see the same TLS connection.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from dataclasses import dataclass
from typing import Final
from unicodedata import is_normalized

from moxsmtp.interfaces import Login, LoginSecrets
from moxsmtp.smtp.login_secrets import ScramHash, ScramKeys, SecretsWanted
from moxsmtp.smtp.reply import Refused, Reply
from moxsmtp.smtp.sasl import (
    BAD_CHANNEL_BINDING,
    BAD_CREDENTIALS,
    TLS_FIRST,
    Mechanism,
    Rejected,
    Scene,
    Step,
)

__all__ = ["Scram", "ScramSHA1", "ScramSHA1Plus", "ScramSHA256", "ScramSHA256Plus"]

_BAD_FIRST: Final = Reply(455, "7.0", "that is no first message of SCRAM as it is spoken here")
_BAD_FINAL: Final = Reply(535, "7.0", "that is no final message of SCRAM")

#: Octets of randomness in a nonce; 16 characters.
_NONCE: Final = 12

#: A shorter nonce of the client is none (S-49).
_SHORTEST_NONCE: Final = 8

#: RFC 9266, RFC 5929.
_BINDINGS: Final = frozenset({"tls-exporter", "tls-unique"})

# saslname: 1*(value-safe-char / "=2C" / "=3D"); attr-val: ALPHA "=" value;
# gs2-cbind-flag: ("p=" cb-name) / "n" / "y"; gs2-header: gs2-cbind-flag ","
# [ authzid ] ","; client-first-message-bare: [reserved-mext ","] username ","
# nonce ["," extensions].  RFC 5802 section 7.  An extension that has to be
# understood, reserved-mext, is none of ours.
_NAME = r"(?:[^\0,=]|=2C|=3D)++"
_PRINTABLE = r"[\x21-\x2b\x2d-\x7e]++"
_MORE = r"(?:,[A-Za-z]=[^\0,][^\0,]*+)*+"
_FIRST = re.compile(
    rf"(?P<header>(?P<flag>n|y|p=(?P<binding>[A-Za-z0-9.-]++)),(?:a=(?P<actor>{_NAME}))?,)"
    rf"(?P<bare>n=(?P<name>{_NAME}),r=(?P<nonce>{_PRINTABLE}){_MORE})",
    re.DOTALL,
)

# client-final-message: channel-binding "," nonce ["," extensions] "," proof.
_BASE64 = r"(?:[A-Za-z0-9+/]{4})*+(?>(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?)"
_FINAL = re.compile(
    rf"(?P<unproven>c=(?P<channel>{_BASE64}),r=(?P<nonce>{_PRINTABLE})"
    rf"(?:,[A-Za-oq-z]=[^\0,][^\0,]*+)*+),p=(?P<proof>{_BASE64})",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class _First:
    """
    What the client says first.

    @ivar header: Its part about channel bindings, as sent.
    @ivar bare: The rest, as sent.
    @ivar binding: The type of channel binding that it uses; empty for none.
    """

    header: str
    bare: str
    flag: str
    binding: str
    actor: str
    name: str
    nonce: str


class Scram(Mechanism):
    """
    One exchange.

    @cvar kind: The hash.
    @cvar plus: The client has to bind the channel.
    """

    __slots__ = ("_first", "_proven", "_scene", "_secrets", "_server_first")
    kind: ScramHash
    plus: bool

    def __init__(self, scene: Scene) -> None:
        """@raise Refused: There is no TLS to bind to (S-49)."""
        if self.plus and not scene.has_tls:
            raise Refused(TLS_FIRST)
        self._scene = scene
        self._first: _First | None = None
        self._server_first = ""
        self._secrets: LoginSecrets | None = None
        self._proven = False

    def step(self, response: bytes | None) -> Step:
        """Client-first, client-final, and an empty one that ends it."""
        if response is None:
            return b""
        if self._proven and self._secrets is not None:
            return self._secrets.admitted()
        if self._first is None:
            self._first = first = self._checked(_read_first(response))
            if first.actor not in {"", first.name}:
                raise Refused(BAD_CREDENTIALS, f"{first.name} asks to be somebody else")
            return SecretsWanted(first.name, self.kind)
        return self._judged(self._first, response)

    def supply(self, secrets: LoginSecrets) -> bytes | Login:
        """The server's first message: nonce, salt, iterations (S-51)."""
        first, keys = self._first, secrets.keys
        if first is None or not isinstance(keys, ScramKeys) or keys.hash is not self.kind:
            raise TypeError("not the secrets of this exchange")
        self._secrets = secrets
        salt = base64.b64encode(keys.salt).decode("ascii")
        ours = base64.b64encode(self._scene.terms.random_bytes(_NONCE)).decode("ascii")
        self._server_first = f"r={first.nonce}{ours},s={salt},i={keys.iterations}"
        return self._server_first.encode("ascii")

    def _checked(self, first: _First) -> _First:
        """@raise Refused: It cannot be obeyed (S-49)."""
        tls = self._scene.client.tls
        binding = tls.channel_binding if tls is not None else None
        wrong = ""
        if first.flag == "y":
            # We do know channel bindings: somebody between us has hidden that.
            wrong = "the client believes that we know no channel binding"
        elif first.flag == "n":
            wrong = "no channel binding" if self.plus else ""
        elif first.binding not in _BINDINGS:
            wrong = "unknown channel binding"
        elif binding is None or binding.type != first.binding:
            wrong = f"there is no {first.binding} here"
        if not (is_normalized("NFC", first.name) and is_normalized("NFC", first.actor)):
            wrong = "a name is not in NFC"
        if len(first.nonce) < _SHORTEST_NONCE:
            wrong = "short nonce"
        if wrong:
            raise Refused(_BAD_FIRST, wrong)
        return first

    def _judged(self, first: _First, response: bytes) -> Step:
        """Whether the final message proves it (S-51).  RFC 5802 section 3."""
        secrets = self._secrets
        if secrets is None or not isinstance(secrets.keys, ScramKeys):
            raise RuntimeError("the secrets were not supplied")
        match = _FINAL.fullmatch(_text(response, _BAD_FINAL))
        if match is None:
            raise Refused(_BAD_FINAL, "malformed")
        unproven, nonce = match["unproven"], match["nonce"]
        proof, channel = (binascii.a2b_base64(match[name]) for name in ("proof", "channel"))
        said = f"{first.bare},{self._server_first},{unproven}".encode()
        # It is reckoned for everybody, so that time tells nothing.
        is_proof, ours = secrets.keys.judged(said, proof)
        if not hmac.compare_digest(channel, self._channel(first)):
            return Rejected(b"e=channel-bindings-dont-match", BAD_CHANNEL_BINDING, first.name)
        if nonce != self._server_first[2:].partition(",")[0]:
            return Rejected(b"e=other-error", BAD_CREDENTIALS, f"wrong nonce for {first.name}")
        if not is_proof or secrets.login is None:
            return Rejected(b"e=invalid-proof", BAD_CREDENTIALS, f"wrong proof for {first.name}")
        self._proven = True
        return b"v=" + base64.b64encode(ours)

    def _channel(self, first: _First) -> bytes:
        """What the client has to say about the channel.  RFC 5802 section 7."""
        tls = self._scene.client.tls
        if first.binding and tls is not None and tls.channel_binding is not None:
            return first.header.encode() + tls.channel_binding.data
        return first.header.encode()


class ScramSHA256Plus(Scram):
    """RFC 7677, with channel binding."""

    __slots__ = ()
    name = "SCRAM-SHA-256-PLUS"
    kind = ScramHash.SHA256
    plus = True


class ScramSHA256(Scram):
    """RFC 7677."""

    __slots__ = ()
    name = "SCRAM-SHA-256"
    kind = ScramHash.SHA256
    plus = False


class ScramSHA1Plus(Scram):
    """RFC 5802, with channel binding."""

    __slots__ = ()
    name = "SCRAM-SHA-1-PLUS"
    kind = ScramHash.SHA1
    plus = True


class ScramSHA1(Scram):
    """RFC 5802."""

    __slots__ = ()
    name = "SCRAM-SHA-1"
    kind = ScramHash.SHA1
    plus = False


def _read_first(response: bytes) -> _First:
    """@raise Refused: It is none (S-49)."""
    match = _FIRST.fullmatch(_text(response, _BAD_FIRST))
    if match is None:
        raise Refused(_BAD_FIRST, "malformed")
    return _First(
        header=match["header"],
        bare=match["bare"],
        flag=match["flag"][0],
        binding=match["binding"] or "",
        actor=_unescaped(match["actor"] or ""),
        name=_unescaped(match["name"]),
        nonce=match["nonce"],
    )


def _unescaped(name: str) -> str:
    return name.replace("=2C", ",").replace("=3D", "=")


def _text(octets: bytes, refusal: Reply) -> str:
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError:
        raise Refused(refusal, "not UTF-8") from None
