"""What a configuration must fulfil beyond the type of each value."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from ipaddress import ip_address
from pathlib import PurePosixPath
from posixpath import normpath
from urllib.parse import urlsplit

from moxsmtp.config.addresses import check_addresses
from moxsmtp.config.mistakes import Findings, KeyPath
from moxsmtp.config.relaying import check_relays
from moxsmtp.config.tables import AccountTable, FileTable, IncomingHookTable
from moxsmtp.https.addresses import AddressPolicy
from moxsmtp.interfaces import MailboxKind
from moxsmtp.names import InvalidName, IPAddress, parse_domain
from moxsmtp.receive.settings import (
    ListenerSettings,
    ServiceSettings,
    SubmissionSettings,
    TLSSettings,
)

__all__ = ["check", "maildir_path"]

# A name is a folder in a Maildir path and a word on the command line.
_ACCOUNT_NAME = re.compile(r"\w[\w.-]{0,63}")


def check(table: FileTable, findings: Findings, *, accounts: Collection[str]) -> None:
    """
    Look at everything.

    @param accounts: All names in the file, those of unusable accounts too.
    """
    if table.hostname is None and not findings.touches("hostname"):
        findings.add(("hostname",), 'is missing; write the server\'s name, like "mx.example.org"')
    if not table.listener and not findings.touches("listener"):
        findings.add(("listener",), "at least one [[listener]] is needed")
    for number, listener in table.listener.items():
        _check_listener(listener, ("listener", number), findings)
    _check_listener_names(table, findings)
    _check_sockets(table, findings)
    _check_accounts(table, findings, accounts)
    check_addresses(table, findings, accounts=accounts)
    check_relays(table, findings, accounts=accounts)
    _check_maildirs(table, findings)
    if table.store.url and not re.match(r"postgresql(\+psycopg)?://.", table.store.url):
        text = 'write "postgresql://user@host/database", or "" for SQLite in data_directory'
        findings.add(("store", "url"), text)


# -- listeners ----------------------------------------------------------------------


def _check_listener(listener: ListenerSettings, at: KeyPath, findings: Findings) -> None:
    if not listener.name.strip():
        findings.add((*at, "name"), 'is empty; write a name, like "public"')
    if not listener.addresses and not findings.touches(*at, "addresses"):
        findings.add((*at, "addresses"), 'is empty; write ["0.0.0.0", "::"] for all addresses')
    if listener.hostname:
        try:
            parse_domain(listener.hostname)
        except InvalidName as error:
            findings.add((*at, "hostname"), f'not a domain: {error}; write "mx.example.org"')
    services: dict[str, ServiceSettings | SubmissionSettings] = {
        "smtp": listener.smtp,
        "submission": listener.submission,
        "submissions": listener.submissions,
    }
    used: dict[int, str] = {}
    for name, service in services.items():
        if not service.enabled:
            continue
        other = used.setdefault(service.port, name)
        if other != name:
            text = f"port {service.port} is used by {other} of the same listener; take another"
            findings.add((*at, name, "port"), text)
    if not used and not any(findings.touches(*at, name) for name in services):
        findings.add(at, "no service is enabled; write enabled = true in one of its sections")
    _check_tls_needs(listener, at, findings)


def _check_tls_needs(listener: ListenerSettings, at: KeyPath, findings: Findings) -> None:
    """S-8: a service that needs TLS has a certificate."""
    if listener.submissions.no_require_starttls:
        text = "has no meaning for submissions, which is TLS from the start; leave it out"
        findings.add((*at, "submissions", "no_require_starttls"), text)
    smtp = listener.smtp
    if smtp.require_starttls and smtp.no_starttls:
        text = "contradicts no_starttls = true; choose one"
        findings.add((*at, "smtp", "require_starttls"), text)
    if listener.tls is not None:
        _check_names(listener.tls, (*at, "tls"), findings)
    if listener.tls is not None or findings.touches(*at, "tls"):
        return
    needs = "needs a certificate; write a [listener.tls] section with certificate and key"
    if listener.submissions.enabled:
        findings.add((*at, "submissions"), needs)
    if listener.submission.enabled and not listener.submission.no_require_starttls:
        text = f"{needs} (or no_require_starttls = true, for tests)"
        findings.add((*at, "submission"), text)
    if smtp.enabled and not smtp.no_starttls:
        findings.add((*at, "smtp"), f"{needs} (or no_starttls = true)")


def _check_names(tls: TLSSettings, at: KeyPath, findings: Findings) -> None:
    """The hosts that certificates are shown for are some."""
    places = [(tls.names, at)]
    places += [(pair.names, (*at, "other", number)) for number, pair in enumerate(tls.other)]
    for names, place in places:
        for number, name in enumerate(names):
            try:
                parse_domain(name.removeprefix("*."))
            except InvalidName as error:
                text = f'not a host name: {error}; write "mx.example.org" or "*.example.org"'
                findings.add((*place, "names", number), text)


def _check_listener_names(table: FileTable, findings: Findings) -> None:
    seen: set[str] = set()
    for number, listener in table.listener.items():
        if listener.name in seen:
            text = f'another listener is named "{listener.name}" already; choose a name of its own'
            findings.add(("listener", number, "name"), text)
        seen.add(listener.name)


def _sockets(table: FileTable) -> Iterator[tuple[IPAddress, int, str, KeyPath]]:
    """Each socket with a word for it and the key that asks for it."""
    for number, listener in table.listener.items():
        ports = {
            service.port
            for service in (listener.smtp, listener.submission, listener.submissions)
            if service.enabled
        }
        for address in listener.addresses:
            for port in sorted(ports):
                owner = f'listener "{listener.name}"'
                yield address, port, owner, ("listener", number, "addresses")
    for address in table.http.addresses:
        yield address, table.http.port, "[http]", ("http", "port")


def _check_sockets(table: FileTable, findings: Findings) -> None:
    """Two sockets cannot share address and port; a wildcard shares with all of its kind."""
    taken: dict[tuple[int, int], list[tuple[IPAddress, str]]] = {}
    for address, port, owner, at in _sockets(table):
        others = taken.setdefault((address.version, port), [])
        for other, other_owner in others:
            if other == address or other.is_unspecified or address.is_unspecified:
                text = f"port {port} on {address} is taken by {other_owner}; use another"
                findings.add(at, text)
                break
        others.append((address, owner))


# -- domains and accounts -----------------------------------------------------------


def _check_accounts(table: FileTable, findings: Findings, accounts: Collection[str]) -> None:
    if not accounts and not findings.touches("account"):
        text = "at least one [account.NAME] is needed: somebody has to read the postmaster's mail"
        findings.add(("account",), text)
    if table.postmaster and table.postmaster not in accounts:
        text = f'there is no account "{table.postmaster}"; write the name of one from this file'
        findings.add(("postmaster",), text)
    for name, account in table.account.items():
        at: KeyPath = ("account", name)
        if not _ACCOUNT_NAME.fullmatch(name):
            text = 'not an account name; use up to 64 letters, digits, "_", "." and "-"'
            findings.add(at, text)
        for key in ("outgoing_webhook", "incoming_webhook"):
            hook = getattr(account, key)
            if hook is not None:
                policy = AddressPolicy(table.webhooks.allow_private, allow_loopback=False)
                _check_hook(hook, policy, (*at, key), findings)


def _check_hook(
    hook: IncomingHookTable, policy: AddressPolicy, at: KeyPath, findings: Findings
) -> None:
    wrong = _url_fault(hook.url)
    if wrong:
        findings.add((*at, "url"), f'{wrong}; write a URL like "https://example.org/hook"')
    else:
        wrong = _host_fault(urlsplit(hook.url).hostname or "", policy)
        is_unsure = "allow_private" in wrong and findings.touches("webhooks", "allow_private")
        if wrong and not is_unsure:
            findings.add((*at, "url"), wrong)
    if not hook.authorization.isascii():
        findings.add((*at, "authorization"), "a header value is ASCII")
    if hook.authorization and hook.authorization_file:
        text = "authorization is given as well; keep one of them"
        findings.add((*at, "authorization_file"), text)


def _url_fault(url: str) -> str:
    """Empty if it can be called."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        return f"not a URL: {error}"
    faults = {
        "a URL has no spaces": any(character.isspace() for character in url),
        "neither http nor https": parts.scheme not in {"http", "https"},
        "no host in it": not parts.hostname,
        "an IPv6 address in brackets cannot be called, give the host a name": "[" in parts.netloc,
        "no user and password here: use authorization": "@" in parts.netloc,
        "port 0 cannot be called": port == 0,
    }
    return next((fault for fault, is_so in faults.items() if is_so), "")


