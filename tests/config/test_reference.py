"""The reference file in the documentation and the settings say the same."""

from __future__ import annotations

import dataclasses
import datetime as dt
import re
import tomllib
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from twisted.trial import unittest

from moxsmtp.config import HTTPSettings, LogSettings
from moxsmtp.config.load import load
from moxsmtp.config.schema import known_keys
from moxsmtp.config.tables import (
    AccountTable,
    AliasTable,
    DomainTable,
    FileTable,
    HostReportTable,
    IncomingHookTable,
    OutgoingHookTable,
    ReportTable,
    RouteTable,
    SelectorTable,
    TransportTable,
)
from moxsmtp.config.values import duration, octets
from moxsmtp.dns.settings import ResolverSettings
from moxsmtp.judge.limiters import LimitSettings
from moxsmtp.localserve import ensure_certificate
from moxsmtp.outbound.settings import OutboundSettings
from moxsmtp.queue.settings import QueueSettings
from moxsmtp.queue.shaping import ShapingRule
from moxsmtp.receive.relay_settings import RelaySettings
from moxsmtp.receive.settings import (
    DelaySettings,
    ListenerSettings,
    ProxySettings,
    ServiceSettings,
    SubmissionSettings,
    TimeLimits,
    TLSFiles,
    TLSSettings,
)
from moxsmtp.store.settings import StoreSettings
from moxsmtp.webhooks.settings import WebhookSettings

REFERENCE: Final = Path(__file__).resolve().parents[2] / "docs" / "moxsmtp.toml"

#: Each table of the file, with the settings that hold its defaults.  A default
#: of the field that holds a table wins over the class: the ports of submission.
TABLES: Final[dict[str, type]] = {
    "": FileTable,
    "listener": ListenerSettings,
    "listener.tls": TLSSettings,
    "listener.tls.other": TLSFiles,
    "listener.smtp": ServiceSettings,
    "listener.submission": SubmissionSettings,
    "listener.submissions": SubmissionSettings,
    "listener.limits": TimeLimits,
    "listener.proxy": ProxySettings,
    "domain": DomainTable,
    "domain.alias": AliasTable,
    "domain.dmarc_reports": ReportTable,
    "domain.tls_reports": ReportTable,
    "domain.dkim": SelectorTable,
    "host_tls_reports": HostReportTable,
    "relay": RelaySettings,
    "account": AccountTable,
    "account.outgoing_webhook": OutgoingHookTable,
    "account.incoming_webhook": IncomingHookTable,
    "outbound": OutboundSettings,
    "transport": TransportTable,
    "route": RouteTable,
    "domain.route": RouteTable,
    "account.route": RouteTable,
    "queue": QueueSettings,
    "queue.shaping": ShapingRule,
    "resolver": ResolverSettings,
    "webhooks": WebhookSettings,
    "store": StoreSettings,
    "http": HTTPSettings,
    "limits": LimitSettings,
    "delays": DelaySettings,
    "log": LogSettings,
}

#: Keys that a class has and a table cannot use.
MEANINGLESS: Final = {("listener.submissions", "no_require_starttls")}

#: Keys that are left out rather than given their default, L{None}; an example stands there.
LEFT_OUT: Final = {("transport", "port"), ("transport", "remote_hostname")}

_HEADER = re.compile(r"#?\[\[?([^\]]+)\]\]?")
_KEY = re.compile(r"(#?)([a-z_0-9]+) = (.*)")


def documented(text: str) -> dict[str, dict[str, dict[bool, Any]]]:
    """
    What the file says: by table and key, the value that stands there as an
    example (C{False}) and the one behind a number sign, the default (C{True}).
    """
    table = ""
    found: dict[str, dict[str, dict[bool, Any]]] = {"": {}}
    for line in text.splitlines():
        header, key = _HEADER.fullmatch(line), _KEY.fullmatch(line)
        if header:
            table = re.sub(r'\.(alice|"example\.org"|2026-rsa|team|relay)', "", header[1])
            found.setdefault(table, {})
        elif key:
            value = tomllib.loads(f"value = {key[3]}")["value"]
            found[table].setdefault(key[2], {})[bool(key[1])] = value
    return found


