"""What our client makes of Postfix's extensions and refusals."""

from __future__ import annotations

import re
from typing import Any, Final

from tests.peers.certificate import make_certificate
from tests.peers.check_delivery import HOST, DeliveryTestCase
from tests.peers.postfix import Postfix
from tests.peers.process import free_port, until
from tests.peers.server import ADDRESS, Server

#: The host of less preference.
SECOND: Final = "127.0.0.3"

ZONE: Final = f"@ 60 IN MX 10 mx\nmx 60 IN A {HOST}\n"
TWO_HOSTS: Final = f"@ 60 IN MX 10 a\n@ 60 IN MX 20 b\na 60 IN A {HOST}\nb 60 IN A {SECOND}\n"

#: Recipients that are put off, and refused.
RESTRICTED: Final = """\
smtpd_recipient_restrictions = check_recipient_access
    inline:{ { later@there.test = 450 4.2.1 later }, { never@there.test = 550 5.1.1 never } },
    permit_mynetworks, reject
"""


def commands_of(postfix: Postfix) -> dict[str, int]:
    """How often each was given in the last session but the test's own, as Postfix counts."""
    ends = re.findall(r"disconnect from .*?\[.*?\] (.*)", postfix.log())
    pairs = [dict(word.split("=") for word in end.split()) for end in ends]
    mail = [pair for pair in pairs if "mail" in pair]
    return {name: int(count.partition("/")[0]) for name, count in mail[-1].items()}


class ExtensionTests(DeliveryTestCase):
    """Postfix as next hop, with what it announces."""

    programs = ("postfix", "unbound")

    def reached(self, **options: Any) -> tuple[Server, Postfix]:
        """Our server, and a Postfix that takes mail for there.test."""
        dns = self.dns({"there.test": ZONE})
        postfix = self.postfix(domains=("there.test",), address=HOST, **options)
        return self.start_for(dns, postfix.port), postfix

    def arrived(self, postfix: Postfix, server: Server) -> bytes:
        """The one message that comes to Postfix."""
        until(lambda: len(postfix.messages()) == 1, what="it arrives", log=server.log)
        return postfix.messages()[0]

    def given(self, postfix: Postfix, server: Server) -> dict[str, int]:
        """
        The commands of our session, which Postfix logs at its end; an idle one lasts
        half a minute, so our server ends.
        """
        server.end()
        until(
            lambda: bool(re.search(r"disconnect from .* mail=", postfix.log())),
            what="the session ends",
            log=postfix.log,
        )
        return commands_of(postfix)

    def test_chunks(self) -> None:
        """A short message goes by BDAT under STARTTLS, dots and all (RFC 3030)."""
        certificate = make_certificate(self.folder, "mx.there.test")
        server, postfix = self.reached(certificate=certificate)
        body = "".join(f".{n}\r\n.\r\n..\r\n" for n in range(50))
        server.submit("user@there.test", subject="short", body=body)
        text = self.arrived(postfix, server)
        self.assertTrue(text.replace(b"\n", b"\r\n").endswith(b"\r\n\r\n" + body.encode()))
        given = self.given(postfix, server)
        self.assertEqual((given.get("bdat"), given.get("data"), given["starttls"]), (1, None, 1))

    def test_one_after_the_other(self) -> None:
        """Three messages go over one session under TLS, with RSET between them (Q-94)."""
        certificate = make_certificate(self.folder, "mx.there.test")
        server, postfix = self.reached(certificate=certificate)
        for number in range(1, 4):
            server.submit("user@there.test", subject=f"number {number}")
            until(
                lambda: len(postfix.messages()) == number,  # noqa: B023 - used at once
                what="it arrives",
                log=server.log,
            )
        given = self.given(postfix, server)
        self.assertEqual(
            (given["starttls"], given["mail"], given["rset"], given["bdat"], given["quit"]),
            (1, 3, 2, 3, 1),
        )

    def test_long(self) -> None:
        """A long one goes by DATA, in pieces, dots stuffed (Q-68)."""
        server, postfix = self.reached()
        body = "".join(f".{n} {'x' * 60}\r\n.\r\n" for n in range(20_000))
        server.submit("user@there.test", subject="long", body=body)
        text = self.arrived(postfix, server)
        self.assertTrue(text.replace(b"\n", b"\r\n").endswith(b"\r\n\r\n" + body.encode()))
        given = self.given(postfix, server)
        self.assertEqual((given.get("bdat"), given.get("data")), (None, 1))

    def test_without(self) -> None:
        """Without CHUNKING and PIPELINING it arrives all the same (Q-66)."""
        server, postfix = self.reached(
            settings="smtpd_discard_ehlo_keywords = chunking, pipelining, silent-discard\n"
        )
        server.submit("user@there.test", "other@there.test", body=".a\r\n")
        until(lambda: len(postfix.messages()) == 2, what="both arrive", log=server.log)
        self.assertTrue(postfix.messages()[0].endswith(b"\n\n.a\n"))

    def test_limit(self) -> None:
        """A message over the announced SIZE is not said at all, and bounces with 5.3.4 (Q-65)."""
        server, postfix = self.reached(settings="message_size_limit = 20000\n")
        server.submit("user@there.test", body="x" * 70 + "\r\n" * 30_000)
        self.assertBounced(self.bounce(server), "5.3.4")
        self.assertNotIn("mail=", postfix.log())

    def test_utf8(self) -> None:
        """An address that is more than ASCII goes with SMTPUTF8 (Q-65)."""
        server, postfix = self.reached(settings="smtputf8_enable = yes\n")
        text = f"From: {ADDRESS}\r\nTo: grüße@there.test\r\nSubject: grüße\r\n\r\nß\r\n"
        with server.submission() as client:
            client.ehlo()
            client.sendmail(
                ADDRESS, ["grüße@there.test"], text.encode(), ["SMTPUTF8", "BODY=8BITMIME"]
            )
        received = self.arrived(postfix, server)
        self.assertIn("Subject: grüße".encode(), received)
        self.assertRegex(received, rb"with UTF8SMTPS? ")
        self.assertIn("grüße@there.test".encode(), received)

    def refused(self, settings: str = "") -> dict[str, int]:
        """
        A message is refused for its content, and bounces with that reply.

        @return: The commands of the session.
        """
        rule = self.folder / "rule"
        rule.write_text("/^Subject: bad/ REJECT we know that one\n")
        server, postfix = self.reached(settings=f"header_checks = regexp:{rule}\n{settings}")
        server.submit("user@there.test", subject="bad news")
        bounce = self.bounce(server)
        self.assertBounced(bounce, "5.7.1")
        self.assertIn("we know that one", bounce.as_string())
        return self.given(postfix, server)

    def test_refused_chunk(self) -> None:
        """What is refused as a chunk bounces with that reply (Q-19)."""
        self.assertIn("bdat", self.refused())

    def test_refused_data(self) -> None:
        """What is refused behind DATA bounces with that reply (Q-19)."""
        self.assertIn("data", self.refused("smtpd_discard_ehlo_keywords = chunking\n"))

    def test_wishes(self) -> None:
        """
        A sender's wishes for reports are handed on (RFC 3461): Postfix then
        reports success, with envelope id and original recipient.
        """
        dns = self.dns({"there.test": ZONE})
        port = free_port(HOST)
        server = self.start_for(dns, port)
        postfix = self.postfix(
            domains=("there.test",),
            address=HOST,
            port=port,
            routes={"here.test": f"127.0.0.1:{server.ports['smtp']}"},
        )
        text = f"From: {ADDRESS}\r\nTo: user@there.test\r\nSubject: tell me\r\n\r\nhi\r\n"
        with server.submission() as client:
            client.sendmail(
                ADDRESS,
                ["user@there.test"],
                text,
                ["RET=HDRS", "ENVID=QQ+2B314"],
                ["NOTIFY=SUCCESS,FAILURE", "ORCPT=rfc822;first+3D@else.test"],
            )
        self.arrived(postfix, server)
        report = self.bounce(server).as_string()
        self.assertIn("Action: delivered", report)
        self.assertIn("Original-Envelope-Id: QQ+314", report)
        self.assertIn("Original-Recipient: rfc822;first=@else.test", report)


