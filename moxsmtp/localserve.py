"""
The server that developers run: all on loopback, one account, nothing leaves.

Ports and account are those of mox's localserve (Q-89).
"""

from __future__ import annotations

import datetime as dt
import os
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from twisted.internet.defer import Deferred, fail, succeed
from zope.interface import implementer

from moxsmtp.config.mistakes import ConfigError, Mistake
from moxsmtp.config.settings import HTTPSettings, Selector, Settings
from moxsmtp.directory import DomainSettings
from moxsmtp.dkim.private_key import PrivateKey, generate_key, load_private_key, public_record
from moxsmtp.dkim.sign import Signer
from moxsmtp.dns.records import Answer, LookupFailed, Question
from moxsmtp.interfaces import Account, IOwnResolver, IResolver
from moxsmtp.judge.limiters import LimitSettings
from moxsmtp.local_checks import local_checks
from moxsmtp.names import Domain, parse_domain
from moxsmtp.outbound.next_hop import FixedRoute
from moxsmtp.receive.checks import Checks
from moxsmtp.receive.policy import IPolicy
from moxsmtp.receive.rehearsal import Rehearsal
from moxsmtp.receive.settings import (
    DelaySettings,
    ListenerSettings,
    ServiceSettings,
    SubmissionSettings,
    TLSSettings,
)

__all__ = [
    "ACCOUNT",
    "ADDRESS",
    "PASSWORD",
    "SELECTOR",
    "Loopback",
    "Ports",
    "announcement",
    "ensure_certificate",
    "ensure_key",
    "settings",
]

ACCOUNT: Final = "mox"
ADDRESS: Final = "mox@localhost"
#: Known to everybody; the server is on loopback only.
PASSWORD: Final = "moxmoxmox"  # noqa: S105 - see above

#: Of the key that mail from localhost is signed with.
SELECTOR: Final = "testsel"

#: How long the queue's history can be looked at (Q-89).
_RETENTION: Final = dt.timedelta(hours=72)

_LOOPBACK: Final = IPv4Address("127.0.0.1")

#: Developers try things in quick succession, and wait for nobody.
_LOOPBACK_NETWORKS: Final = (IPv4Network("127.0.0.0/8"), IPv6Network("::1/128"))
_NO_DELAYS: Final = DelaySettings(
    slow_client=dt.timedelta(), authentication=dt.timedelta(), unknown_recipient=dt.timedelta()
)


@dataclass(frozen=True, slots=True)
class Ports:
    """Where localserve listens."""

    smtp: int = 1025
    submission: int = 1587
    submissions: int = 1465
    http: int = 1080


def settings(directory: str, ports: Ports = Ports(), *, pedantic: bool = False) -> Settings:
    """
    The configuration of localserve.

    @param directory: Absolute; everything is kept there.
    @param pedantic: Refuse what many clients do against the standards (S-111).
    """
    listener = ListenerSettings(
        name="local",
        addresses=(_LOOPBACK,),
        tls=TLSSettings(
            certificate=str(Path(directory, "localhost.crt")),
            key=str(Path(directory, "localhost.key")),
        ),
        smtp=ServiceSettings(enabled=True, port=ports.smtp),
        submission=SubmissionSettings(enabled=True, port=ports.submission),
        submissions=SubmissionSettings(enabled=True, port=ports.submissions),
    )
    localhost = parse_domain("localhost")
    return Settings(
        hostname=localhost,
        postmaster=ACCOUNT,
        data_directory=directory,
        listeners=(listener,),
        domains={localhost: DomainSettings(separators=("+",))},
        accounts=(
            Account(
                name=ACCOUNT,
                addresses=(ADDRESS,),
                keep_retired_messages=_RETENTION,
                keep_retired_webhooks=_RETENTION,
                # Nothing leaves the machine, and load is tried out here.
                max_outgoing_messages_per_day=0,
                max_first_time_recipients_per_day=0,
            ),
        ),
        http=HTTPSettings(addresses=(_LOOPBACK,), port=ports.http),
        limits=LimitSettings(limits_exempt=_LOOPBACK_NETWORKS),
        delays=_NO_DELAYS,
        default_account=ACCOUNT,
        pedantic=pedantic,
    )


def ensure_certificate(files: TLSSettings, now: dt.datetime) -> None:
    """
    Make a certificate for localhost where there is none, signed by itself.

    @raise OSError: The folder cannot be written.
    """
    if Path(files.certificate).exists() and Path(files.key).exists():
        return
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    names: Sequence[x509.GeneralName] = (
        x509.DNSName("localhost"),
        x509.IPAddress(_LOOPBACK),
        x509.IPAddress(IPv6Address("::1")),
    )
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=3650))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    _write(
        files.key,
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
    )
    _write(files.certificate, certificate.public_bytes(serialization.Encoding.PEM))


