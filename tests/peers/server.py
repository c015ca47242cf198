"""Our server, run as its users run it."""

from __future__ import annotations

import json
import os
import signal
import smtplib
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from moxsmtp.admin.client import call
from tests.peers.certificate import Certificate, make_certificate
from tests.peers.names import names_port
from tests.peers.process import PATIENCE, PeerTestCase, Process, free_port, until

__all__ = ["Layout", "Server", "ServerTestCase", "commands", "environment", "script"]

_CHECKOUT: Final = Path(__file__).resolve().parent.parent.parent

ACCOUNT: Final = "alice"
ADDRESS: Final = "alice@here.test"
PASSWORD: Final = "correct horse battery"


def script(name: str) -> str:
    """The path of a program of this Python environment."""
    return str(Path(sys.executable).parent / name)


def commands() -> list[str]:
    """The beginning of a command line of C{moxsmtp}, which a checkout has no script for."""
    if os.environ.get("MOXSMTP_PEERS_INSTALLED"):
        return [script("moxsmtp")]
    return [sys.executable, "-m", "moxsmtp"]


def environment(folder: Path) -> dict[str, str]:
    """
    That of a user whose home is C{folder}.  The package is the installed one
    if C{MOXSMTP_PEERS_INSTALLED} says so, else this checkout's.
    """
    env = {
        name: value
        for name, value in os.environ.items()
        if name not in {"PYTHONPATH", "XDG_DATA_HOME"} and not name.startswith("MOXSMTP_")
    }
    if not os.environ.get("MOXSMTP_PEERS_INSTALLED"):
        env["PYTHONPATH"] = str(_CHECKOUT)
    return {**env, "HOME": str(folder), "LC_ALL": "C.UTF-8"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """
    What a test wants otherwise than usual.

    @ivar top: Keys at the top of the file.
    @ivar account: Keys of the account C{alice}, its sub-tables last.
    @ivar rest: More of the file: tables.
    @ivar tables: The lines of C{[queue]}, C{[store]} and so on.
    @ivar listener: Lines to add to the listener.
    @ivar smtp: Lines to add to its port 25.
    @ivar tls: Lines to add to its TLS, C{[[listener.tls.other]]} last.
    """

    top: str = ""
    account: str = ""
    rest: str = ""
    tables: Mapping[str, str] = field(default_factory=dict)
    listener: str = ""
    smtp: str = ""
    tls: str = ""


#: Longer than any test: nothing is tried twice unless the test wants it.
_QUEUE: Final = 'retry_after = "1h"'


#: Tables with which whoever fails to log in is not answered an octet a second.
HURRIED: Final = {"delays": 'authentication = "0s"\nslow_client = "0s"'}

#: Load is handed in by the thousand.
_UNLIMITED: Final = """\
max_outgoing_messages_per_day = 0
max_first_time_recipients_per_day = 0
"""


def configuration(
    folder: Path, ports: Mapping[str, int], certificate: Certificate, layout: Layout
) -> str:
    """The text of C{moxsmtp.toml}."""
    tables = {
        "queue": _QUEUE,
        "limits": 'limits_exempt = ["127.0.0.0/8"]',
        "resolver": f'servers = [{{ address = "127.0.0.1", port = {names_port()} }}]',
    }
    tables |= {"http": f"port = {ports['http']}", **layout.tables}
    text = f"""\
hostname = "mx.here.test"
data_directory = "{folder / "data"}"
{layout.top}

[[listener]]
name = "test"
addresses = ["127.0.0.1"]
{layout.listener}
[listener.tls]
certificate = "{certificate.file}"
key = "{certificate.key}"
{layout.tls}
"""
    for service in ("smtp", "submission", "submissions"):
        text += f"[listener.{service}]\nenabled = true\nport = {ports[service]}\n"
        text += f"{layout.smtp}\n" if service == "smtp" else ""
    text += f"""
[domain."here.test"]
separator = "+"

[account.{ACCOUNT}]
addresses = ["{ADDRESS}", "postmaster@here.test"]
{"" if "_per_day" in layout.account else _UNLIMITED}
{layout.account}

[account.bob]
addresses = ["bob@here.test"]

{layout.rest}
"""
    return text + "".join(f"[{name}]\n{lines}\n" for name, lines in tables.items())


class Server:
    """
    C{twistd -n moxsmtp --config} in C{folder}, ready for mail.

    @param wrapper: Words before the command: C{strace} and the like.
    @ivar options: More of them, for the next start.
    @ivar within: Words before commands: C{nsenter} and the like.
    @ivar ports: By C{smtp}, C{submission}, C{submissions}, C{http}.
    """

    def __init__(
        self, folder: Path, layout: Layout = Layout(), *, wrapper: Sequence[str | Path] = ()
    ) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self.ports = {name: free_port() for name in ("smtp", "submission", "submissions", "http")}
        self.certificate = make_certificate(folder, "mx.here.test")
        self.file = folder / "moxsmtp.toml"
        self.data = folder / "data"
        self.options: Sequence[str] = ()
        self.within: Sequence[str] = ()
        self._wrapper = list(wrapper)
        self.configure(layout)
        self.process = self._launch()

    def configure(self, layout: Layout) -> None:
        """Write the configuration anew."""
        self.file.write_text(configuration(self.folder, self.ports, self.certificate, layout))

    def _launch(self) -> Process:
        command = [script("twistd"), "-n", "moxsmtp", "--config", str(self.file)]
        return Process(
            [*self._wrapper, *command, *self.options],
            log=self.folder / "server.log",
            env=environment(self.folder),
            cwd=self.folder,
        )

    def reload(self) -> None:
        """Have it read its configuration again."""
        self.process.signal(signal.SIGHUP)

    def restart(self) -> None:
        """Start it again in the same folder."""
        self.process = self._launch()

    # -- its state

    def ask(self, page: str) -> tuple[int, str]:
        """A page of its HTTP listener: the status, 0 if there was none, and the text."""
        url = f"http://127.0.0.1:{self.ports['http']}{page}"
        try:
            with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError as error:
            return 0, str(error)

    def wait_until_up(self, *, page: str = "/healthz", within: float = PATIENCE) -> None:
        """Until it answers and listens; C{/readyz} wants a resolver too."""

        def answers() -> bool:
            if not self.process.is_running():
                raise AssertionError(f"it ended\n{self.log()[-4000:]}")
            return self.ask(page)[0] == 200

        until(answers, within=within, what=f"{page} is 200", log=self.log)

    def log(self) -> str:
        """What it logged."""
        return self.process.output()

    def end(self) -> int:
        """Stop it as an administrator does.  @return: Its exit status."""
        return self.process.end()

    # -- its mail, by its own commands

    def command(self, *words: str, text: str = "") -> subprocess.CompletedProcess[str]:
        """C{moxsmtp --config FILE ...}."""
        return subprocess.run(
            [*self.within, *commands(), "--config", str(self.file), *words],
            input=text,
            env=environment(self.folder),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )

    def objects(self, *words: str) -> list[dict[str, Any]]:
        """What a command prints with C{--json}."""
        done = self.command(*words, "--json")
        if done.returncode:
            raise AssertionError(f"{' '.join(words)}: {done.stdout}{done.stderr}")
        return [json.loads(line) for line in done.stdout.splitlines()]

    def mail(self, account: str = ACCOUNT) -> list[dict[str, Any]]:
        """The messages of an account, oldest first."""
        return self._listed("mail.list", account=account)[::-1]

    def queue(self) -> list[dict[str, Any]]:
        """What waits to leave, oldest first."""
        return self._listed("queue.list", sort="queued", ascending=True)

    def _listed(self, command: str, **arguments: Any) -> list[dict[str, Any]]:
        """
        What the server tells C{moxsmtp ... list}, without a process that takes a second to
        start: tests ask again and again until something has happened.
        """
        # One that has a disk of its own is looked for where it sees that.
        root = f"/proc/{self.process.pid}/root" if self.within else ""
        return list(call(f"{root}{self.data}", command, {**arguments, "limit": 1_000_000}))

    def raw(self, number: int, account: str = ACCOUNT) -> bytes:
        """A message, octet by octet."""
        words = ("--config", str(self.file), "mail", "show", account, str(number), "--raw")
        done = subprocess.run(
            [*self.within, *commands(), *words],
            env=environment(self.folder),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=PATIENCE,
            check=True,
        )
        return done.stdout

    def set_password(self, account: str = ACCOUNT, password: str = PASSWORD) -> None:
        """Give an account a password."""
        done = self.command("account", "set-password", "--stdin", account, text=f"{password}\n")
        if done.returncode:
            raise AssertionError(done.stdout + done.stderr)

    def wait_until_tried(self, count: int = 1) -> dict[str, Any]:
        """
        Until the one job that waits has so many attempts behind it; those that it counts
        itself may be under way still.

        @return: Its entry.
        """
        found: list[dict[str, Any]] = []

        def is_tried() -> bool:
            found[:] = self.queue()
            return len(found) == 1 and len(found[0]["results"]) >= count

        until(is_tried, what=f"attempt {count} has ended", log=self.log)
        return found[0]

    # -- its clients

    def client(self) -> smtplib.SMTP:
        """A connection to port 25."""
        return smtplib.SMTP("127.0.0.1", self.ports["smtp"], "client.test", timeout=PATIENCE)

    def tls(self) -> ssl.SSLContext:
        """What a client needs to trust its certificate."""
        return self.certificate.client_context()

    def submission(self) -> smtplib.SMTP:
        """A user's connection, logged in under STARTTLS."""
        client = smtplib.SMTP(
            "localhost", self.ports["submission"], "client.test", timeout=PATIENCE
        )
        client.starttls(context=self.tls())
        client.login(ADDRESS, PASSWORD)
        return client

    def submit(self, *recipients: str, subject: str = "hello", body: str = "text\r\n") -> None:
        """Hand in a message as C{alice}."""
        text = f"From: {ADDRESS}\r\nTo: {recipients[0]}\r\nSubject: {subject}\r\n\r\n{body}"
        with self.submission() as client:
            client.sendmail(ADDRESS, list(recipients), text.encode())

    def deliver(
        self, recipient: str = ADDRESS, *, subject: str = "hello", body: bytes = b"text\r\n"
    ) -> None:
        """Bring it a message as another server does."""
        text = f"From: peer@there.test\r\nTo: {recipient}\r\nSubject: {subject}\r\n\r\n".encode()
        with self.client() as client:
            client.sendmail("peer@there.test", [recipient], text + body)


class ServerTestCase(PeerTestCase):
    """A test with a server of its own, which must not print a traceback."""

    def start(
        self, layout: Layout = Layout(), *, password: bool = False, page: str = "/healthz"
    ) -> Server:
        """A server that is up; it is ended after the test."""
        server = Server(self.folder / "moxsmtp", layout)
        self.addCleanup(self._finish, server)
        server.wait_until_up(page=page)
        if password:
            server.set_password()
        return server

    def _finish(self, server: Server) -> None:
        status = server.end()
        log = server.log()
        for word in ("Traceback", "Unhandled"):
            if word in log:
                self.fail(f"{word} in the log:\n{log[-4000:]}")
        self.assertEqual(status, 0, log[-4000:])

    def assertComes(
        self, server: Server, subject: str, *, account: str = ACCOUNT
    ) -> dict[str, Any]:
        """A message of that subject comes to be listed.  @return: Its entry."""
        found: list[dict[str, Any]] = []

        def is_listed() -> bool:
            found[:] = [entry for entry in server.mail(account) if entry["subject"] == subject]
            return bool(found)

        until(is_listed, what=f"{subject!r} is listed", log=server.log)
        return found[0]
