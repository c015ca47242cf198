"""Every SASL mechanism that swaks, curl, Python's smtplib and gsasl know."""

from __future__ import annotations

import smtplib
import subprocess
from base64 import b64decode
from typing import Final

from tests.peers.certificate import make_certificate
from tests.peers.process import PATIENCE
from tests.peers.server import ADDRESS, HURRIED, PASSWORD, Layout, Server, ServerTestCase

_TEXT: Final = f"From: {ADDRESS}\nSubject: handed in\n\nIt works.\n"


class SwaksTests(ServerTestCase):
    """swaks on Debian knows three; others want Perl modules that it does without."""

    programs = ("swaks",)

    def swaks(
        self, server: Server, mechanism: str, password: str, *options: str
    ) -> subprocess.CompletedProcess[str]:
        """It hands a message in."""
        return self.run_program(
            *("swaks", "--server", "127.0.0.1", "--helo", "client.test", "--timeout", "120"),
            *("--auth", mechanism, "--auth-user", ADDRESS, "--auth-password", password),
            *("--from", ADDRESS, "--to", "somebody@there.test", *options),
        )

    def test_mechanisms(self) -> None:
        """Each lets a user in at both ports, and a wrong password does not (S-46 to S-48)."""
        server = self.start(password=True)
        ports = server.ports
        options = (
            ("--port", str(ports["submission"]), "--tls"),
            ("--port", str(ports["submissions"]), "--tls-on-connect"),
        )
        for mechanism in ("PLAIN", "LOGIN", "CRAM-MD5"):
            for option in options:
                done = self.swaks(server, mechanism, PASSWORD, *option)
                self.assertEqual(0, done.returncode, done.stdout + done.stderr)
                self.assertIn(f"AUTH {mechanism}", done.stdout)
                self.assertIn("235 2.7.0", done.stdout)
            done = self.swaks(server, mechanism, "wrong", *options[0])
            self.assertIn("535 5.7.8", done.stdout, mechanism)
        self.assertEqual(6, len(server.queue()))


class CurlTests(ServerTestCase):
    """curl on Debian knows four; SCRAM it would have from a library that is not built in."""

    programs = ("curl",)

    def curl(
        self, server: Server, service: str, mechanism: str, user: str, *options: str
    ) -> subprocess.CompletedProcess[str]:
        """It hands a message in."""
        scheme = "smtps" if service == "submissions" else "smtp"
        return self.run_program(
            *("curl", "--silent", "--show-error", "--verbose", "--ssl-reqd"),
            *("--cacert", server.certificate.file, "--user", user),
            *("--login-options", f"AUTH={mechanism}", *options),
            *("--mail-from", ADDRESS, "--mail-rcpt", "somebody@there.test"),
            *("--upload-file", "-", f"{scheme}://localhost:{server.ports[service]}"),
            text=_TEXT,
        )

    def test_mechanisms(self) -> None:
        """Each lets a user in, with an initial response and without (S-44, S-46 to S-48)."""
        server = self.start(password=True)
        count = 0
        for mechanism in ("PLAIN", "LOGIN", "CRAM-MD5", "*"):
            for service in ("submission", "submissions"):
                for options in ((), ("--sasl-ir",)):
                    user = f"{ADDRESS}:{PASSWORD}"
                    done = self.curl(server, service, mechanism, user, *options)
                    self.assertEqual(0, done.returncode, done.stderr)
                    self.assertIn("235 2.7.0", done.stderr)
                    count += 1
            done = self.curl(server, "submission", mechanism, f"{ADDRESS}:wrong")
            self.assertIn("535 5.7.8", done.stderr, mechanism)
        self.assertEqual(count, len(server.queue()))

    def test_external(self) -> None:
        """A registered client certificate does in place of a password (S-37, S-52)."""
        server = self.start()
        mine = make_certificate(self.folder, "laptop.test")
        added = server.command("tlspubkey", "add", ADDRESS, str(mine.file))
        self.assertEqual(0, added.returncode, added.stderr)
        shown = ("--cert", str(mine.file), "--key", str(mine.key))
        for options in ((), ("--sasl-ir",)):
            done = self.curl(server, "submission", "EXTERNAL", f"{ADDRESS}:", *shown, *options)
            self.assertEqual(0, done.returncode, done.stderr)
            self.assertIn("AUTH EXTERNAL", done.stderr)
            self.assertIn("235 2.7.0", done.stderr)
        done = self.curl(server, "submission", "EXTERNAL", "bob@here.test:", *shown)
        self.assertIn("535 5.7.8", done.stderr)
        self.assertEqual(2, len(server.queue()))


