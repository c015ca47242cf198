"""The command line, with a server of the test's own behind it."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
from click.testing import CliRunner, Result
from twisted.trial import unittest

from moxsmtp.admin import cli, cli_base
from moxsmtp.admin.client import CommandRefused, NoServer
from tests.config.test_load import LEAST

MESSAGE = {
    "id": 17, "account": "alice", "mailbox": "Inbox", "received": "2026-01-02T03:04:05.000+00:00",
    "size": 2048, "flags": "", "mail_from": "", "rcpt_to": "alice@example.org", "author": "",
    "subject": "a\x1b[2J\nb",
}  # fmt: skip


def piece(content: bytes) -> dict[str, str]:
    return {"piece": base64.b64encode(content).decode()}


class CLITestCase(unittest.SynchronousTestCase):
    """Runs commands."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.environment = {"HOME": str(self.folder)}
        self.patch(os, "environ", self.environment)
        self.calls: list[tuple[str, str, Mapping[str, object], float | None]] = []
        self.answer: list[Mapping[str, Any] | Exception] = []
        self.patch(cli_base, "call", self.call)

    def call(
        self,
        folder: str,
        command: str,
        arguments: Mapping[str, object],
        *,
        time_limit: float | None,
    ) -> Iterator[Mapping[str, Any]]:
        self.calls.append((folder, command, arguments, time_limit))
        for entry in self.answer:
            if isinstance(entry, Exception):
                raise entry
            yield dict(entry)

    def run_cli(self, *arguments: str, status: int = 0, input: str | None = None) -> Result:  # noqa: A002 - click's word
        result = CliRunner().invoke(cli.main, list(arguments), input=input, prog_name="moxsmtp")
        self.assertEqual(result.exit_code, status, result.output)
        return result

    def write(self, text: str) -> str:
        path = self.folder / "x.toml"
        path.write_text(text)
        return str(path)


class FindingTests(CLITestCase):
    """Which server?"""

    def folder_of(self, *arguments: str) -> str:
        self.run_cli(*arguments, "queue", "list")
        return self.calls[-1][0]

    def test_order(self) -> None:
        """Options before the environment, the folder before the file, last localserve's."""
        path = self.write('data_directory = "data"\n')
        self.assertEqual(self.folder_of(), f"{self.folder}/.local/share/moxsmtp-localserve")
        self.environment["MOXSMTP_CONFIG"] = path
        self.assertEqual(self.folder_of(), str(self.folder / "data"))
        self.environment["MOXSMTP_DIRECTORY"] = "/environment"
        self.assertEqual(self.folder_of(), "/environment")
        self.assertEqual(self.folder_of("--config", path), str(self.folder / "data"))
        self.assertEqual(self.folder_of("--directory", "/given"), "/given")

    def test_both(self) -> None:
        """Two servers cannot be meant."""
        self.run_cli("-d", "x", "-c", "y", "queue", "list", status=2)

    def test_relative(self) -> None:
        """A relative folder is the caller's."""
        self.assertEqual(self.folder_of("-d", "x"), str(Path("x").absolute()))

    def test_bad_configuration(self) -> None:
        """A file that cannot be read is told in one line."""
        result = self.run_cli("-c", str(self.folder / "no"), "queue", "list", status=1)
        self.assertEqual(
            result.stderr, f"moxsmtp: {self.folder}/no: cannot be read: No such file or directory\n"
        )

    def test_no_server(self) -> None:
        """No server there: one line, status 1."""
        self.answer = [NoServer("no server runs on /x\x1b")]
        result = self.run_cli("queue", "list", status=1)
        self.assertEqual(
            (result.stdout, result.stderr), ("", "moxsmtp: no server runs on /x\\x1b\n")
        )


