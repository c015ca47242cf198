"""C{moxsmtp check mta-sts}."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

from moxsmtp.admin import cli_mtasts
from moxsmtp.admin.sts_check import Finding
from moxsmtp.mtasts.policy import parse_policy
from moxsmtp.mtasts.storage import Failure, ResultType
from moxsmtp.names import Domain
from tests.admin.test_cli import CLITestCase
from tests.config.test_load import LEAST

DOMAIN = Domain("xn--bcher-kva.example")
ONE, TWO = Domain("mx.a.example"), Domain("mx.b.example")
TEXT = "version: STSv1\nmode: enforce\nmx: *.a.example\nmax_age: 86400\n"
GOOD = Finding(domain=DOMAIN, record_id="7", policy=parse_policy(TEXT), hosts=((ONE, True),))


class CheckMtaStsTests(CLITestCase):
    """What is said of findings."""

    def setUp(self) -> None:
        """The net is not asked."""
        super().setUp()
        self.finding = GOOD
        self.configs: list[str | None] = []
        self.patch(cli_mtasts, "run", self.run_main)

    def run_main(
        self, config: str | None, main: Callable[[Any, Any], Awaitable[Finding]]
    ) -> Finding:
        """Run nothing."""
        del main
        self.configs.append(config)
        return self.finding

    def said(self, finding: Finding, status: int) -> str:
        """What a person reads."""
        self.finding = finding
        return self.run_cli("check", "mta-sts", "bücher.example", status=status).output

    def test_good(self) -> None:
        """Record, policy and hosts are shown."""
        self.assertEqual(
            self.said(GOOD, 0),
            "Record _mta-sts.xn--bcher-kva.example: id 7\n"
            "Policy https://mta-sts.xn--bcher-kva.example/.well-known/mta-sts.txt:\n"
            "  mode enforce, for 86400 s (1.0 days)\n"
            "  mx *.a.example\n"
            "Hosts that take mail for bücher.example:\n"
            "  mx.a.example  named by the policy\n"
            "The policy is enforced: mail goes only to these hosts, with TLS and good"
            " certificates.\n",
        )

    def test_none(self) -> None:
        """A domain without MTA-STS is no trouble."""
        said = self.said(Finding(domain=DOMAIN, hosts=((ONE, None),)), 0)
        self.assertIn("mta-sts.xn--bcher-kva.example: none\n", said)
        self.assertIn("The domain has no MTA-STS.", said)
        self.assertNotIn("Policy", said)

    def test_troubles(self) -> None:
        """What is wrong is told, and in the exit status too."""
        failure = Failure(ResultType.UNTRUSTED, "TLS: certificate verify failed\x1b[31m")
        troubles = {
            "mx.b.example  not named by the policy": Finding(
                domain=DOMAIN, record_id="7", policy=GOOD.policy, hosts=((TWO, False),)
            ),
            "no mail goes to mx.b.example": Finding(
                domain=DOMAIN, record_id="7", policy=GOOD.policy, hosts=((TWO, False),)
            ),
            "cannot be had (sts-webpki-invalid): TLS: certificate verify failed": Finding(
                domain=DOMAIN, record_id="7", failure=failure
            ),
            "of no use, more than one": Finding(domain=DOMAIN, record_problem="more than one"),
            "No host takes mail for bücher.example: gone": Finding(
                domain=DOMAIN, hosts_problem="gone"
            ),
        }
        for words, finding in troubles.items():
            said = self.said(finding, 1)
            self.assertIn(words, said)
            self.assertNotIn("\x1b", said)

    def test_json(self) -> None:
        """With C{--json} it is one object."""
        said = self.run_cli("check", "mta-sts", "x.example", "--json").output
        self.assertEqual(
            json.loads(said),
            {
                "domain": "xn--bcher-kva.example",
                "record_id": "7",
                "record_problem": "",
                "policy": {
                    "mode": "enforce",
                    "max_age": 86400,
                    "mx": ["*.a.example"],
                    "text": TEXT,
                },
                "failure": "",
                "reason": "",
                "hosts": [{"host": "mx.a.example", "named": True}],
                "hosts_problem": "",
                "fine": True,
            },
        )
        self.finding = Finding(
            domain=DOMAIN, record_id="7", failure=Failure(ResultType.INVALID, "x")
        )
        said = self.run_cli("check", "mta-sts", "x.example", "--json", status=1).output
        entry = json.loads(said)
        self.assertEqual(
            (entry["policy"], entry["failure"], entry["reason"]), (None, "sts-policy-invalid", "x")
        )

    def test_bad_domain(self) -> None:
        """What is no domain is not looked up."""
        result = self.run_cli("check", "mta-sts", "192.0.2.1", status=1)
        self.assertIn("192.0.2.1 is no domain", result.output)
        self.assertEqual(self.configs, [])

    def test_configuration(self) -> None:
        """The configuration's own authorities are trusted, wherever else it is wrong."""
        config = self.write(f'nonsense = 1\n{LEAST}\n[outbound]\ncertificates = "x.pem"\n')
        (self.folder / "x.pem").write_text("nothing")
        result = self.run_cli("--config", config, "check", "mta-sts", "a.example", status=1)
        self.assertIn(f"no certificates can be read from {self.folder / 'x.pem'}", result.output)
        config = self.write(f"{LEAST}\n[outbound]\nnonsense = 1\n")
        result = self.run_cli("--config", config, "check", "mta-sts", "a.example", status=1)
        self.assertIn("nonsense", result.output)
        config = self.write(LEAST)
        self.run_cli("--config", config, "check", "mta-sts", "a.example")
        self.assertEqual(self.configs, [config])