class LibraryTests(ServerTestCase):
    """Python's own client."""

    def connection(self, server: Server) -> smtplib.SMTP:
        """Under TLS, and greeted."""
        client = smtplib.SMTP(
            "localhost", server.ports["submission"], "client.test", timeout=PATIENCE
        )
        self.addCleanup(client.close)
        client.starttls(context=server.tls())
        client.ehlo()
        client.user, client.password = ADDRESS, PASSWORD
        return client

    def test_mechanisms(self) -> None:
        """Each of its three lets a user in, with an initial response and without (S-44)."""
        server = self.start(password=True)
        for initial in (True, False):
            client = self.connection(server)
            code, _ = client.auth("PLAIN", client.auth_plain, initial_response_ok=initial)
            self.assertEqual(235, code)
            client = self.connection(server)
            code, _ = client.auth("LOGIN", client.auth_login, initial_response_ok=initial)
            self.assertEqual(235, code)
        client = self.connection(server)
        code, _ = client.auth("CRAM-MD5", client.auth_cram_md5, initial_response_ok=False)
        self.assertEqual(235, code)
        client.sendmail(ADDRESS, ["somebody@there.test"], _TEXT.replace("\n", "\r\n"))
        self.assertEqual(1, len(server.queue()))

    def test_wrong_password(self) -> None:
        """The answer is the same for all mechanisms and whoever is asked for (S-50)."""
        server = self.start(Layout(tables=HURRIED), password=True)
        for name in (ADDRESS, "nobody@here.test", "x@elsewhere.test"):
            client = self.connection(server)
            client.user, client.password = name, "wrong"
            for mechanism in ("CRAM-MD5", "PLAIN", "LOGIN"):
                method = getattr(client, "auth_" + mechanism.lower().replace("-", "_"))
                with self.assertRaises(smtplib.SMTPAuthenticationError) as caught:
                    client.auth(mechanism, method, initial_response_ok=mechanism != "CRAM-MD5")
                self.assertEqual(535, caught.exception.smtp_code)
                text = caught.exception.smtp_error
                assert isinstance(text, bytes)
                self.assertTrue(text.startswith(b"5.7.8 "), text)


class GsaslTests(ServerTestCase):
    """
    gsasl, which has SCRAM with channel bindings: C{tls-unique} under TLS 1.2 and
    C{tls-exporter} under TLS 1.3.  Without C{--no-cb} it binds whenever it can, and
    says so of mechanisms that cannot.
    """

    programs = ("gsasl",)

    def gsasl(
        self, server: Server, mechanism: str, version: str, *options: str, password: str = PASSWORD
    ) -> subprocess.CompletedProcess[str]:
        """It logs in behind STARTTLS, and leaves."""
        return self.run_program(
            *("gsasl", "--smtp", f"--connect=127.0.0.1:{server.ports['submission']}"),
            *("--hostname=localhost", "--mechanism", mechanism),
            *("--authentication-id", ADDRESS, "--password", password),
            *("--x509-ca-file", server.certificate.file),
            f"--priority=NORMAL:-VERS-ALL:+VERS-TLS{version}",
            *options,
        )

    def test_bound(self) -> None:
        """SCRAM-SHA-1-PLUS and SCRAM-SHA-256-PLUS under both versions of TLS (S-49, T-12)."""
        server = self.start(password=True)
        types = {"1.2": "tls-unique", "1.3": "tls-exporter"}
        for mechanism in ("SCRAM-SHA-1-PLUS", "SCRAM-SHA-256-PLUS"):
            for version, kind in types.items():
                done = self.gsasl(server, mechanism, version)
                self.assertEqual(0, done.returncode, done.stdout + done.stderr)
                self.assertIn(f"AUTH {mechanism}", done.stdout)
                self.assertEqual(f"p={kind},", self.first(done)[: len(kind) + 3])
                # Our signature was good, or it would not have gone on to be let in.
                self.assertIn("235 2.7.0", done.stdout)

    def first(self, done: subprocess.CompletedProcess[str]) -> str:
        """The client's first message."""
        lines = done.stdout.splitlines()
        at = next(number for number, line in enumerate(lines) if line.strip() == "334")
        return b64decode(lines[at + 1]).decode()

    def test_unbound(self) -> None:
        """All others, with C{--no-cb}."""
        server = self.start(password=True)
        for mechanism in ("SCRAM-SHA-1", "SCRAM-SHA-256", "CRAM-MD5", "PLAIN", "LOGIN"):
            for version in ("1.2", "1.3"):
                done = self.gsasl(server, mechanism, version, "--no-cb")
                self.assertEqual(0, done.returncode, done.stdout + done.stderr)
                self.assertIn("235 2.7.0", done.stdout)

    def test_wrong_password(self) -> None:
        """Nobody gets in by a wrong one."""
        server = self.start(Layout(tables=HURRIED), password=True)
        for mechanism in ("SCRAM-SHA-256-PLUS", "SCRAM-SHA-1", "PLAIN", "CRAM-MD5"):
            options = () if mechanism.endswith("PLUS") else ("--no-cb",)
            done = self.gsasl(server, mechanism, "1.3", *options, password="wrong")
            self.assertNotEqual(0, done.returncode, mechanism)
            self.assertNotIn("235 2.7.0", done.stdout)

    def test_external(self) -> None:
        """A registered client certificate under both versions (S-52)."""
        server = self.start()
        mine = make_certificate(self.folder, "laptop.test")
        added = server.command("tlspubkey", "add", ADDRESS, str(mine.file))
        self.assertEqual(0, added.returncode, added.stderr)
        shown = (f"--x509-cert-file={mine.file}", f"--x509-key-file={mine.key}")
        for version in ("1.2", "1.3"):
            done = self.gsasl(server, "EXTERNAL", version, *shown, "--authorization-id", ADDRESS)
            self.assertEqual(0, done.returncode, done.stdout + done.stderr)
            self.assertIn("235 2.7.0", done.stdout)