def defaults(name: str, settings: type) -> Iterator[tuple[str, Any]]:
    """Each key with its default; C{MISSING} where it is required."""
    base = None
    if name.startswith("listener."):
        listener = ListenerSettings(name="x", addresses=())
        base = getattr(listener, name.partition(".")[2], None)
    for entry in dataclasses.fields(settings):
        if base is not None:
            yield entry.name, getattr(base, entry.name)
        elif entry.default_factory is not dataclasses.MISSING:
            yield entry.name, entry.default_factory()
        else:
            yield entry.name, entry.default


def is_table(value: object, hint: Any) -> bool:
    """Whether a field is a table of the file rather than a key."""
    kinds = [hint, *typing.get_args(hint)]
    in_tables = any(kind in TABLES.values() for kind in kinds if isinstance(kind, type))
    return dataclasses.is_dataclass(value) or in_tables


def written(value: Any, like: Any) -> Any:
    """What is written for a default, in the type of the default."""
    if isinstance(like, dt.timedelta):
        return duration(value)
    if isinstance(value, str) and isinstance(like, int):
        return octets(value)
    if isinstance(value, list):
        return type(like)(value) if not like else tuple(map(type(like[0]), value))
    return value


class ReferenceTests(unittest.SynchronousTestCase):
    """C{docs/moxsmtp.toml}."""

    def setUp(self) -> None:
        self.text = REFERENCE.read_text("utf-8")
        self.documented = documented(self.text)

    def test_loads(self) -> None:
        """The example works as it is once the certificate is there."""
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        files = TLSSettings(str(folder / "cert.pem"), str(folder / "key.pem"))
        ensure_certificate(files, dt.datetime(2026, 1, 1, tzinfo=dt.UTC))
        path = folder / "moxsmtp.toml"
        path.write_text(self.text.replace("/etc/moxsmtp/", f"{folder}/"), "utf-8")
        settings = load(path)
        self.assertEqual(settings.postmaster, "alice")
        self.assertTrue(settings.listeners[0].submissions.enabled)

    def test_tables(self) -> None:
        """Every table is there and no other."""
        self.assertEqual(set(self.documented), set(TABLES))

    def test_keys(self) -> None:
        """Every key of every table is there, and no other."""
        for name, settings in TABLES.items():
            hints = typing.get_type_hints(settings)
            keys = {
                key
                for key, value in defaults(name, settings)
                if not is_table(value, hints[key])
                and not (name == "" and value == {})
                and (name, key) not in MEANINGLESS
            }
            self.assertEqual(set(self.documented[name]), keys, f"[{name}]")

    def test_defaults(self) -> None:
        """Each key that may be left out stands there with its true default."""
        for name, settings in TABLES.items():
            for key, default in defaults(name, settings):
                said = self.documented[name].get(key, {})
                if key == "maildir_mode":
                    self.assertEqual(said[True], 0o700)
                elif (name, key) in LEFT_OUT:
                    self.assertIsNone(default)
                elif said and default is not dataclasses.MISSING and key != "hostname":
                    self.assertIn(True, said, f"[{name}] {key}")
                    self.assertEqual(written(said[True], default), default, f"[{name}] {key}")

    def test_required(self) -> None:
        """Each key that may not be left out stands there as an example."""
        for name, settings in TABLES.items():
            for key, default in defaults(name, settings):
                if default is dataclasses.MISSING:
                    self.assertTrue(self.documented[name][key], f"[{name}] {key}")

    def test_reading(self) -> None:
        """The reading of the file itself finds defaults and examples apart."""
        text = '#a = 1\na = 2\n#[t]\n#b = ["x"]\n# c = 3\n[domain."example.org"]\n'
        self.assertEqual(
            documented(text),
            {"": {"a": {True: 1, False: 2}}, "t": {"b": {True: ["x"]}}, "domain": {}},
        )

    def test_known_keys(self) -> None:
        """What the loader lists as known is what the reference describes."""
        tables = {"shaping"}
        self.assertEqual(known_keys(("queue",)), frozenset(self.documented["queue"]) | tables)
        self.assertEqual(
            known_keys(("listener", 3, "limits")), frozenset(self.documented["listener.limits"])
        )
        self.assertEqual(
            known_keys(("account", "x", "outgoing_webhook")),
            frozenset(self.documented["account.outgoing_webhook"]),
        )
        self.assertEqual(
            known_keys(("domain", "x.example", "dkim", "s")),
            frozenset(self.documented["domain.dkim"]),
        )
        self.assertEqual(known_keys(("queue", "max_attempts")), frozenset())
