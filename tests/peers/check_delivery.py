"""Mail to and from Postfix; next hops out of unbound."""

from __future__ import annotations

import smtplib
from collections.abc import Mapping
from email import message_from_bytes, policy
from email.message import Message
from typing import Any

from tests.peers.certificate import make_certificate
from tests.peers.postfix import Postfix
from tests.peers.process import free_port, until
from tests.peers.server import ADDRESS, Layout, Server, ServerTestCase
from tests.peers.unbound import Unbound

#: Where the other mail server listens.  On a port of its own, the same for all hosts.
HOST = "127.0.0.2"


def resolver(unbound: Unbound) -> str:
    """The lines of C{[resolver]}."""
    return f'servers = [{{ address = "{unbound.address}", port = {unbound.port} }}]'


class DeliveryTestCase(ServerTestCase):
    """A server of ours with a resolver and, if wanted, a Postfix as its peer."""

    def dns(self, zones: Mapping[str, str]) -> Unbound:
        """A resolver for C{zones}; it is ended after the test."""
        unbound = Unbound(self.folder / "unbound", zones)
        self.addCleanup(unbound.end)
        return unbound

    def postfix(self, **options: Any) -> Postfix:
        """A Postfix; it is ended after the test."""
        postfix = Postfix(self.folder / "postfix", **options)
        self.addCleanup(postfix.end)
        return postfix

    def start_for(self, unbound: Unbound, port: int, **tables: str) -> Server:
        """Our server, delivering to C{port} by way of C{unbound}."""
        queue = f'outbound_port = {port}\nretry_after = "{tables.pop("retry_after", "1h")}"'
        layout = Layout(
            tables={"resolver": resolver(unbound), "queue": f"{queue}\n{tables.pop('queue', '')}"},
            **tables,
        )
        return self.start(layout, password=True, page="/readyz")

    def bounce(self, server: Server) -> Message:
        """The first bounce in the sender's mailbox."""
        entries: list[dict[str, Any]] = []

        def is_there() -> bool:
            entries[:] = server.mail()
            return bool(entries)

        until(is_there, what="a bounce", log=server.log)
        return message_from_bytes(server.raw(entries[0]["id"]), policy=policy.default)

    def assertBounced(self, message: Message, status: str) -> None:
        """It is a report of failure with that status (Q-36, Q-37)."""
        self.assertEqual(message.get_content_type(), "multipart/report")
        report = message.get_payload(1)
        assert isinstance(report, Message)
        text = report.as_string()
        self.assertIn("Action: failed", text)
        self.assertIn(f"Status: {status}", text)


class PostfixTests(DeliveryTestCase):
    """Postfix as the other server."""

    programs = ("postfix", "unbound")

    def test_relays_to_us(self) -> None:
        """A message that Postfix relays is stored as it relayed it, and under TLS."""
        server = self.start()
        postfix = self.postfix(routes={"here.test": f"127.0.0.1:{server.ports['smtp']}"})
        body = b"".join(b"..%d grue\xc3\x9fe\r\n" % n for n in range(200))
        text = b"From: peer@there.test\r\nSubject: relayed\r\nMIME-Version: 1.0\r\n"
        text += (
            b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
        )
        with smtplib.SMTP(postfix.address, postfix.port) as client:
            client.sendmail("peer@there.test", [ADDRESS], text + body, ["BODY=8BITMIME"])
        raw = server.raw(self.assertComes(server, "relayed")["id"])
        self.assertTrue(raw.endswith(b"\r\n\r\n" + body))
        self.assertRegex(raw, rb"Received: from postfix\.test\s+\([^)]*\[127\.0\.0\.1\]")
        self.assertRegex(raw, rb"with (UTF8)?E?SMTPS?\b")
        until(postfix.is_idle, what="Postfix is done", log=postfix.log)

    def test_receives_from_us(self) -> None:
        """A submitted message reaches Postfix by its MX, under STARTTLS, and leaves the queue."""
        dns = self.dns({"there.test": f"@ 60 IN MX 10 mx\nmx 60 IN A {HOST}\n"})
        certificate = make_certificate(self.folder, "mx.there.test")
        postfix = self.postfix(domains=("there.test",), certificate=certificate, address=HOST)
        server = self.start_for(dns, postfix.port)
        body = "".join(f".{n} a line with a dot\r\n" for n in range(500))
        server.submit("user@there.test", "other@there.test", subject="leaves", body=body)
        until(lambda: len(postfix.messages()) == 2, what="Postfix has both", log=server.log)
        until(lambda: server.queue() == [], what="the queue is empty", log=server.log)
        (first, _) = postfix.messages()
        self.assertIn(b"using TLSv1.3", first)
        self.assertTrue(first.replace(b"\n", b"\r\n").endswith(b"\r\n\r\n" + body.encode()))
        postfix.wait_for_log(": removed")
        self.assertEqual(postfix.log().count(": client="), 1, "both went in one transaction (Q-16)")

    def test_refusal_of_one_recipient(self) -> None:
        """Each recipient's own reply decides its fate (Q-19): one bounces, one arrives."""
        dns = self.dns({"there.test": f"@ 60 IN MX 10 mx\nmx 60 IN A {HOST}\n"})
        postfix = self.postfix(domains=("there.test",), address=HOST)
        server = self.start_for(dns, postfix.port)
        server.submit("user@there.test", "refused@there.test", subject="half")
        until(lambda: len(postfix.messages()) == 1, what="one arrives", log=server.log)
        bounce = self.bounce(server)
        self.assertBounced(bounce, "5.1.1")
        self.assertIn("refused@there.test", bounce.as_string())
        until(lambda: server.queue() == [], what="the queue is empty", log=server.log)


