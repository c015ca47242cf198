"""Commands about webhook calls, with a server of the test's own."""

from __future__ import annotations

import json

from moxsmtp.admin.client import CommandRefused
from tests.admin.test_cli import CLITestCase, piece

HOOK = {
    "id": 5, "state": "queued", "account": "alice", "event": "incoming",
    "url": "https://hooks.example/\x07", "authorized": True, "job": 0,
    "submitted": "2026-01-02T03:04:05.000+00:00", "attempts": 1,
    "next_attempt": "2026-01-02T04:04:05.000+00:00", "extra": {"Key": "v\x07"},
    "last_error": "500 \x07",
    "results": [{"start": "2026", "code": 500, "error": "500 \x07", "response": "o\x1b[2J"}],
}  # fmt: skip
RETIRED = {**HOOK, "state": "failed", "last_activity": "2026-01-03T03:04:05.000+00:00"}


class HookTests(CLITestCase):
    """C{hook}."""

    def test_list(self) -> None:
        """A table, without control characters."""
        self.answer = [HOOK]
        head, row = self.run_cli("hook", "list").stdout.splitlines()
        self.assertEqual(row[head.index("NEXT") :].split("  ")[0], "2026-01-02 04:04:05")
        self.assertEqual(row[head.index("EVENT") :].split()[0], "incoming")
        self.assertTrue(row.endswith("500 \\x07"))
        self.assertIn("https://hooks.example/\\x07", row)
        self.answer = []
        self.assertEqual(self.run_cli("hook", "list").stdout, "no such webhook call waits\n")

    def test_conditions(self) -> None:
        """Every condition reaches the server, and those only that are given (Q-22)."""
        self.run_cli(
            "hook", "list", "5", "6", "--account", "alice", "--event", "incoming",
            "--submitted", "<-1h", "--submitted", ">-2h", "--next", ">now",
            "--sort", "queued", "--ascending", "--limit", "7",
        )  # fmt: skip
        self.run_cli("hook", "retired", "--event", "failed", "--activity", ">-1d")
        self.assertEqual(
            [call[1:3] for call in self.calls],
            [
                (
                    "hook.list",
                    {
                        "numbers": [5, 6], "account": "alice", "event": "incoming",
                        "submitted": ["<-1h", ">-2h"], "next_attempt": [">now"],
                        "sort": "queued", "ascending": True, "limit": 7,
                    },
                ),
                (
                    "hook.retired",
                    {
                        "event": "failed", "last_activity": [">-1d"], "sort": "activity",
                        "limit": 100,
                    },
                ),
            ],
        )  # fmt: skip

    def test_retired(self) -> None:
        """The history says what became of each."""
        self.answer = [RETIRED]
        head, row = self.run_cli("hook", "retired").stdout.splitlines()
        self.assertEqual(row[head.index("BECAME") :].split()[0], "failed")
        self.assertEqual(row[head.index("LEFT") :].split("  ")[0], "2026-01-03 03:04:05")

    def test_show(self) -> None:
        """All fields, then each attempt with its answer, without control characters (Q-23)."""
        self.answer = [HOOK]
        text = self.run_cli("hook", "show", "5").stdout
        self.assertIn("event:        incoming\n", text)
        self.assertIn("\nextra Key: v\\x07\n", text)
        self.assertTrue(text.endswith("  response: o\\x1b[2J\n"))
        self.assertEqual(self.calls[0][1:3], ("hook.show", {"numbers": [5]}))

    def test_raw(self) -> None:
        """What it tells, octet by octet (Q-23)."""
        self.answer = [piece(b'{"a":'), piece(b" 1}\x07")]
        self.assertEqual(self.run_cli("hook", "show", "5", "--raw").stdout_bytes, b'{"a": 1}\x07')
        self.assertEqual(self.calls[0][1:3], ("hook.dump", {"numbers": [5]}))

    def test_count(self) -> None:
        """Each operation tells how many calls it touched (Q-23)."""
        for words, command, arguments, said in (
            (["schedule", "--at", "now", "5"], "schedule", {"at": "now", "add": ""}, "scheduled"),
            (["schedule", "--add=-1h", "5"], "schedule", {"at": "", "add": "-1h"}, "scheduled"),
            (["cancel", "5"], "cancel", {}, "cancelled"),
        ):
            self.calls.clear()
            for number, count in ((1, "1 webhook call"), (2, "2 webhook calls")):
                self.answer = [{"id": 5}] * number
                self.assertEqual(self.run_cli("hook", *words).stdout, f"{count} {said}\n")
            self.assertEqual(self.calls[0][1:3], (f"hook.{command}", {"numbers": [5], **arguments}))
        self.answer = [{"id": 5}, CommandRefused("the queue has no webhook call 6")]
        lines = self.run_cli("hook", "cancel", "5", "6", "--json", status=1).stdout.splitlines()
        self.assertEqual([json.loads(line) for line in lines], [{"id": 5}, {"touched": 1}])

    def test_dry_run(self) -> None:
        """A rehearsal shows which, and says that nothing was done."""
        self.answer = [HOOK, {**HOOK, "id": 6}]
        lines = self.run_cli("hook", "cancel", "--all", "--dry-run").stdout.splitlines()
        self.assertEqual([line.split()[0] for line in lines], ["ID", "5", "6", "2"])
        self.assertEqual(lines[-1], "2 webhook calls would be cancelled")
        self.assertEqual(self.calls[0][2], {"all": True, "dry_run": True})

    def test_usage(self) -> None:
        """What makes no sense is told before a server is asked."""
        for words in (
            ["schedule", "5"], ["schedule", "--at", "now", "--add", "1h", "5"], ["cancel", "x"],
            ["list", "--event", "received"], ["list", "--sort", "size"], ["show"],
        ):  # fmt: skip
            self.run_cli("hook", *words, status=2)
        self.assertEqual(self.calls, [])
