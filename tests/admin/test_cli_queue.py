"""Commands about the queue, its history, rules and lists, with a server of the test's own."""

from __future__ import annotations

import json

from moxsmtp.admin.client import CommandRefused, NoServer
from tests.admin.test_cli import CLITestCase, piece

JOB = {
    "id": 5, "state": "queued", "account": "alice", "mail_from": "a@example.org",
    "rcpt_to": "b@example.net", "queued": "2026-01-02T03:04:05.000+00:00", "attempts": 1,
    "max_attempts": 8, "next_attempt": "2026-01-02T04:04:05.000+00:00", "hold": False,
    "extra": {"Key": "v\x07"},
    "last_error": "451 \x07",
    "results": [
        {
            "start": "2026", "code": 451, "error": "451 \x07",
            "trace": ["MX 10 mx.example", "\x1b[2J"],
        }
    ],
}  # fmt: skip
RETIRED = {**JOB, "state": "failed", "last_activity": "2026-01-03T03:04:05.000+00:00"}
RULE = {
    "id": 1, "account": "", "from_domain": "", "to_domain": "example.org",
    "created": "2026-01-02T03:04:05.000+00:00",
}  # fmt: skip
SUPPRESSION = {
    "account": "alice", "base_address": "ab@example.org", "original_address": "a.b@example.org",
    "manual": False, "reason": "550 \x07", "created": "2026-01-02T03:04:05.000+00:00",
}  # fmt: skip


class LookTests(CLITestCase):
    """Lists and jobs."""

    def test_list(self) -> None:
        """A table; what is on hold has no next time."""
        self.answer = [JOB, {**JOB, "hold": True}]
        head, row, held = self.run_cli(
            "queue", "list", "--account", "alice", "--recipient", "@example.net"
        ).stdout.splitlines()
        self.assertEqual(row[head.index("NEXT") :].split("  ")[0], "2026-01-02 04:04:05")
        self.assertEqual(held[head.index("NEXT") :].split("  ")[0], "hold")
        self.assertIn("1/8", row)
        self.assertTrue(row.endswith("451 \\x07"))
        self.assertEqual(
            self.calls[0][1:3],
            (
                "queue.list",
                {"account": "alice", "recipient": "@example.net", "sort": "next", "limit": 100},
            ),
        )

    def test_conditions(self) -> None:
        """Every condition reaches the server, and those only that are given (Q-22)."""
        self.run_cli(
            "queue", "list", "--from", "<>", "--to", "b@", "--not-on-hold", "--submitted", "<-1h",
            "--submitted", ">-2h", "--next", ">now", "--transport", "", "--sort", "queued",
            "--ascending", "--limit", "7", "3", "4",
        )  # fmt: skip
        self.run_cli("queue", "list", "--on-hold")
        self.assertEqual(
            [call[2] for call in self.calls],
            [
                {
                    "numbers": [3, 4], "sender": "<>", "recipient": "b@", "hold": False,
                    "submitted": ["<-1h", ">-2h"], "next_attempt": [">now"], "transport": "",
                    "sort": "queued", "ascending": True, "limit": 7,
                },
                {"hold": True, "sort": "next", "limit": 100},
            ],
        )  # fmt: skip

    def test_empty(self) -> None:
        """Nothing is told as nothing; as JSON it is no line."""
        self.assertEqual(self.run_cli("queue", "list").stdout, "no such job waits\n")
        self.assertEqual(self.run_cli("queue", "list", "--json").stdout, "")

    def test_show(self) -> None:
        """All fields, then each attempt with what it saw, without control characters."""
        self.answer = [JOB]
        text = self.run_cli("queue", "show", "5").stdout
        self.assertIn("rcpt_to:      b@example.net\n", text)
        self.assertIn("\nextra Key: v\\x07\n", text)
        self.assertIn("\nattempt 1:\n  start: 2026\n  code:  451\n  error: 451 \\x07\n", text)
        self.assertTrue(text.endswith("    MX 10 mx.example\n    \\x1b[2J\n"))
        self.assertEqual(self.calls[0][1:3], ("queue.show", {"numbers": [5]}))
        self.run_cli("retired", "show", "5")
        self.assertEqual(self.calls[1][1:3], ("retired.show", {"numbers": [5]}))

    def test_raw(self) -> None:
        """The message itself, octet by octet (Q-23)."""
        self.answer = [piece(b"A: \x07\xff\r\n"), piece(b"\r\n")]
        self.assertEqual(
            self.run_cli("queue", "show", "5", "--raw").stdout_bytes, b"A: \x07\xff\r\n\r\n"
        )
        self.assertEqual(self.calls[0][1:3], ("queue.dump", {"numbers": [5]}))

    def test_retired_list(self) -> None:
        """The history says what became of each."""
        self.answer = [RETIRED]
        head, row = self.run_cli(
            "retired", "list", "--failed", "--activity", ">-1d", "--account", "alice"
        ).stdout.splitlines()
        self.assertEqual(row[head.index("BECAME") :].split()[0], "failed")
        self.assertEqual(row[head.index("LEFT") :].split("  ")[0], "2026-01-03 03:04:05")
        self.assertEqual(
            self.calls[0][1:3],
            (
                "retired.list",
                {
                    "account": "alice", "last_activity": [">-1d"], "success": False,
                    "sort": "activity", "limit": 100,
                },
            ),
        )  # fmt: skip