def _host_fault(host: str, policy: AddressPolicy) -> str:
    """Empty if something by this name may be called."""
    loopback = "is this machine, which only localserve calls; write a name that others call it by"
    name = host.removesuffix(".")
    if name == "localhost" or name.endswith(".localhost"):  # RFC 6761 section 6.3
        return f"{host} {loopback}"
    try:
        address = ip_address(name)
    except ValueError:
        pass
    else:
        if address.is_loopback or address.is_unspecified:
            return f"{host} {loopback}"
        if not policy.allows(address):
            return f'{host} is not public; write allow_private = ["{host}/32"] in [webhooks]'
        return ""
    try:
        parse_domain(name)
    except InvalidName as error:
        return f'"{host}" is no host name: {error}; write one like "hooks.example.org"'
    return ""


def _check_maildirs(table: FileTable, findings: Findings) -> None:
    if table.maildir and not table.maildir.startswith("/"):
        findings.add(("maildir",), 'not absolute; write "/home/{account}/Maildir"')
    owners: dict[PurePosixPath, str] = {}
    for name, account in table.account.items():
        at: KeyPath = ("account", name, "maildir")
        if account.maildir and not account.maildir.startswith("/"):
            findings.add(at, 'not absolute; write "/home/{account}/Maildir"')
            continue
        if account.mailbox is not MailboxKind.MAILDIR:
            continue
        path = maildir_path(table, name, account)
        if not path:
            if not findings.touches("maildir") and not findings.touches(*at):
                text = 'mailbox = "maildir" needs one; write "/home/{account}/Maildir"'
                findings.add(at, text)
            continue
        # Compared without case: some file systems do not tell it apart.
        folder = PurePosixPath(normpath("/" + path.casefold().lstrip("/")))
        other = owners.setdefault(folder, name)
        if other != name:
            text = f'{path} is the Maildir of account "{other}"; use {{account}} in the path'
            findings.add(at, text)
    _check_nesting(owners, findings)


def _check_nesting(owners: Mapping[PurePosixPath, str], findings: Findings) -> None:
    """Whoever reads a Maildir reads all that is in it."""
    for folder, name in owners.items():
        around = next((owners[parent] for parent in folder.parents if parent in owners), None)
        if around is not None:
            text = f'is in the Maildir of account "{around}"; take a folder beside it'
            findings.add(("account", name, "maildir"), text)


def maildir_path(table: FileTable, name: str, account: AccountTable) -> str:
    """Where an account's Maildir is; empty: nowhere."""
    return (account.maildir or table.maildir).replace("{account}", name)
