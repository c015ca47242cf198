"""What is wrong outside: a clear reply or log line, nothing lost, and the server goes on."""

from __future__ import annotations

import smtplib
import socket
import sqlite3
import subprocess
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Final

from tests.peers.process import PATIENCE, Process, find, until
from tests.peers.server import Layout, Server, ServerTestCase

_MAIL: Final = b"EHLO client.test\r\nMAIL FROM:<p@there.test>\r\nRCPT TO:<alice@here.test>\r\n"


class HostileClientTests(ServerTestCase):
    """Octets that no mail program sends."""

    def setUp(self) -> None:
        super().setUp()
        self.server = self.start()

    def connect(self) -> socket.socket:
        """A bare connection, greeted."""
        address = ("127.0.0.1", self.server.ports["smtp"])
        connection = socket.create_connection(address, PATIENCE)
        self.addCleanup(connection.close)
        self.assertTrue(connection.recv(1000).startswith(b"220 "))
        return connection

    def replies(self, connection: socket.socket, text: bytes, last: bytes = b"") -> bytes:
        """
        What comes back, up to a line that begins with C{last}; without that until the
        server hangs up.
        """
        connection.sendall(text)
        said = b""
        while not (last and said.endswith(b"\r\n") and b"\n" + last in b"\n" + said):
            part = connection.recv(65536)
            if not part:
                return said
            said += part
        return said

    def assertGoesOn(self) -> None:
        """It still takes mail, and nothing of the earlier attempt was stored."""
        self.server.deliver(subject="afterwards")
        self.assertComes(self.server, "afterwards")
        self.assertEqual(len(self.server.mail()), 1)

    def test_unknown_commands(self) -> None:
        """Who never spoke SMTP is hung up on; who did is told, and the session goes on (S-24)."""
        said = self.replies(self.connect(), b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        self.assertTrue(said.startswith(b"500 5.5.2"), said)
        lines = b"EHLO client.test\r\nFOO\r\n\xff\xfe\r\nNOOP\r\n"
        said = self.replies(self.connect(), lines, b"250 2.0.0")
        self.assertEqual(
            [line[:9] for line in said.splitlines()[-3:]], [b"500 5.5.1"] * 2 + [b"250 2.0.0"]
        )
        self.assertGoesOn()

    def test_long_line(self) -> None:
        """A line above 2048 octets is answered 500 and ends the connection (S-18)."""
        said = self.replies(self.connect(), b"NOOP " + b"x" * 3000 + b"\r\n")
        self.assertTrue(said.startswith(b"500 5.5.0"), said)
        self.assertGoesOn()

    def test_plaintext_behind_starttls(self) -> None:
        """What comes with STARTTLS is TLS's, which it breaks; nothing of it is answered (S-35)."""
        begin = b"EHLO client.test\r\n"
        behind = b"NOOP\r\n" + _MAIL + b"DATA\r\nSubject: injected\r\n\r\n.\r\nQUIT\r\n"
        for pieces in ([begin + b"STARTTLS\r\n" + behind], [begin, b"STARTTLS\r\n", behind]):
            connection = self.connect()
            for piece, last in zip(pieces[:-1], (b"250 ", b"220 "), strict=False):
                self.replies(connection, piece, last)
            try:
                said = self.replies(connection, pieces[-1])
            except ConnectionResetError:
                said = b""
            # At most an alert of TLS follows the answer to STARTTLS.
            _, _, rest = said.rpartition(b"\r\n")
            self.assertIn(rest[:1], (b"", b"\x15"))
            self.assertNotIn(b"250 2", said)
        self.assertGoesOn()

    def test_endless_line(self) -> None:
        """A line without an end costs no memory: it is cut off as well (S-18)."""
        connection = self.connect()
        try:
            for _ in range(200):
                connection.sendall(b"x" * 65536)
        except OSError:
            pass
        else:
            self.fail("13 MB of one line were taken")
        self.assertGoesOn()

    def test_smuggling(self) -> None:
        """Content with a bare CR or a false end is refused whole, the session goes on (S-77)."""
        for bad in (
            b"a\rb\r\n",
            b"a\r\n.\nMAIL FROM:<x@y.test>\r\n",
            b"a\n.\r\nb\r\n",
            b"a\n.\nb\r\n",
        ):
            connection = self.connect()
            self.replies(connection, _MAIL + b"DATA\r\n", b"354 ")
            content = b"Subject: x\r\n\r\n" + bad + b".\r\nNOOP\r\nQUIT\r\n"
            said = self.replies(connection, content)
            self.assertEqual(
                [line[:9] for line in said.splitlines()],
                [b"500 5.5.2", b"250 2.0.0", b"221 2.0.0"],
                (bad, said),
            )
        self.assertGoesOn()

    def test_dropped_in_the_middle(self) -> None:
        """A connection that is dropped in the middle of DATA leaves nothing, small or large."""
        for size in (1000, 1_000_000):
            connection = self.connect()
            self.replies(connection, _MAIL + b"DATA\r\n", b"354 ")
            connection.sendall(b"Subject: half\r\n\r\n" + b"x\r\n" * (size // 3))
            # An RST instead of a FIN.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            connection.close()
        self.assertGoesOn()
        until(
            lambda: not [path for path in self.server.data.rglob("*") if _is_content(path)],
            what="no content is left behind",
        )


def _is_content(path: Path) -> bool:
    """Whether a file of the data folder holds a whole message's worth of octets."""
    try:
        return path.is_file() and ".db" not in path.name and path.stat().st_size > 100_000
    except FileNotFoundError:
        return False


class FullDiskTests(ServerTestCase):
    """The disk fills up, and is emptied again."""

    def small_disk(self) -> Server:
        """A server whose data folder is a small disk of its own, if we may mount one."""
        folder = self.folder / "moxsmtp"
        (folder / "data").mkdir(parents=True)
        mount = f"mount -t tmpfs -o size=24m,mode=700 none {folder}/data"
        wrapper = ["unshare", "-m", "sh", "-c", f'{mount} && exec "$@"', "sh"]
        probe = subprocess.run(
            [*wrapper, "true"], stdin=subprocess.DEVNULL, capture_output=True, check=False
        )
        if probe.returncode:
            raise OSError(probe.stderr.decode())
        layout = Layout(tables={"store": 'minimum_free = 1\nmemory = "1MiB"'})
        server = Server(folder, layout, wrapper=wrapper)
        # It alone has the disk; commands look for its socket there.
        server.within = ["nsenter", "-t", str(server.process.pid), "-m"]
        self.addCleanup(self._finish, server)
        server.wait_until_up()
        return server

    def test_full(self) -> None:
        """
        Mail is answered 452 4.3.1 while there is no room, small or large (S-112);
        with room it is taken again, and nothing acknowledged is lost.
        """
        try:
            server = self.small_disk()
        except OSError:
            self.require("strace")
            self._test_injected()
            return
        server.deliver(subject="before")
        filler = Path(f"/proc/{server.process.pid}/root{server.data}/filler")
        with filler.open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4096))
            except OSError:
                pass
        self.refused(server)
        filler.unlink()
        self.taken_again(server)

    def _test_injected(self) -> None:
        """Where no disk may be mounted: the kernel answers ENOSPC to our writes."""
        server = self.start(Layout(tables={"store": "minimum_free = 1"}))
        server.deliver(subject="before")
        fault = Process(
            [
                *(find("strace") or "strace", "-f", "-qq", "-o", "/dev/null"),
                *("-p", str(server.process.pid), "-P", str(next(server.data.glob("*.db-wal")))),
                *("-e", "trace=pwrite64", "-e", "inject=pwrite64:error=ENOSPC"),
            ],
            log=self.folder / "strace.log",
        )
        self.addCleanup(fault.end)
        tasks = Path(f"/proc/{server.process.pid}/task")
        until(
            lambda: all(map(_is_traced, tasks.iterdir())), what="strace is there", log=fault.output
        )
        self.refused(server, large=False)
        fault.end()
        self.taken_again(server)

    def refused(self, server: Server, *, large: bool = True) -> None:
        """No message is taken; the reply says why."""
        for size in (1_000, 4_000_000) if large else (1_000,):
            with self.assertRaises(smtplib.SMTPResponseException) as caught:
                server.deliver(subject="no room", body=b"x" * 70 + b"\r\n" + b"y\r\n" * (size // 3))
            self.assertEqual(caught.exception.smtp_code, 452)
            self.assertIn("4.3.1", str(caught.exception.smtp_error))
        self.assertEqual(server.ask("/readyz")[0], 503)

    def taken_again(self, server: Server) -> None:
        """As if nothing had been, once the disk is looked at again, a second later at most."""

        def is_taken() -> bool:
            try:
                server.deliver(subject="after", body=b"y\r\n" * 100_000)
            except smtplib.SMTPResponseException as error:
                self.assertEqual(error.smtp_code, 452)
                return False
            return True

        until(is_taken, what="mail is taken again", log=server.log)
        self.assertComes(server, "after")
        self.assertEqual([entry["subject"] for entry in server.mail()], ["before", "after"])

    def test_minimum_free(self) -> None:
        """Below C{minimum_free} mail is refused although it would fit."""
        server = self.start(Layout(tables={"store": 'minimum_free = "100000GiB"'}))
        with self.assertRaises(smtplib.SMTPResponseException) as caught:
            server.deliver()
        self.assertEqual(caught.exception.smtp_code, 452)
        self.assertIn("4.3.1", str(caught.exception.smtp_error))


def _is_traced(task: Path) -> bool:
    """Whether a thread has a tracer, or has ended.  proc(5)."""
    try:
        return "\nTracerPid:\t0\n" not in (task / "status").read_text()
    except OSError:
        return True


class LockedDatabaseTests(ServerTestCase):
    """Another process holds the database locked for ten seconds."""

    def test_locked(self) -> None:
        """
        Mail meanwhile waits for its turn or is answered 4xx; what was answered
        250 is there, and the server goes on.
        """
        server = self.start()
        (database,) = server.data.glob("*.db")
        outcomes: list[int] = []

        def send() -> None:
            try:
                server.deliver(subject="meanwhile")
                outcomes.append(250)
            except smtplib.SMTPResponseException as error:
                outcomes.append(error.smtp_code)
            except smtplib.SMTPRecipientsRefused as error:
                outcomes.append(next(iter(error.recipients.values()))[0])

        with closing(sqlite3.connect(database, PATIENCE, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            begun = time.monotonic()
            sender = threading.Thread(target=send)
            sender.start()
            while time.monotonic() - begun < 10:
                self.assertEqual(server.ask("/healthz")[0], 200)
                self.assertNotIn(250, outcomes)
                time.sleep(0.2)
            other.execute("ROLLBACK")
        sender.join(PATIENCE)
        server.deliver(subject="afterwards")
        self.assertComes(server, "afterwards")
        subjects = {entry["subject"] for entry in server.mail()}
        self.assertEqual("meanwhile" in subjects, outcomes == [250])
