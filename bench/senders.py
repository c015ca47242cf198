"""
Domains that send: each with its key, its records and messages that it signed.

What the checks find is always good: SPF by an included record, a signature of
RSA with 2048 bits, relaxed in header and body, DMARC by both, and a client's
address whose name leads back to it.
"""

from __future__ import annotations

import base64
import random  # noqa: TID251 - every run makes the same text
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from moxsmtp.dkim import Signer, sign
from moxsmtp.message.header import parse_header
from moxsmtp.names import parse_domain

__all__ = [
    "CLIENTS", "HELLO", "RECIPIENT", "Sender", "objection", "senders", "text_of", "zone",
]  # fmt: skip

RECIPIENT: Final = "alice@here.test"

#: Where the load comes from: each with its name.
CLIENTS: Final = {f"127.0.0.{number}": f"client{number}.test" for number in range(1, 17)}

#: What they say of themselves.
HELLO: Final = CLIENTS["127.0.0.1"]

_SELECTOR: Final = "bench"

#: What our server has to say of each of its messages.
_WANTED: Final = ("iprev=pass", "spf=pass", "dkim=pass", "dmarc=pass")

#: When every message was written and signed.
_THEN: Final = datetime(2026, 11, 2, 8, 30, tzinfo=UTC)

_RECORDS: Final = """\
{domain}. {ttl} TXT "v=spf1 ip4:192.0.2.0/24 include:_spf.{domain} mx -all"
_spf.{domain}. {ttl} TXT "v=spf1 ip4:198.51.100.0/24 ip4:127.0.0.0/8 ~all"
_dmarc.{domain}. {ttl} TXT "v=DMARC1; p=reject; adkim=r; aspf=r; rua=mailto:d@{domain}"
{selector}._domainkey.{domain}. {ttl} TXT {key}
{domain}. {ttl} MX 10 mx.{domain}.
mx.{domain}. {ttl} A 192.0.2.1
"""

_CLIENT_RECORDS: Final = """\
{reverse}. {ttl} PTR {name}.
{name}. {ttl} A {address}
"""

_HEADER: Final = """\
Date: Mon, 02 Nov 2026 09:30:00 +0100
From: "Some Sender" <{address}>
To: Alice <{recipient}>
Reply-To: {address}
Subject: What was said about the plan, and when we meet
Message-ID: <20261102.083000.17@{domain}>
MIME-Version: 1.0
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: 7bit
X-Mailer: bench

"""


@dataclass(frozen=True, slots=True)
class Sender:
    """@ivar domain: What it signs for."""

    domain: str
    key: rsa.RSAPrivateKey

    @property
    def address(self) -> str:
        """Its reverse-path and author."""
        return f"sender@{self.domain}"

    def records(self, ttl: int) -> str:
        """What is published in its name, as in a zone file."""
        public = self.key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        text = f"v=DKIM1; k=rsa; p={base64.b64encode(public).decode()}"
        strings = " ".join(f'"{text[at : at + 250]}"' for at in range(0, len(text), 250))
        return _RECORDS.format(domain=self.domain, selector=_SELECTOR, key=strings, ttl=ttl)

    def unsigned(self, size: int) -> bytes:
        """A message of about that many octets, the signature left room for."""
        header = _HEADER.format(address=self.address, domain=self.domain, recipient=RECIPIENT)
        return header.replace("\n", "\r\n").encode() + text_of(size - 1100)

    def message(self, size: int) -> bytes:
        """The same with its signature."""
        return self.signed(self.unsigned(size))

    def signed(self, message: bytes) -> bytes:
        """C{message} with a signature above it."""
        signer = Signer(parse_domain(self.domain), _SELECTOR, self.key)
        return sign(message, [signer], now=_THEN)


def text_of(octets: int) -> bytes:
    """That many octets of words in lines, at least; the same every time."""
    source = random.Random(7)
    words = ["".join(source.choices("abcdefghijklmnopqrstuvwxyz", k=k)) for k in range(2, 11)] * 9
    lines: list[str] = []
    size = 0
    while size < octets:
        line = " ".join(source.choices(words, k=source.randint(7, 10)))
        lines.append(line)
        size += len(line) + 2
    return "".join(f"{line}\r\n" for line in lines).encode()


def zone(those: Sequence[Sender], ttl: int = 3600) -> str:
    """The records of all, and those of the clients."""
    clients = (
        _CLIENT_RECORDS.format(
            reverse=ip_address(address).reverse_pointer, name=name, address=address, ttl=ttl
        )
        for address, name in CLIENTS.items()
    )
    return "".join(clients) + "".join(one.records(ttl) for one in those)


def objection(message: bytes) -> str:
    """What is not as it should be in the results of a message that was stored; empty: nothing."""
    found = parse_header(message[:1_000_000]).first("Authentication-Results") or "no results"
    return "" if all(wanted in found for wanted in _WANTED) else found


# -- keys -------------------------------------------------------------------------------


def senders(count: int, folder: Path) -> list[Sender]:
    """
    C{count} domains, each with a key of its own.

    @param folder: Where keys are kept from one run to the next; what is missing
        is made, which takes some 30 ms of a processor for each.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"rsa2048-{number:05}.pem" for number in range(count)]
    missing = [file for file in files if not file.exists()]
    if missing:
        _make(missing)
    return [
        Sender(f"sender{number:05}.test", _load(file.read_bytes()))
        for number, file in enumerate(files)
    ]


def _make(files: Sequence[Path]) -> None:
    with ProcessPoolExecutor() as processes:
        for done, _ in enumerate(as_completed([processes.submit(_make_one, f) for f in files]), 1):
            if done % 100 == 0 or done == len(files):
                print(f"keys made: {done} of {len(files)}", file=sys.stderr, flush=True)


def _make_one(file: Path) -> None:
    key = rsa.generate_private_key(65537, 2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    partial = file.with_suffix(".part")
    partial.write_bytes(pem)
    partial.rename(file)


def _load(pem: bytes) -> rsa.RSAPrivateKey:
    # Ours: whether two primes were used need not be asked 2000 times.
    key = serialization.load_pem_private_key(pem, None, unsafe_skip_rsa_key_validation=True)
    assert isinstance(key, rsa.RSAPrivateKey)
    return key
