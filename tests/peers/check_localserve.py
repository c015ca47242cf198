"""C{twistd -n moxsmtp localserve}, and how servers refuse to start."""

from __future__ import annotations

import os
import smtplib
import socket
import sqlite3
import subprocess
import urllib.request
from pathlib import Path

from tests.peers.process import PATIENCE, PeerTestCase, Process, free_port, until
from tests.peers.server import Server, ServerTestCase, commands, environment, script

_PORTS = {"smtp": 1025, "submission": 1587, "submissions": 1465, "http": 1080}


def _ports_in_use() -> list[int]:
    """Those of them that somebody listens on: another run of these tests, for a while."""
    found = []
    for port in _PORTS.values():
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                found.append(port)
    return found


class LocalserveTests(PeerTestCase):
    """A new user's first minutes.  The ports are those that the README names."""

    def setUp(self) -> None:
        super().setUp()
        self.data = self.folder / "data"
        try:
            until(lambda: not _ports_in_use(), what="the ports are free")
        except AssertionError:
            self.unavailable(f"in use: ports {_ports_in_use()}")

    def launch(self, *options: str, cwd: Path | None = None) -> Process:
        """Start it."""
        process = Process(
            [script("twistd"), "-n", "moxsmtp", "localserve", *options],
            log=self.folder / "localserve.log",
            env=environment(self.folder),
            cwd=cwd or self.folder,
        )
        self.addCleanup(process.end)
        return process

    def wait(self, process: Process) -> None:
        """Until it answers monitors, which it does last of all."""

        def answers() -> bool:
            if not process.is_running():
                raise AssertionError(process.output())
            url = f"http://127.0.0.1:{_PORTS['http']}/healthz"
            try:
                with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
                    return bool(answer.status == 200)
            except OSError:
                return False

        until(answers, what="localserve listens", log=process.output)

    def listed(self, *options: str) -> str:
        """What C{moxsmtp mail list mox} prints."""
        return subprocess.run(
            [*commands(), *options, "mail", "list", "mox"],
            env=environment(self.folder),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=True,
        ).stdout

    def test_first_start(self) -> None:
        """
        It says where it listens and as whom; mail in is listed; mail out comes
        back to its own listener, nothing else being asked (Q-89).
        """
        process = self.launch("--directory", str(self.data))
        self.wait(process)
        words = ("1025", "1587", "1465", "1080", "mox@localhost", "moxmoxmox", "curl")
        until(
            lambda: all(word in process.output() for word in words),
            what="it says where it listens, and as whom",
            log=process.output,
        )
        with smtplib.SMTP("127.0.0.1", _PORTS["smtp"]) as client:
            client.sendmail("me@there.test", ["mox@localhost"], "Subject: in\r\n\r\nhello\r\n")
        with smtplib.SMTP("127.0.0.1", _PORTS["submission"]) as client:
            client.starttls()
            client.login("mox@localhost", "moxmoxmox")
            client.sendmail(
                *("mox@localhost", ["you@example.org"]),
                "From: mox@localhost\r\nSubject: out\r\n\r\nhello\r\n",
            )
        option = ("--directory", str(self.data))
        until(lambda: "out" in self.listed(*option), what="it came back")
        self.assertIn("in", self.listed(*option))
        self.assertEqual(process.end(), 0)
        self.assertNotIn("Traceback", process.output())

    def test_default_directory(self) -> None:
        """Without options it keeps its data in the user's data folder, where commands find it."""
        process = self.launch()
        self.wait(process)
        self.listed()
        self.assertEqual([path.name for path in self.folder.glob("*.db*")], [])
        self.assertTrue((self.folder / ".local" / "share" / "moxsmtp-localserve").is_dir())

    def test_rehearsed_failures(self) -> None:
        """Local-parts ask for failures: at RCPT (S-110), and in the queue, with a bounce (Q-90)."""
        process = self.launch("--directory", str(self.data))
        self.wait(process)
        with smtplib.SMTP("127.0.0.1", _PORTS["smtp"]) as client:
            client.ehlo()
            client.mail("me@there.test")
            self.assertEqual(client.rcpt("rcptto452@localhost")[0], 452)
        with smtplib.SMTP("127.0.0.1", _PORTS["submission"]) as client:
            client.starttls()
            client.login("mox@localhost", "moxmoxmox")
            client.sendmail(
                *("mox@localhost", ["queue550@example.org"]),
                "From: mox@localhost\r\nSubject: will fail\r\n\r\nhello\r\n",
            )
        option = ("--directory", str(self.data))
        until(
            lambda: "postmaster" in self.listed(*option).lower(),
            what="the bounce is listed",
            log=lambda: process.output() + self.listed(*option),
        )

    def test_unwritable_working_folder(self) -> None:
        """Where it is started from does not matter: not even a pid file is written there."""
        elsewhere = self.folder / "elsewhere"
        elsewhere.mkdir()
        elsewhere.chmod(0o555)
        process = self.launch("--directory", str(self.data), cwd=Path("/proc"))
        self.wait(process)
        self.assertEqual(process.end(), 0)
        other = self.launch("--directory", str(self.data), cwd=elsewhere)
        self.wait(other)
        self.assertEqual(list(elsewhere.iterdir()), [])

    def test_stale_pid_file(self) -> None:
        """A pid file of a process that lives, but is another, is no obstacle."""
        (self.folder / "twistd.pid").write_text(str(os.getpid()))
        process = self.launch("--directory", str(self.data))
        self.wait(process)
        self.assertEqual((self.folder / "twistd.pid").read_text(), str(os.getpid()))


