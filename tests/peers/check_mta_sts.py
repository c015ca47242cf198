"""MTA-STS: policies from a real HTTPS server, and mail that goes by them to Postfix."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from typing import Any

from tests.peers.authority import Authority
from tests.peers.certificate import Certificate
from tests.peers.check_delivery import HOST, DeliveryTestCase, resolver
from tests.peers.check_webhooks import own_address
from tests.peers.policy_host import Page, PolicyHost, policy
from tests.peers.postfix import Postfix
from tests.peers.process import until
from tests.peers.server import Server, commands, environment
from tests.peers.unbound import Unbound

NAME = "mta-sts.there.test"


class StsTestCase(DeliveryTestCase):
    """
    A policy host for C{there.test}, whose certificate is of an authority that we trust.

    @ivar unbound: The resolver, once there is one; the next has its port.
    """

    unbound: Unbound

    programs: tuple[str, ...] = ("unbound",)

    def setUp(self) -> None:
        super().setUp()
        self.address = own_address() or ""
        if not self.address:
            self.unavailable("this machine has no address but loopback")
        self.authority = Authority(self.folder)
        try:
            self.host = PolicyHost(self.address, self.authority.issue(NAME))
        except OSError as error:
            self.unavailable(f"port 443: {error}")
        self.addCleanup(self.host.end)
        self.dns_port = 0
        self.names = 0

    def publish(self, record: str = '"v=STSv1; id=1"', hosts: tuple[str, ...] = ("mx",)) -> Unbound:
        """The DNS now has this record, and these hosts by preference."""
        records = f"_mta-sts 1 IN TXT {record}\n" if record else ""
        records += f"mta-sts 1 IN A {self.address}\n"
        for number, host in enumerate(hosts):
            records += f"@ 1 IN MX {number} {host}\n{host} 1 IN A {HOST}\n"
        if self.dns_port:
            self.unbound.end()
        self.names += 1
        folder = self.folder / f"unbound{self.names}"
        self.unbound = Unbound(folder, {"there.test": records}, port=self.dns_port)
        self.dns_port = self.unbound.port
        self.addCleanup(self.unbound.end)
        return self.unbound

    def offer(self, text: str, **options: Any) -> None:
        """The policy host now has this policy."""
        self.host.page = Page(text.encode(), **options)

    @property
    def outbound(self) -> str:
        """The lines of C{[outbound]}."""
        return f'certificates = "{self.authority.file}"\nallow_private = ["{self.address}/32"]'


class CheckTests(StsTestCase):
    """C{moxsmtp check mta-sts}, which fetches as the server does."""

    def check(self, status: int, *, configuration: str | None = None) -> dict[str, Any]:
        """What it says of the domain."""
        file = Path(self.folder, "check.toml")
        sections = f"[resolver]\n{resolver(self.unbound)}\n[outbound]\n"
        file.write_text(sections + (self.outbound if configuration is None else configuration))
        done = subprocess.run(
            [*commands(), "--config", str(file), "check", "mta-sts", "there.test", "--json"],
            env=environment(self.folder),
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def assertFails(self, failure: str, words: str, **options: Any) -> None:
        """There is no policy to be had, for that reason."""
        found = self.check(1, **options)
        self.assertEqual((found["policy"], found["failure"]), (None, failure), found["reason"])
        self.assertIn(words, found["reason"])

    def test_modes(self) -> None:
        """Q-51, Q-52: policies of every mode are fetched, and compared with the hosts."""
        self.publish(hosts=("mx", "other"))
        for mode, status in (("enforce", 1), ("testing", 1), ("none", 0)):
            self.offer(policy(mode, "mx.there.test"))
            found = self.check(status)
            self.assertEqual(found["record_id"], "1")
            self.assertEqual(found["policy"]["mode"], mode)
            self.assertEqual(
                [(host["host"], host["named"]) for host in found["hosts"]],
                [("mx.there.test", True), ("other.there.test", False)],
            )
        self.assertEqual(set(self.host.asked), {f"{NAME}/.well-known/mta-sts.txt"})
        self.offer(policy("enforce", "*.there.test"))
        self.assertTrue(self.check(0)["fine"])

    def test_no_record(self) -> None:
        """Q-51: without one record that is good nobody asks the policy host."""
        self.offer(policy("enforce", "*.there.test"))
        self.publish("")
        self.assertTrue(self.check(0)["fine"])
        self.publish('"v=STSv1; id=1"\n_mta-sts 1 IN TXT "v=STSv1; id=2"')
        self.assertIn("more than one", self.check(1)["record_problem"])
        self.assertEqual(self.host.asked, [])

    def test_certificates(self) -> None:
        """Q-51: the host proves its name by a certificate in force of a trusted authority."""
        self.publish()
        self.offer(policy("enforce", "*.there.test"))
        bad = {
            "another authority": Authority(self.folder, "stranger").issue(NAME),
            "another name": self.authority.issue("there.test", "mx.there.test"),
            "expired": self.authority.issue(NAME, expired=True),
        }
        for certificate in bad.values():
            self.host.certificate = certificate
            self.assertFails("sts-webpki-invalid", "certificate verify failed")
        self.assertEqual(self.host.asked, [])
        self.host.certificate = self.authority.issue("*.there.test")
        self.check(0)
        # The authorities of the system do not know ours.
        private = f'allow_private = ["{self.address}/32"]'
        self.assertFails("sts-webpki-invalid", "verify failed", configuration=private)

    def test_redirect(self) -> None:
        """Q-51: a redirect is not followed, be it to the same host; no status but 200 will do."""
        self.publish()
        for status in (301, 302, 307, 404, 500):
            target = {"Location": f"https://{NAME}/.well-known/mta-sts.txt"}
            self.offer(policy("enforce", "*.there.test"), status=status, headers=target)
            self.assertFails("sts-policy-fetch-error", str(status))
        self.assertEqual(len(self.host.asked), 5)

    def test_large(self) -> None:
        """Q-51: of a body of 64 MiB no more is read than it takes to see that it is too long."""
        self.publish()
        self.host.page = Page(policy("enforce", "*.there.test").encode() + b"\n" * (64 << 20))
        self.assertFails("sts-policy-invalid", "65536")
        # What goes out before that is seen fills the buffers of the kernel at most.
        self.assertLess(self.host.sent, 32 << 20)

    def test_drip(self) -> None:
        """Q-51: a host that drips is given up after a minute."""
        self.publish()
        # All of it would take five minutes.
        self.offer(policy("enforce", "*.there.test"), drip=5)
        begin = time.monotonic()
        self.assertFails("sts-policy-fetch-error", "no whole answer within 60 s")
        self.assertLess(time.monotonic() - begin, 180)

    def test_private(self) -> None:
        """Q-95: a policy host at a private address is not asked unless that is allowed."""
        self.publish()
        self.offer(policy("enforce", "*.there.test"))
        trusted = f'certificates = "{self.authority.file}"'
        self.assertFails("sts-policy-fetch-error", "not allowed", configuration=trusted)
        self.assertEqual(self.host.asked, [])


class DeliveryTests(StsTestCase):
    """Mail from our server to Postfix."""

    programs = ("unbound", "postfix")

    def run_postfix(self, certificate: Certificate | None = None) -> Postfix:
        """The domain's host, with this certificate."""
        return self.postfix(domains=("there.test",), certificate=certificate, address=HOST)

    def run_server(self, postfix: Postfix) -> Server:
        """Ours, which tries again every few seconds."""
        return self.start_for(
            self.unbound, postfix.port, retry_after="4s", rest=f"[outbound]\n{self.outbound}\n"
        )

    def assertArrives(self, postfix: Postfix, server: Server, subject: str) -> None:
        """A message does."""
        server.submit("user@there.test", subject=subject)
        self.assertHasArrived(postfix, server, subject)

    def assertHasArrived(self, postfix: Postfix, server: Server, subject: str) -> None:
        """One that was sent before does, too."""
        line = f"Subject: {subject}".encode()
        until(
            lambda: any(line in message for message in postfix.messages()),
            what=f"{subject} arrives",
            log=server.log,
        )

    def assertWaits(self, postfix: Postfix, server: Server, subject: str) -> None:
        """A message does not arrive, and stays in the queue."""
        before = len(postfix.messages())
        server.submit("user@there.test", subject=subject)
        server.wait_until_tried()
        time.sleep(1)
        self.assertEqual(len(server.queue()), 1)
        self.assertEqual(len(postfix.messages()), before)

    def try_now(self, server: Server) -> None:
        """Try again what waits, which would come later each time."""
        done = server.command("queue", "schedule", "--at", "now", "--all")
        self.assertEqual(done.returncode, 0, done.stderr)

    def good(self) -> Certificate:
        """Of the host, by an authority that we trust."""
        return self.authority.issue("mx.there.test")

    def bad(self) -> Certificate:
        """Of the host, by another."""
        return Authority(self.folder, "stranger").issue("mx.there.test")

    def test_enforced(self) -> None:
        """Q-55, Q-59: an enforced policy lets mail go to a host that it names, proved by PKIX."""
        self.publish()
        self.offer(policy("enforce", "mx.there.test"))
        postfix = self.run_postfix(self.good())
        server = self.run_server(postfix)
        self.assertArrives(postfix, server, "one")
        self.assertArrives(postfix, server, "two")
        self.assertEqual(len(self.host.asked), 1)

    def test_bad_host(self) -> None:
        """Q-55, Q-59: mail waits where the host of an enforced policy does not prove its name."""
        self.publish()
        self.offer(policy("enforce", "mx.there.test"))
        postfix = self.run_postfix(self.bad())
        self.assertWaits(postfix, self.run_server(postfix), "held")

    def test_not_named(self) -> None:
        """Q-55: a host that an enforced policy does not name gets nothing, until a new one does."""
        self.publish()
        self.offer(policy("enforce", "elsewhere.there.test"))
        postfix = self.run_postfix(self.good())
        server = self.run_server(postfix)
        self.assertWaits(postfix, server, "held")
        # A new policy counts once its record says so.
        self.offer(policy("enforce", "mx.there.test"))
        self.publish('"v=STSv1; id=2"')
        self.try_now(server)
        self.assertHasArrived(postfix, server, "held")
        self.assertEqual(len(self.host.asked), 2)

    def test_testing(self) -> None:
        """Q-55: a policy under test keeps no mail back."""
        self.publish()
        self.offer(policy("testing", "elsewhere.there.test"))
        postfix = self.run_postfix(self.bad())
        self.assertArrives(postfix, self.run_server(postfix), "tested")

    def test_none(self) -> None:
        """Q-55: a policy of mode none is as good as none."""
        self.publish()
        self.offer(policy("none"))
        postfix = self.run_postfix()
        self.assertArrives(postfix, self.run_server(postfix), "free")
        self.assertEqual(len(self.host.asked), 1)

    def test_kept(self) -> None:
        """Q-53: neither its record, nor its host, nor a restart of ours takes a policy away."""
        self.publish()
        self.offer(policy("enforce", "mx.there.test"))
        postfix = self.run_postfix(self.bad())
        server = self.run_server(postfix)
        self.assertWaits(postfix, server, "held")
        self.assertEqual(len(self.host.asked), 1)
        self.host.certificate = Authority(self.folder, "stranger").issue(NAME)
        for record in ('"v=STSv1; id=2"', ""):
            self.publish(record)
            self.assertEqual(server.end(), 0)
            server.restart()
            server.wait_until_up()
            attempts = server.queue()[0]["attempts"]
            self.try_now(server)
            server.wait_until_tried(attempts + 1)
            self.assertEqual(postfix.messages(), [])
        self.assertIn("still counts", server.log())

    def test_expired(self) -> None:
        """Q-53: once its time is over a policy that cannot be had again holds no mail."""
        self.publish()
        age = 20
        self.offer(policy("enforce", "mx.there.test", age=age))
        postfix = self.run_postfix(self.bad())
        server = self.run_server(postfix)
        self.assertWaits(postfix, server, "held")
        self.offer("nothing")
        time.sleep(age)
        self.try_now(server)
        self.assertHasArrived(postfix, server, "held")
        self.assertIn("sts-policy-invalid", server.log())