class NextHopTests(DeliveryTestCase):
    """Where mail goes, as unbound's answers say; smtp-sink of Postfix takes it."""

    programs = ("unbound", "postfix")

    def test_second_host(self) -> None:
        """The first host by preference does not listen: the second is tried (Q-34, Q-47)."""
        records = f"@ 60 IN MX 20 b\n@ 60 IN MX 10 a\na 60 IN A 127.0.0.3\nb 60 IN A {HOST}\n"
        dns = self.dns({"there.test": records})
        postfix = self.postfix(domains=("there.test",), address=HOST)
        server = self.start_for(dns, postfix.port)
        server.submit("user@there.test")
        until(lambda: len(postfix.messages()) == 1, what="it arrives", log=server.log)

    def test_alias_and_implicit_host(self) -> None:
        """A CNAME is followed, and a name without MX is its own mail server (Q-47)."""
        dns = self.dns(
            {"there.test": f"@ 60 IN A {HOST}\n", "alias.test": "www 60 IN CNAME there.test.\n"}
        )
        postfix = self.postfix(domains=("www.alias.test",), address=HOST)
        server = self.start_for(dns, postfix.port)
        server.submit("user@www.alias.test")
        until(lambda: len(postfix.messages()) == 1, what="it arrives", log=server.log)

    def test_null_mx(self) -> None:
        """A domain that says it takes no mail: returned at once, 5.1.10 (Q-47, RFC 7505)."""
        server = self.start_for(self.dns({"there.test": "@ 60 IN MX 0 .\n"}), free_port(HOST))
        server.submit("user@there.test")
        self.assertBounced(self.bounce(server), "5.1.10")

    def test_no_such_domain(self) -> None:
        """A domain that does not exist: returned at once, 5.1.2 (Q-47)."""
        server = self.start_for(self.dns({"there.test": ""}), free_port(HOST))
        server.submit("user@no.there.test")
        self.assertBounced(self.bounce(server), "5.1.2")

    def test_servfail_then_well(self) -> None:
        """A resolver that fails: the message waits, and leaves once it has recovered (Q-32)."""
        dns = self.dns({"there.test": ""})
        postfix = self.postfix(domains=("x.broken.test",), address=HOST)
        server = self.start_for(dns, postfix.port, retry_after="3s")
        server.submit("user@x.broken.test")
        server.wait_until_tried()
        self.assertEqual(server.mail(), [])
        dns.end()
        healed = {"x.broken.test": f"@ 60 IN A {HOST}\n"}
        again = Unbound(self.folder / "healed", healed, port=dns.port)
        self.addCleanup(again.end)
        until(lambda: len(postfix.messages()) == 1, what="it arrives", log=server.log)

    def test_dead_resolver(self) -> None:
        """Nobody answers: not ready, yet alive; the message waits; nothing is printed but lines."""
        dns = self.dns({"there.test": f"@ 60 IN A {HOST}\n"})
        postfix = self.postfix(domains=("there.test",), address=HOST)
        server = self.start_for(dns, postfix.port, retry_after="3s")
        dns.end()
        status, text = server.ask("/readyz")
        self.assertEqual(status, 503)
        self.assertIn("resolver", text)
        self.assertEqual(server.ask("/healthz")[0], 200)
        server.submit("user@there.test")
        server.wait_until_tried()
        again = Unbound(self.folder / "again", {"there.test": f"@ 60 IN A {HOST}\n"}, port=dns.port)
        self.addCleanup(again.end)
        until(lambda: len(postfix.messages()) == 1, what="it arrives", log=server.log)
        until(lambda: server.ask("/readyz")[0] == 200, what="ready again")
