"""
C{dkimverify}, the command line of dkimpy, verifies what we sign.

It asks the resolver of the machine and has no option for another, so it is run
as the script that it is after dnspython was told which resolver is the default:
the test's own, whose zone has what C{moxsmtp dkim record} prints.
"""

from __future__ import annotations

import importlib.util
import json
import signal
import smtplib
import subprocess
import sys
from collections.abc import Sequence
from email.message import EmailMessage
from typing import Any, Final

from tests.peers.check_delivery import HOST, DeliveryTestCase, resolver
from tests.peers.postfix import Postfix
from tests.peers.process import PATIENCE, until
from tests.peers.server import (
    ADDRESS,
    PASSWORD,
    Layout,
    Server,
    commands,
    environment,
    script,
)
from tests.peers.unbound import Unbound

_UNDER_OUR_RESOLVER: Final = """\
import runpy, sys
import dns.resolver
resolver = dns.resolver.Resolver(configure=False)
resolver.nameservers, resolver.port = [sys.argv[1]], int(sys.argv[2])
dns.resolver.default_resolver = resolver
del sys.argv[:3]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


class DkimpyTests(DeliveryTestCase):
    """Mail goes out to a Postfix, and is verified as it lies there."""

    programs = ("postfix", "unbound", "swaks")

    def setUp(self) -> None:
        super().setUp()
        if importlib.util.find_spec("nacl") is None:
            self.unavailable("dkimpy verifies Ed25519 with PyNaCl only, which is not installed")

    def moxsmtp(self, *words: str) -> str:
        """What a command prints."""
        return subprocess.run(
            [*commands(), *words],
            env=environment(self.folder),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=True,
        ).stdout

    def generated(self, selector: str, algorithm: str) -> dict[str, Any]:
        """A new key, with what is to be written where."""
        said: dict[str, Any] = json.loads(
            self.moxsmtp(
                *("dkim", "generate", "here.test", "--selector", selector, "--json"),
                *("--algorithm", algorithm, "--out", str(self.folder / f"{selector}.pem")),
            )
        )
        return said

    def layout(self, keys: Sequence[dict[str, Any]], unbound: Unbound, port: int) -> Layout:
        """Our server's configuration, with all of them."""
        queue = f'outbound_port = {port}\nretry_after = "1h"'
        return Layout(
            rest="\n".join(key["toml"] for key in keys),
            tables={"resolver": resolver(unbound), "queue": queue},
        )

    def published(self, keys: Sequence[dict[str, Any]]) -> Unbound:
        """The DNS with their records, and a mail server for C{there.test}."""
        return self.dns(
            {
                "there.test": f"@ 60 IN MX 10 mx\nmx 60 IN A {HOST}\n",
                "here.test": "".join(f"{key['zone']}\n" for key in keys),
            }
        )

    def delivered(self, postfix: Postfix, server: Server, word: str) -> bytes:
        """The message that has C{word} in it, once it is there."""
        found: list[bytes] = []

        def is_there() -> bool:
            found[:] = [one for one in postfix.messages() if word.encode() in one]
            return bool(found)

        until(is_there, what=f"{word!r} is delivered", log=server.log)
        return found[0]

    def dkimverify(
        self, message: bytes, unbound: Unbound, index: int
    ) -> subprocess.CompletedProcess[bytes]:
        """What it says of one signature, counted from the top."""
        return subprocess.run(
            [
                *(sys.executable, "-c", _UNDER_OUR_RESOLVER),
                *(unbound.address, str(unbound.port), script("dkimverify"), "--index", str(index)),
            ],
            input=message,
            capture_output=True,
            timeout=PATIENCE,
            check=False,
        )

    def assertVerified(self, message: bytes, unbound: Unbound, *selectors: str) -> None:
        """It has these signatures, in this order, and no other; each is good."""
        fields = message.partition(b"\n\n")[0].split(b"\nDKIM-Signature:")[1:]
        self.assertEqual(len(selectors), len(fields), message)
        for index, selector in enumerate(selectors):
            self.assertRegex(fields[index], rb"\ss=%s;" % selector.encode())
            done = self.dkimverify(message, unbound, index)
            said = done.stdout + done.stderr
            self.assertEqual((0, b"signature ok\n"), (done.returncode, done.stdout), said)

    def test_verified(self) -> None:
        """
        Mail from smtplib and from swaks is signed with RSA and with Ed25519, and
        both signatures are good where it arrives (S-96).
        """
        keys = [self.generated("rsa", "rsa2048"), self.generated("ed", "ed25519")]
        unbound = self.published(keys)
        postfix = self.postfix(domains=("there.test",), address=HOST)
        server = self.start(self.layout(keys, unbound, postfix.port), password=True, page="/readyz")
        printed = server.command("dkim", "record", "here.test").stdout
        self.assertEqual("".join(f"{key['zone']}\n" for key in keys), printed)
        message = EmailMessage()
        message["From"] = f"Alice Grün <{ADDRESS}>"
        message["To"] = "user@there.test"
        message["Subject"] = (
            "grüße \t  with   white space, and so long that it has to be folded" * 3
        )
        message.set_content("..dots\n \t \n" + "a line \t of text  \n" * 5000 + "\n\n\n")
        message.add_attachment(bytes(range(256)) * 200, maintype="a", subtype="b")
        with server.submission() as client:
            client.send_message(message)
        first = self.delivered(postfix, server, "..dots")
        self.assertVerified(first, unbound, "rsa", "ed")
        for forged in (first.replace(b"..dots", b".dots"), b"Subject: another\n" + first):
            self.assertNotEqual(forged, first)
            for index in range(2):
                done = self.dkimverify(forged, unbound, index)
                # Of a body it says so by an exception.
                self.assertEqual(1, done.returncode)
                self.assertNotIn(b"signature ok", done.stdout)
        sent = self.run_program(
            *("swaks", "--server", "127.0.0.1", "--port", str(server.ports["submission"])),
            *("--tls", "--auth", "PLAIN", "--auth-user", ADDRESS, "--auth-password", PASSWORD),
            *("--from", ADDRESS, "--to", "other@there.test", "--body", "from swaks"),
        )
        self.assertEqual(0, sent.returncode, sent.stdout)
        second = self.delivered(postfix, server, "from swaks")
        self.assertVerified(second, unbound, "rsa", "ed")

    def test_rotated(self) -> None:
        """A reload takes another key, without an end of anything (S-96)."""
        keys = [self.generated("old", "rsa2048"), self.generated("new", "ed25519")]
        unbound = self.published(keys)
        postfix = self.postfix(domains=("there.test",), address=HOST)
        server = self.start(
            self.layout(keys[:1], unbound, postfix.port), password=True, page="/readyz"
        )
        with server.submission() as client:
            self.send(client, "first")
            first = self.delivered(postfix, server, "first")
            keys[0]["toml"] += "\nactive = false"
            server.configure(self.layout(keys, unbound, postfix.port))
            server.process.signal(signal.SIGHUP)
            until(lambda: "was reloaded" in server.log(), what="reload", log=server.log)
            self.send(client, "second")
        self.assertVerified(first, unbound, "old")
        self.assertVerified(self.delivered(postfix, server, "second"), unbound, "new")

    def send(self, client: smtplib.SMTP, body: str) -> None:
        """Hand in a message."""
        client.sendmail(ADDRESS, ["user@there.test"], f"From: {ADDRESS}\r\n\r\n{body}\r\n")
