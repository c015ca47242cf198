"""The command line against the running server: reload, backup, mail, queue, monitoring."""

from __future__ import annotations

import json
import shutil
import signal
import smtplib
import sqlite3
import threading
from contextlib import closing
from typing import Any

from tests.peers.process import PATIENCE, until
from tests.peers.server import ADDRESS, HURRIED, PASSWORD, Layout, Server, ServerTestCase

_CAROL = '[account.carol]\naddresses = ["carol@here.test"]\n'


class ReloadTests(ServerTestCase):
    """SIGHUP."""

    def test_good_file(self) -> None:
        """A new account receives mail from then on, connections stay open."""
        server = self.start()
        with server.client() as client:
            client.ehlo()
            server.configure(Layout(rest=_CAROL))
            server.process.signal(signal.SIGHUP)
            until(
                lambda: "was reloaded" in server.log(),
                what="the reload is logged",
                log=server.log,
            )
            client.sendmail("p@there.test", ["carol@here.test"], b"Subject: new\r\n\r\n")
        self.assertComes(server, "new", account="carol")

    def test_bad_file(self) -> None:
        """A file with mistakes changes nothing; the log names place and key of each."""
        server = self.start()
        server.configure(Layout(rest=_CAROL + '[sotre]\nurl = ""\n', account="adresses = []"))
        server.process.signal(signal.SIGHUP)
        until(
            lambda: "not reloaded" in server.log(),
            what="the refusal is logged",
            log=server.log,
        )
        for key in ("sotre", "adresses"):
            self.assertRegex(server.log(), rf"moxsmtp\.toml:\d+: [^:\n]*{key}")
        server.deliver(subject="as before")
        self.assertComes(server, "as before")
        self.assertNotEqual(server.command("mail", "list", "carol").returncode, 0)


class BackupTests(ServerTestCase):
    """C{moxsmtp backup}."""

    def test_while_running(self) -> None:
        """
        A copy made under load is whole, has all that was acknowledged before, and a
        server starts from it.
        """
        server = self.start(password=True)
        server.deliver(subject="small")
        server.deliver(subject="large", body=b"%s\r\n" % (b"x" * 70) * 10_000)
        server.submit("user@there.test", subject="queued")
        going_on = threading.Event()

        def load() -> None:
            while not going_on.is_set():
                server.deliver(subject="load")

        loads = [threading.Thread(target=load) for _ in range(4)]
        for thread in loads:
            thread.start()
        copy = self.folder / "copy"
        done = server.command("backup", str(copy))
        going_on.set()
        for thread in loads:
            thread.join(PATIENCE)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        (database,) = copy.rglob("*.db")
        with closing(sqlite3.connect(database)) as connection:
            self.assertEqual(connection.execute("PRAGMA integrity_check").fetchall(), [("ok",)])
        large = self.assertComes(server, "large")
        original = server.raw(large["id"])
        self.assertEqual(server.end(), 0)
        shutil.rmtree(server.data)
        copy.rename(server.data)
        server.restart()
        server.wait_until_up()
        for subject in ("small", "large"):
            self.assertComes(server, subject)
        self.assertEqual(server.raw(large["id"]), original)
        self.assertEqual([entry["subject"] for entry in server.queue()], ["queued"])
        with server.submission() as client:
            self.assertEqual(client.noop()[0], 250)

    def test_existing_folder(self) -> None:
        """A folder with something in it is not written over."""
        server = self.start()
        copy = self.folder / "copy"
        copy.mkdir()
        (copy / "precious").write_text("x")
        done = server.command("backup", str(copy))
        self.assertNotEqual(done.returncode, 0)
        self.assertEqual([path.name for path in copy.iterdir()], ["precious"])


