"""
Root for binding ports only, by C{twistd --uid --gid}; and no root at all, with
sockets that systemd passes.  And what becomes of clients for whom there is no
file descriptor left.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import resource
import smtplib
import socket
import subprocess
import sys
from pathlib import Path
from typing import Final

import twisted
from tests.peers.certificate import make_certificate
from tests.peers.process import PATIENCE, Process, free_port, until
from tests.peers.server import ADDRESS, Layout, Server, ServerTestCase

#: A user of every system who owns nothing.
_USER: Final = "nobody"

#: C{twistd} with more options, in a Python that its later user can read too.
_TWISTD: Final = """
import sys
sys.path.append(sys.argv[1])
sys.argv = ["twistd", "--uid", sys.argv[2], "--gid", sys.argv[3], *sys.argv[5:]]
from twisted.scripts.twistd import run
run()
"""

#: Runs a command with sockets that are bound before, as systemd does.  sd_listen_fds(3).
_PASS: Final = """
import os, socket, sys
addresses = sys.argv[1].split(",")
for number, address in enumerate(addresses, 3):
    host, _, port = address.rpartition(":")
    made = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    made.bind((host, int(port)))
    made.listen()
    descriptor = made.detach()
    if descriptor != number:
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.set_inheritable(number, True)
os.environ.update(
    LISTEN_PID=str(os.getpid()),
    LISTEN_FDS=str(len(addresses)),
    LISTEN_FDNAMES=":".join(["moxsmtp.socket"] * len(addresses)),
)
os.execv(sys.argv[2], sys.argv[2:])
"""


def bring(server: Server, subject: str) -> None:
    """Deliver a message whose sender needs no DNS."""
    with server.client() as client:
        client.sendmail("", [ADDRESS], f"From: {ADDRESS}\r\nSubject: {subject}\r\n\r\n")


class Dropping(Server):
    """A server that root starts and that is somebody else's; port 25 is one for root alone."""

    def __init__(self, folder: Path, python: str) -> None:
        self.user = pwd.getpwnam(_USER)
        libraries = str(Path(twisted.__file__).parent.parent)
        group = str(self.user.pw_gid)
        super().__init__(folder, wrapper=(python, "-S", "-c", _TWISTD, libraries, _USER, group))

    def configure(self, layout: Layout) -> None:
        """Write the configuration, and give it away with all that lies beside it."""
        self.ports["smtp"] = next(port for port in range(600, 1000) if _is_free(port))
        super().configure(layout)
        self.give_away()

    def give_away(self) -> None:
        """Let the user own all files."""
        for path in (self.folder, *self.folder.rglob("*")):
            os.chown(path, self.user.pw_uid, self.user.pw_gid)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


