"""Lists of what the server tells, as tables or objects."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import click

from moxsmtp.admin import display
from moxsmtp.admin.cli_base import Server, print_json

__all__ = ["LIMIT", "Columns", "print_fields", "print_table"]

_Function = Callable[..., None]

Columns = Mapping[str, Callable[[dict[str, Any]], str]]
"""What each column shows of an entry, by its head."""

LIMIT: Final[Callable[[_Function], _Function]] = click.option(
    "--limit", default=100, show_default=True, type=click.IntRange(min=1), help="At most so many."
)


def print_table(
    server: Server,
    entries: Iterable[dict[str, Any]],
    columns: Columns,
    *,
    nothing: str,
    limit: int | None = None,
    which: str = "newest",
) -> int:
    """
    Print a list.

    @param nothing: Said instead of an empty one.
    @param limit: How many were asked for; L{None}: all.
    @param which: The first ones of the list.
    @return: How many there were.
    """
    if server.as_json:
        count = 0
        for entry in entries:
            print_json(entry)
            count += 1
        return count
    rows = [[cell(entry) for cell in columns.values()] for entry in entries]
    if not rows:
        click.echo(nothing)
        return 0
    for line in display.table(list(columns), rows):
        click.echo(line)
    if len(rows) == limit:
        click.echo(f"These are the {which} {limit} at most; --limit shows more.", err=True)
    return len(rows)


def print_fields(server: Server, entries: Iterable[dict[str, Any]]) -> None:
    """Print each entry in full, an empty line between two."""
    for number, entry in enumerate(entries):
        if server.as_json:
            print_json(entry)
            continue
        if number:
            click.echo("")
        for line in display.fields(entry):
            click.echo(line)