class CommandTests(ServerTestCase):
    """Looking at mail and queue."""

    def test_mail(self) -> None:
        """Mail is listed by account or address, shown, and deleted with its content."""
        server = self.start()
        server.deliver(subject="one")
        server.deliver("bob@here.test", subject="for bob")
        entry = self.assertComes(server, "one")
        self.assertEqual(server.objects("mail", "list", ADDRESS), [entry])
        self.assertIn("one", server.command("mail", "list", "alice").stdout)
        shown = server.command("mail", "show", "alice", str(entry["id"]))
        self.assertIn("Subject: one", shown.stdout)
        # Another account's message is none of its own.
        self.assertNotEqual(server.command("mail", "show", "bob", str(entry["id"])).returncode, 0)
        done = server.command("mail", "delete", "alice", str(entry["id"]))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(server.mail(), [])
        self.assertEqual(len(server.mail("bob")), 1)

    def test_queue(self) -> None:
        """What waits is listed and shown with its attempts; dropping it leaves no bounce."""
        server = self.start(password=True)
        server.submit("user@there.test", subject="waits")
        entry = server.wait_until_tried()
        self.assertIn("user@there.test", server.command("queue", "list").stdout)
        self.assertIn("waits", server.command("queue", "show", str(entry["id"])).stdout)
        done = server.command("queue", "drop", str(entry["id"]))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(server.queue(), [])
        self.assertEqual(server.mail(), [])

    def test_password(self) -> None:
        """A new password is good at once, the old one no more (S-46)."""
        server = self.start(Layout(tables=HURRIED), password=True)
        server.set_password(password="another one")
        client = smtplib.SMTP("localhost", server.ports["submission"], timeout=PATIENCE)
        self.addCleanup(client.close)
        client.starttls(context=server.tls())
        with self.assertRaises(smtplib.SMTPAuthenticationError):
            client.login(ADDRESS, PASSWORD)
        client.login(ADDRESS, "another one")

    def test_unknown_account(self) -> None:
        """A misspelled account is one line and a failure."""
        server = self.start()
        for words in (("mail", "list", "alcie"), ("account", "set-password", "--stdin", "alcie")):
            done = server.command(*words, text="password\n")
            self.assertNotEqual(done.returncode, 0)
            self.assertIn("alcie", done.stdout + done.stderr)
            self.assertNotIn("Traceback", done.stdout + done.stderr)


class MonitoringTests(ServerTestCase):
    """What monitors read."""

    def test_metrics(self) -> None:
        """Connections and deliveries are counted under mox's names (S-114)."""
        server = self.start()
        server.deliver()
        status, text = server.ask("/metrics")
        self.assertEqual(status, 200)
        self.assertRegex(text, r'(?m)^mox_smtpserver_connection_total\{kind="smtp"\} [1-9]')
        self.assertRegex(
            text, r'(?m)^mox_smtpserver_delivery_total\{[^}]*result="delivered"[^}]*\} 1'
        )

    def test_json_log(self) -> None:
        """With C{--log-format json} every line is an object."""
        server = self.start()
        self.assertEqual(server.end(), 0)
        lines = self.logged_as_json(server)
        self.assertTrue(all(isinstance(line, dict) and line["time"] for line in lines))

    def logged_as_json(self, server: Server) -> list[Any]:
        """What a run with that option prints."""
        server.process.log.unlink()
        server.options = ("--log-format", "json")
        server.restart()
        server.wait_until_up()
        server.deliver()
        self.assertEqual(server.end(), 0)
        return [json.loads(line) for line in server.log().splitlines()]

    def test_nothing_secret_is_logged(self) -> None:
        """Neither passwords nor content reach the log, whatever its level."""
        server = self.start(Layout(tables={"log": 'level = "debug"'}), password=True)
        server.submit("user@there.test", body="the secret of the content\r\n")
        with self.assertRaises(smtplib.SMTPAuthenticationError):
            client = smtplib.SMTP("localhost", server.ports["submission"], timeout=PATIENCE)
            self.addCleanup(client.close)
            client.starttls(context=server.tls())
            client.login(ADDRESS, "mistyped secret")
        self.assertNotIn("secret", server.log())
        self.assertNotIn(PASSWORD, server.log())