class DroppingTests(ServerTestCase):
    """C{twistd --uid}."""

    def setUp(self) -> None:
        super().setUp()
        if os.geteuid() != 0:
            self.unavailable("only root can give privileges up")
        # tox lets nobody else into its folder; who installs for another user does.
        for folder in Path(twisted.__file__).parents:
            mode = folder.stat().st_mode & 0o7777
            if not mode & 0o001:
                self.addCleanup(folder.chmod, mode)
                folder.chmod(mode | 0o011)

    def python(self) -> str:
        """An interpreter that the user may run."""
        for name in (sys.executable, "/usr/bin/python3"):
            try:
                done = subprocess.run(
                    [name, "-S", "-c", "import sys; print(sys.version_info[:2])"],
                    user=_USER,
                    group=pwd.getpwnam(_USER).pw_gid,
                    capture_output=True,
                    text=True,
                    check=False,
                )
            except OSError:
                continue
            if done.stdout.strip() == str(sys.version_info[:2]):
                return name
        self.unavailable(f"{_USER} may run no Python of this version")
        raise AssertionError

    def dropping(self) -> Dropping:
        """One that is ended after the test."""
        server = Dropping(self.folder / "moxsmtp", self.python())
        self.addCleanup(self._finish, server)
        return server

    def wait_for(self, words: str, server: Server) -> None:
        """Until they are in the log."""
        until(lambda: words in server.log(), what=words, log=server.log)

    def test_all(self) -> None:
        """
        It binds port 25 as root and is another user before it talks to anybody:
        real, effective and saved, in that user's groups, without any capability.
        """
        server = self.dropping()
        server.wait_until_up()
        lines = Path(f"/proc/{server.process.pid}/status").read_text().splitlines()
        status = {name: value.split() for name, _, value in (line.partition(":") for line in lines)}
        user = server.user
        self.assertEqual([str(user.pw_uid)] * 4, status["Uid"])
        self.assertEqual([str(user.pw_gid)] * 4, status["Gid"])
        self.assertEqual(
            {str(group) for group in os.getgrouplist(_USER, user.pw_gid)}, set(status["Groups"])
        )
        self.assertEqual(["0" * 16] * 2, [*status["CapEff"], *status["CapPrm"]])
        bring(server, "to somebody else")
        self.assertComes(server, "to somebody else")
        owners = set()
        for path in (server.data, *server.data.rglob("*")):
            # What it works with may go while we look.
            with contextlib.suppress(FileNotFoundError):
                owners.add(path.stat().st_uid)
        self.assertEqual({user.pw_uid}, owners)

    def test_reload(self) -> None:
        """
        A certificate is renewed without root; a key that only root may read is told
        and changes nothing.
        """
        server = self.dropping()
        server.wait_until_up()
        for readable in (True, False):
            made = make_certificate(self.folder, f"renewed-{readable}.test")
            server.certificate.file.write_bytes(made.file.read_bytes())
            server.certificate.key.write_bytes(made.key.read_bytes())
            if not readable:
                os.chown(server.certificate.key, 0, 0)
            server.reload()
            words = "was reloaded" if readable else "Permission denied"
            self.wait_for(words, server)
            shown = self.run_program(
                *("openssl", "s_client", "-connect", f"127.0.0.1:{server.ports['submissions']}")
            )
            self.assertIn("renewed-True.test", shown.stdout)
        self.assertIn("stays in force", server.log())

    def test_unreadable(self) -> None:
        """A key that its user cannot read keeps it from starting, in one line, not only later."""
        folder = self.folder / "moxsmtp"
        server = Dropping(folder, self.python())
        self.addCleanup(server.process.kill)
        server.wait_until_up()
        server.end()
        os.chown(server.certificate.key, 0, 0)
        (folder / "server.log").unlink()
        server.restart()
        self.assertEqual(1, server.process.wait())
        self.assertEqual(
            [str(server.certificate.key)],
            [
                str(server.certificate.key)
                for line in server.log().splitlines()
                if "cannot read" in line
            ],
        )
        self.assertNotIn("Traceback", server.log())


class Activated(Server):
    """
    A server that finds its sockets bound.

    @ivar more: Addresses that nobody asked for.
    """

    more: tuple[str, ...] = ()

    def _launch(self) -> Process:
        passed = [f"127.0.0.1:{port}" for port in self.ports.values()]
        addresses = ",".join([*passed, *self.more])
        self._wrapper = [sys.executable, "-c", _PASS, addresses]
        return super()._launch()


class ActivationTests(ServerTestCase):
    """Sockets by C{LISTEN_FDS}."""

    def test_passed(self) -> None:
        """Sockets that are bound already are served: it could not bind them again."""
        server = Activated(self.folder / "moxsmtp")
        self.addCleanup(self._finish, server)
        server.wait_until_up()
        server.set_password()
        bring(server, "by port 25")
        with server.submission() as client:
            self.assertEqual(250, client.noop()[0])
        with smtplib.SMTP_SSL(
            "localhost", server.ports["submissions"], "client.test", context=server.tls()
        ) as client:
            self.assertEqual(250, client.noop()[0])
        self.assertComes(server, "by port 25")

    def test_too_many(self) -> None:
        """One that no listener asks for is told, and nothing is served."""
        more = f"127.0.0.1:{free_port()}"
        self.patch(Activated, "more", (more,))
        server = Activated(self.folder / "moxsmtp")
        self.addCleanup(server.process.kill)
        self.assertEqual(1, server.process.wait())
        self.assertIn(f"moxsmtp: cannot listen on {more}: it was passed to us", server.log())
        self.assertNotIn("Traceback", server.log())


class ScarcityTests(ServerTestCase):
    """S-1."""

    def test_no_descriptors(self) -> None:
        """Where no descriptor is left that is logged, and accepting goes on (S-1)."""
        server = self.start()
        pid = server.process.pid
        used = max(int(path.name) for path in Path(f"/proc/{pid}/fd").iterdir())
        soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (used + 10, hard))
        crowd = [
            socket.create_connection(("127.0.0.1", server.ports["smtp"]), PATIENCE)
            for _ in range(40)
        ]
        until(lambda: "EMFILE" in server.log(), what="it is logged", log=server.log)
        for one in crowd:
            one.close()

        def is_welcome() -> bool:
            try:
                with server.client() as client:
                    return client.noop()[0] == 250
            except (OSError, smtplib.SMTPException):
                return False

        until(is_welcome, what="a client is greeted", log=server.log)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))
