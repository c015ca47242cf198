"""swaks, curl and Python's smtplib send and submit."""

from __future__ import annotations

import smtplib
from email.message import EmailMessage

from tests.peers.server import ADDRESS, PASSWORD, Layout, Server, ServerTestCase


class SwaksTests(ServerTestCase):
    """swaks, the Swiss army knife for SMTP."""

    programs = ("swaks",)

    def swaks(self, server: Server, service: str, *options: str) -> str:
        """Its transcript; it must succeed."""
        done = self.run_program(
            *("swaks", "--server", "127.0.0.1", "--port", str(server.ports[service])),
            *("--helo", "client.test", "--timeout", "120", *options),
        )
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout

    def test_sends(self) -> None:
        """A message brought to port 25 is listed with its subject, and shown as it was sent."""
        server = self.start()
        self.swaks(
            *(server, "smtp", "--from", "peer@there.test", "--to", ADDRESS),
            *("--header", "Subject: from swaks", "--body", "one line\n..and a dot"),
        )
        entry = self.assertComes(server, "from swaks")
        self.assertIn(b"one line\r\n..and a dot\r\n", server.raw(entry["id"]))

    def test_starttls(self) -> None:
        """STARTTLS on port 25 works, and the trace header field tells of it (S-34, S-85, S-86)."""
        server = self.start()
        self.swaks(
            *(server, "smtp", "--tls", "--from", "peer@there.test", "--to", ADDRESS),
            *("--header", "Subject: under TLS"),
        )
        raw = server.raw(self.assertComes(server, "under TLS")["id"])
        self.assertRegex(raw, rb"with ESMTPS\b")
        self.assertRegex(raw, rb"TLS1\.3\s+TLS_")

    def test_submits(self) -> None:
        """PLAIN and LOGIN under STARTTLS let a user hand in mail (S-46, S-47, S-54)."""
        server = self.start(password=True)
        for mechanism in ("PLAIN", "LOGIN"):
            text = self.swaks(
                *(server, "submission", "--tls", "--auth", mechanism),
                *("--auth-user", ADDRESS, "--auth-password", PASSWORD),
                *("--from", ADDRESS, "--to", "somebody@there.test"),
            )
            self.assertIn("235 2.7.0", text)
        self.assertEqual(len(server.queue()), 2)

    def test_submits_with_tls_from_the_start(self) -> None:
        """So does TLS from the first octet."""
        server = self.start(password=True)
        self.swaks(
            *(server, "submissions", "--tls-on-connect", "--auth", "PLAIN"),
            *("--auth-user", ADDRESS, "--auth-password", PASSWORD),
            *("--from", ADDRESS, "--to", "somebody@there.test"),
        )
        self.assertEqual(len(server.queue()), 1)

    def test_wrong_password(self) -> None:
        """A wrong password is refused with 535 (S-46), and no password passes in clear (S-45)."""
        server = self.start(password=True)
        done = self.run_program(
            *("swaks", "--server", "127.0.0.1", "--port", str(server.ports["submission"])),
            *("--tls", "--auth", "PLAIN", "--auth-user", ADDRESS, "--auth-password", "wrong"),
            *("--from", ADDRESS, "--to", "somebody@there.test"),
        )
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("535 5.7.8", done.stdout)
        with smtplib.SMTP("127.0.0.1", server.ports["submission"]) as client:
            client.ehlo()
            self.assertFalse(client.has_extn("auth"))
            code, text = client.docmd("AUTH", "PLAIN")
        self.assertEqual((code, text[:7]), (538, b"5.7.11 "))


class CurlTests(ServerTestCase):
    """curl, as scripts use it."""

    programs = ("curl",)

    def test_sends(self) -> None:
        """C{smtp://} brings a message."""
        server = self.start()
        done = self.run_program(
            *("curl", "--silent", "--show-error", f"smtp://127.0.0.1:{server.ports['smtp']}"),
            *("--mail-from", "peer@there.test", "--mail-rcpt", ADDRESS, "--upload-file", "-"),
            text="Subject: from curl\n\nIt works.\n",
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertComes(server, "from curl")

    def test_submits(self) -> None:
        """C{smtps://} with a user and the server's certificate hands one in."""
        server = self.start(password=True)
        done = self.run_program(
            *("curl", "--silent", "--show-error", "--cacert", server.certificate.file),
            *(
                f"smtps://localhost:{server.ports['submissions']}",
                "--user",
                f"{ADDRESS}:{PASSWORD}",
            ),
            *("--mail-from", ADDRESS, "--mail-rcpt", "somebody@there.test", "--upload-file", "-"),
            text=f"From: {ADDRESS}\nSubject: from curl\n\nIt works, too.\n",
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual([entry["subject"] for entry in server.queue()], ["from curl"])


class LibraryTests(ServerTestCase):
    """Python's own client."""

    def test_session(self) -> None:
        """Several messages on one connection arrive in their order."""
        server = self.start()
        with server.client() as client:
            for number in range(5):
                message = EmailMessage()
                message["From"], message["To"] = "peer@there.test", ADDRESS
                message["Subject"] = f"number {number}"
                message.set_content("grüße\n.\n..\nfrom a dot\n")
                client.send_message(message)
        self.assertComes(server, "number 4")
        subjects = [entry["subject"] for entry in server.mail()]
        self.assertEqual(sorted(subjects), [f"number {number}" for number in range(5)])

    def test_content_is_kept(self) -> None:
        """What arrives is what was sent, behind the trace fields, 1 MiB of it."""
        server = self.start()
        body = b"".join(b".%d: %s\r\n" % (n, b"x" * (n % 900)) for n in range(2300))
        server.deliver(subject="large", body=body)
        raw = server.raw(self.assertComes(server, "large")["id"])
        self.assertTrue(raw.endswith(b"Subject: large\r\n\r\n" + body))
        trace = b"Delivered-To: alice@here.test\r\nReturn-Path: <peer@there.test>\r\n"
        self.assertEqual(raw[: len(trace)], trace)

    def test_unknown_user(self) -> None:
        """Port 25 refuses a recipient elsewhere, submission an unknown one here (S-73)."""
        server = self.start(password=True)
        with server.client() as client:
            client.ehlo()
            client.mail("peer@there.test")
            self.assertEqual(client.rcpt("somebody@elsewhere.test")[0], 550)
        with server.submission() as client:
            client.mail(ADDRESS)
            self.assertEqual(client.rcpt("nobody@here.test")[0], 550)
            self.assertEqual(client.rcpt("somebody@elsewhere.test")[0], 250)

    def test_size(self) -> None:
        """A message above the announced limit is refused, and the session goes on (S-78)."""
        server = self.start(Layout(listener="max_message_size = 100000"))
        with server.client() as client:
            client.ehlo()
            self.assertEqual(client.esmtp_features["size"], "100000")
            with self.assertRaises(smtplib.SMTPSenderRefused):
                client.sendmail("p@there.test", [ADDRESS], b"x" * 100_001)
            client.rset()
            client.mail("p@there.test")
            client.rcpt(ADDRESS)
            code, text = client.data(b"Subject: x\r\n\r\n" + b"y" * 70 + b"\r\nz" * 50_000)
            self.assertEqual((code, text[:6]), (552, b"5.2.3 "))
            client.sendmail("p@there.test", [ADDRESS], b"Subject: small\r\n\r\n")
        self.assertComes(server, "small")