class RefusalTests(DeliveryTestCase):
    """Postfix as next hop that does not want what it is brought."""

    programs = ("postfix", "unbound")

    def test_each_recipient(self) -> None:
        """One is delivered to, one put off, one refused, in one transaction (Q-19, Q-32)."""
        dns = self.dns({"there.test": ZONE})
        postfix = self.postfix(domains=("there.test",), address=HOST, settings=RESTRICTED)
        server = self.start_for(dns, postfix.port)
        server.submit("user@there.test", "later@there.test", "never@there.test")
        until(lambda: len(postfix.messages()) == 1, what="it arrives", log=server.log)
        bounce = self.bounce(server)
        self.assertBounced(bounce, "5.1.1")
        self.assertIn("never@there.test", bounce.as_string())
        waiting = server.wait_until_tried()
        self.assertEqual((waiting["rcpt_to"], waiting["attempts"]), ("later@there.test", 1))

    def two(self, first: str) -> tuple[Postfix, Postfix, Server]:
        """Two hosts on one port, the preferred with settings of its own, and our server."""
        port = free_port(HOST, SECOND)
        hosts = [
            Postfix(
                self.folder / f"postfix{address}",
                domains=("there.test",),
                address=address,
                port=port,
                settings=settings,
            )
            for address, settings in ((HOST, first), (SECOND, ""))
        ]
        for host in hosts:
            self.addCleanup(host.end)
        dns = self.dns({"there.test": TWO_HOSTS})
        return hosts[0], hosts[1], self.start_for(dns, port)

    def test_unwelcome(self) -> None:
        """A host that greets with 554 is passed over, and the next takes the message (Q-95)."""
        unwelcome = "smtpd_delay_reject = no\nsmtpd_client_restrictions = reject\n"
        first, second, server = self.two(unwelcome)
        server.submit("user@there.test")
        until(lambda: len(second.messages()) == 1, what="it arrives", log=server.log)
        self.assertEqual((first.messages(), server.mail()), ([], []))
        first.wait_for_log("reject: CONNECT")

    def test_put_off(self) -> None:
        """A host that answers 4xx to MAIL is passed over likewise (Q-34)."""
        first, second, server = self.two(
            "smtpd_sender_restrictions = check_sender_access"
            " inline:{ alice@here.test=450 4.7.1 busy }\nsmtpd_delay_reject = no\n"
        )
        server.submit("user@there.test")
        until(lambda: len(second.messages()) == 1, what="it arrives", log=server.log)
        first.wait_for_log("4.7.1")