class WorkTests(CLITestCase):
    """What is done to jobs (Q-23)."""

    def test_count(self) -> None:
        """Each operation tells how many jobs it touched (Q-23)."""
        for words, command, arguments, said in (
            (["hold", "5"], "hold", {}, "put on hold"),
            (["release", "5"], "release", {}, "released"),
            (["schedule", "--at", "now", "5"], "schedule", {"at": "now", "add": ""}, "scheduled"),
            (["schedule", "--add=-1h", "5"], "schedule", {"at": "", "add": "-1h"}, "scheduled"),
            (["fail", "5"], "fail", {}, "failed"),
            (["drop", "5"], "drop", {}, "dropped"),
            (["transport", "x", "5"], "transport", {"to_transport": "x"}, "given a transport"),
            (["transport", "", "5"], "transport", {"to_transport": ""}, "given a transport"),
            (["requiretls", "yes", "5"], "requiretls", {"require_tls": "yes"}, "changed"),
            (["requiretls", "unset", "5"], "requiretls", {"require_tls": ""}, "changed"),
        ):
            self.calls.clear()
            for number, count in ((1, "1 job"), (2, "2 jobs")):
                self.answer = [{"id": 5}] * number
                self.assertEqual(self.run_cli("queue", *words).stdout, f"{count} {said}\n")
            self.assertEqual(
                self.calls[0][1:3], (f"queue.{command}", {"numbers": [5], **arguments})
            )

    def test_conditions(self) -> None:
        """Conditions say which jobs, and C{--all} says all; that is not a condition."""
        self.run_cli("queue", "drop", "--account", "alice", "--on-hold", "--next", "<now")
        self.run_cli("queue", "drop", "--all")
        self.assertEqual(
            [call[2] for call in self.calls],
            [{"account": "alice", "hold": True, "next_attempt": ["<now"]}, {"all": True}],
        )

    def test_dry_run(self) -> None:
        """A rehearsal shows which, and says that nothing was done."""
        self.answer = [JOB, {**JOB, "id": 6}]
        lines = self.run_cli("queue", "drop", "--all", "--dry-run").stdout.splitlines()
        self.assertEqual([line.split()[0] for line in lines], ["ID", "5", "6", "2"])
        self.assertEqual(lines[-1], "2 jobs would be dropped")
        self.assertEqual(self.calls[0][2], {"all": True, "dry_run": True})
        text = self.run_cli("queue", "drop", "--all", "--dry-run", "--json").stdout
        self.assertEqual([json.loads(line)["id"] for line in text.splitlines()], [5, 6])

    def test_missing(self) -> None:
        """What was done is told, one object a line as JSON, before what could not be."""
        self.answer = [{"id": 5}, {"id": 7}, CommandRefused("the queue has no job 6")]
        result = self.run_cli("queue", "drop", "5", "6", "7", status=1)
        self.assertEqual(result.stdout, "2 jobs dropped\n")
        self.assertEqual(result.stderr, "moxsmtp: the queue has no job 6\n")
        lines = self.run_cli("queue", "drop", "5", "6", "7", "--json", status=1).stdout
        self.assertEqual(
            [json.loads(line) for line in lines.splitlines()],
            [{"id": 5}, {"id": 7}, {"touched": 2}],
        )

    def test_nothing_done(self) -> None:
        """Where nothing could be done only the reason is told; to match nothing is no error."""
        self.answer = [NoServer("no server runs on /data")]
        for words in (["drop", "5"], ["drop", "5", "--json"]):
            result = self.run_cli("queue", *words, status=1)
            self.assertEqual(result.stdout, "")
            self.assertEqual(result.stderr, "moxsmtp: no server runs on /data\n")
        self.answer = []
        self.assertEqual(self.run_cli("queue", "drop", "--all").stdout, "0 jobs dropped\n")

    def test_usage(self) -> None:
        """What makes no sense is told before a server is asked."""
        for words in (
            ["schedule", "5"], ["schedule", "--at", "now", "--add", "1h", "5"],
            ["requiretls", "maybe", "5"], ["drop", "x"], ["transport"],
            ["list", "--sort", "size"], ["list", "--limit", "0"],
        ):  # fmt: skip
            self.run_cli("queue", *words, status=2)
        self.assertEqual(self.calls, [])