class RefusalTests(ServerTestCase):
    """A server that cannot start says why in one line, and exits with 1."""

    def refusal(self, server: Server, *words: str) -> None:
        """Start C{server} again: it must end, with one line that has all of C{words}."""
        before = len(server.log())
        server.restart()
        self.assertEqual(server.process.wait(), 1)
        said = server.log()[before:]
        self.assertNotIn("Traceback", said)
        lines = [line for line in said.splitlines() if all(word in line for word in words)]
        self.assertEqual(len(lines), 1, said)
        self.assertLessEqual(len(said.splitlines()), 3, said)

    def ended(self) -> Server:
        """A server that ran once and was stopped: its folder is whole."""
        server = Server(self.folder / "moxsmtp")
        self.addCleanup(self._stop, server)
        server.wait_until_up()
        self.assertEqual(server.end(), 0)
        return server

    def _stop(self, server: Server) -> None:
        server.process.end()

    def test_port_in_use(self) -> None:
        """Another program has the port (S-1)."""
        server = self.ended()
        with socket.create_server(("127.0.0.1", server.ports["submission"])):
            self.refusal(server, str(server.ports["submission"]), "in use")

    def test_second_server(self) -> None:
        """Another server has the folder; it goes on undisturbed."""
        first = self.start()
        second = Server.__new__(Server)
        second.__dict__.update(first.__dict__)
        second._wrapper = []
        second.file = first.folder / "second.toml"
        text = first.file.read_text()
        for port in first.ports.values():
            text = text.replace(f"port = {port}\n", f"port = {free_port()}\n")
        second.file.write_text(text)
        self.refusal(second, str(first.data))
        first.deliver()
        self.assertComes(first, "hello")

    def test_unwritable_folder(self) -> None:
        """The data folder cannot be made."""
        server = self.ended()
        text = server.file.read_text()
        server.file.write_text(text.replace(str(server.data), "/proc/moxsmtp"))
        self.refusal(server, "/proc/moxsmtp")

    def test_damaged_database(self) -> None:
        """The database is none."""
        server = self.ended()
        (database,) = server.data.glob("*.db")
        for file in server.data.glob("*.db*"):
            file.write_bytes(b"This is no database." * 1000)
        self.refusal(server, str(database))

    def test_newer_database(self) -> None:
        """The database was written by a version to come."""
        server = self.ended()
        (database,) = server.data.glob("*.db")
        connection = sqlite3.connect(database)
        with connection:
            connection.execute("UPDATE alembic_version SET version_num = 'from-the-future'")
        connection.close()
        self.refusal(server, "later version")

    def test_mistakes_in_configuration(self) -> None:
        """Each mistake is a line of its own with the place and the key."""
        server = self.ended()
        server.file.write_text(server.file.read_text() + '\nsurprise = 1\n[queues]\nlimit = "x"\n')
        before = len(server.log())
        server.restart()
        self.assertEqual(server.process.wait(), 1)
        said = server.log()[before:]
        self.assertNotIn("Traceback", said)
        for key in ("surprise", "queues"):
            self.assertRegex(said, rf"moxsmtp\.toml:\d+: [^:]*{key}")
        tested = server.command("config", "test", str(server.file))
        self.assertEqual(tested.returncode, 1)
        for key in ("surprise", "queues"):
            self.assertRegex(tested.stdout + tested.stderr, rf"moxsmtp\.toml:\d+: [^:]*{key}")

    def test_no_server(self) -> None:
        """Commands without a server to talk to say so in one line."""
        server = self.ended()
        done = server.command("mail", "list", "alice")
        self.assertNotEqual(done.returncode, 0)
        self.assertEqual(len((done.stdout + done.stderr).splitlines()), 1, done)
        self.assertIn("no server", (done.stdout + done.stderr).lower())
