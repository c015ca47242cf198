"""Mail that leaves by other ways than directly: smarthosts, and a SOCKS5 proxy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from tests.peers.certificate import make_certificate
from tests.peers.check_delivery import HOST, DeliveryTestCase, resolver
from tests.peers.dovecot import DovecotLogins
from tests.peers.postfix import Postfix
from tests.peers.process import until
from tests.peers.server import ADDRESS, PASSWORD, Layout, Server
from tests.peers.socks import SocksProxy

MECHANISMS = (
    "SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-1", "CRAM-MD5", "PLAIN",
)  # fmt: skip


def smarthost(port: int, *lines: str, user: str = ADDRESS, password: str = PASSWORD) -> str:
    """A transport of this machine, and the route that takes everything there."""
    more = "\n".join(lines)
    return f"""
[transport.relay]
kind = "smarthost"
host = "127.0.0.1"
port = {port}
username = "{user}"
password = "{password}"
{more}
[[route]]
transport = "relay"
"""


def wait_for_route(server: Server, mechanism: str) -> None:
    """Until a reload is obeyed."""
    until(
        lambda: f"by {mechanism}\n" in server.command("route", "there.test").stdout,
        what="the configuration is obeyed",
        log=server.log,
    )


def wait_for(count: int, messages: Callable[[], Sequence[object]], server: Server) -> None:
    """Until so many have come through."""
    until(lambda: len(messages()) == count, what="it is there", log=server.log)


class OwnSmarthostTests(DeliveryTestCase):
    """Our own submission service as the smarthost."""

    def setUp(self) -> None:
        super().setUp()
        self.relay = Server(self.folder / "relay")
        self.addCleanup(self._finish, self.relay)
        self.relay.wait_until_up()
        self.relay.set_password()

    def begin(self, text: str) -> Server:
        """A server that hands everything to it, and trusts its certificate."""
        trusted = f'certificates = "{self.relay.certificate.file}"'
        return self.start(Layout(rest=text, tables={"outbound": trusted}), password=True)

    def logins(self, mechanism: str, result: str = "ok") -> int:
        """How many there were at the smarthost."""
        labels = f'kind="submission",result="{result}",variant="{mechanism.lower()}"'
        name = f"mox_authentication_total{{{labels}}} "
        for line in self.relay.ask("/metrics")[1].splitlines():
            if line.startswith(name):
                return int(float(line.removeprefix(name)))
        return 0

    def test_each_mechanism(self) -> None:
        """
        Every mechanism logs in, those with a channel binding bound to the TLS
        of both ends, and the mail is there (Q-43, Q-44).  After each reload it is
        another login, and so another session (Q-94).
        """
        server = self.begin("")
        port = self.relay.ports["submission"]
        trusted = f'certificates = "{self.relay.certificate.file}"'
        for count, mechanism in enumerate(MECHANISMS, 1):
            text = smarthost(port, f'mechanisms = ["{mechanism}"]')
            server.configure(Layout(rest=text, tables={"outbound": trusted}))
            server.reload()
            wait_for_route(server, mechanism)
            server.submit("user@there.test", subject=mechanism)
            wait_for(count, self.relay.queue, server)
            self.assertEqual(1, self.logins(mechanism), mechanism)
        until(lambda: server.queue() == [], what="the queue is empty", log=server.log)

    def test_best(self) -> None:
        """Of all that are usual, the first that is offered, under TLS from the start (Q-44)."""
        port = self.relay.ports["submissions"]
        server = self.begin(smarthost(port, 'tls = "immediate"'))
        server.submit("user@there.test")
        until(self.relay.queue, what="it is there", log=server.log)
        self.assertEqual(1, self.logins("SCRAM-SHA-256-PLUS"))

    def test_wrong_password(self) -> None:
        """It waits: nothing bounces, nobody is suppressed, and the reason is told (Q-44)."""
        port = self.relay.ports["submission"]
        server = self.begin(smarthost(port, password="wrong"))
        server.submit("user@there.test")
        until(
            lambda: "login failed" in (server.queue()[0].get("last_error") or ""),
            what="the attempt has failed", log=server.log,
        )  # fmt: skip
        self.assertEqual([], self.relay.queue())
        self.assertEqual([], server.mail())
        self.assertEqual([], server.objects("suppression", "list"))

    def test_untrusted(self) -> None:
        """A smarthost with another certificate gets neither the password nor the mail (Q-43)."""
        other = make_certificate(self.folder, "other.test")
        text = smarthost(self.relay.ports["submission"], 'mechanisms = ["PLAIN"]')
        layout = Layout(rest=text, tables={"outbound": f'certificates = "{other.file}"'})
        server = self.start(layout, password=True)
        server.submit("user@there.test")
        until(
            lambda: server.queue()[0].get("last_error"),
            what="the attempt has failed", log=server.log,
        )  # fmt: skip
        self.assertEqual(0, self.logins("PLAIN"))
        self.assertEqual([], self.relay.queue())


class PostfixSmarthostTests(DeliveryTestCase):
    """Postfix as the smarthost, which asks Dovecot who logs in."""

    programs = ("postfix", "dovecot", "unbound")

    def test_mechanisms(self) -> None:
        """
        Those that Dovecot offers, from SCRAM-SHA-256 downwards, all let us in
        (Q-44), each in a session of its own (Q-94).
        """
        certificate = make_certificate(self.folder, "mx.there.test")
        dovecot = DovecotLogins(self.folder / "dovecot")
        self.addCleanup(dovecot.end)
        postfix = Postfix(
            self.folder / "postfix",
            domains=("there.test",),
            certificate=certificate,
            settings=f"""
