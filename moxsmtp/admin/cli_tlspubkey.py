"""
C{moxsmtp tlspubkey}: keys of TLS client certificates that log users in.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Final

import click
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
    load_pem_public_key,
)
from cryptography.x509 import load_der_x509_certificate, load_pem_x509_certificate

from moxsmtp.admin import display
from moxsmtp.admin.cli_base import Server, Trouble, command, print_json
from moxsmtp.logs import printable
from moxsmtp.tls.client_key import key_fingerprint, public_key_info

__all__ = ["fingerprint_of", "tlspubkey"]

#: Octets; certificates are smaller.
_LARGEST: Final = 1_000_000


@click.group()
def tlspubkey() -> None:
    """Keys of TLS client certificates that log users in."""


@command(tlspubkey, "add", "moxsmtp tlspubkey add alice@example.org laptop.pem --name laptop")
@click.argument("login", metavar="ADDRESS")
@click.argument("file", default="-")
@click.option("--name", default="", metavar="TEXT", help="What to call the key.")
def add(server: Server, login: str, file: str, name: str) -> None:
    """
    Let the owner of a key log in as ADDRESS, without a password.

    FILE holds the certificate or the public key, in PEM or DER; by default it
    is read from standard input.  Only the key counts: neither who signed the
    certificate nor when it expires does.
    """
    fingerprint = fingerprint_of(_read(file), file)
    arguments = {"login": login, "fingerprint": fingerprint, "name": name}
    for entry in server.call("tlspubkey.add", arguments):
        if server.as_json:
            print_json(entry)
        else:
            click.echo(
                f"key {entry['fingerprint']} logs in as {printable(str(entry['login']))} now"
            )


@command(tlspubkey, "list", "moxsmtp tlspubkey list alice")
@click.argument("account", default="")
def list_keys(server: Server, account: str) -> None:
    """List the keys of ACCOUNT, a name or an address, or of all accounts."""
    entries = list(server.call("tlspubkey.list", {"account": account}))
    if server.as_json:
        for entry in entries:
            print_json(entry)
        return
    if not entries:
        click.echo("no keys")
        return
    for entry in entries:
        # On a line of its own, so that it is never cut.
        click.echo(printable(str(entry["fingerprint"])))
        click.echo(f"    {printable(_described(entry))}")


@command(
    tlspubkey, "remove", "moxsmtp tlspubkey remove n4bQgYhMfWWaL-qgxVrQFaO_TxsrC4Is0V1sFbDwCgg"
)
@click.argument("fingerprint")
def remove(server: Server, fingerprint: str) -> None:
    """
    Let the key with this FINGERPRINT log in nobody any more.

    Sessions that are open go on.
    """
    for entry in server.call("tlspubkey.remove", {"fingerprint": fingerprint}):
        if server.as_json:
            print_json(entry)
        else:
            click.echo(f"removed the key of {printable(str(entry['login']))}")


# One fingerprint in 64 begins with a dash: no letters behind it are options here.
remove.context_settings.update(ignore_unknown_options=True, help_option_names=["--help"])


def _described(entry: dict[str, Any]) -> str:
    name = f' "{entry["name"]}"' if entry["name"] else ""
    added = display.time(entry["created"])
    return f"{entry['login']} of account {entry['account']},{name} added {added}"


def _read(file: str) -> bytes:
    try:
        if file == "-":
            return sys.stdin.buffer.read(_LARGEST)
        with Path(file).open("rb") as stream:
            return stream.read(_LARGEST)
    except OSError as error:
        raise Trouble(f"cannot read {file}: {error.strerror}") from None


def fingerprint_of(octets: bytes, file: str) -> str:
    """
    SHA-256 of the SubjectPublicKeyInfo, in base64url without padding.

    @param octets: A certificate or a public key, in PEM or DER.
    @param file: For what is told.
    @raise Trouble: It is neither.
    """
    if b"PRIVATE KEY-----" in octets:
        raise Trouble(f"{file} holds a private key: give its certificate, and keep the key")
    try:
        if b"-----BEGIN CERTIFICATE" in octets:
            certificate = load_pem_x509_certificate(octets)
            key = public_key_info(certificate.public_bytes(Encoding.DER))
        elif b"-----BEGIN" in octets:
            key = _spki(load_pem_public_key(octets))
        else:
            key = _of_der(octets)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise Trouble(f"{file} is neither a certificate nor a public key") from None
    return key_fingerprint(key)


def _of_der(octets: bytes) -> bytes:
    try:
        load_der_x509_certificate(octets)
    except ValueError:
        return _spki(load_der_public_key(octets))
    return public_key_info(octets)


def _spki(key: Any) -> bytes:
    made: bytes = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return made
