"""C{openssl s_client}: names, client certificates, sessions, versions."""

from __future__ import annotations

import subprocess
from typing import Final

from tests.peers.certificate import Certificate, make_certificate
from tests.peers.process import until
from tests.peers.server import ADDRESS, Layout, Server, ServerTestCase

#: Beside the certificate for mx.here.test.
_OTHER: Final = "other.here.test"


class OpenSSLTestCase(ServerTestCase):
    """
    @ivar other: The certificate for L{_OTHER}.
    @ivar mine: A client's.
    """

    programs = ("openssl",)

    def setUp(self) -> None:
        super().setUp()
        self.other = make_certificate(self.folder, _OTHER)
        self.mine = make_certificate(self.folder, "laptop.test")

    def server(self, tls: str = "", top: str = "") -> Server:
        """With two certificates."""
        lines = (
            f'{tls}\n[[listener.tls.other]]\ncertificate = "{self.other.file}"\n'
            f'key = "{self.other.key}"'
        )
        return self.start(Layout(tls=lines, top=top), password=True)

    def talk(
        self,
        server: Server,
        service: str,
        *options: str,
        sni: str | None = "mx.here.test",
        text: str = "EHLO client.test\r\nQUIT\r\n",
    ) -> subprocess.CompletedProcess[str]:
        """Say C{text} under TLS; what is printed has the handshake and the answers."""
        return self.run_program(
            *("openssl", "s_client", "-connect", f"127.0.0.1:{server.ports[service]}"),
            *(() if service == "submissions" else ("-starttls", "smtp", "-name", "client.test")),
            *(("-noservername",) if sni is None else ("-servername", sni)),
            *("-ign_eof", *options),
            text=text,
        )

    def subject(self, done: subprocess.CompletedProcess[str]) -> str:
        """The common name that was shown; empty: there was no handshake."""
        lines = [line for line in done.stdout.splitlines() if line.startswith("subject=")]
        return lines[0].rpartition("CN = ")[2] if lines else ""


class NameTests(OpenSSLTestCase):
    """SNI (S-5)."""

    def test_names(self) -> None:
        """With and without SNI each client is shown the certificate that it should be."""
        server = self.server()
        shown = {
            (service, name): self.subject(self.talk(server, service, sni=name))
            for service in ("smtp", "submission", "submissions")
            for name in (None, "mx.here.test", _OTHER, "unknown.test")
        }
        expected = {key: _OTHER if key[1] == _OTHER else "mx.here.test" for key in shown}
        self.assertEqual(expected, shown)

    def test_strict(self) -> None:
        """A strict listener refuses names that nobody has, by alert, but not on port 25."""
        server = self.server('sni = "strict"')
        for service in ("submission", "submissions"):
            done = self.talk(server, service, sni="unknown.test")
            self.assertIn("unrecognized name", done.stderr)
            self.assertNotEqual(0, done.returncode)
            for name in (None, _OTHER):
                self.assertNotEqual("", self.subject(self.talk(server, service, sni=name)))
        self.assertEqual(
            "mx.here.test", self.subject(self.talk(server, "smtp", sni="unknown.test"))
        )

    def test_reload(self) -> None:
        """SIGHUP takes a renewed certificate into use; one that is no good changes nothing."""
        server = self.server()
        begun = server.submission()
        self.addCleanup(begun.close)
        made = make_certificate(self.folder, "renewed.test")
        server.certificate.file.write_bytes(made.file.read_bytes())
        server.certificate.key.write_bytes(made.key.read_bytes())
        server.reload()
        until(
            lambda: self.subject(self.talk(server, "submissions", sni=None)) == "renewed.test",
            what="the new certificate is shown",
            log=server.log,
        )
        server.certificate.key.write_text("half of it")
        server.reload()
        until(
            lambda: "stays in force" in server.log(),
            what="the bad key is told",
            log=server.log,
        )
        self.assertIn(str(server.certificate.key), server.log())
        for service in ("smtp", "submission", "submissions"):
            self.assertEqual("renewed.test", self.subject(self.talk(server, service, sni=None)))
        self.assertEqual(250, begun.noop()[0])


