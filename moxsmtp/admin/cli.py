"""
C{moxsmtp}: the command line of an operator.

Almost all of it asks the running server, through the control socket in its
data folder; it needs no reactor.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Final

import click

from moxsmtp import __version__
from moxsmtp.admin import display
from moxsmtp.admin.cli_base import Server, Trouble, command, print_json
from moxsmtp.admin.cli_check import check
from moxsmtp.admin.cli_dkim import dkim
from moxsmtp.admin.cli_hook import hook
from moxsmtp.admin.cli_lists import check_dnsbl  # noqa: F401 - a command of "check"
from moxsmtp.admin.cli_mtasts import check_mta_sts  # noqa: F401 - a command of "check"
from moxsmtp.admin.cli_queue import hold_rule, queue, retired
from moxsmtp.admin.cli_replyid import reply_id
from moxsmtp.admin.cli_route import route
from moxsmtp.admin.cli_suppression import suppression
from moxsmtp.admin.cli_table import LIMIT, Columns, print_table
from moxsmtp.admin.cli_tlspubkey import tlspubkey
from moxsmtp.admin.cli_try import try_file
from moxsmtp.admin.wire import octets
from moxsmtp.config import ConfigError, Mistake
from moxsmtp.config.load import load
from moxsmtp.logs import printable

__all__ = ["main"]


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("-d", "--directory", metavar="DIR", help="The server's data folder.")
@click.option("-c", "--config", metavar="FILE", help="The server's configuration.")
@click.option("--json", "as_json", is_flag=True, help="Print one object a line.")
@click.version_option(__version__, prog_name="moxsmtp", message="%(prog)s %(version)s")
@click.pass_context
def main(context: click.Context, directory: str | None, config: str | None, as_json: bool) -> None:
    """
    Look at a running moxsmtp server and steer it.

    The server is found by --directory or --config, else by the environment
    variables MOXSMTP_DIRECTORY or MOXSMTP_CONFIG; by default it is localserve's.

    \b
    Examples:
      moxsmtp mail list alice
      moxsmtp --config moxsmtp.toml queue list
      moxsmtp config test moxsmtp.toml
    """
    if directory and config:
        raise click.UsageError("give --directory or --config, not both")
    context.obj = Server(directory, config, as_json)


main.add_command(check)
main.add_command(dkim)
main.add_command(hold_rule)
main.add_command(hook)
main.add_command(queue)
main.add_command(reply_id)
main.add_command(retired)
main.add_command(route)
main.add_command(suppression)
main.add_command(tlspubkey)
main.add_command(try_file)

# -- configuration ------------------------------------------------------------------


@main.group("config")
def config_group() -> None:
    """The configuration file; needs no server."""


@command(config_group, "test", "moxsmtp config test moxsmtp.toml")
@click.argument("file")
def config_test(server: Server, file: str) -> None:
    """Report every mistake in FILE, or in a folder of *.toml files."""

    def warn(mistake: Mistake) -> None:
        if server.as_json:
            print_json({**asdict(mistake), "severity": "warning"})
        else:
            click.echo(f"{mistake} (a warning)", err=True)

    try:
        load(file, warn)
    except ConfigError as error:
        for mistake in error.mistakes:
            if server.as_json:
                print_json({**asdict(mistake), "severity": "mistake"})
            else:
                click.echo(str(mistake), err=True)
        raise SystemExit(1) from None
    if not server.as_json:
        click.echo(f"{printable(file)}: no mistakes")


# -- accounts -----------------------------------------------------------------------


@main.group()
def account() -> None:
    """Accounts."""


@command(account, "set-password", "moxsmtp account set-password alice")
@click.argument("name", metavar="ACCOUNT")
@click.option("--stdin", "from_stdin", is_flag=True, help="Read one line of standard input.")
def set_password(server: Server, name: str, *, from_stdin: bool) -> None:
    """
    Set the password of ACCOUNT, a name or an address.

    It is asked for twice.
    """
    if from_stdin:
        password = sys.stdin.readline().rstrip("\r\n")
    else:
        password = click.prompt("Password", hide_input=True, confirmation_prompt=True)
    if not password:
        raise Trouble("the password is empty")
    for entry in server.call("account.set-password", {"account": name, "password": password}):
        if server.as_json:
            print_json(entry)
        else:
            click.echo(f"the password of {printable(str(entry['account']))} is set")


# -- mail ---------------------------------------------------------------------------


@main.group()
def mail() -> None:
    """Stored mail."""


_MAIL_COLUMNS: Final[Columns] = {
    "ID": lambda entry: str(entry["id"]),
    "RECEIVED": lambda entry: display.time(entry["received"]),
    "SIZE": lambda entry: display.size(entry["size"]),
    "MAILBOX": lambda entry: str(entry["mailbox"]),
    "FROM": lambda entry: str(entry["author"] or entry["mail_from"] or "<>"),
    "TO": lambda entry: str(entry["rcpt_to"]),
    "SUBJECT": lambda entry: str(entry["subject"]),
}


@command(mail, "list", "moxsmtp mail list alice@example.org")
@click.argument("name", metavar="ACCOUNT")
@LIMIT
def mail_list(server: Server, name: str, limit: int) -> None:
    """List the messages of ACCOUNT, a name or an address, the newest first."""
    entries = server.call("mail.list", {"account": name, "limit": limit})
    print_table(server, entries, _MAIL_COLUMNS, nothing="no messages", limit=limit)


@command(mail, "show", "moxsmtp mail show alice 17 --raw > message.eml")
@click.argument("name", metavar="ACCOUNT")
@click.argument("number", metavar="ID", type=int)
@click.option("--raw", is_flag=True, help="Nothing but the message, octet by octet.")
def mail_show(server: Server, name: str, number: int, *, raw: bool) -> None:
    """Show message ID of ACCOUNT, a name or an address."""
    entries = server.call("mail.show", {"account": name, "numbers": [number]})
    text = display.TextDecoder()
    binary = sys.stdout.buffer
    for entry in entries:
        if "piece" not in entry:
            _show_head(server, entry, raw=raw)
        elif server.as_json:
            if raw:
                print_json(entry)
        elif raw:
            binary.write(octets(entry))
        else:
            click.echo(text.feed(octets(entry)), nl=False)
    if not raw and not server.as_json:
        click.echo(text.end())
    binary.flush()


def _show_head(server: Server, entry: Mapping[str, Any], *, raw: bool) -> None:
    if server.as_json:
        print_json(entry)
    elif not raw:
        for line in display.fields(entry):
            click.echo(line)
        click.echo("")


@command(mail, "delete", "moxsmtp mail delete alice 17 18")
@click.argument("name", metavar="ACCOUNT")
@click.argument("numbers", metavar="ID...", type=int, nargs=-1, required=True)
def mail_delete(server: Server, name: str, numbers: tuple[int, ...]) -> None:
    """Delete messages of ACCOUNT, a name or an address.  They are gone for good."""
    arguments = {"account": name, "numbers": list(numbers)}
    for entry in server.call("mail.delete", arguments):
        if server.as_json:
            print_json(entry)
        else:
            click.echo(f"deleted {entry['id']}")


# -- backup -------------------------------------------------------------------------


@command(main, "backup", "moxsmtp backup /var/backups/moxsmtp-monday")
@click.argument("folder")
def backup(server: Server, folder: str) -> None:
    """
    Copy the data folder into FOLDER while the server goes on.

    FOLDER is empty or not there, the folder around it is, and it is not in the
    data folder.  Mail that was handed over to Maildirs is not in the copy: back
    the Maildirs up as files.
    """
    absolute = os.path.abspath(folder)  # noqa: PTH100 - keeps symlinks
    # A large store takes its time, and the server says nothing until it is done.
    for entry in server.call("backup", {"folder": absolute}, time_limit=None):
        if server.as_json:
            print_json(entry)
        else:
            click.echo(f"copied the data folder to {printable(str(entry['folder']))}")
            click.echo("Mail in Maildirs is not in it: back the Maildirs up as files.")
