"""Nobody from outside sends through us to somewhere else."""

from __future__ import annotations

from datetime import timedelta

from moxsmtp import spf
from moxsmtp.names import parse_domain
from moxsmtp.receive.delivery import Delivery
from moxsmtp.smtp.commands import Rcpt
from moxsmtp.smtp.reply import Refused
from tests.receive.houses import CLIENT, session_log
from tests.receive.test_parameters import COMPLETE
from tests.receive.transactions import TransactionTestCase, parsed


class RelayTests(TransactionTestCase):
    """Port 25."""

    def setUp(self) -> None:
        super().setUp()
        self.client = CLIENT
        self.checks.spf = spf.Result(spf.Status.PASS, scope=spf.Scope.MAIL_FROM)
        self.receiver = Delivery(
            self.house,
            session_log(),
            hostname=parse_domain("in.ours.example"),
            tls_required=False,
            unknown_delay=timedelta(),
            clock=self.clock,
        )

    #: Written so that someone, somewhere, has relayed it.
    FORMS = (
        "victim@away.example",
        "victim@AWAY.EXAMPLE",
        "victim%away.example@ours.example",
        "victim%away.example@mx.ours.example",
        "victim%away.example",
        "victim%away.example@",
        "victim%away.example@[192.0.2.1]",
        "victim%away.example@[127.0.0.1]",
        "victim%away.example@localhost",
        "victim%away.example%ours.example@ours.example",
        '"victim%away.example"@ours.example',
        "@ours.example:victim@away.example",
        "@ours.example,@mx.ours.example:victim@away.example",
        "@away.example:victim@ours.example",
        "@ours.example:victim%away.example@ours.example",
        "@ours.example@away.example:victim",
        '"victim@away.example"',
        '"victim@away.example"@ours.example',
        '"victim@away.example"@[192.0.2.1]',
        '"victim"@away.example',
        '"@ours.example:victim"@away.example',
        'victim."x"@away.example',
        "victim@away.example@ours.example",
        "victim@ours.example@away.example",
        "away.example!victim",
        "away.example!victim@ours.example",
        "ours.example!away.example!victim@ours.example",
        '"away.example!victim"@ours.example',
        "victim@[192.0.2.9]",
        "victim@[192.0.2.1]",
        "victim@[IPv6:2001:db8::9]",
        "victim@[IPv6:::ffff:192.0.2.9]",
        "victim@[ours.example]",
        "victim@192.0.2.9",
        "victim@3221225993",
        "victim@away.example.",
        "victim@ours.example.",
        "victim@ours.example.away.example",
        "victim@awayours.example",
        "victim@sub.ours.example",
        "victim@.ours.example",
        "victim@ours.example:25",
        "victim@ours.example,away.example",
        "victim@ours.example;away.example",
        "victim@ours.example victim@away.example",
        "victim@ours.example\\@away.example",
        "victim@ours.example\0@away.example",
        "victim@away.example\0@ours.example",
        "victim@away.example%00@ours.example",
        "victim@\u043eurs.example",
        "victim@\u043furs.example",
        "victim@our\u017f.example.away.example",
        "victim@ours\u3002example\u3002away.example",
        "victim\uff20away.example@ours.example",
        "victim\ufe6baway.example@ours.example",
        "victim@away.example\uff20ours.example",
        "victim\u200d@away.example",
        "alice@ours.example.away.example",
        "alice@away.example",
        "postmaster@away.example",
        "postmaster@[192.0.2.9]",
        "MAILTO:victim@away.example",
        "smtp:victim@away.example",
        "victim+ours.example@away.example",
    )

    def test_forms(self) -> None:
        """
        Whatever form an address has, it is refused at once or is an unknown user of
        a domain of ours, to whom nothing is sent on (S-73, S-105).
        """
        for form in self.FORMS:
            for smtputf8 in (" SMTPUTF8", ""):
                self.receiver.reset()
                self.talk(f"MAIL FROM:<eve@away.example>{smtputf8}")
                try:
                    told = parsed(f"RCPT TO:<{form}>", CLIENT)
                except (Refused, ValueError):
                    continue
                assert isinstance(told, Rcpt)
                codes = self.codes(self.receiver.recipient(CLIENT, told))
                if codes.startswith("250"):
                    assert told.forward_path.domain is not None
                    self.assertIn(told.forward_path.domain.ascii, {"ours.example",
                                                                   "mx.ours.example"})  # fmt: skip
                    codes = self.end(COMPLETE)
                self.assertEqual("550 5.1.1", codes, form)
        self.assertEqual(([], []), (self.queue.jobs, self.store.messages))

    def test_beside_a_known_one(self) -> None:
        """Beside a recipient of ours, such a form gets a report, never the message (S-73)."""
        for form in self.FORMS:
            self.receiver.reset()
            self.queue.jobs.clear()
            self.talk("MAIL FROM:<eve@sender.example>", "RCPT TO:<alice@ours.example>")
            try:
                told = parsed(f"RCPT TO:<{form}>", CLIENT)
            except (Refused, ValueError):
                continue
            assert isinstance(told, Rcpt)
            self.codes(self.receiver.recipient(CLIENT, told))
            self.assertEqual("250 2.2.0", self.end(COMPLETE))
            self.assertEqual("alice@ours.example", self.store.messages[-1][0].forward_path.ascii)
            self.assertLessEqual(
                {job.forward_path.ascii for job, _ in self.queue.jobs}, {"eve@sender.example"}
            )
