"""
Messages signed while they come in.  RFC 6376 section 5, RFC 8301, RFC 8463.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256, Hash

from moxsmtp.dkim.body import BodyHashes
from moxsmtp.dkim.fields import Section, split_message, without_signature
from moxsmtp.dkim.private_key import PrivateKey
from moxsmtp.dkim.signature import FIELD_NAME, parse_selector
from moxsmtp.names import Domain

__all__ = ["SIGNED_FIELDS", "CannotSign", "Signer", "Signing", "sign"]

#: What is signed, each once more than it stands in the message, so that none
#: can be added: what people are shown and may answer to, and what tells how
#: to show it.  Trace fields, which come in front on the way, are not among them.
SIGNED_FIELDS: Final = (
    "From", "To", "Cc", "Subject", "Date", "Message-ID", "Reply-To", "In-Reply-To",
    "References", "MIME-Version", "Content-Type", "Content-Transfer-Encoding",
    "Content-Disposition", "Content-ID",
)  # fmt: skip

#: Names in C{h=}; a list that is longer is no message that anybody wrote, and
#: verifiers read only so much of a signature.
_MAXIMUM_NAMES: Final = 256

#: No line goes on behind this column if a fold can help it.
_LAST_COLUMN: Final = 76

#: Characters of C{b=} in a line.
_WIDTH: Final = 72

_NAME: Final = b"DKIM-Signature"


class CannotSign(ValueError):
    """No verifier would accept a signature of this message; the text says why."""


@dataclass(frozen=True, slots=True)
class Signer:
    """
    A domain's key.

    @ivar selector: In any spelling; kept as A-labels.
    @ivar header_relaxed: Refolded header fields do no harm; else none may be touched.
    @ivar body_relaxed: The same for white space in the body.
    @ivar expiration: The signature is good for so long; L{None} is for ever.
    @ivar headers: Names of the fields to sign; From is among them.
    """

    domain: Domain
    selector: str
    key: PrivateKey = field(repr=False)
    header_relaxed: bool = field(default=True, kw_only=True)
    body_relaxed: bool = field(default=True, kw_only=True)
    expiration: timedelta | None = field(default=None, kw_only=True)
    headers: tuple[str, ...] = field(default=SIGNED_FIELDS, kw_only=True)

    def __post_init__(self) -> None:
        object.__setattr__(self, "selector", parse_selector(self.selector))
        if not all(FIELD_NAME.fullmatch(name.encode("utf-8")) for name in self.headers):
            raise ValueError("not the name of a header field")
        if "from" not in {name.lower() for name in self.headers}:
            raise ValueError("From has to be signed")
        if self.expiration is not None and self.expiration < timedelta(seconds=1):
            raise ValueError("a signature that has expired already")

    @property
    def algorithm(self) -> str:
        """C{a=}."""
        return "rsa-sha256" if isinstance(self.key, RSAPrivateKey) else "ed25519-sha256"

    def signature(self, octets: bytes) -> bytes:
        """Of what the header hash is made from."""
        if isinstance(self.key, RSAPrivateKey):
            return self.key.sign(octets, PKCS1v15(), SHA256())
        digest = Hash(SHA256())
        digest.update(octets)
        return self.key.sign(digest.finalize())


class Signing:
    """
    One message on its way to its signatures.

    The body is fed first and the header given in the end, for what we add to
    it is known last.
    """

    def __init__(self, signers: Sequence[Signer], *, now: datetime) -> None:
        self._now = int(now.timestamp())
        self._body = BodyHashes()
        self._signers = [
            (signer, self._body.wanted(relaxed=signer.body_relaxed)) for signer in signers
        ]

    def feed(self, body: bytes) -> None:
        """More of the body, cut anywhere, lines ending with CRLF."""
        self._body.feed(body)

    def fields(self, header: bytes) -> bytes:
        """
        The DKIM-Signature fields, in the order of the signers; to stand above
        C{header}, at any place.  Once, when the body is whole.

        @param header: All fields that will stand below, lines ending with
            CRLF; what follows an empty line is ignored.
        @raise CannotSign: It has no From, or more fields than can be signed.
        """
        self._body.finish()
        section = Section(header)
        if section.is_cut:
            raise CannotSign("header section is too long")
        if not section.places(b"from"):
            raise CannotSign("no From field")
        return b"".join(
            self._field(signer, section, body.digest()) for signer, body in self._signers
        )

    def _field(self, signer: Signer, section: Section, body_hash: bytes) -> bytes:
        names = _names(signer, section)
        value = _tags(signer, names, body_hash, self._now)
        lower = [name.lower().encode("ascii") for name in names]
        relaxed = signer.header_relaxed
        octets = section.canonical(section.chosen(lower), relaxed=relaxed)
        octets += without_signature(_NAME, value, relaxed=relaxed)
        text = base64.b64encode(signer.signature(octets))
        lines = [text[start : start + _WIDTH] for start in range(0, len(text), _WIDTH)]
        return b"%b:%b%b\r\n" % (_NAME, value, b"\r\n\t".join(lines))


def sign(message: bytes, signers: Sequence[Signer], *, now: datetime) -> bytes:
    """
    A message with its signatures in front, lines ending with CRLF.

    @raise CannotSign: See L{Signing.fields}.
    """
    header, body = split_message(message)
    signing = Signing(signers, now=now)
    signing.feed(body)
    return signing.fields(header) + message


def _names(signer: Signer, section: Section) -> list[str]:
    """C{h=}: every field, and one that is not there."""
    names = [
        name
        for name in signer.headers
        for _ in range(1 + len(section.places(name.lower().encode("ascii"))))
    ]
    if len(names) > _MAXIMUM_NAMES:
        raise CannotSign("too many fields of one name")
    return names


def _tags(signer: Signer, names: Sequence[str], body_hash: bytes, now: int) -> bytes:
    """All of the field's value but the signature, which goes last."""
    header = "relaxed" if signer.header_relaxed else "simple"
    body = "relaxed" if signer.body_relaxed else "simple"
    words = [
        "v=1;",
        f"a={signer.algorithm};",
        f"c={header}/{body};",
        f"d={signer.domain.ascii};",
        f"s={signer.selector};",
        f"t={now};",
    ]
    if signer.expiration is not None:
        words.append(f"x={now + int(signer.expiration.total_seconds())};")
    pieces = [(" ", word) for word in words]
    pieces += [("", f"{name}:") for name in names]
    first, last = len(words), len(pieces) - 1
    pieces[first] = (" ", "h=" + pieces[first][1])
    pieces[last] = (pieces[last][0], pieces[last][1][:-1] + ";")
    pieces.append((" ", f"bh={base64.b64encode(body_hash).decode()};"))
    return _folded(pieces) + b"\r\n\tb="


def _folded(pieces: Iterable[tuple[str, str]]) -> bytes:
    """Pieces with what separates each from the one before it, or with CRLF TAB."""
    written = []
    column = len(_NAME) + 1
    for space, piece in pieces:
        if column + len(space) + len(piece) > _LAST_COLUMN:
            written.append(f"\r\n\t{piece}")
            column = 1 + len(piece)
        else:
            written.append(space + piece)
            column += len(space) + len(piece)
    return "".join(written).encode("ascii")
