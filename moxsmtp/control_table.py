"""All that operators can ask of a running server, by its name."""

from __future__ import annotations

from collections.abc import Mapping

from moxsmtp.admin.commands import Commands
from moxsmtp.admin.control import Command
from moxsmtp.admin.forecasting import forecaster
from moxsmtp.admin.hook_commands import HookCommands
from moxsmtp.admin.key_commands import KeyCommands
from moxsmtp.admin.list_commands import ListCommands
from moxsmtp.admin.queue_commands import QueueCommands
from moxsmtp.admin.reply_id_commands import ReplyIdCommands
from moxsmtp.admin.route_commands import RouteCommands
from moxsmtp.dispatch import Dispatch
from moxsmtp.operations import AccountOperations, BackupOperations, MailOperations
from moxsmtp.parts import Parts
from moxsmtp.smtp.reply_id import ReplyIds
from moxsmtp.store.hook_admin import HookAdmin

__all__ = ["control_table"]


def control_table(parts: Parts, dispatch: Dispatch, reply_ids: ReplyIds) -> Mapping[str, Command]:
    """What the control socket serves."""
    accounts = AccountOperations(
        parts.accounts,
        parts.hashes,
        parts.engine,
        parts.reactor,
        cram_md5=lambda: parts.cram_md5,
    )
    commands = Commands(
        mail=MailOperations(parts.mail_store, parts.maildirs.remove),
        accounts=accounts,
        backup=BackupOperations(parts.engine, parts.reactor),
    )
    hooks = HookAdmin(
        parts.engine.database, now=parts.now, wake=dispatch.hooks.wake, keep=parts.keep_hooks
    )
    routes = RouteCommands(
        forecaster(
            parts.settings,
            router=parts.router,
            next_hops=parts.surroundings.route(parts.settings, parts.resolver, parts.reactor),
            resolver=parts.resolver,
            policies=dispatch.sts.policies,
            reactor=parts.reactor,
        ),
        parts.accounts,
    )
    return {
        **commands.table(),
        **KeyCommands(parts.client_keys, parts.accounts).table(),
        **ReplyIdCommands(reply_ids.decode).table(),
        **QueueCommands(
            parts.queue_operations, accounts, parts.now, lambda: parts.routing.transports
        ).table(),
        **HookCommands(hooks, accounts, parts.now).table(),
        **ListCommands(parts.hold_rules, parts.suppressions, accounts, parts.now).table(),
        **routes.table(),
    }
