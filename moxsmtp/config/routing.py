"""C{[transport.NAME]} and C{[[route]]}: by which ways mail leaves."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterable, Mapping, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from moxsmtp.config.files import password
from moxsmtp.config.mistakes import Findings, KeyPath
from moxsmtp.config.tables import FileTable, RouteTable, TransportKind, TransportTable
from moxsmtp.names import AddressLiteral, Domain, Host, InvalidName, parse_domain, parse_host
from moxsmtp.outbound.route import Routing
from moxsmtp.outbound.transport import (
    Direct,
    Fail,
    Route,
    Smarthost,
    SmarthostTLS,
    Socks,
    Transport,
    is_transport_name,
)
from moxsmtp.smtp.sasl_client import MECHANISMS

__all__ = ["routing"]

#: Where SOCKS proxies listen; RFC 1928 section 3.
_SOCKS_PORT: Final = 1080

#: Characters of the text of a transport that fails (Q-43).
_LONGEST_MESSAGE: Final = 256

#: What each kind can use.
_KEYS: Final[Mapping[TransportKind, frozenset[str]]] = {
    TransportKind.DIRECT: frozenset({"families"}),
    TransportKind.SOCKS: frozenset({"host", "port", "remote_hostname", "remote_addresses"}),
    TransportKind.SMARTHOST: frozenset(
        {"host", "port", "tls", "username", "password", "password_file", "mechanisms"}
    ),
    TransportKind.FAIL: frozenset({"code", "message"}),
}


def routing(table: FileTable, folder: Path, findings: Findings) -> Routing:
    """
    All ways out; what is wrong with them is reported.

    @param folder: Where relative names of files start.
    """
    transports = {}
    for name, written in table.transport.items():
        transport = _transport(name, written, folder, ("transport", name), findings)
        if transport is not None:
            transports[name] = transport
    names = None if findings.touches("transport") else tuple(table.transport)
    reading = _Routes(names, findings)
    of_domains = {}
    for name, domain in table.domain.items():
        at: KeyPath = ("domain", name, "route")
        routes = reading.read(enumerate(domain.route), at)
        if routes:
            try:
                of_domains[parse_domain(name)] = routes
            except InvalidName:  # reported as a domain
                continue
    return Routing(
        transports=transports,
        routes=reading.read(table.route.items(), ("route",)),
        of_domains=of_domains,
        of_accounts={
            name: routes
            for name, account in table.account.items()
            if (routes := reading.read(enumerate(account.route), ("account", name, "route")))
        },
        disabled=frozenset(_disabled(table)),
    )


def _disabled(table: FileTable) -> Iterable[Domain]:
    for name, domain in table.domain.items():
        try:
            if domain.disabled:
                yield parse_domain(name)
        except InvalidName:
            continue


# -- transports -------------------------------------------------------------------------


def _transport(
    name: str, table: TransportTable, folder: Path, at: KeyPath, findings: Findings
) -> Transport | None:
    """L{None} if it cannot be used, which is reported."""
    if not is_transport_name(name):
        text = 'not a name for a transport; use up to 64 letters, digits, "_", "." and "-"'
        findings.add(at, text)
    _check_keys(table, at, findings)
    match table.kind:
        case TransportKind.DIRECT:
            return Direct(name, table.families)
        case TransportKind.SOCKS:
            return _socks(name, table, at, findings)
        case TransportKind.SMARTHOST:
            return _smarthost(name, table, folder, at, findings)
        case TransportKind.FAIL:
            return _fail(name, table, at, findings)


def _check_keys(table: TransportTable, at: KeyPath, findings: Findings) -> None:
    """What another kind would obey is a misunderstanding here."""
    for entry in dataclasses.fields(table):
        if entry.name == "kind" or entry.name in _KEYS[table.kind]:
            continue
        if getattr(table, entry.name) != entry.default:
            usable = ", ".join(sorted(_KEYS[table.kind]))
            text = f'kind = "{table.kind}" does not obey it; it knows {usable}'
            findings.add((*at, entry.name), text)


def _host(table: TransportTable, at: KeyPath, findings: Findings) -> Host | None:
    """A name, or an address with or without brackets."""
    text = table.host
    if not text:
        findings.add((*at, "host"), 'is missing; write a name, like "smtp.example.net"')
        return None
    try:
        return AddressLiteral(ip_address(text))
    except ValueError:
        pass
    try:
        return parse_host(text)
    except InvalidName as error:
        text = f'neither a host name nor an IP address: {error}; write "smtp.example.net"'
        findings.add((*at, "host"), text)
        return None


def _socks(name: str, table: TransportTable, at: KeyPath, findings: Findings) -> Transport | None:
    host = _host(table, at, findings)
    is_missing = table.remote_hostname is None
    if is_missing and not findings.touches(*at, "remote_hostname"):
        text = 'is missing; write the name of the host that the proxy is on, "mx.example.net"'
        findings.add((*at, "remote_hostname"), text)
    if host is None or table.remote_hostname is None:
        return None
    return Socks(
        name,
        host,
        table.port or _SOCKS_PORT,
        table.remote_hostname,
        ipv4=tuple(address for address in table.remote_addresses if address.version == 4),
        ipv6=tuple(address for address in table.remote_addresses if address.version == 6),
    )


def _smarthost(
    name: str, table: TransportTable, folder: Path, at: KeyPath, findings: Findings
) -> Transport | None:
    host = _host(table, at, findings)
    secret = table.password
    if table.password and table.password_file:
        text = "password is given as well; keep one of them"
        findings.add((*at, "password_file"), text)
    elif table.password_file:
        secret = password(str(folder / table.password_file), (*at, "password_file"), findings)
    has_password = bool(table.password or table.password_file)
    if table.username and not has_password:
        text = "is given without a password; write password or password_file"
        findings.add((*at, "username"), text)
    elif has_password and not table.username:
        findings.add((*at, "username"), "is missing; a password belongs to somebody")
    mechanisms = _mechanisms(table, at, findings)
    if table.username and "PLAIN" in mechanisms and not table.tls.is_verified:
        text = f'with tls = "{table.tls}" somebody between could read the password from PLAIN'
        findings.warn((*at, "mechanisms"), text)
    if host is None:
        return None
    return Smarthost(
        name,
        host,
        table.port or table.tls.port,
        table.tls,
        username=table.username,
        password=secret,
        mechanisms=mechanisms,
    )


def _mechanisms(table: TransportTable, at: KeyPath, findings: Findings) -> tuple[str, ...]:
    """Their names as the server writes them."""
    names = tuple(name.upper() for name in table.mechanisms)
    for place, name in enumerate(names):
        if name not in MECHANISMS:
            text = f"unknown mechanism; known are {', '.join(MECHANISMS)}"
            findings.add((*at, "mechanisms", place), text)
    if not names:
        findings.add((*at, "mechanisms"), "is empty; leave it out, or name one")
    elif table.tls is SmarthostTLS.NONE and all(name.endswith("-PLUS") for name in names):
        text = "all that are named bind the login to TLS, but there is none"
        findings.add((*at, "mechanisms"), text)
    return names


def _fail(name: str, table: TransportTable, at: KeyPath, findings: Findings) -> Transport:
    if not 400 <= table.code <= 599:
        findings.add((*at, "code"), "must be between 400 and 599")
    message = table.message
    if len(message) > _LONGEST_MESSAGE or not (message.isascii() and message.isprintable()):
        text = f"must be printable ASCII, at most {_LONGEST_MESSAGE} characters"
        findings.add((*at, "message"), text)
    return Fail(name, table.code, message)


# -- routes -----------------------------------------------------------------------------


class _Routes:
    """
    Reads routes.

    @param names: Of all transports; L{None}: not known, since some cannot be read.
    """

    def __init__(self, names: Sequence[str] | None, findings: Findings) -> None:
        self._names = names
        self._findings = findings

    def read(self, tables: Iterable[tuple[int, RouteTable]], at: KeyPath) -> tuple[Route, ...]:
        """@param tables: With the number that each has in the file."""
        return tuple(self._route(table, (*at, number)) for number, table in tables)

    def _route(self, table: RouteTable, at: KeyPath) -> Route:
        if self._names is not None and table.transport not in self._names:
            text = f"there is no [transport.{table.transport}]; "
            near = difflib.get_close_matches(table.transport, self._names, n=1)
            text += f'did you mean "{near[0]}"?' if near else "write one, or name another"
            self._findings.add((*at, "transport"), text)
        return Route(
            from_domains=self._patterns(table.from_domains, (*at, "from_domains")),
            to_domains=self._patterns(table.to_domains, (*at, "to_domains")),
            minimum_attempts=table.minimum_attempts,
            transport=table.transport,
        )

    def _patterns(self, written: tuple[str, ...], at: KeyPath) -> tuple[str, ...]:
        """As A-labels."""
        patterns = []
        for place, text in enumerate(written):
            try:
                patterns.append(_pattern(text))
            except InvalidName as error:
                hint = 'write "example.org", ".example.org" or "."'
                self._findings.add((*at, place), f"not a domain: {error}; {hint}")
        return tuple(patterns)


def _pattern(text: str) -> str:
    """@raise InvalidName: It is none."""
    if text == ".":
        return text
    if text.startswith("."):
        return f".{parse_domain(text[1:]).ascii}"
    return parse_host(text).ascii
