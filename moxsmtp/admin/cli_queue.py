"""C{moxsmtp queue}, C{retired} and C{hold-rule}: mail that waits to leave, or has left."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import click

from moxsmtp.admin import display
from moxsmtp.admin.cli_base import Server, Trouble, command, print_json
from moxsmtp.admin.cli_chosen import (
    BY_ACTIVITY,
    BY_NEXT,
    CHOSEN,
    WHEN,
    counted,
    do_work,
    given_conditions,
    given_moment,
    list_entries,
    option,
    show,
    show_entries,
    span,
    with_options,
)
from moxsmtp.admin.cli_table import Columns, print_table
from moxsmtp.names import InvalidName, parse_host

__all__ = ["hold_rule", "queue", "retired"]


@click.group()
def queue() -> None:
    """Mail that waits to leave, one job for each recipient."""


@click.group()
def retired() -> None:
    """Mail that has left the queue, as long as its account keeps that."""


@click.group("hold-rule")
def hold_rule() -> None:
    """What is put on hold as it is queued."""


# -- which jobs ---------------------------------------------------------------------


_WHOSE: Final = (
    option("--account", metavar="ACCOUNT", help="Sent by this one, a name or an address."),
    option("--from", "sender", metavar="TEXT", help="With this in the sender; <> for none."),
    option(
        "--to", "--recipient", "recipient", metavar="TEXT",
        help="With this in the recipient; @example.com is a domain.",
    ),
    span("--submitted", "Queued then."),
    option("--transport", metavar="NAME", help="Sent by this one; '' for where routes say."),
)  # fmt: skip
_WAITING: Final = (
    click.argument("numbers", metavar="[ID]...", type=int, nargs=-1),
    *_WHOSE,
    option("--on-hold/--not-on-hold", "hold", default=None, help="Only those."),
    span("--next", "Due then.", "next_attempt"),
)
_CHOSEN: Final = (*_WAITING, *CHOSEN)


# -- looking ------------------------------------------------------------------------

_COLUMNS: Final[Columns] = {
    "ID": lambda entry: str(entry["id"]),
    "QUEUED": lambda entry: display.time(entry["queued"]),
    "NEXT": lambda entry: "hold" if entry["hold"] else display.time(entry["next_attempt"]),
    "TRIED": lambda entry: f"{entry['attempts']}/{entry['max_attempts'] or '-'}",
    "FROM": lambda entry: str(entry["mail_from"] or "<>"),
    "TO": lambda entry: str(entry["rcpt_to"]),
    "LAST ERROR": lambda entry: str(entry["last_error"]),
}
_RETIRED_COLUMNS: Final[Columns] = {
    "ID": lambda entry: str(entry["id"]),
    "QUEUED": lambda entry: display.time(entry["queued"]),
    "LEFT": lambda entry: display.time(entry["last_activity"]),
    "BECAME": lambda entry: str(entry["state"]),
    "FROM": lambda entry: str(entry["mail_from"] or "<>"),
    "TO": lambda entry: str(entry["rcpt_to"]),
    "LAST ERROR": lambda entry: str(entry["last_error"]),
}


@command(queue, "list", "moxsmtp queue list --to @example.org --sort queued")
@with_options((*_WAITING, *BY_NEXT))
def queue_list(server: Server, limit: int, **given: Any) -> None:
    """List the jobs of the queue, the latest first."""
    nothing = "no such job waits"
    list_entries(server, "queue.list", _COLUMNS, given, limit=limit, nothing=nothing)


@command(retired, "list", "moxsmtp retired list --failed --account alice")
@with_options(_WHOSE)
@click.option("--delivered/--failed", "success", default=None, help="Only those.")
@with_options((span("--activity", "Left then.", "last_activity"), *BY_ACTIVITY))
def retired_list(server: Server, limit: int, **given: Any) -> None:
    """List what has left the queue, the latest first."""
    nothing = "the history has no such job"
    list_entries(server, "retired.list", _RETIRED_COLUMNS, given, limit=limit, nothing=nothing)


@command(queue, "show", "moxsmtp queue show 5")
@click.argument("number", metavar="ID", type=int)
@click.option("--raw", is_flag=True, help="Nothing but the message, octet by octet.")
def queue_show(server: Server, number: int, *, raw: bool) -> None:
    """Show job ID with all attempts, from the queue or its history."""
    show(server, "queue", number, raw=raw)


@command(retired, "show", "moxsmtp retired show 5")
@click.argument("number", metavar="ID", type=int)
def retired_show(server: Server, number: int) -> None:
    """Show job ID of the history with all attempts."""
    show_entries(server, server.call("retired.show", {"numbers": [number]}))


# -- changing -----------------------------------------------------------------------


def _work(server: Server, name: str, done: str, given: dict[str, Any], **more: object) -> None:
    """Have it done, and say to how many; or show which it would be."""
    entries = server.call(f"queue.{name}", {**given_conditions(given), **more})
    do_work(server, entries, _COLUMNS, noun="job", done=done, dry_run=given["dry_run"])


@command(queue, "hold", "moxsmtp queue hold --to @example.org")
@with_options(_CHOSEN)
def queue_hold(server: Server, **given: Any) -> None:
    """Put jobs on hold: no attempts until they are released."""
    _work(server, "hold", "put on hold", given)


@command(queue, "release", "moxsmtp queue release --all")
@with_options(_CHOSEN)
def queue_release(server: Server, **given: Any) -> None:
    """Release jobs from hold."""
    _work(server, "release", "released", given)


@command(queue, "schedule", "moxsmtp queue schedule --at now 5 6")
@with_options((*_CHOSEN, *WHEN))
def queue_schedule(server: Server, at: str | None, add: str | None, **given: Any) -> None:
    """
    Set the time of the next attempt, or put it off.

    A negative duration is given as --add=-2h.
    """
    _work(server, "schedule", "scheduled", given, **given_moment(at, add))


@command(queue, "transport", "moxsmtp queue transport smarthost --to @example.org")
@click.argument("name")
@with_options(_CHOSEN)
def queue_transport(server: Server, name: str, **given: Any) -> None:
    """Have jobs take transport NAME, whatever the routes say; '': as the routes say."""
    _work(server, "transport", "given a transport", given, to_transport=name)


@command(queue, "requiretls", "moxsmtp queue requiretls no 5")
@click.argument("wanted", type=click.Choice(["yes", "no", "unset"]))
@with_options(_CHOSEN)
def queue_requiretls(server: Server, wanted: str, **given: Any) -> None:
    """Demand verified TLS all the way (RFC 8689), waive it, or neither."""
    require_tls = "" if wanted == "unset" else wanted
    _work(server, "requiretls", "changed", given, require_tls=require_tls)


@command(queue, "fail", "moxsmtp queue fail --from spam@example.org --dry-run")
@with_options(_CHOSEN)
def queue_fail(server: Server, **given: Any) -> None:
    """Have jobs fail now.  The sender gets a bounce."""
    _work(server, "fail", "failed", given)


@command(queue, "drop", "moxsmtp queue drop 5 6")
@with_options(_CHOSEN)
def queue_drop(server: Server, **given: Any) -> None:
    """Take jobs out of the queue.  The sender gets no bounce."""
    _work(server, "drop", "dropped", given)


# -- hold rules ---------------------------------------------------------------------

_RULE_COLUMNS: Final[Columns] = {
    "ID": lambda entry: str(entry["id"]),
    "CREATED": lambda entry: display.time(entry["created"]),
    "ACCOUNT": lambda entry: str(entry["account"] or "any"),
    "FROM": lambda entry: str(entry["from_domain"] or "any"),
    "TO": lambda entry: str(entry["to_domain"] or "any"),
}


#: What C{CHOSEN} has.
_DRY_RUN: Final = click.option("--dry-run", is_flag=True, help="Show which, and do nothing.")


@command(hold_rule, "add", "moxsmtp hold-rule add --to-domain example.org")
@click.option("--account", default="", metavar="ACCOUNT", help="Sent by this one.")
@click.option("--from-domain", default="", metavar="DOMAIN", help="With a sender there.")
@click.option("--to-domain", default="", metavar="DOMAIN", help="With a recipient there.")
@click.option("--all", "everything", is_flag=True, help="Without conditions.")
@_DRY_RUN
def hold_rule_add(server: Server, *, everything: bool, dry_run: bool, **given: str) -> None:
    """
    Put on hold what waits and what will be queued, if it meets all conditions.
    """
    if dry_run:
        entries = server.call("queue.hold", _waiting_for(given, everything=everything))
        do_work(server, entries, _COLUMNS, noun="job", done="put on hold", dry_run=True)
        return
    for entry in server.call("hold-rule.add", {**given, "all": everything}):
        if server.as_json:
            print_json(entry)
        else:
            click.echo(
                f"hold rule {entry['id']} added, {counted('job', entry['held'])} put on hold"
            )


def _waiting_for(given: Mapping[str, str], *, everything: bool) -> dict[str, object]:
    """The jobs that wait now and that a rule would hold, as C{queue hold} is told them."""
    wanted: dict[str, object] = {"hold": False, "dry_run": True}
    if given["account"]:
        wanted["account"] = given["account"]
    for option_name, name in (("from_domain", "sender"), ("to_domain", "recipient")):
        if given[option_name]:
            try:
                wanted[name] = f"@{parse_host(given[option_name])}"
            except InvalidName as error:
                text = f"{given[option_name]} is not a domain: {error}"
                raise Trouble(text) from None
    if not everything and not any(given.values()):
        raise Trouble("without a condition it holds the whole queue; say so")
    return wanted


@command(hold_rule, "list", "moxsmtp hold-rule list")
def hold_rule_list(server: Server) -> None:
    """List the hold rules."""
    print_table(server, server.call("hold-rule.list", {}), _RULE_COLUMNS, nothing="no hold rules")


@command(hold_rule, "remove", "moxsmtp hold-rule remove 1")
@click.argument("number", metavar="ID", type=int)
@_DRY_RUN
def hold_rule_remove(server: Server, number: int, *, dry_run: bool) -> None:
    """Remove hold rule ID.  What it has held stays on hold: see queue release."""
    if dry_run:
        rules = [each for each in server.call("hold-rule.list", {}) if each["id"] == number]
        if not rules:
            raise Trouble(f"there is no hold rule {number}")
        do_work(server, iter(rules), _RULE_COLUMNS, noun="rule", done="removed", dry_run=True)
        return
    for entry in server.call("hold-rule.remove", {"numbers": [number]}):
        if server.as_json:
            print_json(entry)
        else:
            click.echo(f"hold rule {entry['id']} removed; what it has held stays on hold")