class ClientCertificateTests(OpenSSLTestCase):
    """S-36 to S-39."""

    def options(self, pair: Certificate) -> tuple[str, ...]:
        """To show a certificate."""
        return ("-cert", str(pair.file), "-key", str(pair.key))

    def test_registered(self) -> None:
        """Who shows a registered certificate is logged in, resumed sessions too."""
        server = self.server()
        done = server.command("tlspubkey", "add", ADDRESS, str(self.mine.file))
        self.assertEqual(0, done.returncode, done.stderr)
        session = str(self.folder / "session")
        for version in ("-tls1_2", "-tls1_3"):
            for service in ("submission", "submissions"):
                for options in (("-sess_out", session), ("-sess_in", session)):
                    done = self.talk(
                        server,
                        service,
                        *(version, *self.options(self.mine), *options),
                        text=f"EHLO client.test\r\nMAIL FROM:<{ADDRESS}>\r\nQUIT\r\n",
                    )
                    self.assertIn("AUTH EXTERNAL ", done.stdout)
                    self.assertIn("250 2.1.0", done.stdout)
                self.assertIn("Reused, ", done.stdout)

    def test_unknown(self) -> None:
        """
        Who shows one that nobody registered is told so by alert 42, with TLS 1.3 once it reads;
        who shows none is welcome (S-37, T-7).
        """
        server = self.server()
        for version in ("-tls1_2", "-tls1_3"):
            for service in ("submission", "submissions"):
                done = self.talk(server, service, version, *self.options(self.mine))
                self.assertIn("alert bad certificate", done.stderr)
                self.assertIn("SSL alert number 42", done.stderr)
                self.assertNotIn("250-PIPELINING", done.stdout)
                done = self.talk(server, service, version)
                self.assertIn("AUTH SCRAM", done.stdout)
        self.assertIn("it is not registered", server.log())

    def test_workers(self) -> None:
        """A key that was added, or removed, is known to every worker in a few seconds (S-37)."""
        server = self.server(top="workers = 2")

        def answers() -> set[str]:
            """How several connections come out."""
            done = [self.talk(server, "submissions", *self.options(self.mine)) for _ in range(4)]
            return {
                "in" if "AUTH EXTERNAL " in one.stdout
                else "alert" if "SSL alert number 42" in one.stderr
                else "out" if "250-PIPELINING" not in one.stdout
                else "as good as without"
                for one in done
            }  # fmt: skip

        self.assertEqual({"alert"}, answers())
        server.command("tlspubkey", "add", ADDRESS, str(self.mine.file))
        until(lambda: answers() == {"in"}, what="all know it", log=server.log)
        key = server.command("tlspubkey", "list").stdout.splitlines()[0]
        server.command("tlspubkey", "remove", key)
        # What a worker still remembers lets nobody in.
        self.assertLessEqual(answers(), {"alert", "out"})
        until(lambda: answers() == {"alert"}, what="all forgot it", log=server.log)

    def test_removed(self) -> None:
        """A key that was removed logs in nobody any more, by no session that it began (S-39)."""
        server = self.server()
        server.command("tlspubkey", "add", ADDRESS, str(self.mine.file))
        listed = server.command("tlspubkey", "list")
        key = listed.stdout.splitlines()[0]
        self.assertRegex(key, "^[-_0-9A-Za-z]{43}$")
        for version in ("-tls1_2", "-tls1_3"):
            options = (version, *self.options(self.mine))
            session = str(self.folder / f"session{version}")
            done = self.talk(server, "submission", *options, "-sess_out", session)
            self.assertIn("AUTH EXTERNAL ", done.stdout)
        done = server.command("tlspubkey", "remove", key)
        self.assertEqual(0, done.returncode, done.stderr)
        for version in ("-tls1_2", "-tls1_3"):
            options = (version, *self.options(self.mine))
            session = str(self.folder / f"session{version}")
            done = self.talk(server, "submission", *options, "-sess_in", session)
            self.assertIn("Reused, ", done.stdout)
            self.assertNotIn("250-PIPELINING", done.stdout)
            done = self.talk(server, "submission", *options)
            self.assertIn("SSL alert number 42", done.stderr)

    def asked(self, server: Server) -> list[str]:
        """The services that request a certificate."""
        words = "Requested Signature Algorithms"
        services = ("smtp", "submission", "submissions")
        return [name for name in services if words in self.talk(server, name).stdout]

    def test_asked(self) -> None:
        """Port 25 asks for no certificate, and no listener that is told not to (S-36, B-7)."""
        server = self.server()
        self.assertEqual(["submission", "submissions"], self.asked(server))
        done = self.talk(server, "smtp", *self.options(self.mine))
        self.assertIn("250-PIPELINING", done.stdout)
        server.configure(Layout(tls="client_certificates = false"))
        server.reload()
        until(lambda: not self.asked(server), what="none is asked for", log=server.log)
        for service in ("submission", "submissions"):
            done = self.talk(server, service, *self.options(self.mine))
            self.assertIn("250-PIPELINING", done.stdout)