class HoldRuleTests(CLITestCase):
    """C{hold-rule} (Q-20)."""

    def test_add(self) -> None:
        """What it has held is told."""
        self.answer = [{**RULE, "held": 3}]
        text = self.run_cli("hold-rule", "add", "--to-domain", "example.org").stdout
        self.assertEqual(text, "hold rule 1 added, 3 jobs put on hold\n")
        self.assertEqual(
            self.calls[0][1:3],
            (
                "hold-rule.add",
                {"account": "", "from_domain": "", "to_domain": "example.org", "all": False},
            ),
        )

    def test_dry_add(self) -> None:
        """A rule that is not made shows what it would hold: by its conditions, not on hold yet."""
        self.answer = [JOB]
        words = ("--account", "alice", "--from-domain", "B\u00fccher.example", "--dry-run")
        text = self.run_cli("hold-rule", "add", *words).stdout
        self.assertIn("b@example.net", text)
        self.assertTrue(text.endswith("1 job would be put on hold\n"), text)
        self.run_cli("hold-rule", "add", "--to-domain", "[192.0.2.1]", "--dry-run")
        self.run_cli("hold-rule", "add", "--all", "--dry-run")
        common = {"hold": False, "dry_run": True}
        self.assertEqual(
            [call[1:3] for call in self.calls],
            [
                ("queue.hold", {"account": "alice", "sender": "@b\u00fccher.example", **common}),
                ("queue.hold", {"recipient": "@[192.0.2.1]", **common}),
                ("queue.hold", common),
            ],
        )

    def test_dry_wrong(self) -> None:
        """What would be refused is refused when it is tried, too."""
        for words in ((), ("--to-domain", "a b")):
            self.run_cli("hold-rule", "add", "--dry-run", *words, status=1)
        self.answer = [RULE]
        self.run_cli("hold-rule", "remove", "2", "--dry-run", status=1)
        self.assertEqual(["hold-rule.list"], [call[1] for call in self.calls])

    def test_dry_remove(self) -> None:
        """So does one that stays."""
        self.answer = [RULE, {**RULE, "id": 2}]
        text = self.run_cli("hold-rule", "remove", "1", "--dry-run").stdout
        self.assertIn("1 rule would be removed\n", text)
        self.assertEqual(len(text.splitlines()), 3)
        self.assertEqual(self.calls[0][1], "hold-rule.list")

    def test_list(self) -> None:
        """Conditions that are none are shown so."""
        self.answer = [RULE]
        _, row = self.run_cli("hold-rule", "list").stdout.splitlines()
        self.assertEqual(row.split()[-3:], ["any", "any", "example.org"])
        self.answer = []
        self.assertEqual(self.run_cli("hold-rule", "list").stdout, "no hold rules\n")

    def test_remove(self) -> None:
        """Who removes a rule is told that nothing is released."""
        self.answer = [RULE]
        self.assertIn("stays on hold", self.run_cli("hold-rule", "remove", "1").stdout)
        self.assertEqual(self.calls[0][1:3], ("hold-rule.remove", {"numbers": [1]}))


class SuppressionTests(CLITestCase):
    """C{suppression} (Q-28)."""

    def test_commands(self) -> None:
        """Each names account and address, and says what is so now."""
        self.answer = [{**SUPPRESSION, "suppressed": True}]
        for name, words, said in (
            ("add", ["--reason", "x"], "ab@example.org is suppressed"),
            ("remove", [], "ab@example.org is no longer suppressed"),
            ("check", [], "ab@example.org is suppressed since 2026-01-02 03:04:05: 550 \\x07"),
        ):
            text = self.run_cli("suppression", name, "alice", "a.b@example.org", *words).stdout
            self.assertEqual(text, said + "\n")
            reason = {"reason": "x"} if words else {}
            self.assertEqual(
                self.calls[-1][1:3],
                (
                    f"suppression.{name}",
                    {"account": "alice", "address": "a.b@example.org", **reason},
                ),
            )
            line = self.run_cli("suppression", name, "alice", "a.b@example.org", "--json").stdout
            self.assertEqual(json.loads(line), self.answer[0])

    def test_not_suppressed(self) -> None:
        """That an address is on no list is no failure."""
        self.answer = [{"base_address": "ab@example.org", "suppressed": False}]
        text = self.run_cli("suppression", "check", "alice", "a.b@example.org").stdout
        self.assertEqual(text, "ab@example.org is not suppressed\n")

    def test_list(self) -> None:
        """Who put it there, and why, without control characters."""
        self.answer = [SUPPRESSION, {**SUPPRESSION, "manual": True}]
        head, one, two = self.run_cli("suppression", "list", "alice").stdout.splitlines()
        self.assertEqual(one[head.index("BY") :].split("  ")[0], "failure")
        self.assertEqual(two[head.index("BY") :].split("  ")[0], "hand")
        self.assertTrue(one.endswith("550 \\x07"))
        self.assertEqual(self.calls[0][1:3], ("suppression.list", {"account": "alice"}))
