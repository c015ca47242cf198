"""
What the commands of C{moxsmtp} have in common, whichever module they are in.
"""

from __future__ import annotations

import functools
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import click

from moxsmtp.admin.client import CommandRefused, NoServer, call
from moxsmtp.config import ConfigError, localserve_directory
from moxsmtp.config.load import data_directory
from moxsmtp.logs import printable

__all__ = ["JSON", "Server", "Trouble", "command", "print_json"]

_Function = Callable[..., None]

JSON: Final[Callable[[_Function], _Function]] = click.option(
    "--json", "as_json", is_flag=True, help="Print one object a line."
)


class Trouble(click.ClickException):
    """One line on standard error, exit status 1."""

    def show(self, file: Any = None) -> None:
        """Print it."""
        for line in self.message.splitlines():
            click.echo(f"moxsmtp: {printable(line)}", file=file or sys.stderr)


@dataclass(slots=True)
class Server:
    """
    Which server, and how to print what it says.

    @ivar as_json: Asked for before the command; it may be asked for behind it too.
    """

    directory: str | None
    config: str | None
    as_json: bool = False

    def configuration(self) -> str | None:
        """Its configuration: as given, else by the environment; L{None}: none is named."""
        if self.directory or self.config:
            return self.config
        return os.environ.get("MOXSMTP_CONFIG")

    def folder(self) -> str:
        """Its data folder: as given, else by the environment, else localserve's."""
        environment = os.environ
        given = self.directory
        config = self.config
        if not given and not config:
            given = environment.get("MOXSMTP_DIRECTORY")
            config = environment.get("MOXSMTP_CONFIG")
        if given:
            return os.path.abspath(given)  # noqa: PTH100 - keeps symlinks
        if not config:
            return localserve_directory(environment, sys.platform)
        try:
            return data_directory(config)
        except ConfigError as error:
            raise Trouble(str(error)) from None

    def call(
        self, command: str, arguments: Mapping[str, object], time_limit: float | None = 120.0
    ) -> Iterator[dict[str, Any]]:
        """Ask the server.  @raise Trouble: It is not there, or says no."""
        try:
            yield from call(self.folder(), command, arguments, time_limit=time_limit)
        except (NoServer, CommandRefused) as error:
            raise Trouble(str(error)) from None


def command(
    group: click.Group | None, name: str, example: str
) -> Callable[[_Function], click.Command]:
    """
    A command with an example in its help and C{--json}; its function gets the L{Server} first.

    @param group: What it is a command of; L{None}: whoever imports it adds it.
    """

    def decorate(function: _Function) -> click.Command:
        @functools.wraps(function)
        def run(as_json: bool, **given: Any) -> None:
            server = click.get_current_context().ensure_object(Server)
            server.as_json = server.as_json or as_json
            function(server, **given)

        epilog = f"Example: {example}"
        made = click.command(name, epilog=epilog)(JSON(run))
        if group is not None:
            group.add_command(made)
        return made

    return decorate


def print_json(entry: Mapping[str, object]) -> None:
    """One object on one line, in ASCII."""
    click.echo(json.dumps(entry, ensure_ascii=True))
