"""C{moxsmtp suppression}: recipients to whom an account's mail is not sent."""

from __future__ import annotations

from typing import Final

import click

from moxsmtp.admin import display
from moxsmtp.admin.cli_base import Server, command, print_json
from moxsmtp.admin.cli_table import Columns, print_table
from moxsmtp.logs import printable

__all__ = ["suppression"]

_COLUMNS: Final[Columns] = {
    "CREATED": lambda entry: display.time(entry["created"]),
    "ACCOUNT": lambda entry: str(entry["account"]),
    "ADDRESS": lambda entry: str(entry["base_address"]),
    "WRITTEN AS": lambda entry: str(entry["original_address"]),
    "BY": lambda entry: "hand" if entry["manual"] else "failure",
    "REASON": lambda entry: str(entry["reason"]),
}


@click.group()
def suppression() -> None:
    """
    Recipients to whom an account's mail is not sent any more.

    An entry stands for all spellings that reach the same mailbox in many
    places: without dots and what follows + or -.
    """


@command(suppression, "list", "moxsmtp suppression list alice")
@click.argument("account", required=False, default="")
def suppression_list(server: Server, account: str) -> None:
    """List the entries of ACCOUNT, or of all."""
    entries = server.call("suppression.list", {"account": account})
    print_table(server, entries, _COLUMNS, nothing="nothing is suppressed")


@command(suppression, "add", "moxsmtp suppression add alice bob@example.org --reason unwanted")
@click.argument("account")
@click.argument("address")
@click.option("--reason", default="", metavar="TEXT", help="For people.")
def suppression_add(server: Server, account: str, address: str, reason: str) -> None:
    """Have mail of ACCOUNT to ADDRESS fail at once."""
    arguments = {"account": account, "address": address, "reason": reason}
    for entry in server.call("suppression.add", arguments):
        if server.as_json:
            print_json(entry)
        else:
            click.echo(f"{printable(str(entry['base_address']))} is suppressed")


@command(suppression, "remove", "moxsmtp suppression remove alice bob@example.org")
@click.argument("account")
@click.argument("address")
def suppression_remove(server: Server, account: str, address: str) -> None:
    """Send mail of ACCOUNT to ADDRESS again."""
    for entry in server.call("suppression.remove", {"account": account, "address": address}):
        if server.as_json:
            print_json(entry)
        else:
            click.echo(f"{printable(str(entry['base_address']))} is no longer suppressed")


@command(suppression, "check", "moxsmtp suppression check alice bob@example.org")
@click.argument("account")
@click.argument("address")
def suppression_check(server: Server, account: str, address: str) -> None:
    """Say whether mail of ACCOUNT to ADDRESS is sent."""
    for entry in server.call("suppression.check", {"account": account, "address": address}):
        if server.as_json:
            print_json(entry)
            continue
        shown = printable(str(entry["base_address"]))
        if not entry["suppressed"]:
            click.echo(f"{shown} is not suppressed")
            continue
        why = printable(str(entry["reason"])) or "no reason given"
        since = display.time(str(entry["created"]))
        click.echo(f"{shown} is suppressed since {since}: {why}")
