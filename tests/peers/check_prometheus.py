"""Prometheus, as the reader of our metrics and of mox's alert rules."""

from __future__ import annotations

import re
from pathlib import Path

from tests.peers.server import ServerTestCase

RULES = Path(__file__).parent.parent / "data" / "mox-prometheus.rules"

#: What would have to happen to each series, and what Prometheus must then say.
EVENTS = {
    'mox_panic_total{pkg="smtpserver"}': "mox-panic",
    'mox_smtpserver_errors_total{error="queuedsn"}': "mox-smtpserver-errors",
    'mox_smtpserver_submission_total{result="queueerror"}': "mox-submission-errors",
    'mox_smtpserver_delivery_total{reason="",result="delivererror"}': "mox-delivery-errors",
    'mox_authentication_ratelimited_total{kind="submission"}': "mox-auth-ratelimited",
}


class RulesTests(ServerTestCase):
    """mox's alert rules over the metrics of our server."""

    programs = ("promtool",)

    def test_loads(self) -> None:
        """Prometheus loads them, all of them."""
        done = self.run_program("promtool", "check", "rules", str(RULES))
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn("SUCCESS", done.stdout)

    def test_readable(self) -> None:
        """
        Prometheus reads what we expose; what its linter would have otherwise are the habits
        of mox and of its own client library.
        """
        server = self.start()
        with server.client() as client:
            client.sendmail("", ["alice@here.test"], b"From: peer@there.test\r\n\r\ntext\r\n")
            client.docmd("WHAT")
        status, text = server.ask("/metrics")
        self.assertEqual(status, 200)
        done = self.run_program("promtool", "check", "metrics", text=text)
        complaints = [line for line in done.stderr.splitlines() if line]
        usual = re.compile(r"mox_iprev_lookup_total |python_info |process_|error while linting: $")
        self.assertEqual([line for line in complaints if not usual.match(line)], [])

    def test_alerts(self) -> None:
        """
        Each counter that the server exposes from its start makes its alert fire with the
        first event (S-114).
        """
        server = self.start()
        _, text = server.ask("/metrics")
        there = [line.rpartition(" ") for line in text.splitlines() if line.startswith("mox_")]
        values = {series: float(value) for series, _, value in there}
        self.assertEqual(
            {series: values.get(series) for series in EVENTS}, dict.fromkeys(EVENTS, 0)
        )
        for series, alert in EVENTS.items():
            self.assertEqual(self.fired(f"{series}", "0x10 1x60"), {alert}, series)
            self.assertEqual(self.fired(f"{series}", "0x70"), set(), series)

    def fired(self, series: str, values: str) -> set[str]:
        """What fires after an hour in which one series had these values, one a minute."""
        test = self.folder / "test.yml"
        names = re.findall(r"alert: (\S+)", RULES.read_text("utf-8"))
        wanted = "".join(
            f"      - eval_time: 60m\n        alertname: {name}\n        exp_alerts: []\n"
            for name in names
        )
        test.write_text(
            f"rule_files:\n  - {RULES}\nevaluation_interval: 1m\ntests:\n  - interval: 1m\n"
            f"    input_series:\n      - series: '{series}'\n        values: '{values}'\n"
            f"    alert_rule_test:\n{wanted}",
            "utf-8",
        )
        done = self.run_program("promtool", "test", "rules", str(test))
        return set(re.findall(r"alertname: ([\w-]+)", done.stdout + done.stderr))