class HelpTests(CLITestCase):
    """Help of every command."""

    def commands(self, group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
        for name, command in group.commands.items():
            if isinstance(command, click.Group):
                yield from self.commands(command, (*path, name))
            else:
                yield (*path, name)

    def test_examples(self) -> None:
        """Each command has help with an example that begins as it does, and takes --json."""
        found = list(self.commands(cli.main))
        self.assertGreaterEqual(len(found), 12)
        for path in found:
            text = self.run_cli(*path, "--help").stdout
            self.assertIn(f"Example: moxsmtp {' '.join(path)} ", text.replace("list\n", "list "))
            self.assertIn("--json", text)

    def test_version(self) -> None:
        """The version has the program's name."""
        self.assertTrue(self.run_cli("--version").stdout.startswith("moxsmtp "))


class ConfigTests(CLITestCase):
    """C{config test}."""

    def test_good(self) -> None:
        """A good file is called so; no server is needed."""
        path = self.write(LEAST)
        self.assertEqual(self.run_cli("config", "test", path).stdout, f"{path}: no mistakes\n")
        self.assertEqual(self.run_cli("config", "test", path, "--json").stdout, "")
        self.assertEqual(self.calls, [])

    def test_bad(self) -> None:
        """Each mistake is a line C{file:line: key: text}, and the status is 1."""
        path = self.write(LEAST + "[queue]\na = 1\nb = 1\n")
        lines = self.run_cli("config", "test", path, status=1).stderr.splitlines()
        self.assertEqual(len(lines), 2)
        self.assertTrue(lines[0].startswith(f"{path}:12: queue.a: "))

    def test_json(self) -> None:
        """With --json it is an object."""
        path = self.write(LEAST + "[queue]\na = 1\n")
        entry = json.loads(self.run_cli("config", "test", path, "--json", status=1).stdout)
        text = entry.pop("text")
        self.assertIn("unknown key", text)
        self.assertEqual(entry, {"file": path, "line": 12, "key": "queue.a", "severity": "mistake"})

    def test_warning(self) -> None:
        """A warning is shown and is no mistake."""
        secret = self.folder / "secret"
        secret.write_text("x\n")
        secret.chmod(0o644)
        path = self.write(
            LEAST + '[account.alice.incoming_webhook]\nurl = "http://x.example"\n'
            'authorization_file = "secret"\n'
        )
        result = self.run_cli("config", "test", path)
        self.assertIn("(a warning)", result.stderr)
        self.assertIn("no mistakes", result.stdout)


class PasswordTests(CLITestCase):
    """C{account set-password}."""

    def setUp(self) -> None:
        super().setUp()
        self.answer = [{"account": "alice"}]

    def password(self) -> object:
        ((_, command, arguments, _),) = self.calls
        self.assertEqual((command, arguments["account"]), ("account.set-password", "a@example.org"))
        return arguments["password"]

    def test_prompt(self) -> None:
        """It is asked for twice and shown never."""
        result = self.run_cli(
            "account", "set-password", "a@example.org", input="hush \u00e9\nhush \u00e9\n"
        )
        self.assertEqual(self.password(), "hush \u00e9")
        self.assertNotIn("hush", result.output)
        self.assertIn("the password of alice is set", result.stdout)

    def test_mistyped(self) -> None:
        """Two different ones are none."""
        self.run_cli("account", "set-password", "a@example.org", input="a\nb\n", status=1)
        self.assertEqual(self.calls, [])

    def test_stdin(self) -> None:
        """A script gives one line."""
        self.run_cli("account", "set-password", "a@example.org", "--stdin", input=" pass \r\nx\n")
        self.assertEqual(self.password(), " pass ")

    def test_empty(self) -> None:
        """An empty password is none."""
        self.run_cli("account", "set-password", "a@example.org", "--stdin", input="\n", status=1)
        self.assertEqual(self.calls, [])


class MailTests(CLITestCase):
    """C{mail}."""

    def test_list(self) -> None:
        """A table on one line a message, without a stranger's control characters."""
        self.answer = [MESSAGE]
        head, row = self.run_cli("mail", "list", "alice").stdout.splitlines()
        self.assertEqual(
            head.split(), ["ID", "RECEIVED", "SIZE", "MAILBOX", "FROM", "TO", "SUBJECT"]
        )
        self.assertEqual(head.index("SUBJECT"), row.index("a\\x1b[2J\\nb"))
        self.assertIn("2026-01-02 03:04:05  2.0 KiB  Inbox    <>", row)
        self.assertEqual(self.calls[0][1:3], ("mail.list", {"account": "alice", "limit": 100}))

    def test_list_json(self) -> None:
        """One object a line, before or behind the command; nothing for nothing."""
        self.answer = [MESSAGE, MESSAGE]
        for arguments in (("--json", "mail", "list", "a"), ("mail", "list", "a", "--json")):
            lines = self.run_cli(*arguments).stdout.splitlines()
            self.assertEqual([json.loads(line) for line in lines], [MESSAGE, MESSAGE])
        self.answer = []
        self.assertEqual(self.run_cli("mail", "list", "a", "--json").stdout, "")
        self.assertEqual(self.run_cli("mail", "list", "a").stdout, "no messages\n")

    def test_list_limit(self) -> None:
        """Who sees as many as he asked for is told that there may be more."""
        self.answer = [MESSAGE]
        result = self.run_cli("mail", "list", "a", "--limit", "1")
        self.assertIn("--limit", result.stderr)
        self.assertEqual(self.run_cli("mail", "list", "a", "--limit", "2").stderr, "")
        self.run_cli("mail", "list", "a", "--limit", "0", status=2)

    def test_show(self) -> None:
        """Fields, an empty line, and the message with escapes, whatever the pieces."""
        content = "Subject: x\r\n\r\nJ\u00f6rg\x1b[2J\r\n".encode()
        self.answer = [MESSAGE, *(piece(content[i : i + 3]) for i in range(0, len(content), 3))]
        text = self.run_cli("mail", "show", "alice", "17").stdout
        self.assertTrue(text.startswith("id:        17\n"), text)
        self.assertTrue(text.endswith("\n\nSubject: x\n\nJ\u00f6rg\\x1b[2J\n\n"), repr(text))
        self.assertEqual(self.calls[0][1:3], ("mail.show", {"account": "alice", "numbers": [17]}))

    def test_show_raw(self) -> None:
        """Raw is the message, octet by octet, and nothing else."""
        content = bytes(range(256))
        self.answer = [MESSAGE, piece(content), piece(b"\r\n")]
        result = self.run_cli("mail", "show", "alice", "17", "--raw")
        self.assertEqual(result.stdout_bytes, content + b"\r\n")

    def test_show_json(self) -> None:
        """As JSON it is the fields, with --raw the pieces as well."""
        self.answer = [MESSAGE, piece(b"x")]
        lines = self.run_cli("mail", "show", "a", "17", "--json").stdout.splitlines()
        self.assertEqual([json.loads(line) for line in lines], [MESSAGE])
        lines = self.run_cli("mail", "show", "a", "17", "--json", "--raw").stdout.splitlines()
        self.assertEqual([json.loads(line) for line in lines], [MESSAGE, piece(b"x")])

    def test_delete(self) -> None:
        """What is gone is told before what was not there."""
        self.answer = [{"id": 17}, CommandRefused("account alice has no message 18")]
        result = self.run_cli("mail", "delete", "alice", "17", "18", status=1)
        self.assertEqual(result.stdout, "deleted 17\n")
        self.assertEqual(result.stderr, "moxsmtp: account alice has no message 18\n")
        self.assertEqual(self.calls[0][2], {"account": "alice", "numbers": [17, 18]})
        self.run_cli("mail", "delete", "alice", status=2)
        self.run_cli("mail", "delete", "alice", "x", status=2)


class BackupTests(CLITestCase):
    """C{backup}."""

    def test_backup(self) -> None:
        """The folder is the caller's, the time limit none."""
        self.answer = [{"folder": "/b"}]
        self.assertIn("/b", self.run_cli("backup", "b").stdout)
        ((_, command, arguments, limit),) = self.calls
        self.assertEqual((command, limit), ("backup", None))
        self.assertEqual(arguments, {"folder": str(Path("b").absolute())})

    def test_backup_without_maildirs(self) -> None:
        """Who makes a copy is told, before and after, that Maildirs are not in it."""
        self.answer = [{"folder": "/b"}]
        for words in (("backup", "b"), ("backup", "--help")):
            text = " ".join(self.run_cli(*words).stdout.split())
            self.assertIn("back the Maildirs up as files", text)
        self.assertNotIn("Maildirs", self.run_cli("backup", "b", "--json").stdout)
