"""
Postfix as our client, with all that it makes use of where it is offered.

CHUNKING is not among that: Postfix takes BDAT, but has no client that says it, and
neither have swaks and curl.  So its chunks come from a client of the test's.
"""

from __future__ import annotations

import smtplib
from typing import Final

from tests.peers.postfix import Postfix
from tests.peers.process import until
from tests.peers.server import ADDRESS, Layout, Server, ServerTestCase

_TRACE: Final = {"log": 'level = "trace"'}
_TRACED: Final = Layout(tables=_TRACE)

#: Postfix is one of the machines that mail is relayed for.
_RELAY: Final = '[[relay]]\nname = "postfix"\nnetworks = ["127.0.0.1/32"]\n'


class PostfixClientTests(ServerTestCase):
    """It is given mail by smtplib, and brings it to our port 25."""

    programs = ("postfix",)

    def pair(self, layout: Layout = _TRACED) -> tuple[Server, Postfix]:
        """Mail for here.test and elsewhere.test goes from the one to the other."""
        server = self.start(layout)
        hop = f"127.0.0.1:{server.ports['smtp']}"
        postfix = Postfix(self.folder / "postfix", routes={"here.test": hop, "elsewhere.test": hop})
        self.addCleanup(postfix.end)
        return server, postfix

    def hand_in(
        self,
        postfix: Postfix,
        message: bytes,
        sender: str = "peer@there.test",
        recipients: tuple[str, ...] = (ADDRESS,),
        *,
        mail: tuple[str, ...] = (),
        rcpt: tuple[str, ...] = (),
    ) -> None:
        """With these parameters of MAIL and RCPT."""
        with smtplib.SMTP(postfix.address, postfix.port) as client:
            client.ehlo()
            if "SMTPUTF8" in mail:
                client.command_encoding = "utf-8"
            self.assertEqual(250, client.mail(sender, mail)[0])
            for recipient in recipients:
                self.assertEqual(250, client.rcpt(recipient, rcpt)[0])
            self.assertEqual(250, client.data(message)[0])

    def heard(self, server: Server, start: str) -> list[str]:
        """Lines that the server's trace has of its clients."""
        lines = server.log().splitlines()
        return [line[line.index(start) :] for line in lines if start in line]

    def test_tls(self) -> None:
        """It insists on TLS, trusts our certificate, and its mail comes encrypted (S-34, S-85)."""
        server = self.start(_TRACED)
        postfix = Postfix(
            self.folder / "postfix",
            routes={"here.test": f"localhost:{server.ports['smtp']}"},
            settings="smtp_tls_security_level = verify\nsmtp_tls_verify_cert_match = hostname\n"
            "smtp_host_lookup = native\nsmtp_tls_loglevel = 1\n"
            f"smtp_tls_CAfile = {server.certificate.file}\n",
        )
        self.addCleanup(postfix.end)
        self.hand_in(postfix, b"From: peer@there.test\r\nSubject: secret\r\n\r\ntext\r\n")
        raw = server.raw(self.assertComes(server, "secret")["id"])
        self.assertRegex(raw, rb"with ESMTPS\b")
        self.assertRegex(raw, rb"TLS1\.3\s+TLS_")
        postfix.wait_for_log("Verified TLS connection established to localhost")

    def test_8bitmime(self) -> None:
        """8-bit text comes as it is, and is said to (S-60)."""
        server, postfix = self.pair()
        body = "grüße aus der ferne\r\n".encode()
        self.hand_in(
            postfix, b"From: peer@there.test\r\nSubject: eight\r\n\r\n" + body,
            mail=("BODY=8BITMIME",),
        )  # fmt: skip
        raw = server.raw(self.assertComes(server, "eight")["id"])
        self.assertTrue(raw.endswith(b"\r\n\r\n" + body))
        (line,) = self.heard(server, "MAIL FROM:<peer@there.test>")
        self.assertIn("BODY=8BITMIME", line)

    def test_smtputf8(self) -> None:
        """A sender and a header field with UTF-8 come as they are (S-62, S-85)."""
        server, postfix = self.pair()
        message = "From: grüße@there.test\r\nSubject: ümlaut\r\n\r\ntext\r\n".encode()
        self.hand_in(postfix, message, "grüße@there.test", mail=("SMTPUTF8", "BODY=8BITMIME"))
        raw = server.raw(self.assertComes(server, "ümlaut")["id"])
        # Postfix has put fields of its own in front.
        self.assertIn(message.partition(b"\r\n\r\n")[0], raw)
        self.assertRegex(raw, rb"with UTF8SMTPS\b")
        self.assertIn("Return-Path: <grüße@there.test>\r\n".encode(), raw)
        (line,) = self.heard(server, "MAIL FROM:<gr")
        self.assertIn(" SMTPUTF8", line)

    def test_dsn(self) -> None:
        """What its client wants to be told goes by Postfix into our queue (RFC 3461)."""
        server, postfix = self.pair(Layout(tables=_TRACE, rest=_RELAY))
        self.hand_in(
            postfix,
            b"From: peer@there.test\r\nSubject: report\r\n\r\ntext\r\n",
            recipients=("x@elsewhere.test",),
            mail=("RET=HDRS", "ENVID=a+2Bb"),
            rcpt=("NOTIFY=FAILURE,DELAY", "ORCPT=rfc822;first+2Bx@elsewhere.test"),
        )
        until(server.queue, what="it is queued", log=server.log)
        (entry,) = server.queue()
        self.assertEqual("HDRS", entry["dsn_return"])
        self.assertEqual({"FAILURE", "DELAY"}, set(entry["dsn_notify"].split(",")))
        self.assertIn(entry["envelope_id"], {"a+b", "a+2Bb"})
        self.assertIn("elsewhere.test", entry["original_recipient"])
        (line,) = self.heard(server, "RCPT TO:<x@elsewhere.test>")
        self.assertIn("NOTIFY=FAILURE,DELAY", line)

    def test_many(self) -> None:
        """A hundred messages by sessions that go on are all there, once each (S-22)."""
        server, postfix = self.pair(Layout())
        with smtplib.SMTP(postfix.address, postfix.port) as client:
            for number in range(100):
                text = f"From: peer@there.test\r\nSubject: {number}\r\n\r\n.{number}\r\n"
                client.sendmail("peer@there.test", [ADDRESS], text.encode())
        until(postfix.is_idle, what="Postfix is done", log=postfix.log)
        subjects = [entry["subject"] for entry in server.mail()]
        self.assertEqual(sorted(map(str, range(100))), sorted(subjects))


