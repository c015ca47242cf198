"""
Certificates in files: read into contexts, and found by the names in them.

Names come from the certificates' subjectAltName (RFC 9525 section 6.3: the
common name does not count); a name may have a certificate for each kind of
key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from OpenSSL import SSL

from moxsmtp.names import Domain, InvalidName, parse_domain

__all__ = ["CertificateError", "Certificates", "KeyPair", "names_of", "read_names", "use_pair"]


class CertificateError(ValueError):
    """A certificate and key cannot be used; the text says which and why."""


class KeyPair(Protocol):
    """PEM files: the leaf first, then its chain; and the leaf's key, without a pass phrase."""

    @property
    def certificate(self) -> str:
        """A file."""

    @property
    def key(self) -> str:
        """A file."""

    @property
    def names(self) -> Sequence[str]:
        """Hosts that it is shown for; empty: those in the certificate."""


def read_names(names: Iterable[str]) -> frozenset[str]:
    """
    Host names as clients ask for them: lower-case A-labels, in front perhaps C{*.}

    @raise InvalidName: One is none.
    """
    return frozenset(map(_host_name, names))


def _host_name(name: str) -> str:
    if name.startswith("*."):
        return f"*.{parse_domain(name[2:]).ascii}"
    return parse_domain(name).ascii


def names_of(certificate: x509.Certificate) -> frozenset[str]:
    """The hosts in a certificate.  What is no host name there is left out."""
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except (x509.ExtensionNotFound, ValueError):
        return frozenset()
    return frozenset(_usable(extension.value.get_values_for_type(x509.DNSName)))


def _usable(names: Iterable[str]) -> Iterator[str]:
    for name in names:
        try:
            yield _host_name(name)
        except InvalidName:
            continue


def use_pair(context: SSL.Context, pair: KeyPair) -> None:
    """
    Add a certificate; one for each kind of key may be in a context.

    @raise CertificateError: A file cannot be read, or they do not belong together.
    """
    try:
        context.use_certificate_chain_file(pair.certificate)
    except (SSL.Error, OSError) as error:
        text = f"{pair.certificate}: no usable certificate: {_why(error)}"
        raise CertificateError(text) from None
    try:
        context.use_privatekey_file(pair.key)
        context.check_privatekey()
    except (SSL.Error, OSError) as error:
        text = f"{pair.key}: no usable key for {pair.certificate}: {_why(error)}"
        raise CertificateError(text) from None


def _why(error: Exception) -> str:
    if isinstance(error, OSError):
        return error.strerror or "cannot be read"
    # OpenSSL's errors are lists of (library, function, reason).
    reasons = [entry[2] for entry in error.args[0]] if error.args else []
    return ", ".join(reason for reason in reasons if reason) or "not PEM"


class Certificates:
    """
    What is shown to whom: by the name that a client asks for, in any spelling;
    an exact name before a wildcard, which stands for one label.

    Where two certificates of the same kind of key have the same name, the one
    that is given first is shown for it.

    @ivar standard: Shown to those who ask for no name: the certificates of our
        host name or, if none has it, the first.
    """

    def __init__(
        self,
        pairs: Sequence[KeyPair],
        host: Domain,
        new_context: Callable[[], SSL.Context],
    ) -> None:
        """
        Read the files.

        @param pairs: At least one.
        @param new_context: Makes the contexts that the certificates are put into.
        @raise CertificateError: One cannot be used.
        """
        by_name: dict[str, dict[type, KeyPair]] = {}
        for pair in pairs:
            names, kind = _leaf(pair.certificate)
            for name in read_names(pair.names) if pair.names else names:
                by_name.setdefault(name, {}).setdefault(kind, pair)
        ours = by_name.get(host.ascii) or by_name.get(_wildcard(host)) or {object: pairs[0]}
        by_name.setdefault(host.ascii, ours)
        self.standard: Sequence[KeyPair] = tuple(ours.values())
        # Many names, few certificates.
        contexts: dict[tuple[int, ...], SSL.Context] = {}
        self._contexts: dict[str, SSL.Context] = {}
        for name, chosen in by_name.items():
            key = tuple(sorted(map(id, chosen.values())))
            if key not in contexts:
                contexts[key] = _filled(new_context(), chosen.values())
            self._contexts[name] = contexts[key]

    def context_for(self, host: Domain) -> SSL.Context | None:
        """What is shown for a name; L{None}: there is nothing of that name here."""
        return self._contexts.get(host.ascii) or self._contexts.get(_wildcard(host))


def _wildcard(host: Domain) -> str:
    return f"*.{host.ascii.partition('.')[2]}"


def _filled(context: SSL.Context, pairs: Iterable[KeyPair]) -> SSL.Context:
    for pair in pairs:
        use_pair(context, pair)
    return context


def _leaf(file: str) -> tuple[frozenset[str], type]:
    """The names in the first certificate of a file, and its kind of key."""
    try:
        leaf = x509.load_pem_x509_certificates(Path(file).read_bytes())[0]
        return names_of(leaf), type(leaf.public_key())
    except (OSError, ValueError, UnsupportedAlgorithm) as error:
        why = (error.strerror or "cannot be read") if isinstance(error, OSError) else str(error)
        text = f"{file}: no usable certificate: {why.strip() or 'not PEM'}"
        raise CertificateError(text) from None
