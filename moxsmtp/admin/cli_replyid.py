"""C{moxsmtp reply-id}: whose session a reply, or a Received field, belongs to."""

from __future__ import annotations

import click

from moxsmtp.admin import display
from moxsmtp.admin.cli_base import Server, command, print_json

__all__ = ["reply_id"]


@command(None, "reply-id", "moxsmtp reply-id acTg2Gp7BDDYzbeAcLTFWg")
@click.argument("given", metavar="ID")
def reply_id(server: Server, given: str) -> None:
    """
    Say which session an ID is of, and when that began.

    The ID is what stands in parentheses behind a reply that refuses something,
    or behind "id" in a Received field of this server.  The log has the lines of
    the session under its number.
    """
    for entry in server.call("reply-id", {"id": given.strip().strip("()")}):
        if server.as_json:
            print_json(entry)
        else:
            for line in display.fields(entry):
                click.echo(line)
