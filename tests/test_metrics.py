"""Tests for L{moxsmtp.metrics}."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

import moxsmtp
from moxsmtp.interfaces import IMetrics
from moxsmtp.metrics import COUNTERS, FROM_START, GAUGES, HISTOGRAMS, Metrics

RULES = Path(__file__).parent / "data" / "mox-prometheus.rules"

PACKAGE = Path(moxsmtp.__file__).parent

#: Names in our table that nothing counts yet.
NOWHERE: set[str] = set()

#: What mox's alert rules watch in parts that we do not have: when such a part is made, its
#: name goes from here.
ABSENT = {
    "mox_autotls_cert_request_errors_total": "certificates by ACME",
    "mox_dmarcdb_policy_evaluated_total": "DMARC reports that come in",
    "mox_dnsbl_ips_success": "watching block lists for our own addresses",
    "mox_httpserver_request_duration_seconds_count": "a web server for pages",
    "mox_tlsrptdb_session_total": "TLS reports that come in",
    "mox_webmail_errors_total": "webmail",
    "mox_webmail_submission_total": "webmail",
    "sherpa_errors_total": "web pages for the administrator",
}


def samples() -> dict[str, tuple[str, ...]]:
    """Every series that we expose, as alert rules name them, with its labels."""
    found: dict[str, tuple[str, ...]] = {f"{name}_total": labels for name, _, labels in COUNTERS}
    for name, _, labels, _ in HISTOGRAMS:
        found |= {f"{name}_count": labels, f"{name}_sum": labels}
        found[f"{name}_bucket"] = (*labels, "le")
    return found | {name: labels for name, _, labels in GAUGES}


class RulesTests(SynchronousTestCase):
    """mox's alert rules, as it publishes them."""

    def setUp(self) -> None:
        self.rules = [
            line.partition("expr:")[2].strip()
            for line in RULES.read_text("utf-8").splitlines()
            if line.strip().startswith("expr:")
        ]

    def test_whole(self) -> None:
        """They are all here: one expression for each alert."""
        alerts = RULES.read_text("utf-8").count("- alert: ")
        self.assertEqual(len(self.rules), alerts)
        self.assertGreater(alerts, 15)

    def test_rules(self) -> None:
        """What they watch exists under its name, or its part is named as lacking (S-114)."""
        watched = {
            name for rule in self.rules for name in re.findall(r"\b(?:mox|sherpa)_\w+", rule)
        }
        self.assertEqual(set(ABSENT) | (watched & set(samples())), watched)
        self.assertEqual(set(ABSENT) & set(samples()), set())

    def test_labels(self) -> None:
        """The labels that they choose by are there (S-114)."""
        labels = samples()
        for rule in self.rules:
            for name, chosen in re.findall(r"\b(mox_\w+)\{([^}]*)\}", rule):
                if name not in ABSENT:
                    used = set(re.findall(r"(\w+)[!=]", chosen))
                    self.assertEqual(set(), used - set(labels[name]), name)

    def test_first_event(self) -> None:
        """
        A counter that they watch is there at zero before its first event, or its increase
        would not be seen.
        """
        registry = CollectorRegistry()
        Metrics(registry)
        there = {
            sample.name: sample.value for family in registry.collect() for sample in family.samples
        }
        for rule in self.rules:
            for name in re.findall(r"\bmox_\w+_total\b", rule):
                if name not in ABSENT:
                    self.assertEqual(there.get(name), 0, name)


