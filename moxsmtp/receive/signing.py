"""What leaves in the name of our domains is signed.  RFC 6376, RFC 6409 section 8."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Final

from twisted.logger import Logger

from moxsmtp.dkim.sign import CannotSign, Signer, Signing
from moxsmtp.interfaces import IMetrics
from moxsmtp.names import Domain, parse_domain

__all__ = ["Signature", "Signers", "signature_of", "signers_for_host"]

#: Every domain of ours, with what its mail is signed with, which may be nothing.
Signers = Mapping[Domain, Sequence[Signer]]

_END: Final = b"\r\n\r\n"


class Signature:
    """
    Signs one message while it streams in.

    Whatever goes wrong is logged and counted, and the message leaves unsigned:
    a user's mail is worth more than its signature (S-96).
    """

    _log = Logger()

    def __init__(self, signers: Sequence[Signer], *, now: datetime, metrics: IMetrics) -> None:
        """@param signers: One signature is made with each; none with nobody."""
        self._signers = signers
        self._metrics = metrics
        self._signing: Signing | None = None
        if signers:
            with self._survived():
                self._signing = Signing(signers, now=now)

    def feed(self, body: bytes) -> None:
        """More of the body, cut anywhere."""
        if self._signing is not None:
            with self._survived():
                self._signing.feed(body)

    def fields(self, header: bytes) -> bytes:
        """
        The DKIM-Signature fields, each with its line end; empty: unsigned.

        @param header: All that will stand below them.
        """
        fields = b""
        if self._signing is not None:
            with self._survived():
                fields = self._signing.fields(header)
                for signer in self._signers:
                    self._metrics.count("mox_dkim_sign_total", key=_kind(signer))
        return fields

    @contextmanager
    def _survived(self) -> Iterator[None]:
        """Within, nothing is waited for, and a bug ends the signature alone."""
        try:
            yield
        except CannotSign as error:
            self._failed()
            self._log.warn("mail from {domain} is unsigned: {why}", domain=self._domain, why=error)
        except Exception:  # noqa: BLE001 - see the class
            self._failed()
            self._log.failure("mail from {domain} is unsigned", domain=self._domain)

    def _failed(self) -> None:
        self._signing = None
        self._metrics.count("mox_smtpserver_errors_total", error="dkimsign")

    @property
    def _domain(self) -> str:
        return self._signers[0].domain.ascii


def _kind(signer: Signer) -> str:
    """C{rsa} or C{ed25519}."""
    return signer.algorithm.partition("-")[0]


def signers_for_host(signers: Signers, host: Domain) -> Sequence[Signer]:
    """
    What mail from C{host} itself is signed with: as that domain or, for a host
    seldom has keys of its own, as the nearest one above it, whose signature is
    aligned with it unless a policy is strict.  RFC 9989.
    """
    labels = host.ascii.split(".")
    for start in range(len(labels) - 1):
        found = signers.get(parse_domain(".".join(labels[start:])))
        if found:
            return found
    return ()


def signature_of(
    message: bytes, signers: Sequence[Signer], *, now: datetime, metrics: IMetrics
) -> bytes:
    """The DKIM-Signature fields for a message that is there as a whole."""
    end = message.find(_END)
    start = len(message) if end < 0 else end + len(_END)
    signature = Signature(signers, now=now, metrics=metrics)
    signature.feed(message[start:])
    return signature.fields(message[:start])