class ChunkTests(ServerTestCase):
    """A client of our own that says BDAT (RFC 3030)."""

    def test_chunks(self) -> None:
        """
        Announced, and taken in one go with the envelope, under TLS too: what is stored is what
        was sent, dots and all.
        """
        server = self.start()
        body = b".\r\n..\r\nQUIT\r\n" + b"x" * 70_000 + b"\r\n"
        for secure in (False, True):
            subject = b"chunks %d" % secure
            message = b"From: peer@there.test\r\nSubject: " + subject + b"\r\n\r\n" + body
            with server.client() as client:
                if secure:
                    client.starttls(context=server.tls())
                client.ehlo()
                self.assertTrue(client.has_extn("chunking"))
                first, rest = message[:30], message[30:]
                client.send(b"MAIL FROM:<peer@there.test>\r\nRCPT TO:<%s>\r\n" % ADDRESS.encode())
                client.send(b"BDAT %d\r\n%s" % (len(first), first))
                client.send(b"BDAT %d LAST\r\n%s" % (len(rest), rest))
                replies = [client.getreply() for _ in range(4)]
                self.assertEqual([250] * 4, [code for code, _ in replies], replies)
            raw = server.raw(self.assertComes(server, subject.decode())["id"])
            self.assertTrue(raw.endswith(message))
