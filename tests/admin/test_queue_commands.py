"""The operator's commands about the queue, over one in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial import unittest

from moxsmtp.admin import queue_commands, selection
from moxsmtp.admin.control import Command, CommandFailed
from moxsmtp.admin.queue_commands import QueueCommands
from moxsmtp.admin.wire import PIECE, octets
from moxsmtp.interfaces import Account, OutgoingEvent, RequireTLS
from moxsmtp.names import parse_domain
from moxsmtp.queue.change import Change
from moxsmtp.queue.filter import JobFilter, Order, RetiredFilter, Span
from moxsmtp.queue.job import Job, Result
from moxsmtp.smtp.address import Path
from moxsmtp.smtp.notification import Notify, ReturnContent, Wishes
from moxsmtp.store.job_rows import RetiredJob
from moxsmtp.store.pages import Found
from tests.admin.test_commands import Content

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
EXAMPLE = parse_domain("b\u00fccher.example")
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)

JOB = Job(
    id=5,
    base_id=0,
    account="alice",
    reverse_path=Path("alice", EXAMPLE),
    forward_path=Path("bob", EXAMPLE),
    queued=NOW,
    next_attempt=NOW + timedelta(minutes=1),
    content=1,
    size=100,
    attempts=1,
    max_attempts=8,
    results=(
        Result(NOW, timedelta(seconds=2), False, 451, "4.0", "later", ("MX mx.example", "tls")),
    ),
    require_tls=RequireTLS.YES,
    future_release="for;60",
    wishes=Wishes(
        ReturnContent.HEADERS, "QQ 314159", Notify.parse("SUCCESS"), "rfc822;bob@example.net"
    ),
)


class Queue:
    """
    Jobs 1 to 12; those with even numbers are alice's.

    @ivar steps: How many numbers each transaction was given.
    @ivar asked: The last conditions, order and limit.
    """

    def __init__(self) -> None:
        self.waiting = {
            number: replace(JOB, id=number, account="bob" if number % 2 else "alice")
            for number in range(1, 13)
        }
        self.history = {1000: RetiredJob(JOB, OutgoingEvent.FAILED, False, NOW, NOW + DAY)}
        self.octets = Content(b"y" * (PIECE + 1))
        self.steps: list[int] = []
        self.asked: list[object] = []
        self.changes: list[Change] = []
        self.failed: list[int] = []
        self.arriving = 0

    def content(self, _: Job) -> Any:
        return self.octets

    async def job(self, number: int) -> Job | RetiredJob | None:
        return self.waiting.get(number) or self.history.get(number)

    async def jobs(self, numbers: Sequence[int]) -> Sequence[Job]:
        return [self.waiting[number] for number in numbers if number in self.waiting]

    async def retired_jobs(self, numbers: Sequence[int]) -> Sequence[RetiredJob]:
        return [self.history[number] for number in numbers if number in self.history]

    async def find_jobs(
        self, wanted: JobFilter, order: Order, *, after: Found | None, limit: int
    ) -> Sequence[Found]:
        self.asked = [wanted, order, limit]
        start = 0 if after is None else after.id
        found = [each.id for each in self.waiting.values() if wanted.matches(each)]
        return [Found(0, number) for number in found if number > start][:limit]

    async def find_retired(
        self, wanted: RetiredFilter, order: Order, *, after: Found | None, limit: int
    ) -> Sequence[Found]:
        self.asked = [wanted, order, limit]
        return [Found(0, number) for number in self.history]

    async def last_number(self) -> int:
        return max(self.waiting)

    async def numbers(self, wanted: JobFilter, *, after: int, until: int) -> Sequence[int]:
        """Five at most; the queue grows meanwhile."""
        self.arriving += 1
        number = 100 + self.arriving
        self.waiting[number] = replace(JOB, id=number)
        return [
            each.id
            for each in sorted(self.waiting.values(), key=lambda job: job.id)
            if after < each.id <= until and wanted.matches(each)
        ][:5]

    async def change(
        self, numbers: Sequence[int], wanted: JobFilter, change: Change
    ) -> Sequence[int]:
        self.steps.append(len(numbers))
        self.changes.append(change)
        met = [number for number in numbers if wanted.matches(self.waiting[number])]
        for number in met:
            self.waiting[number] = change.applied(self.waiting[number], NOW)
        return met

    async def drop(self, numbers: Sequence[int], wanted: JobFilter) -> Sequence[int]:
        self.steps.append(len(numbers))
        met = [number for number in numbers if wanted.matches(self.waiting[number])]
        for number in met:
            del self.waiting[number]
        return met

    async def fail(self, numbers: Sequence[int], wanted: JobFilter) -> Sequence[int]:
        self.failed += numbers
        return await self.drop(numbers, wanted)


class Accounts:
    """alice and bob."""

    def named(self, text: str) -> Account | None:
        names = {"alice": "alice", "alice@x.example": "alice", "bob": "bob"}
        return Account(names[text]) if text in names else None

    async def set_password(self, account: str, password: str) -> None:
        raise NotImplementedError


class CommandCase(unittest.SynchronousTestCase):
    """
    Runs commands.

    @ivar table: By name.
    """

    table: Mapping[str, Command]

    def run_command(self, name: str, **arguments: object) -> tuple[list[Any], str]:
        """What it sends, and its error."""
        sent: list[Any] = []

        async def send(entry: Mapping[str, object]) -> None:
            sent.append(dict(entry))

        async def run() -> str:
            try:
                await self.table[name](arguments, send)
            except CommandFailed as error:
                return str(error)
            return ""

        return sent, self.successResultOf(Deferred.fromCoroutine(run()))

    def ids(self, name: str, **arguments: object) -> list[int]:
        """Numbers of what it tells, where nothing is wrong."""
        sent, error = self.run_command(name, **arguments)
        self.assertEqual(error, "")
        return [entry["id"] for entry in sent]


class QueueCommandCase(CommandCase):
    """Those about the queue of mail."""

    def setUp(self) -> None:
        self.queue = Queue()
        self.transports = {"smarthost", "backup"}
        self.table = QueueCommands(
            self.queue, Accounts(), lambda: NOW, lambda: self.transports
        ).table()


class LookTests(QueueCommandCase):
    """Lists and jobs."""

    def test_list(self) -> None:
        """A list is found by pages up to the limit, and read by pages (Q-22)."""
        self.patch(selection, "_FOUND", 5)
        for limit in (1, 5, 6, 10, 12, 100):
            self.assertEqual(self.ids("queue.list", limit=limit), list(range(1, 13))[:limit])

    def test_conditions(self) -> None:
        """All that a list is given reaches the store (Q-22)."""
        self.run_command(
            "queue.list",
            account="alice@x.example",
            sender="@x.example",
            recipient="bob",
            hold=False,
            submitted=["<-1h", ">-2h", ">-1d"],
            next_attempt="<now",
            transport="",
            sort="queued",
            ascending=True,
            limit=7,
        )
        wanted = JobFilter(
            account="alice",
            sender="@x.example",
            recipient="bob",
            hold=False,
            submitted=Span(NOW - 2 * HOUR, NOW - HOUR),
            next_attempt=Span(None, NOW),
            transport="",
        )
        self.assertEqual(self.queue.asked, [wanted, Order(by_queued=True, ascending=True), 7])

    def test_bad_conditions(self) -> None:
        """What is no condition is told, and nothing is done."""
        wrong: tuple[dict[str, object], ...] = (
            {"account": "carol"}, {"account": 5}, {"sender": "x" * 1001}, {"hold": "yes"},
            {"submitted": "1h"}, {"submitted": [5]}, {"submitted": {"a": 1}}, {"sort": "size"},
            {"next_attempt": "<never"}, {"numbers": []}, {"numbers": [True]}, {"transport": 5},
            {"limit": 0}, {"ascending": 1}, {"numbers": list(range(1, 1002))},
        )  # fmt: skip
        for arguments in wrong:
            sent, error = self.run_command("queue.list", **arguments)
            self.assertEqual((sent, bool(error)), ([], True), arguments)
        self.assertEqual(self.queue.asked, [])

    def test_show_parameters(self) -> None:
        """A job is told with all that its sender asked for (S-63, S-64, S-68)."""
        (entry,), _ = self.run_command("queue.show", numbers=[5])
        asked = {
            "require_tls": "yes", "future_release": "for;60", "dsn_return": "HDRS",
            "dsn_notify": "SUCCESS", "envelope_id": "QQ 314159",
            "original_recipient": "rfc822;bob@example.net",
        }  # fmt: skip
        self.assertEqual({name: entry[name] for name in asked}, asked)

    def test_show_form_in_utf8(self) -> None:
        """That a job has a form in UTF-8 beside the other is told, with its size (Q-6)."""
        (entry,), _ = self.run_command("queue.show", numbers=[5])
        self.assertIsNone(entry["utf8_size"])
        self.queue.waiting[5] = replace(JOB, id=5, alternative=7, alternative_size=1234)
        (entry,), _ = self.run_command("queue.show", numbers=[5])
        self.assertEqual(entry["utf8_size"], 1234)

    def test_show(self) -> None:
        """A job is told with all of its attempts, and what each saw; a list is told without."""
        (entry,), _ = self.run_command("queue.show", numbers=[5])
        self.assertEqual(entry["state"], "queued")
        self.assertEqual(entry["next_attempt"], "2026-01-02T03:05:05.000+00:00")
        self.assertEqual(entry["last_error"], "later")
        attempt = {
            "start": "2026-01-02T03:04:05.000+00:00",
            "seconds": 2.0,
            "success": False,
            "code": 451,
            "status": "4.0",
            "error": "later",
        }
        self.assertEqual(entry["results"], [{**attempt, "trace": ["MX mx.example", "tls"]}])
        sent, _ = self.run_command("queue.list", numbers=[5])
        self.assertEqual([entry["results"] for entry in sent], [[attempt]])

    def test_show_retired(self) -> None:
        """A job of the history says what became of it, and that nothing follows."""
        for command in ("queue.show", "retired.show"):
            (entry,), _ = self.run_command(command, numbers=[1000])
            self.assertEqual((entry["state"], entry["next_attempt"]), ("failed", ""))
            self.assertEqual(entry["keep_until"], "2026-01-03T03:04:05.000+00:00")
            self.assertEqual(entry["results"][0]["trace"], ["MX mx.example", "tls"])
        self.assertEqual(
            self.run_command("queue.show", numbers=[2000]), ([], "the queue has no job 2000")
        )
        self.assertEqual(
            self.run_command("retired.show", numbers=[5]), ([], "the history has no job 5")
        )

    def test_dump(self) -> None:
        """The message comes as it would leave, prefix first, in bounded pieces (Q-23)."""
        self.queue.waiting[5] = replace(JOB, id=5, prefix=b"Received: x\r\n" * 5000)
        sent, error = self.run_command("queue.dump", numbers=[5])
        self.assertEqual(error, "")
        pieces = [octets(entry) for entry in sent]
        whole = b"Received: x\r\n" * 5000 + b"y" * (PIECE + 1)
        self.assertEqual(b"".join(pieces), whole)
        self.assertLessEqual(max(map(len, pieces)), PIECE)
        self.assertIn("no job 77", self.run_command("queue.dump", numbers=[77])[1])

    def test_retired_list(self) -> None:
        """The history is searched by its own conditions (Q-22)."""
        sent, _ = self.run_command(
            "retired.list", account="bob", last_activity=">-1d", success=False, sort="activity"
        )
        self.assertEqual([entry["state"] for entry in sent], ["failed"])
        wanted = RetiredFilter(account="bob", last_activity=Span(NOW - DAY), success=False)
        self.assertEqual(self.queue.asked, [wanted, Order(), 100])


class WorkTests(QueueCommandCase):
    """What is done to many (Q-23)."""

    def test_each(self) -> None:
        """Each operation does what it says to all that is meant, and tells each number."""
        alices = [2, 4, 6, 8, 10, 12]
        cases: tuple[tuple[str, dict[str, object], Change], ...] = (
            ("hold", {}, Change(hold=True)),
            ("release", {}, Change(hold=False)),
            ("schedule", {"at": "1h"}, Change(next_attempt=NOW + HOUR)),
            ("schedule", {"add": "-1h"}, Change(delay=-HOUR)),
            ("transport", {"to_transport": "smarthost"}, Change(transport="smarthost")),
            ("transport", {"to_transport": ""}, Change(transport="")),
            ("requiretls", {"require_tls": "no"}, Change(require_tls=RequireTLS.NO)),
            ("requiretls", {"require_tls": ""}, Change(require_tls=RequireTLS.UNSET)),
        )
        for name, arguments, change in cases:
            self.queue.changes.clear()
            found = self.ids(f"queue.{name}", account="alice", **arguments)
            # Those that are queued meanwhile are alice's too, and are not meant.
            self.assertEqual([number for number in found if number < 100], alices, name)
            self.assertEqual(set(self.queue.changes), {change}, name)
        self.assertEqual(self.ids("queue.fail", numbers=[2, 4]), [2, 4])
        self.assertEqual(self.queue.failed, [2, 4])
        self.assertEqual(self.ids("queue.drop", numbers=[6]), [6])
        self.assertEqual(self.queue.failed, [2, 4])
        self.assertFalse({2, 4, 6} & set(self.queue.waiting))

    def test_meanwhile(self) -> None:
        """What is queued while it is done is not meant, or it would never end."""
        self.assertEqual(self.ids("queue.drop", all=True), list(range(1, 13)))
        self.assertTrue(self.queue.waiting)

    def test_few_at_once(self) -> None:
        """However many are meant, a transaction has only a few (Q-23)."""
        for name in ("_CHANGED", "_DROPPED", "_FAILED"):
            self.patch(queue_commands, name, 2)
        self.ids("queue.hold", all=True)
        self.ids("queue.fail", numbers=[1, 2, 3])
        self.ids("queue.drop", numbers=[4, 5, 6])
        self.assertEqual(max(self.queue.steps), 2)

    def test_dry_run(self) -> None:
        """A rehearsal tells which jobs, in full, and touches none."""
        before = dict(self.queue.waiting)
        for name in ("hold", "release", "drop", "fail", "transport", "requiretls"):
            sent, error = self.run_command(f"queue.{name}", numbers=[2, 3], dry_run=True)
            self.assertEqual(([entry["id"] for entry in sent], error), ([2, 3], ""), name)
            self.assertEqual(sent[0]["account"], "alice")
        self.run_command("queue.schedule", numbers=[2], dry_run=True, at="now")
        self.assertEqual(self.queue.steps, [])
        self.assertEqual({number: self.queue.waiting[number] for number in before}, before)

    def test_nothing_said(self) -> None:
        """Without any condition nothing is done, unless all are asked for."""
        for arguments in ({}, {"account": ""}, {"sender": "", "recipient": ""}, {"all": False}):
            sent, error = self.run_command("queue.drop", **arguments)
            self.assertEqual(sent, [])
            self.assertIn("say which jobs", error)
        self.assertEqual(self.queue.steps, [])
        # An empty transport and no hold are conditions.
        for conditions in ({"transport": ""}, {"hold": False}):
            self.assertTrue(self.ids("queue.hold", dry_run=True, **conditions))

    def test_all_have_to_hold(self) -> None:
        """Numbers and conditions have to hold together (Q-22)."""
        self.assertEqual(self.ids("queue.drop", numbers=[1, 2, 3], account="alice"), [2])
        self.assertEqual(self.ids("queue.drop", numbers=[4], recipient="@elsewhere.example"), [])

    def test_missing(self) -> None:
        """Each that waited is told, and what did not is an error behind it."""
        sent, error = self.run_command("queue.drop", numbers=[1, 999, 2, 500])
        self.assertEqual([entry["id"] for entry in sent], [1, 2])
        self.assertEqual(error, "the queue has no job 500, 999")
        self.assertEqual(self.ids("queue.drop", numbers=[3, 3]), [3])

    def test_unknown_transport(self) -> None:
        """A transport that is not configured is refused, naming those that are (Q-23)."""
        refused = "no transport is called smarthorse; there are backup, smarthost"
        for arguments in ({"numbers": [1]}, {"numbers": [1], "dry_run": True}):
            found = self.run_command("queue.transport", to_transport="smarthorse", **arguments)
            self.assertEqual(found, ([], refused))
        self.transports = set()
        _, error = self.run_command("queue.transport", numbers=[1], to_transport="smarthost")
        self.assertEqual(error, "no transport is called smarthost; none is configured")
        self.assertEqual(self.queue.steps, [])
        self.assertEqual(self.ids("queue.transport", numbers=[1], to_transport=""), [1])

    def test_bad_changes(self) -> None:
        """What cannot be done is told, and nothing is done."""
        for name, arguments in (
            ("schedule", {}),
            ("schedule", {"at": "now", "add": "1h"}),
            ("schedule", {"at": "soon"}),
            ("schedule", {"add": "now"}),
            ("schedule", {"at": "9000d"}),
            ("schedule", {"add": "-99999999d"}),
            ("requiretls", {"require_tls": "maybe"}),
            ("transport", {"to_transport": 5}),
            ("hold", {"dry_run": "no"}),
        ):
            sent, error = self.run_command(f"queue.{name}", all=True, **arguments)
            self.assertEqual((sent, bool(error)), ([], True), (name, arguments))
        self.assertEqual(self.queue.steps, [])
