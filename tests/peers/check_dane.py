"""Mail to a Postfix whose domain says by DANE what its certificate is."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.peers.authority import Authority
from tests.peers.certificate import Certificate, make_certificate
from tests.peers.check_delivery import HOST, DeliveryTestCase
from tests.peers.check_unbound import signed
from tests.peers.postfix import Postfix
from tests.peers.process import free_port, until
from tests.peers.server import Server
from tests.peers.unbound import Unbound

_HOST_NAME: Final = "mx.there.test"


def end_entity(certificate: Certificate) -> str:
    """The record of its key: C{3 1 1}."""
    loaded = x509.load_pem_x509_certificate(certificate.file.read_bytes())
    public = loaded.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return f"3 1 1 {hashlib.sha256(public).hexdigest()}"


def whole(file: Path) -> str:
    """The record that has all of an authority's certificate: C{2 0 0}."""
    loaded = x509.load_pem_x509_certificate(file.read_bytes())
    return f"2 0 0 {loaded.public_bytes(Encoding.DER).hex()}"


class DaneTests(DeliveryTestCase):
    """unbound validates a zone that the test signs; Postfix is its mail server."""

    programs = ("postfix", "unbound")

    def setUp(self) -> None:
        """A certificate that nobody vouches for but the DNS."""
        super().setUp()
        self.port = free_port(HOST)
        self.certificate = make_certificate(self.folder, _HOST_NAME)

    def there(
        self,
        record: str,
        *,
        certificate: Certificate | None = None,
        expired: bool = False,
        forge: Mapping[str, str] | None = None,
        retry_after: str = "1h",
    ) -> tuple[Server, Postfix]:
        """
        Our server, and there.test with a Postfix.

        @param record: Of TLSA.
        @param forge: What is put in place of what in the zone once it is signed.
        """
        records = f"@ 60 IN MX 10 mx\nmx 60 IN A {HOST}\n_{self.port}._tcp.mx 60 IN TLSA {record}\n"
        text, anchor = signed("there.test", records, expired=expired)
        for genuine, forged in (forge or {}).items():
            self.assertIn(genuine, text)
            text = text.replace(genuine, forged)
        dns = Unbound(self.folder / "unbound", {}, signed={"there.test": text}, anchors=anchor)
        self.addCleanup(dns.end)
        postfix = self.postfix(
            domains=("there.test",), certificate=certificate, address=HOST, port=self.port
        )
        return self.start_for(dns, self.port, retry_after=retry_after), postfix

    def assertArrives(self, server: Server, postfix: Postfix) -> None:
        """Mail does, under TLS."""
        server.submit("user@there.test", subject="sent")
        until(lambda: len(postfix.messages()) == 1, what="it arrives", log=server.log)
        self.assertIn(b"using TLSv1.3", postfix.messages()[0])
        until(lambda: server.queue() == [], what="the queue is empty", log=server.log)

    def assertDelayed(self, server: Server, postfix: Postfix, reason: str) -> None:
        """Mail waits for another attempt, and none of it has left."""
        server.submit("user@there.test", subject="kept")
        entries: list[dict[str, Any]] = []

        def is_tried() -> bool:
            entries[:] = server.queue()
            return bool(entries) and reason in json.dumps(entries)

        until(is_tried, what=f"an attempt fails for: {reason}", log=server.log)
        self.assertEqual(len(entries), 1)
        self.assertNotIn("mail=", postfix.log())
        self.assertEqual(postfix.messages(), [])

    def results(self, server: Server) -> dict[str, Any]:
        """What would be reported of the host."""
        server.end()
        with sqlite3.connect(server.folder / "data" / "moxsmtp.db") as database:
            ((text,),) = database.execute(
                "SELECT results FROM tls_result WHERE policy_domain = ?", (_HOST_NAME,)
            )
        (result,) = json.loads(text)
        found: dict[str, Any] = result
        return found

    def test_right(self) -> None:
        """The right record: mail goes over TLS that DANE verified, whoever signed (Q-58)."""
        record = end_entity(self.certificate)
        server, postfix = self.there(record, certificate=self.certificate)
        self.assertArrives(server, postfix)
        result = self.results(server)
        self.assertEqual(result["policy"]["policy-type"], "tlsa")
        self.assertEqual(result["policy"]["policy-string"][0].lower(), record)
        self.assertEqual(result["summary"]["total-successful-session-count"], 1)
        self.assertEqual(result["failure-details"], [])

    def test_wrong(self) -> None:
        """A wrong record: mail waits, and goes neither in the clear (Q-59)."""
        record = f"3 1 1 {32 * 'ab'}"
        server, postfix = self.there(record, certificate=self.certificate)
        self.assertDelayed(server, postfix, "TLSA")
        (details,) = self.results(server)["failure-details"]
        self.assertEqual(details["failure-reason-code"], "dane-no-match")
        self.assertEqual(details["receiving-ip"], HOST)

    def test_authority(self) -> None:
        """An authority that is whole in the record vouches for the host by its name (Q-58)."""
        authority = Authority(self.folder, "private")
        server, postfix = self.there(whole(authority.file), certificate=authority.issue(_HOST_NAME))
        self.assertArrives(server, postfix)

    def test_authority_other_name(self) -> None:
        """The same authority, but a certificate for another host: mail waits (Q-58)."""
        authority = Authority(self.folder, "private")
        server, postfix = self.there(
            whole(authority.file), certificate=authority.issue("mx.else.test")
        )
        self.assertDelayed(server, postfix, "TLSA")

    def test_unusable(self) -> None:
        """A record of no use: TLS all the same, unverified (Q-59)."""
        server, postfix = self.there(f"1 1 1 {32 * 'ab'}", certificate=self.certificate)
        self.assertArrives(server, postfix)

    def test_no_starttls(self) -> None:
        """A host with a record that offers no TLS gets nothing (Q-59)."""
        server, postfix = self.there(end_entity(self.certificate))
        self.assertDelayed(server, postfix, "STARTTLS")

    def test_forged_record(self) -> None:
        """
        A record that was changed on the way makes the look-up fail: mail waits
        rather than go unverified (Q-56, section 20, trap 14).
        """
        record = end_entity(self.certificate)
        digest = record.split()[-1]
        server, postfix = self.there(
            record, certificate=self.certificate, forge={digest: 32 * "cd"}
        )
        self.assertDelayed(server, postfix, "SERVFAIL")
        (details,) = self.results(server)["failure-details"]
        self.assertEqual(details["result-type"], "dnssec-invalid")

    def test_bogus_zone(self) -> None:
        """A zone whose signatures have expired: mail waits, and nobody is connected to (Q-47)."""
        record = end_entity(self.certificate)
        server, postfix = self.there(record, certificate=self.certificate, expired=True)
        self.assertDelayed(server, postfix, "SERVFAIL")
