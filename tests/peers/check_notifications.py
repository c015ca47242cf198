"""Bounces that Postfix writes come back to an identifier, and signed calls tell of them."""

from __future__ import annotations

import base64
import subprocess
from email import message_from_bytes, policy
from typing import Any, Final

from tests.peers.check_delivery import HOST, resolver
from tests.peers.check_webhooks import own_address
from tests.peers.postfix import Postfix
from tests.peers.process import PATIENCE, find, free_port, until
from tests.peers.server import ADDRESS, Layout, ServerTestCase
from tests.peers.unbound import Unbound
from tests.peers.web import Call, WebServer

#: Which key signs, in hexadecimal as OpenSSL wants it.
_KEY: Final = bytes(range(32))
_OTHER: Final = bytes(range(32, 64))

#: What Postfix takes and then cannot deliver.
_MAIN: Final = """\
relay_domains = there.test, here.test
virtual_alias_maps = inline:{{ gone@there.test=x@gone.test, full@there.test=x@full.test }}
transport_maps = inline:{{
    {{ gone.test = error:5.1.1 nobody of that name }},
    {{ full.test = error:5.2.2 no room }},
    {{ here.test = smtp:[127.0.0.1]:{port} }}, {{ there.test = discard: }} }}
smtp_tls_security_level = may
"""


class NotificationTests(ServerTestCase):
    """A server of ours before a Postfix that accepts first and bounces later."""

    programs = ("postfix", "unbound", "openssl")

    def setUp(self) -> None:
        super().setUp()
        address = own_address()
        if address is None:
            self.unavailable("this machine has no address but loopback")
        self.web = WebServer(address or "")
        self.addCleanup(self.web.end)
        dns = Unbound(self.folder / "unbound", {"there.test": f"@ 60 IN A {HOST}\n"})
        self.addCleanup(dns.end)
        port = free_port(HOST)
        (self.folder / "next").write_text(secret(_OTHER))
        (self.folder / "next").chmod(0o600)
        account = f"""\
keep_retired_messages = "7d"
from_id_login_addresses = ["{ADDRESS}"]
[account.alice.outgoing_webhook]
url = "{self.web.url}/out"
secrets = ["{secret(_KEY)}"]
secret_files = ["{self.folder / "next"}"]
"""
        tables = {
            "resolver": resolver(dns),
            "queue": f"outbound_port = {port}",
            "webhooks": f'allow_private = ["{address}/32"]',
        }
        self.server = self.start(
            Layout(account=account, tables=tables), password=True, page="/readyz"
        )
        self.postfix = Postfix(
            self.folder / "postfix",
            address=HOST,
            port=port,
            settings=_MAIN.format(port=self.server.ports["smtp"]),
        )
        self.addCleanup(self.postfix.end)

    def told(self, event: str) -> Call:
        """The call for an event."""
        found: list[Call] = []

        def is_there() -> bool:
            found[:] = [call for call in self.web.calls if call.payload["Event"] == event]
            return bool(found)

        until(is_there, what=event, log=lambda: self.server.log() + self.postfix.log())
        return found[0]

    def history(self, recipient: str) -> dict[str, Any]:
        """What is known of the last message to C{recipient}."""
        found: list[dict[str, Any]] = []

        def is_known() -> bool:
            listed = self.server.objects("retired", "list")
            found[:] = [one for one in listed if recipient in str(one)]
            return bool(found)

        until(is_known, what=f"the history has {recipient}", log=self.server.log)
        return found[0]

    def suppressed(self) -> str:
        """The account's list."""
        return str(self.server.objects("suppression", "list", "alice"))

    def test_bounced(self) -> None:
        """
        What Postfix took and then bounced is known as failed, and its address
        suppressed, so that the next message fails at once (Q-30, Q-39 to Q-42).
        """
        self.server.submit("gone@there.test", subject="first")
        call = self.told("failed")
        self.assertEqual(
            {name: call.payload[name] for name in ("DSN", "Suppressing", "SMTPEnhancedCode")},
            {"DSN": True, "Suppressing": True, "SMTPEnhancedCode": "5.1.1"},
        )
        self.assertEqual(self.history("gone@there.test")["state"], "failed")
        self.assertIn("gone@there.test", self.suppressed())
        self.server.submit("gone@there.test", subject="second")
        self.assertEqual(self.told("suppressed").payload["Subject"], "second")

    def test_full(self) -> None:
        """A mailbox that is full is a failure, and its address not suppressed (Q-31)."""
        self.server.submit("full@there.test")
        self.assertFalse(self.told("failed").payload["Suppressing"])
        self.assertNotIn("full@there.test", self.suppressed())

    def test_signed(self) -> None:
        """Each secret has signed the call, as OpenSSL computes it (Q-92)."""
        self.server.submit("user@there.test")
        call = self.told("delivered")
        signed = f"{call.headers['webhook-id']}.{call.headers['webhook-timestamp']}.".encode()
        self.assertEqual(
            call.headers["webhook-signature"].split(),
            [f"v1,{by_openssl(key, signed + call.body)}" for key in (_KEY, _OTHER)],
        )
        for key in (_KEY, _OTHER):
            self.assertNotIn(secret(key), self.server.log())

    def test_success_is_reported_once(self) -> None:
        """
        Who asks to hear of success hears it from Postfix, to whom the wish was
        handed on, and not from us, too (S-68).  RFC 3461 section 5.2.1.
        """
        text = f"From: {ADDRESS}\r\nSubject: wish\r\n\r\ntext\r\n"
        with self.server.submission() as client:
            client.sendmail(
                ADDRESS, ["user@there.test"], text, ["ENVID=QQ314159"], ["NOTIFY=SUCCESS,FAILURE"]
            )
        self.told("delivered")
        until(lambda: bool(self.server.mail()), what="a report", log=self.server.log)
        (entry,) = self.server.mail()
        report = message_from_bytes(self.server.raw(entry["id"]), policy=policy.default)
        self.assertIn("postfix.test", str(report["From"]))
        self.assertIn("Original-Envelope-Id: QQ314159", report.as_string())


def secret(key: bytes) -> str:
    """As it is written."""
    return f"whsec_{base64.b64encode(key).decode()}"


def by_openssl(key: bytes, octets: bytes) -> str:
    """HMAC-SHA256 in base64."""
    command = [find("openssl") or "openssl", "dgst", "-sha256", "-mac", "HMAC", "-binary"]
    done = subprocess.run(
        [*command, "-macopt", f"hexkey:{key.hex()}"],
        input=octets,
        capture_output=True,
        timeout=PATIENCE,
        check=True,
    )
    return base64.b64encode(done.stdout).decode()
