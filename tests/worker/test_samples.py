"""Tests for L{moxsmtp.worker.samples}."""

from __future__ import annotations

import json

from prometheus_client import CollectorRegistry
from twisted.trial.unittest import SynchronousTestCase

from moxsmtp.metrics import Metrics
from moxsmtp.worker.samples import Tally


def counter(value: float) -> list[object]:
    """What a worker tells."""
    return ["n_total", [["kind", "smtp"]], value, True]


def gauge(value: float) -> list[object]:
    """The same of a level."""
    return ["g", [], value, False]


KEY = ("n_total", (("kind", "smtp"),))


class TallyTests(SynchronousTestCase):
    """What all have counted."""

    def test_sum(self) -> None:
        """It is added up by name and labels; of each worker the last counts."""
        tally = Tally()
        tally.heard(0, [counter(1)])
        tally.heard(0, [counter(3), gauge(1)])
        tally.heard(1, [counter(4), gauge(5)])
        self.assertEqual(tally.total(), {KEY: 7, ("g", ()): 6})

    def test_gone(self) -> None:
        """A worker's end makes no total go back; what stood at a level is gone with it."""
        tally = Tally()
        tally.heard(0, [counter(3), gauge(1)])
        tally.heard(1, [counter(4), gauge(5)])
        tally.lost(0)
        self.assertEqual(tally.total(), {KEY: 7, ("g", ()): 5})
        tally.heard(0, [counter(1)])
        tally.lost(0)
        tally.lost(0)
        self.assertEqual(tally.total()[KEY], 8)

    def test_silent(self) -> None:
        """Who does not answer is counted, with what it told before."""
        tally = Tally()
        tally.heard(0, [counter(3)])
        tally.heard(1, [counter(4)])
        self.assertEqual(tally.silent([0, 1]), 0)
        tally.heard(0, [counter(5)])
        self.assertEqual(tally.silent([0, 1]), 1)
        self.assertEqual(tally.total()[KEY], 9)


class ExpositionTests(SynchronousTestCase):
    """As monitors see it."""

    def test_added_up(self) -> None:
        """Counters, histograms and gauges of two processes, through JSON, in one text."""
        one, other = Metrics(CollectorRegistry()), Metrics(CollectorRegistry())
        for metrics, times in ((one, 2), (other, 3)):
            for _ in range(times):
                metrics.count("mox_smtpserver_connection_total", kind="smtp")
                metrics.observe("mox_webhook_request_duration_seconds", 0.02)
                metrics.move("moxsmtp_connections", 1, listener="a", protocol="smtp")
        other.count("mox_authentication_total", kind="a", variant="b", result="c")
        tally = Tally()
        tally.heard(0, json.loads(json.dumps(other.samples())))
        lines = one.exposition(tally.total()).decode().splitlines()
        for line in (
            'mox_smtpserver_connection_total{kind="smtp"} 5.0',
            'mox_webhook_request_duration_seconds_bucket{le="0.01"} 0.0',
            'mox_webhook_request_duration_seconds_bucket{le="0.05"} 5.0',
            'mox_webhook_request_duration_seconds_bucket{le="+Inf"} 5.0',
            "mox_webhook_request_duration_seconds_count 5.0",
            'moxsmtp_connections{listener="a",protocol="smtp"} 5.0',
            'mox_authentication_total{kind="a",result="c",variant="b"} 1.0',
        ):
            self.assertIn(line, lines)
        self.assertEqual(len(lines), len(set(lines)))

    def test_same_names(self) -> None:
        """With what others have counted, nothing of one's own is missing or renamed."""
        one, other = Metrics(CollectorRegistry()), Metrics(CollectorRegistry())
        tally = Tally()
        tally.heard(0, other.samples())
        self.assertEqual(one.exposition(tally.total()), one.exposition())
