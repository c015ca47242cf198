"""Tests for L{moxsmtp.metrics}."""

from __future__ import annotations

import re
from pathlib import Path

from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from moxsmtp.interfaces import IMetrics
from moxsmtp.metrics import COUNTERS, GAUGES, HISTOGRAMS, Metrics

RULES = Path(__file__).parent / "data" / "mox-prometheus.rules"

#: What mox's alert rules watch that we do not have, or not yet.
ABSENT = frozenset(
    {
        "mox_autotls_cert_request_errors_total",
        "mox_dmarcdb_policy_evaluated_total",
        "mox_dnsbl_ips_success",
        "mox_httpserver_request_duration_seconds_count",
        "mox_tlsrptdb_session_total",
        "mox_webmail_errors_total",
        "mox_webmailsubmission_total",
        "mox_webmail_submission_total",
        "sherpa_errors_total",
    }
)


class RulesTests(SynchronousTestCase):
    """mox's alert rules, as it publishes them."""

    def test_rules(self) -> None:
        """What they watch exists under its name, but for the parts that we lack."""
        exposed = {f"{name}_total" for name, _, _ in COUNTERS}
        exposed |= {f"{name}_count" for name, _, _, _ in HISTOGRAMS}
        exposed |= {name for name, _, _ in GAUGES}
        watched = {
            name
            for line in RULES.read_text("utf-8").splitlines()
            if "expr:" in line
            for name in re.findall(r"\b(?:mox|sherpa)_\w+", line)
        }
        self.assertEqual(set(), watched - ABSENT - exposed)
        self.assertTrue(len(watched & exposed) >= 8, watched & exposed)

    def test_labels(self) -> None:
        """The labels that they choose by are there."""
        labels = {f"{name}_total": set(names) for name, _, names in COUNTERS}
        labels |= {f"{name}_count": set(names) for name, _, names, _ in HISTOGRAMS}
        for name, chosen in re.findall(r"\b(mox_\w+)\{([^}]*)\}", RULES.read_text("utf-8")):
            if name in labels:
                used = set(re.findall(r"(\w+)[!=]", chosen))
                self.assertEqual(set(), used - labels[name], name)


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
