"""Commands about the queue, on a server that runs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from tests.peers.process import until
from tests.peers.server import Layout, Server, ServerTestCase


class QueueCommandTests(ServerTestCase):
    """C{moxsmtp queue}, C{hold-rule}, C{retired} and C{suppression}."""

    def setUp(self) -> None:
        """A server whose mail for there.test gets nowhere; it keeps its history."""
        super().setUp()
        transport = '[transport.nowhere]\nkind = "direct"\n'
        layout = Layout(account='keep_retired_messages = "1d"', rest=transport)
        self.server = self.start(layout, password=True)

    def say(self, *words: str) -> str:
        """What a command prints; it succeeds."""
        done = self.server.command(*words)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def waiting(self, server: Server) -> dict[str, Any]:
        """The one job that waits, tried once."""
        return server.wait_until_tried()

    def test_changes(self) -> None:
        """A job is held, released, scheduled, sent another way and ended (Q-22, Q-23)."""
        self.server.submit("user@there.test", subject="waits")
        number = str(self.waiting(self.server)["id"])
        chosen = ("--to", "@there.test", "--account", "alice")
        self.assertIn("1 job would be put on hold", self.say("queue", "hold", *chosen, "--dry-run"))
        for words in (("release",), ("schedule", "--at", "now"), ("transport", "nowhere"),
                      ("requiretls", "yes"), ("fail",), ("drop",)):  # fmt: skip
            before = self.server.queue()
            self.assertIn("1 job would be", self.say("queue", *words, *chosen, "--dry-run"))
            self.assertEqual(before, self.server.queue())
        self.assertFalse(self.server.queue()[0]["hold"])
        self.assertEqual(self.say("queue", "hold", *chosen), "1 job put on hold\n")
        self.assertTrue(self.server.queue()[0]["hold"])
        self.assertEqual(self.say("queue", "release", "--from", "eve@"), "0 jobs released\n")
        # No time of the calendar: it may be 365 days away at most.
        passed = datetime.now(UTC) - timedelta(hours=1)  # noqa: TID251 - the server has a clock of its own
        self.say("queue", "schedule", "--at", f"{passed:%Y-%m-%dT%H:%M:%SZ}", number)
        self.say("queue", "transport", "nowhere", number)
        refused = self.server.command("queue", "transport", "somewhere", number)
        self.assertIn("no transport is called somewhere; there are nowhere", refused.stderr)
        self.say("queue", "requiretls", "no", number)
        (entry,) = self.server.queue()
        self.assertEqual((entry["transport"], entry["require_tls"]), ("nowhere", "no"))
        self.assertEqual(self.say("queue", "release", "--all"), "1 job released\n")
        self.server.wait_until_tried(2)
        self.assertIn("Subject: waits", self.say("queue", "show", number, "--raw"))
        self.assertIn("attempt 2:", self.say("queue", "show", number))
        self.assertEqual(self.say("queue", "fail", number), "1 job failed\n")
        (bounce,) = self.server.mail()
        self.assertTrue(bounce["is_dsn"])
        self.assertIn("user@there.test", self.say("retired", "list", "--failed"))
        self.assertIn("cancelled by admin", self.say("retired", "show", number))

    def test_hold_rule(self) -> None:
        """A rule holds what waits and what is queued later (Q-20)."""
        self.server.submit("user@there.test")
        self.waiting(self.server)
        for words in (("--to-domain", "there.test"), ("--all",), ("--account", "alice")):
            self.assertIn(
                "1 job would be put on hold", self.say("hold-rule", "add", *words, "--dry-run")
            )
        self.assertIn("0 jobs would", self.say("hold-rule", "add", "--to-domain", "here.test",
                                               "--dry-run"))  # fmt: skip
        self.assertEqual(self.say("hold-rule", "list"), "no hold rules\n")
        self.assertFalse(self.server.queue()[0]["hold"])
        added = self.say("hold-rule", "add", "--to-domain", "there.test")
        self.assertEqual(added, "hold rule 1 added, 1 job put on hold\n")
        self.server.submit("other@there.test")
        self.assertEqual([entry["hold"] for entry in self.server.queue()], [True, True])
        self.assertIn("there.test", self.say("hold-rule", "list"))
        self.assertIn("1 rule would be removed", self.say("hold-rule", "remove", "1", "--dry-run"))
        self.say("hold-rule", "remove", "1")
        self.assertEqual([entry["hold"] for entry in self.server.queue()], [True, True])
        self.assertEqual(self.say("queue", "drop", "--on-hold"), "2 jobs dropped\n")

    def test_suppression(self) -> None:
        """Mail to who is on the list fails at once, with a bounce (Q-28, Q-30)."""
        self.say("suppression", "add", "alice", "us.er+x@there.test", "--reason", "unwanted")
        self.assertIn("unwanted", self.say("suppression", "check", "alice", "user@there.test"))
        self.server.submit("user@there.test")
        until(lambda: bool(self.server.mail()), what="a bounce", log=self.server.log)
        until(lambda: self.server.queue() == [], what="none waits", log=self.server.log)
        (retired,) = self.server.objects("retired", "list")
        self.assertEqual(retired["state"], "suppressed")
        self.say("suppression", "remove", "alice", "user@there.test")
        self.assertEqual(self.say("suppression", "list"), "nothing is suppressed\n")
