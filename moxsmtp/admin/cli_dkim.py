"""
C{moxsmtp dkim}: keys that mail is signed with, and what the DNS has to say of
them.  RFC 6376 section 3.6.  Needs no server.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click

from moxsmtp.admin.cli_base import Server, Trouble, command, print_json
from moxsmtp.config import ConfigError, Selector
from moxsmtp.config.load import load
from moxsmtp.config.signing import selector_name
from moxsmtp.dkim.private_key import KEY_KINDS, generate_key, load_private_key, public_record
from moxsmtp.logs import printable
from moxsmtp.names import Domain, InvalidName, parse_domain

__all__ = ["Record", "dkim"]

#: Octets of one string of a TXT record.  RFC 1035 section 3.3.
_STRING: Final = 255

_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")


@click.group()
def dkim() -> None:
    """Keys that mail is signed with (DKIM); needs no server."""


def _domain(text: str) -> Domain:
    try:
        return parse_domain(text)
    except InvalidName as error:
        raise Trouble(f'"{text}" is not a domain: {error}; write "example.org"') from None


def _selector(text: str, domain: Domain) -> str:
    try:
        return selector_name(text, domain)
    except ValueError as error:
        raise Trouble(f'"{text}": {error}') from None


@dataclass(frozen=True, slots=True)
class Record:
    """A TXT record.  @ivar name: Without a dot at the end."""

    name: str
    text: str

    @property
    def zone(self) -> str:
        """As in a zone file; RFC 1035 section 5.1."""
        strings = [
            f'"{self.text[start : start + _STRING]}"' for start in range(0, len(self.text), _STRING)
        ]
        if len(strings) == 1:
            return f"{self.name}. IN TXT {strings[0]}"
        lines = "".join(f"\n    {string}" for string in strings)
        return f"{self.name}. IN TXT ({lines} )"


# -- a new key ----------------------------------------------------------------------


@command(dkim, "generate", "moxsmtp dkim generate example.org --selector 2026-rsa")
@click.argument("name", metavar="DOMAIN")
@click.option("--selector", metavar="NAME", help="Of the key in the DNS; by default like 2026-rsa.")
@click.option(
    "--algorithm",
    default="rsa2048",
    show_default=True,
    type=click.Choice(list(KEY_KINDS)),
    help="Everybody verifies RSA; use Ed25519 beside it only.",
)
@click.option(
    "--out", metavar="FILE", help="By default like 2026-rsa._domainkey.example.org.pem, here."
)
def generate(
    server: Server, name: str, selector: str | None, algorithm: str, out: str | None
) -> None:
    """
    Make a key for mail from DOMAIN.

    The file is for the server's eyes only, and one that is there is never
    overwritten.  Printed is what to write into the configuration and into the
    DNS.  Nothing else is changed.
    """
    domain = _domain(name)
    if selector is None:
        # The year is for people; an operator's terminal has no other clock.
        selector = f"{time.gmtime().tm_year}-{algorithm[:3] if algorithm[0] == 'r' else algorithm}"
    selector = _selector(selector, domain)
    file = os.path.abspath(  # noqa: PTH100 - keeps symlinks
        out or f"{selector}._domainkey.{domain.ascii}.pem"
    )
    if not file.isprintable():
        raise Trouble(f"{file}: a configuration cannot hold such a name; give --out another")
    pem = _write_new(file, lambda: generate_key(algorithm))
    record = Record(f"{selector}._domainkey.{domain.ascii}", public_record(load_private_key(pem)))
    toml = (
        f"[domain.{json.dumps(name, ensure_ascii=False)}.dkim.{_toml_key(selector)}]\n"
        f"key = {json.dumps(file, ensure_ascii=False)}"
    )
    if server.as_json:
        print_json(
            {
                "domain": domain.ascii,
                "selector": selector,
                "algorithm": algorithm,
                "file": file,
                "toml": toml,
                "name": record.name,
                "record": record.text,
                "zone": record.zone,
            }
        )
        return
    click.echo(
        f"The private key is in {file}.\n"
        "The user whom the server runs as has to be able to read it, and nobody else.\n\n"
        f"For the DNS, first:\n\n{record.zone}\n\n"
        f"For the configuration, once the DNS has it; reload the server then:\n\n{toml}"
    )


def _toml_key(text: str) -> str:
    return text if _BARE_KEY.fullmatch(text) else json.dumps(text)


def _write_new(file: str, make: Callable[[], bytes]) -> bytes:
    """What C{make} gives, in a file that was not there, for its owner only."""
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        text = f"{file} is there already and stays as it is; give another --selector or --out"
        raise Trouble(text) from None
    except OSError as error:
        raise Trouble(f"cannot write {file}: {error.strerror}") from None
    try:
        with os.fdopen(descriptor, "wb") as stream:
            # However long the umask is, the owner can read it.
            os.fchmod(descriptor, 0o600)
            octets = make()
            stream.write(octets)
            stream.flush()
            os.fsync(descriptor)
    except BaseException as error:
        Path(file).unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise Trouble(f"cannot write {file}: {error.strerror}") from None
        raise
    return octets


# -- what the DNS has to say ---------------------------------------------------------


@command(dkim, "record", "moxsmtp dkim record example.org")
@click.argument("name", metavar="DOMAIN")
@click.option("--selector", metavar="NAME", help="This one only.")
def record(server: Server, name: str, selector: str | None) -> None:
    """
    Print the DNS records of the keys of DOMAIN.

    They are those of the configuration (--config, or the environment variable
    MOXSMTP_CONFIG), the inactive ones included, as lines of a zone file.
    """
    domain = _domain(name)
    wanted = None if selector is None else _selector(selector, domain)
    found = [one for one in _configured(server, domain) if wanted in {None, one.signer.selector}]
    if not found:
        which = "selector" if selector is None else f"selector {selector}"
        raise Trouble(f"no {which} of {domain} is configured; moxsmtp dkim generate makes a key")
    for one in found:
        entry = Record(one.name, one.record)
        if server.as_json:
            print_json(
                {
                    "domain": domain.ascii,
                    "selector": one.signer.selector,
                    "active": one.active,
                    "name": entry.name,
                    "record": entry.text,
                    "zone": entry.zone,
                }
            )
            continue
        if not one.active:
            click.echo("; not active")
        click.echo(entry.zone)


def _configured(server: Server, domain: Domain) -> Iterable[Selector]:
    config = server.config or os.environ.get("MOXSMTP_CONFIG")
    if not config:
        raise Trouble("give the configuration: moxsmtp --config FILE dkim record DOMAIN")
    try:
        settings = load(config)
    except ConfigError as error:
        raise Trouble(str(error)) from None
    if domain not in settings.domains:
        raise Trouble(f'there is no [domain."{domain}"] in {printable(config)}')
    return settings.selectors.get(domain, ())
