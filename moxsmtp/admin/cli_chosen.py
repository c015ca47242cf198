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
    "CHOSEN", "SORTED", "counted", "do_work", "given_conditions", "option", "print_raw",
    "show_entries", "span", "which_first", "with_options",
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
SORTED: Final = (
    option("--ascending", is_flag=True, help="The earliest first."),
    LIMIT,
)


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
        if value is not None and value != () and value is not False
    } | ({"hold": values["hold"]} if values.get("hold") is not None else {})


def which_first(given: Mapping[str, Any]) -> str:
    """What a list begins with."""
    return "first" if given["ascending"] else "last"


# -- looking ------------------------------------------------------------------------


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


def print_raw(server: Server, entries: Iterator[dict[str, Any]]) -> None:
    """Content, octet by octet."""
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
    try:
        for entry in entries:
            count += 1
            if server.as_json:
                print_json(entry)
    finally:
        # Also if something was wrong with the rest.
        if server.as_json:
            print_json({"touched": count})
        else:
            click.echo(f"{counted(noun, count)} {done}")
