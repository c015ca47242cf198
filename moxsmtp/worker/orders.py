"""
What a worker is told to begin with: the settings as its parent obeys them.

A worker reads no configuration by itself: all of them, and those that take the
place of one that died, obey the same, however the file looks by then.
"""

from __future__ import annotations

import base64
import io
import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)

from moxsmtp.config import Settings
from moxsmtp.interfaces import Role
from moxsmtp.names import IPAddress

__all__ = ["Doorway", "Orders", "packed", "unpacked"]


@dataclass(frozen=True, slots=True)
class Doorway:
    """One of the parent's sockets."""

    listener: str
    role: Role
    address: IPAddress
    port: int


@dataclass(frozen=True, slots=True)
class Orders:
    """
    @ivar doors: In the parent's order, by which connections name theirs.
    """

    settings: Settings
    doors: Sequence[Doorway]


class _Pickler(pickle.Pickler):
    """Knows private keys, too."""

    def reducer_override(self, obj: object) -> Any:
        """See C{pickle.Pickler}."""
        if isinstance(obj, RSAPrivateKey | Ed25519PrivateKey):
            form = obj.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
            return _key, (form,)
        return NotImplemented


def _key(form: bytes) -> object:
    # It was proven when the parent read it.
    return load_der_private_key(form, None, unsafe_skip_rsa_key_validation=True)


def packed(value: Orders | Settings) -> str:
    """As text, for one of our own processes."""
    octets = io.BytesIO()
    _Pickler(octets, pickle.HIGHEST_PROTOCOL).dump(value)
    return base64.b64encode(octets.getbuffer()).decode("ascii")


def unpacked(text: str) -> Any:
    """
    The opposite.  For what came from our parent process alone, over a socket
    that nobody else has.
    """
    return pickle.loads(base64.b64decode(text))  # noqa: S301 - see above
