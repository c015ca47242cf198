"""C{moxsmtp route} with unbound, which validates a zone that the test signs."""

from __future__ import annotations

import json
from typing import Any, Final

from tests.peers.check_delivery import HOST, DeliveryTestCase
from tests.peers.check_unbound import signed
from tests.peers.process import free_port
from tests.peers.server import Server
from tests.peers.unbound import Unbound

_RECORD: Final = f"3 1 1 {'ab' * 32}"


class RouteTests(DeliveryTestCase):
    """What would happen, as the running server says it and as its file does."""

    programs = ("unbound",)

    def there(self, *, expired: bool = False) -> Server:
        """Our server, and there.test with a mail server that has a TLSA record."""
        self.port = free_port(HOST)
        records = (
            f"@ 60 IN MX 10 mx\nmx 60 IN A {HOST}\n_{self.port}._tcp.mx 60 IN TLSA {_RECORD}\n"
        )
        text, anchor = signed("there.test", records, expired=expired)
        dns = Unbound(self.folder / "unbound", {}, signed={"there.test": text}, anchors=anchor)
        self.addCleanup(dns.end)
        return self.start_for(dns, self.port)

    def told(self, server: Server, *words: str, status: int = 0) -> dict[str, Any]:
        """By the running server and offline, which say the same."""
        entries = []
        for option in ((), ("--offline",)):
            done = server.command("route", "user@there.test", *words, *option, "--json")
            self.assertEqual(status, done.returncode, done.stdout + done.stderr)
            entries.append(json.loads(done.stdout))
            if status:
                # unbound gives other reasons at other times.
                self.assertIn("SERVFAIL", entries[-1]["failure"].pop("error"))
        self.assertEqual(*entries)
        entry: dict[str, Any] = entries[0]
        return entry

    def test_signed(self) -> None:
        """Mail server and TLSA record with their DNSSEC, and what follows for TLS (Q-48, Q-56)."""
        server = self.there()
        entry = self.told(server)
        self.assertTrue(entry["next_hop"]["authentic"])
        (host,) = entry["hosts"]
        self.assertEqual(("mx.there.test", self.port), (host["host"], host["port"]))
        self.assertEqual([HOST], [reach["address"] for reach in host["addresses"]])
        self.assertEqual([_RECORD], host["tls"]["tlsa"])
        self.assertEqual("always", host["tls"]["starttls"])
        self.assertIsNone(entry["mta_sts"])
        shown = server.command("route", "user@there.test").stdout
        self.assertIn("next hop   mx.there.test (MX of there.test, with DNSSEC)", shown)
        self.assertIn(f"TLSA {_RECORD}", shown)

    def test_bogus(self) -> None:
        """A zone whose signatures do not count: mail would wait, and that is the outcome."""
        entry = self.told(self.there(expired=True), status=1)
        self.assertFalse(entry["failure"]["permanent"])
        self.assertEqual([], entry["hosts"])

    def test_waits_for_nobody(self) -> None:
        """Once the server is gone, the file answers."""
        server = self.there()
        server.end()
        done = server.command("route", "user@there.test")
        self.assertEqual(0, done.returncode, done.stderr)
        self.assertIn("mx.there.test", done.stdout)
