"""Webhooks, taken by a real HTTP server."""

from __future__ import annotations

import json
import socket
from collections.abc import Sequence
from dataclasses import replace
from ipaddress import ip_address

from tests.peers.check_delivery import HOST, resolver
from tests.peers.postfix import Postfix
from tests.peers.process import PATIENCE, free_port, until
from tests.peers.server import Layout, Server, ServerTestCase
from tests.peers.unbound import Unbound
from tests.peers.web import Call, WebServer


def own_address() -> str | None:
    """
    An address of this machine that is not loopback, which no webhook may call;
    L{None}: it has none.  Nothing is sent to find it.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return None
        address = str(probe.getsockname()[0])
    return None if ip_address(address).is_loopback else address


class WebhookTests(ServerTestCase):
    """The calls of one account."""

    def setUp(self) -> None:
        super().setUp()
        address = own_address()
        if address is None:
            self.unavailable("this machine has no address but loopback")
        self.address = address or ""

    def web(self, script: Sequence[int] = ()) -> WebServer:
        """A server for the calls; it is ended after the test."""
        web = WebServer(self.address, script)
        self.addCleanup(web.end)
        return web

    def layout(self, *, incoming: str = "", outgoing: str = "", **tables: str) -> Layout:
        """Webhooks of C{alice}, to these URLs."""
        account = ""
        for name, url in (("incoming", incoming), ("outgoing", outgoing)):
            if url:
                account += f'[account.alice.{name}_webhook]\nurl = "{url}"\n'
                account += 'authorization = "Bearer sesame"\n'
        allowed = f'allow_private = ["{self.address}/32"]\n{tables.pop("webhooks", "")}'
        return Layout(account=account, tables={"webhooks": allowed, **tables})

    def wait_for_answer(self, server: Server, subject: str) -> None:
        """Until the answer to the call for this message is recorded, be it to be repeated."""

        def is_recorded() -> bool:
            hooks = server.objects("hook", "list", "--event", "incoming")
            return any(each["subject"] == subject and each["results"] for each in hooks)

        until(is_recorded, what="the answer is recorded", log=server.log)

    def assertCalled(
        self, web: WebServer, server: Server, count: int, within: float = PATIENCE
    ) -> list[Call]:
        """There come to be C{count} calls, and no more."""
        until(lambda: len(web.calls) >= count, within=within, what="the calls", log=server.log)
        self.assertEqual(len(web.calls), count)
        return web.calls

    def test_incoming(self) -> None:
        """Mail that comes in is told as JSON, with mox's header fields (Q-71, Q-73)."""
        web = self.web()
        server = self.start(self.layout(incoming=f"{web.url}/in"))
        server.deliver(subject="for a program", body="grüße\r\n".encode())
        (call,) = self.assertCalled(web, server, 1)
        entry = self.assertComes(server, "for a program")
        self.assertEqual(call.path, "/in")
        self.assertEqual(call.headers["content-type"], "application/json; charset=utf-8")
        self.assertEqual(call.headers["authorization"], "Bearer sesame")
        self.assertEqual(call.headers["x-mox-webhook-attempt"], "1")
        self.assertIn("x-mox-webhook-id", call.headers)
        self.assertEqual(call.payload["Subject"], "for a program")
        self.assertEqual(call.payload["Meta"]["MsgID"], entry["id"])
        self.assertEqual(call.payload["Meta"]["MailFrom"], "peer@there.test")

    def test_repeated(self) -> None:
        """
        A server that answers 500 twice is called a third time, the same call with
        the attempt's number (Q-73, Q-74), although the process is another by then.
        """
        web = self.web([500, 500])
        server = self.start(self.layout(incoming=f"{web.url}/in"))
        server.deliver()
        self.assertCalled(web, server, 1)
        self.wait_for_answer(server, "hello")
        self.assertEqual(server.end(), 0)
        server.restart()
        server.wait_until_up()
        # One minute and two, as the schedule says.
        calls = self.assertCalled(web, server, 3, 400)
        attempts = [call.headers["x-mox-webhook-attempt"] for call in calls]
        self.assertEqual(attempts, ["1", "2", "3"])
        self.assertEqual(len({call.headers["x-mox-webhook-id"] for call in calls}), 1)
        self.assertEqual(len({call.body for call in calls}), 1)

    def test_outgoing(self) -> None:
        """What becomes of submitted mail is told: delivered, and failed (Q-69, Q-70)."""
        self.require("unbound", "postfix")
        zones = {"there.test": f"@ 60 IN A {HOST}\n", "none.test": "@ 60 IN MX 0 .\n"}
        dns = Unbound(self.folder / "unbound", zones)
        self.addCleanup(dns.end)
        postfix = Postfix(self.folder / "postfix", domains=("there.test",), address=HOST)
        self.addCleanup(postfix.end)
        web = self.web()
        layout = self.layout(
            outgoing=f"{web.url}/out",
            resolver=resolver(dns),
            queue=f"outbound_port = {postfix.port}",
        )
        server = self.start(layout, password=True)
        server.submit("user@there.test", subject="good")
        server.submit("user@none.test", subject="bad")
        calls = self.assertCalled(web, server, 2)
        events = {call.payload["Subject"]: call.payload for call in calls}
        self.assertEqual(events["good"]["Event"], "delivered")
        self.assertEqual(events["bad"]["Event"], "failed")
        self.assertEqual(events["bad"]["SMTPEnhancedCode"], "5.1.10")
        self.assertEqual(events["good"]["Extra"], {})

    def test_refused_and_hanging(self) -> None:
        """A URL that never answers, or where nobody listens: a line in the log; mail goes on."""
        silent = socket.create_server((self.address, 0))
        self.addCleanup(silent.close)
        port = silent.getsockname()[1]
        layout = self.layout(
            incoming=f"http://{self.address}:{port}/in", webhooks='time_limit = "2s"'
        )
        server = self.start(layout)
        server.deliver(subject="to one that hangs")
        self.assertComes(server, "to one that hangs")
        until(
            lambda: "no whole answer within 2 s" in server.log(),
            what="the log tells of the call",
            log=server.log,
        )
        server.configure(
            self.layout(incoming=f"http://{self.address}:{free_port(self.address)}/in")
        )
        self.assertEqual(server.end(), 0)
        server.restart()
        server.wait_until_up()
        server.deliver(subject="to nobody")
        self.assertComes(server, "to nobody")
        until(lambda: "refused" in server.log(), what="the log tells", log=server.log)

    def test_commands(self) -> None:
        """Calls are listed, scheduled and cancelled; the history has them (Q-22, Q-23)."""
        web = self.web([500, 200, 500])
        layout = self.layout(incoming=f"{web.url}/in")
        kept = f'keep_retired_webhooks = "1d"\n{layout.account}'
        server = self.start(replace(layout, account=kept))
        server.deliver(subject="one")
        self.assertCalled(web, server, 1)
        self.wait_for_answer(server, "one")
        (entry,) = server.objects("hook", "list", "--account", "alice", "--next", ">now")
        number = str(entry["id"])
        self.assertEqual((entry["attempts"], entry["last_error"]), (1, "HTTP status 500, not 200"))
        self.assertNotIn("sesame", server.command("hook", "show", number).stdout)
        done = server.command("hook", "schedule", "--at", "now", "--event", "incoming")
        self.assertEqual(done.stdout, "1 webhook call scheduled\n", done.stderr)
        self.assertCalled(web, server, 2)
        until(lambda: bool(server.objects("hook", "retired")), what="it", log=server.log)
        payload = json.loads(server.command("hook", "show", number, "--raw").stdout)
        self.assertEqual(payload["Subject"], "one")
        server.deliver(subject="two")
        self.assertCalled(web, server, 3)
        self.wait_for_answer(server, "two")
        done = server.command("hook", "cancel", "--all")
        self.assertEqual(done.stdout, "1 webhook call cancelled\n", done.stderr)
        self.assertEqual(server.objects("hook", "list"), [])
        states = [each["state"] for each in server.objects("hook", "retired")]
        self.assertEqual(states, ["failed", "done"])

    def test_private_address(self) -> None:
        """A name with an address that is not public and not allowed is never called."""
        self.require("unbound")
        if ip_address(self.address).is_global:
            self.unavailable("this machine's address is public")
        web = self.web()
        # The address itself would be a mistake in the configuration.
        dns = Unbound(self.folder / "unbound", {"there.test": f"@ 60 IN A {self.address}\n"})
        self.addCleanup(dns.end)
        url = f"{web.url}/in".replace(self.address, "there.test")
        account = f'[account.alice.incoming_webhook]\nurl = "{url}"\n'
        server = self.start(Layout(account=account, tables={"resolver": resolver(dns)}))
        server.deliver()
        until(lambda: "not allowed" in server.log(), what="the refusal", log=server.log)
        self.assertEqual(web.calls, [])
