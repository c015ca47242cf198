"""What the log keeps of the checks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from ipaddress import ip_address

from twisted.logger import LogEvent, capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from moxsmtp import dkim, dmarc, iprev, spf
from moxsmtp.names import Domain, parse_domain
from moxsmtp.receive.explaining import explain, organization
from moxsmtp.receive.verification import Authentication
from tests.receive.houses import session_log

SENDER = parse_domain("mail.away.example")
ORGANIZATION = parse_domain("away.example")

WALKED = dmarc.Result(
    dmarc.Status.FAIL,
    author=SENDER,
    policy=dmarc.Policy.REJECT,
    rejects=True,
    policy_domain=ORGANIZATION,
    organizational_domain=ORGANIZATION,
    walk=(
        dmarc.Step("_dmarc.mail.away.example", "no record"),
        dmarc.Step("_dmarc.away.example", "v=DMARC1; p=reject"),
    ),
)


def lines(
    sender: spf.Result | None = None,
    author: dmarc.Result | None = None,
    listed: Domain = ORGANIZATION,
) -> list[str]:
    """What is logged, each with its level."""
    authentication = Authentication(
        iprev.Result(iprev.Status.PERMERROR),
        sender or spf.Result(spf.Status.NONE),
        dkim.Results(),
        author or dmarc.Result(dmarc.Status.NONE),
    )
    events: Sequence[LogEvent]
    with capturedLogs() as events:
        explain(
            session_log(),
            authentication,
            address=ip_address("192.0.2.7"),
            organizational_domain=lambda _: listed,
        )
    return [f"{event['log_level'].name}: {formatEvent(event)}" for event in events]


class SPFTests(SynchronousTestCase):
    """I-16: what a policy says to its failure."""

    def test_claim(self) -> None:
        """I-16: On a fail the domain's explanation is logged, and said to be the domain's."""
        failed = spf.Result(
            spf.Status.FAIL,
            spf.Scope.MAIL_FROM,
            SENDER,
            "-all",
            explanation="see {http}://away.example",
        )
        self.assertEqual(
            lines(failed),
            [
                (
                    "info: SPF fails for 192.0.2.7; mail.away.example claims, which may be true "
                    "or not: see {http}://away.example"
                )
            ],
        )

    def test_default(self) -> None:
        """I-16: Without one, the text names the address and the domain."""
        failed = spf.Result(spf.Status.FAIL, spf.Scope.MAIL_FROM, SENDER, "-all")
        self.assertEqual(
            lines(failed),
            [
                (
                    "info: SPF fails for 192.0.2.7: mail.away.example does not let it send mail "
                    "in its name"
                )
            ],
        )

    def test_other_outcomes(self) -> None:
        """I-16: Nothing else is explained."""
        for status in spf.Status:
            if status is not spf.Status.FAIL:
                self.assertEqual(lines(spf.Result(status, spf.Scope.MAIL_FROM, SENDER)), [])


class DMARCTests(SynchronousTestCase):
    """How an outcome came about."""

    def test_walk(self) -> None:
        """One line has the policy that applied, whose it is, and what was asked and found."""
        (line,) = lines(author=WALKED)
        self.assertEqual(
            line,
            "debug: DMARC of mail.away.example: fail, alignment none, policy reject of "
            "away.example, asks for refusal; organizational domain away.example, by the public "
            "suffix list too; asked: _dmarc.mail.away.example: no record; _dmarc.away.example: "
            "v=DMARC1; p=reject",
        )

    def test_no_record(self) -> None:
        """Where nothing was found, that is said."""
        none = dmarc.Result(dmarc.Status.NONE, author=SENDER, organizational_domain=SENDER)
        (line,) = lines(author=none)
        self.assertIn("policy none of nobody, asks for no refusal", line)
        self.assertIn("mail.away.example, but away.example by the public suffix list", line)
        self.assertTrue(line.endswith("asked: nothing"))

    def test_no_author(self) -> None:
        """A message without an author's domain has nothing to explain."""
        self.assertEqual(lines(), [])

    def test_comparison(self) -> None:
        """The tree walk and the public suffix list are compared."""
        cases = {
            ORGANIZATION: "organizational domain away.example, by the public suffix list too",
            SENDER: (
                "organizational domain mail.away.example, but away.example by the public "
                "suffix list"
            ),
            None: "organizational domain unknown, away.example by the public suffix list",
        }
        for walked, text in cases.items():
            result = replace(WALKED, organizational_domain=walked)
            self.assertEqual(organization(result, ORGANIZATION), text)