class SessionTests(OpenSSLTestCase):
    """S-4, S-7."""

    def is_resumed(self, server: Server, first: str, then: str, version: str) -> bool:
        """Whether a session that began at one port goes on at another."""
        session = str(self.folder / "session")
        self.talk(server, first, version, "-sess_out", session)
        done = self.talk(server, then, version, "-sess_in", session)
        self.assertIn("250-PIPELINING", done.stdout)
        return "Reused, " in done.stdout

    def test_resumed(self) -> None:
        """Sessions of users are resumed at their own port only, at port 25 never."""
        server = self.server()
        for version in ("-tls1_2", "-tls1_3"):
            resumed = {
                (first, then): self.is_resumed(server, first, then, version)
                for first, then in (
                    ("submission", "submission"),
                    ("submissions", "submissions"),
                    ("submission", "submissions"),
                    ("submissions", "smtp"),
                )
            }
            self.assertEqual([True, True, False, False], list(resumed.values()), resumed)

    def test_port_25(self) -> None:
        """TLS 1.2 gives no session at port 25, and what TLS 1.3 gives is worth nothing (T-13)."""
        server = self.server()
        for version in ("-tls1_2", "-tls1_3"):
            session = self.folder / f"session{version}"
            done = self.talk(server, "smtp", version, "-sess_out", str(session))
            if version == "-tls1_2":
                self.assertNotIn("TLS session ticket:", done.stdout)
            if session.exists():
                done = self.talk(server, "smtp", version, "-sess_in", str(session))
                self.assertIn("250-PIPELINING", done.stdout)
                self.assertNotIn("Reused, ", done.stdout)


class VersionTests(OpenSSLTestCase):
    """S-6."""

    def spoken(self, server: Server) -> list[str]:
        """The versions that all ports agree to, oldest first."""
        found = []
        for option in ("-tls1", "-tls1_1", "-tls1_2", "-tls1_3"):
            shown = {
                self.subject(self.talk(server, service, option, "-cipher", "DEFAULT@SECLEVEL=0"))
                for service in ("smtp", "submission", "submissions")
            }
            self.assertEqual(1, len(shown), option)
            if shown == {"mx.here.test"}:
                found.append(option)
        return found

    def test_default(self) -> None:
        """TLS 1.2 and 1.3 are spoken, older versions are not."""
        self.assertEqual(["-tls1_2", "-tls1_3"], self.spoken(self.server()))

    def test_minimum(self) -> None:
        """The oldest version is a setting."""
        self.assertEqual(["-tls1_3"], self.spoken(self.server('minimum_version = "1.3"')))

    def test_old(self) -> None:
        """Old clients are let in if they have to be."""
        spoken = self.spoken(self.server('minimum_version = "1.0"'))
        self.assertEqual(["-tls1", "-tls1_1", "-tls1_2", "-tls1_3"], spoken)