smtpd_sasl_auth_enable = yes
smtpd_sasl_type = dovecot
smtpd_sasl_path = inet:127.0.0.1:{dovecot.port}
smtpd_tls_auth_only = yes
smtpd_recipient_restrictions = permit_sasl_authenticated, reject
""",
        )
        self.addCleanup(postfix.end)
        trusted = {"outbound": f'certificates = "{certificate.file}"'}
        server: Server | None = None
        for count, mechanism in enumerate(("SCRAM-SHA-256", "SCRAM-SHA-1", "CRAM-MD5", "PLAIN"), 1):
            text = smarthost(
                postfix.port, f'mechanisms = ["{mechanism}"]', user="user", password="secret"
            )  # fmt: skip
            if server is None:
                server = self.start(Layout(rest=text, tables=trusted), password=True)
            else:
                server.configure(Layout(rest=text, tables=trusted))
                server.reload()
            wait_for_route(server, mechanism)
            server.submit("user@there.test", subject=mechanism)
            wait_for(count, postfix.messages, server)
            postfix.wait_for_log(f"sasl_method={mechanism}, sasl_username=user")


class SocksTests(DeliveryTestCase):
    """Through a SOCKS5 proxy in front of Postfix."""

    programs = ("postfix", "unbound")

    def begin(self) -> tuple[SocksProxy, Postfix, Server]:
        """The proxy connects from 127.0.0.4."""
        dns = self.dns({"there.test": f"@ 60 IN MX 10 mx\nmx 60 IN A {HOST}\n"})
        certificate = make_certificate(Path(self.folder), "mx.there.test")
        postfix = self.postfix(domains=("there.test",), certificate=certificate, address=HOST)
        proxy = SocksProxy("127.0.0.4")
        self.addCleanup(proxy.end)
        text = f"""
[transport.proxy]
kind = "socks"
host = "127.0.0.1"
port = {proxy.port}
remote_hostname = "proxy.there.test"
[[route]]
transport = "proxy"
to_domains = [".there.test"]
"""
        queue = f'outbound_port = {postfix.port}\nretry_after = "5s"'
        layout = Layout(rest=text, tables={"resolver": resolver(dns), "queue": queue})
        return proxy, postfix, self.start(layout, password=True, page="/readyz")

    def test_delivers(self) -> None:
        """
        The proxy is asked for the address and port of the mail server; that one
        sees the proxy and hears the name of its host, and TLS goes through (Q-43).
        """
        proxy, postfix, server = self.begin()
        body = "".join(f"{n} a line of a message that takes several reads\r\n" for n in range(9000))
        server.submit("user@there.test", body=body)
        until(postfix.messages, what="it arrives", log=server.log)
        self.assertEqual([(HOST, postfix.port)], proxy.asked)
        (message,) = postfix.messages()
        self.assertIn(b"from proxy.there.test (", message)
        self.assertIn(b"[127.0.0.4]", message)
        self.assertIn(b"using TLSv1.3", message)
        self.assertTrue(message.replace(b"\n", b"\r\n").endswith(body.encode()))

    def test_refused(self) -> None:
        """A proxy that connects nobody delays the mail; later it leaves."""
        proxy, postfix, server = self.begin()
        proxy.code = 5
        server.submit("user@there.test")
        until(
            lambda: "connection refused" in str(server.queue()[0].get("last_error")),
            what="the proxy's word is told", log=server.log,
        )  # fmt: skip
        proxy.code = 0
        until(postfix.messages, what="it arrives", log=server.log)
