"""C{moxsmtp hook}: webhook calls that wait, or have been made."""

from __future__ import annotations

from typing import Any, Final

import click

from moxsmtp.admin import display
from moxsmtp.admin.cli_base import Server, command
from moxsmtp.admin.cli_chosen import (
    BY_ACTIVITY,
    BY_NEXT,
    CHOSEN,
    WHEN,
    do_work,
    given_conditions,
    given_moment,
    list_entries,
    option,
    show,
    span,
    with_options,
)
from moxsmtp.admin.cli_table import Columns
from moxsmtp.queue.filter import EVENTS

__all__ = ["hook"]


@click.group()
def hook() -> None:
    """Webhook calls that wait, and what became of others."""


_WHOSE: Final = (
    option("--account", metavar="ACCOUNT", help="Of this one, a name or an address."),
    option("--event", type=click.Choice(EVENTS), help="What they tell; incoming: mail that came."),
    span("--submitted", "Made then."),
)
_WAITING: Final = (
    click.argument("numbers", metavar="[ID]...", type=int, nargs=-1),
    *_WHOSE,
    span("--next", "Due then.", "next_attempt"),
)
_MEANT: Final = (*_WAITING, *CHOSEN)

_COLUMNS: Final[Columns] = {
    "ID": lambda entry: str(entry["id"]),
    "SUBMITTED": lambda entry: display.time(entry["submitted"]),
    "NEXT": lambda entry: display.time(entry["next_attempt"]),
    "TRIED": lambda entry: str(entry["attempts"]),
    "ACCOUNT": lambda entry: str(entry["account"]),
    "EVENT": lambda entry: str(entry["event"]),
    "URL": lambda entry: str(entry["url"]),
    "LAST ERROR": lambda entry: str(entry["last_error"]),
}
_RETIRED_COLUMNS: Final[Columns] = {
    "ID": lambda entry: str(entry["id"]),
    "SUBMITTED": lambda entry: display.time(entry["submitted"]),
    "LEFT": lambda entry: display.time(entry["last_activity"]),
    "BECAME": lambda entry: str(entry["state"]),
    "ACCOUNT": lambda entry: str(entry["account"]),
    "EVENT": lambda entry: str(entry["event"]),
    "URL": lambda entry: str(entry["url"]),
    "LAST ERROR": lambda entry: str(entry["last_error"]),
}


@command(hook, "list", "moxsmtp hook list --event incoming --sort queued")
@with_options((*_WAITING, *BY_NEXT))
def hook_list(server: Server, limit: int, **given: Any) -> None:
    """List the calls that wait, the latest first."""
    nothing = "no such webhook call waits"
    list_entries(server, "hook.list", _COLUMNS, given, limit=limit, nothing=nothing)


@command(hook, "retired", "moxsmtp hook retired --account alice --activity '>-1h'")
@with_options((*_WHOSE, span("--activity", "Left then.", "last_activity"), *BY_ACTIVITY))
def hook_retired(server: Server, limit: int, **given: Any) -> None:
    """List calls that were made, given up or cancelled, as long as their account keeps that."""
    nothing = "the history has no such webhook call"
    list_entries(server, "hook.retired", _RETIRED_COLUMNS, given, limit=limit, nothing=nothing)


@command(hook, "show", "moxsmtp hook show 5 --raw")
@click.argument("number", metavar="ID", type=int)
@click.option("--raw", is_flag=True, help="Nothing but what it tells: JSON, octet by octet.")
def hook_show(server: Server, number: int, *, raw: bool) -> None:
    """Show call ID with all attempts and answers, from the queue or its history."""
    show(server, "hook", number, raw=raw)


@command(hook, "schedule", "moxsmtp hook schedule --at now --account alice")
@with_options((*_MEANT, *WHEN))
def hook_schedule(server: Server, at: str | None, add: str | None, **given: Any) -> None:
    """
    Set the time of the next attempt, or put it off.

    A negative duration is given as --add=-2h.
    """
    _work(server, "schedule", "scheduled", given, **given_moment(at, add))


@command(hook, "cancel", "moxsmtp hook cancel --event delivered --dry-run")
@with_options(_MEANT)
def hook_cancel(server: Server, **given: Any) -> None:
    """Give calls up: the history has them as failed."""
    _work(server, "cancel", "cancelled", given)


def _work(server: Server, name: str, done: str, given: dict[str, Any], **more: object) -> None:
    entries = server.call(f"hook.{name}", {**given_conditions(given), **more})
    do_work(server, entries, _COLUMNS, noun="webhook call", done=done, dry_run=given["dry_run"])