class UseTests(SynchronousTestCase):
    """What the package counts, by its source."""

    def calls(self) -> Iterator[tuple[str, str, str, set[str]]]:
        """Place, method, metric and labels of each call whose metric is written out."""
        for path in sorted(PACKAGE.rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                    continue
                first = node.args[0] if node.args else None
                name = first.value if isinstance(first, ast.Constant) else None
                if isinstance(name, str) and re.match("mox(smtp)?_", name):
                    labels = {keyword.arg or "**" for keyword in node.keywords}
                    yield f"{path.name}:{node.lineno}", node.func.attr, name, labels

    def test_names_and_labels(self) -> None:
        """Each is in the table, with exactly its labels: anything else fails when it is counted."""
        tables: dict[str, dict[str, tuple[str, ...]]] = {
            "count": {f"{name}_total": labels for name, _, labels in COUNTERS},
            "observe": {name: labels for name, _, labels, _ in HISTOGRAMS},
            "move": {name: labels for name, _, labels in GAUGES},
            "level": {name: labels for name, _, labels in GAUGES},
        }
        used = set()
        for place, method, name, labels in self.calls():
            self.assertIn(name, tables.get(method, {}), place)
            self.assertEqual(labels, set(tables[method][name]), f"{name} at {place}")
            used.add(name)
        known = {name for table in tables.values() for name in table}
        self.assertEqual(known - used, NOWHERE, "in the table, but never counted")


class TableTests(SynchronousTestCase):
    """The names of S-114, written once more."""

    def test_names(self) -> None:
        """Names and labels of the SMTP server's metrics are those of mox (S-114)."""
        expected = {
            "mox_smtpserver_connection_total": {"kind"},
            "mox_smtpserver_command_duration_seconds_bucket": {
                "kind",
                "cmd",
                "code",
                "ecode",
                "le",
            },
            "mox_smtpserver_delivery_total": {"result", "reason"},
            "mox_smtpserver_submission_total": {"result"},
            "mox_smtpserver_errors_total": {"error"},
            "mox_smtpserver_delivery_starttls_total": set(),
            "mox_smtpserver_delivery_starttls_errors_total": {"reason"},
            "mox_authentication_total": {"kind", "variant", "result"},
            "mox_authentication_ratelimited_total": {"kind"},
            "mox_panic_total": {"pkg"},
            "moxsmtp_connections": {"protocol", "listener"},
        }
        found = samples()
        self.assertEqual(expected, {name: set(found.get(name, ("missing",))) for name in expected})

    def test_buckets(self) -> None:
        """Durations of commands fall into the steps of S-114."""
        steps = {name: bounds for name, _, _, bounds in HISTOGRAMS}
        self.assertEqual(
            list(steps["mox_smtpserver_command_duration_seconds"]),
            [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 20, 30, 60, 120],
        )

    def test_from_start(self) -> None:
        """What is there from the start has a value for each label of its counter."""
        labels = {name: names for name, _, names in COUNTERS}
        for name, series in FROM_START.items():
            for values in series:
                self.assertEqual(len(values), len(labels[name]), name)


class MetricsTests(SynchronousTestCase):
    """Counting, and what Prometheus reads of it."""

    def setUp(self) -> None:
        self.registry = CollectorRegistry()
        self.metrics = Metrics(self.registry)

    def value(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(name, labels)

    def test_port(self) -> None:
        """It is what the parts ask for."""
        verifyObject(IMetrics, self.metrics)

    def test_counts(self) -> None:
        """Each set of labels is counted on its own, however the labels are ordered."""
        self.metrics.count("mox_smtpserver_delivery_total", result="delivered", reason="")
        self.metrics.count("mox_smtpserver_delivery_total", reason="", result="delivered")
        self.metrics.count("mox_smtpserver_delivery_total", result="", reason="delivered")
        self.assertEqual(
            2, self.value("mox_smtpserver_delivery_total", result="delivered", reason="")
        )

    def test_observes(self) -> None:
        """A duration goes into its histogram."""
        self.metrics.observe("mox_webhook_request_duration_seconds", 0.2)
        self.assertEqual(1, self.value("mox_webhook_request_duration_seconds_count"))
        self.assertEqual(0, self.value("mox_webhook_request_duration_seconds_bucket", le="0.1"))

    def test_gauges(self) -> None:
        """A gauge goes up and down, and can be set."""
        self.metrics.move("moxsmtp_connections", 1, listener="a", protocol="smtp")
        self.metrics.move("moxsmtp_connections", 1, listener="a", protocol="smtp")
        self.metrics.move("moxsmtp_connections", -1, listener="a", protocol="smtp")
        self.metrics.level("moxsmtp_queue_messages", 7)
        self.assertEqual(1, self.value("moxsmtp_connections", listener="a", protocol="smtp"))
        self.assertEqual(7, self.value("moxsmtp_queue_messages"))

    def test_unknown_name(self) -> None:
        """A name outside the table is an error, not a new metric."""
        self.assertRaises(KeyError, self.metrics.count, "mox_typo_total")

    def test_exposition(self) -> None:
        """What is exposed reads back as the table says (S-114)."""
        families = {
            family.name: family.type
            for family in text_string_to_metric_families(self.metrics.exposition().decode())
        }
        expected = {name: "counter" for name, _, _ in COUNTERS}
        expected |= {name: "histogram" for name, _, _, _ in HISTOGRAMS}
        expected |= {name: "gauge" for name, _, _ in GAUGES}
        self.assertEqual(expected, {name: families.get(name) for name in expected})