def ensure_key(path: Path) -> PrivateKey:
    """
    Make a key for signatures where there is none.

    @raise ConfigError: The file holds none.
    @raise OSError: The file cannot be read or written.
    """
    if not path.exists():
        _write(str(path), generate_key("ed25519"))
    try:
        return load_private_key(path.read_bytes())
    except ValueError as error:
        text = f"{error}; remove the file, and another is made"
        raise ConfigError([Mistake(str(path), 0, "", text)]) from None


def _write(path: str, pem: bytes) -> None:
    """A file that only we may read, whole or not at all."""
    new = f"{path}.new"
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(pem)
    Path(new).replace(path)


@implementer(IOwnResolver)
class _NoResolver:
    """Localserve asks nobody: nothing leaves the machine."""

    def lookup(self, question: Question) -> Deferred[Answer]:
        """Fails."""
        return fail(LookupFailed(f"localserve does not ask the DNS for {question.name}"))

    def close(self) -> Deferred[None]:
        """There is nothing to end."""
        return succeed(None)


class Loopback:
    """A server that has only itself around it; see L{moxsmtp.surroundings.Surroundings}."""

    allow_loopback = True
    passwords: Mapping[str, str] = {ACCOUNT: PASSWORD}
    strict_mime = True

    def prepare(self, settings: Settings, now: dt.datetime) -> Settings:
        """Make the certificate and the key that mail is signed with, the first time."""
        for listener in settings.listeners:
            if listener.tls is not None:
                ensure_certificate(listener.tls, now)
        name = Path(settings.data_directory, f"{SELECTOR}._domainkey.localhost.pem")
        key = ensure_key(name)
        signer = Signer(settings.hostname, SELECTOR, key)
        selector = Selector(signer=signer, record=public_record(key))
        return replace(settings, selectors={settings.hostname: (selector,)})

    def resolver(
        self,
        settings: Settings,  # noqa: ARG002 - by the port
        reactor: Any,  # noqa: ARG002 - by the port
        is_public_suffix: Callable[[Domain], bool],  # noqa: ARG002 - by the port
    ) -> IOwnResolver:
        """Nobody is asked."""
        return _NoResolver()

    def checks(
        self,
        settings: Settings,
        resolver: IResolver,
        reactor: Any,
        is_public_suffix: Callable[[Domain], bool],
    ) -> Checks:
        """Mail of our own domain passes, though no DNS knows it."""
        return local_checks(
            settings,
            resolver,
            clock=reactor,
            now=lambda: dt.datetime.fromtimestamp(reactor.seconds(), dt.UTC),
            is_public_suffix=is_public_suffix,
        )

    def route(self, settings: Settings, resolver: IResolver, reactor: Any) -> FixedRoute:  # noqa: ARG002 - by the port
        """To our own port 25 (Q-89)."""
        listener = settings.listeners[0]
        return FixedRoute(listener.addresses[0], listener.smtp.port)

    def policy(self, reactor: Any) -> IPolicy:
        """Failures on demand."""
        return Rehearsal(reactor)

    async def resolver_trouble(self, resolver: IResolver) -> str | None:  # noqa: ARG002 - by the port
        """There is none to be in trouble."""
        return None

    def announcement(self, settings: Settings) -> str:
        """Where it listens, as whom to log in, and what to try."""
        listener = settings.listeners[0]
        ports = Ports(
            listener.smtp.port,
            listener.submission.port,
            listener.submissions.port,
            settings.http.port,
        )
        return announcement(settings.data_directory, ports)


def announcement(directory: str, ports: Ports = Ports()) -> str:
    """What a new user is told: where it listens, as whom, and what to try."""
    certificate = shlex.quote(str(Path(directory, "localhost.crt")))
    # The script lies beside the twistd that runs us, which may not be on PATH.
    beside = Path(sys.argv[0]).parent / "moxsmtp"
    script = shlex.quote(str(beside)) if beside.exists() else "moxsmtp"
    return f"""
moxsmtp localserve listens on 127.0.0.1; no mail leaves this machine.

  SMTP         port {ports.smtp}   any recipient, no login, STARTTLS if you like
  submission   port {ports.submission}   login after STARTTLS
  submissions  port {ports.submissions}   login, TLS from the start
  HTTP         port {ports.http}   /metrics /healthz /readyz

  account {ADDRESS}, password {PASSWORD}
  data and certificate in {directory}

Try, in another terminal:

  printf 'Subject: hello\\n\\nIt works.\\n' | curl smtp://localhost:{ports.smtp} \\
      --mail-from me@example.org --mail-rcpt {ADDRESS} --upload-file -
  printf 'From: {ADDRESS}\\nSubject: hello again\\n\\nIt works, too.\\n' | \\
      curl smtps://localhost:{ports.submissions} --cacert {certificate} \\
      --user {ADDRESS}:{PASSWORD} --mail-from {ADDRESS} --mail-rcpt you@example.org \\
      --upload-file -
  {script} --directory {shlex.quote(directory)} mail list {ADDRESS}
"""
