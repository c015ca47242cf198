"""
SASL mechanisms, the client's side: how we log in to a smarthost.  RFC 4422,
RFC 4954, RFC 4616, RFC 2195; SCRAM is in L{moxsmtp.smtp.sasl_client_scram}.

A mechanism is a machine: it is given one challenge after the other, decoded,
and returns what to answer.  The server is not trusted: what it asks for is
bounded, and L{ClientMechanism.is_done} says whether it has proven itself.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from moxsmtp.interfaces import ChannelBinding
from moxsmtp.smtp.login_secrets import ScramHash
from moxsmtp.smtp.sasl_client_scram import SASLFailed, ScramClient, prepared_name, prepared_password

__all__ = ["MECHANISMS", "ClientMechanism", "SASLFailed", "choose"]

#: Octets of a challenge that CRAM-MD5 answers: a msg-id has no more.
_LONGEST_CHALLENGE: Final = 998


class ClientMechanism(Protocol):
    """One exchange, begun by us."""

    @property
    def name(self) -> str:
        """As it is sent in the AUTH command."""

    @property
    def is_done(self) -> bool:
        """
        Nothing is left to be said, and the server has proven that it knows
        us, where the mechanism has it do so.  A 235 before that is worth
        nothing: the connection is not to be used.
        """

    def first(self) -> bytes | None:
        """The initial response; L{None} where the server speaks first."""

    def respond(self, challenge: bytes) -> bytes:
        """
        Answer a challenge.

        @raise SASLFailed: It is not to be answered; cancel with C{*}.
        """


class PlainClient:
    """RFC 4616.  Whoever reads it has the password."""

    __slots__ = ("_message", "is_done")
    name: Final = "PLAIN"

    def __init__(self, username: str, password: str) -> None:
        self._message = f"\0{prepared_name(username)}\0{prepared_password(password)}".encode()
        self.is_done = False

    def first(self) -> bytes:
        """All there is to say."""
        self.is_done = True
        return self._message

    def respond(self, challenge: bytes) -> bytes:
        """@raise SASLFailed: There is nothing to answer."""
        raise SASLFailed(f"PLAIN ends with its first message, but {len(challenge)} octets came")


class CramMD5Client:
    """RFC 2195.  The server is not proven."""

    __slots__ = ("_password", "_username", "is_done")
    name: Final = "CRAM-MD5"

    def __init__(self, username: str, password: str) -> None:
        self._username = prepared_name(username)
        self._password = prepared_password(password)
        self.is_done = False

    def first(self) -> None:
        """The server begins."""

    def respond(self, challenge: bytes) -> bytes:
        """The user and the digest of what was asked."""
        if self.is_done:
            raise SASLFailed("CRAM-MD5 has one challenge, this is another")
        # RFC 2195 section 2: a msg-id.  A digest of nothing, or of what is no
        # challenge, could be a digest for something else.
        if not (
            2 < len(challenge) <= _LONGEST_CHALLENGE
            and challenge.startswith(b"<")
            and challenge.endswith(b">")
        ):
            raise SASLFailed("the challenge of CRAM-MD5 is none")
        self.is_done = True
        digest = hmac.digest(self._password.encode(), challenge, "md5").hex()
        return f"{self._username} {digest}".encode()


#: All that are spoken, the strongest first.
MECHANISMS: Final = (
    "SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-1", "CRAM-MD5", "PLAIN",
)  # fmt: skip

_PLUS: Final = "-PLUS"


def choose(
    wanted: Sequence[str],
    offered: frozenset[str],
    *,
    username: str,
    password: str,
    binding: ChannelBinding | None,
    random_bytes: Callable[[int], bytes],
) -> ClientMechanism | None:
    """
    The first of C{wanted} that the server offers (Q-44).

    @param offered: Their names in upper case.
    @param binding: Of the TLS connection; L{None} if there is none that can
        be trusted.  Without it no C{-PLUS} is chosen.
    @return: L{None}: they have none in common.
    """
    for name in wanted:
        is_plus = name.endswith(_PLUS)
        if name not in offered or name not in MECHANISMS or (is_plus and binding is None):
            continue
        if name == "PLAIN":
            return PlainClient(username, password)
        if name == "CRAM-MD5":
            return CramMD5Client(username, password)
        return ScramClient(
            ScramHash(name.removesuffix(_PLUS)),
            username=username,
            password=password,
            binding=binding if is_plus else None,
            # A server that offers a -PLUS is not told that it offers none, and
            # only who could have used one says so.  RFC 5802 section 6.
            sees_no_binding=binding is not None and not any(o.endswith(_PLUS) for o in offered),
            random_bytes=random_bytes,
        )
    return None
