"""What commands about the queue have in common, of jobs and webhook calls alike."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import click

from moxsmtp.admin import display
from moxsmtp.admin.cli_base import Server, print_json
from moxsmtp.admin.cli_table import LIMIT, Columns, print_table
from moxsmtp.admin.wire import octets
from moxsmtp.logs import printable

__all__ = [
    "BY_ACTIVITY", "BY_NEXT", "CHOSEN", "WHEN", "counted", "do_work", "given_conditions",
    "given_moment", "list_entries", "option", "show", "show_entries", "span", "with_options",
]  # fmt: skip

_Function = Callable[..., None]
_Decorator = Callable[[_Function], _Function]

_TIMES: Final = "'<-1h': more than an hour ago; '>now': later.  May be given twice."


# -- which --------------------------------------------------------------------------


def option(*names: str, **attributes: Any) -> _Decorator:
    """As click's, for tuples of them."""
    return click.option(*names, **attributes)


def span(name: str, when: str, *names: str) -> _Decorator:
    """A condition of time.  @param when: Begins its help."""
    return option(name, *names, multiple=True, metavar="TIME", help=f"{when}  {_TIMES}")


#: What every command has that changes something.
CHOSEN: Final = (
    option("--all", "everything", is_flag=True, help="The whole queue."),
    option("--dry-run", is_flag=True, help="Show which, and do nothing."),
)
#: Of commands that set a time.
WHEN: Final = (
    option("--at", metavar="TIME", help="The next attempt: now, 2h, 2026-01-31T12:00:00Z."),
    option("--add", metavar="DURATION", help="Added to the next attempt: 30m, 1d, -2h."),
)


def _sorted(*choices: str) -> tuple[_Decorator, ...]:
    """The first is the default."""
    return (
        option("--sort", type=click.Choice(choices), default=choices[0], show_default=True),
        option("--ascending", is_flag=True, help="The earliest first."),
        LIMIT,
    )


#: Of lists: what waits, and the history.
BY_NEXT: Final = _sorted("next", "queued")
BY_ACTIVITY: Final = _sorted("activity", "queued")

#: Conditions of which the opposite is one, too.
_EITHER_WAY: Final = frozenset({"hold", "success"})


def with_options(options: tuple[_Decorator, ...]) -> _Decorator:
    """All of them."""

    def decorate(function: _Function) -> _Function:
        for each in reversed(options):
            function = each(function)
        return function

    return decorate


def given_conditions(values: Mapping[str, Any]) -> dict[str, object]:
    """What the server is told of conditions: only those that were given."""
    names = {"everything": "all"}
    return {
        names.get(name, name): list(value) if isinstance(value, tuple) else value
        for name, value in values.items()
        if value is not None and value != () and (value is not False or name in _EITHER_WAY)
    }


def given_moment(at: str | None, add: str | None) -> dict[str, object]:
    """What the server is told of L{WHEN}."""
    if (at is None) == (add is None):
        raise click.UsageError("give --at or --add")
    return {"at": at or "", "add": add or ""}


# -- looking ------------------------------------------------------------------------


def list_entries(
    server: Server,
    name: str,
    columns: Columns,
    given: Mapping[str, Any],
    *,
    limit: int,
    nothing: str,
) -> None:
    """What the command C{name} of the server finds."""
    print_table(
        server,
        server.call(name, {**given_conditions(given), "limit": limit}),
        columns,
        nothing=nothing,
        limit=limit,
        which="first" if given["ascending"] else "last",
    )


def show(server: Server, kind: str, number: int, *, raw: bool) -> None:
    """A job or call of that number, or nothing but what it carries, octet by octet."""
    if raw:
        _print_raw(server, server.call(f"{kind}.dump", {"numbers": [number]}))
    else:
        show_entries(server, server.call(f"{kind}.show", {"numbers": [number]}))


def show_entries(server: Server, entries: Iterator[dict[str, Any]]) -> None:
    """A job or call, and below it each attempt with what it saw and decided, or was answered."""
    for entry in entries:
        if server.as_json:
            print_json(entry)
            continue
        results = entry.pop("results", [])
        extra = entry.pop("extra", None) or {}
        for line in display.fields(entry):
            click.echo(line)
        for name, value in extra.items():
            click.echo(f"extra {printable(name)}: {printable(str(value))}")
        for number, result in enumerate(results, start=1):
            trace = result.pop("trace", [])
            click.echo("")
            click.echo(f"attempt {number}:")
            for line in display.fields(result):
                click.echo(f"  {line}")
            for line in trace:
                click.echo(f"    {printable(str(line))}")


def _print_raw(server: Server, entries: Iterator[dict[str, Any]]) -> None:
    for entry in entries:
        if server.as_json:
            print_json(entry)
        else:
            sys.stdout.buffer.write(octets(entry))
    sys.stdout.buffer.flush()


# -- changing -----------------------------------------------------------------------


def counted(noun: str, count: int) -> str:
    """For people."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def do_work(
    server: Server,
    entries: Iterator[dict[str, Any]],
    columns: Columns,
    *,
    noun: str,
    done: str,
    dry_run: bool,
) -> None:
    """
    Have it done, and say to how many; or show which it would be.

    @param entries: What the server tells as it does it.
    @param done: What has become of them then.
    """
    if dry_run:
        count = print_table(server, entries, columns, nothing=f"no such {noun} waits")
        if not server.as_json:
            click.echo(f"{counted(noun, count)} would be {done}")
        return
    count = 0
    is_complete = False
    try:
        for entry in entries:
            count += 1
            if server.as_json:
                print_json(entry)
        is_complete = True
    finally:
        # Also if something was wrong with the rest; if with all, the error says it alone.
        if is_complete or count:
            if server.as_json:
                print_json({"touched": count})
            else:
                click.echo(f"{counted(noun, count)} {done}")
