"""
The operator's commands about hold rules and suppression lists, as the server
carries them out.  Q-20, Q-28.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from moxsmtp.admin.arguments import PAGE, account_of, address_of, boolean_of, numbers_of, text_of
from moxsmtp.admin.control import Command, CommandFailed, Send
from moxsmtp.admin.entries import time_text
from moxsmtp.admin.ports import AccountAdmin, HoldRuleAdmin, SuppressionAdmin
from moxsmtp.names import InvalidName, parse_host
from moxsmtp.queue.filter import HoldRule
from moxsmtp.queue.suppression import MAXIMUM_REASON, Suppression, base_address

__all__ = ["ListCommands"]


class ListCommands:
    """Part of the table that the control socket serves."""

    def __init__(
        self,
        rules: HoldRuleAdmin,
        suppressions: SuppressionAdmin,
        accounts: AccountAdmin,
        now: Callable[[], datetime],
    ) -> None:
        self._rules = rules
        self._suppressions = suppressions
        self._accounts = accounts
        self._now = now

    def table(self) -> Mapping[str, Command]:
        """Each command by its name."""
        return {
            "hold-rule.add": self._add_rule,
            "hold-rule.list": self._list_rules,
            "hold-rule.remove": self._remove_rule,
            "suppression.add": self._suppress,
            "suppression.list": self._list_suppressed,
            "suppression.remove": self._unsuppress,
            "suppression.check": self._check,
        }

    # -- hold rules --

    async def _add_rule(self, arguments: Mapping[str, Any], send: Send) -> None:
        account = ""
        if arguments.get("account"):
            account = account_of(arguments, self._accounts).name
        sender, recipient = _domain(arguments, "from_domain"), _domain(arguments, "to_domain")
        if not (account or sender or recipient) and not boolean_of(arguments, "all"):
            raise CommandFailed("without a condition it holds the whole queue; say so")
        rule, held = await self._rules.add(
            account=account, sender_domain=sender, recipient_domain=recipient
        )
        await send({**_rule(rule), "held": held})

    async def _list_rules(self, arguments: Mapping[str, Any], send: Send) -> None:
        del arguments
        for rule in await self._rules.all():
            await send(_rule(rule))

    async def _remove_rule(self, arguments: Mapping[str, Any], send: Send) -> None:
        (number,) = numbers_of(arguments, most=1)
        rule = await self._rules.remove(number)
        if rule is None:
            raise CommandFailed(f"there is no hold rule {number}")
        await send(_rule(rule))

    # -- suppression lists --

    async def _suppress(self, arguments: Mapping[str, Any], send: Send) -> None:
        account = account_of(arguments, self._accounts).name
        address = address_of(arguments, "address")
        reason = text_of(arguments, "reason", default="")
        if len(reason) > MAXIMUM_REASON:
            raise CommandFailed(f"a reason has at most {MAXIMUM_REASON} characters")
        new = Suppression(
            account=account,
            base_address=base_address(address),
            original_address=address.unicode,
            manual=True,
            reason=reason,
            created=self._now(),
        )
        if not await self._suppressions.add(new):
            raise CommandFailed(f"{new.base_address} is on the list of {account} already")
        await send(_suppression(new))

    async def _list_suppressed(self, arguments: Mapping[str, Any], send: Send) -> None:
        account = ""
        if arguments.get("account"):
            account = account_of(arguments, self._accounts).name
        after = 0
        while page := await self._suppressions.page(account, after=after, limit=PAGE):
            for _, each in page:
                await send(_suppression(each))
            after = page[-1][0]

    async def _unsuppress(self, arguments: Mapping[str, Any], send: Send) -> None:
        account = account_of(arguments, self._accounts).name
        address = address_of(arguments, "address")
        removed = await self._suppressions.remove(account, address)
        if removed is None:
            raise CommandFailed(f"{address.unicode} is not on the list of {account}")
        await send(_suppression(removed))

    async def _check(self, arguments: Mapping[str, Any], send: Send) -> None:
        account = account_of(arguments, self._accounts).name
        address = address_of(arguments, "address")
        found = await self._suppressions.find(account, address)
        about = {
            "account": account,
            "address": address.unicode,
            "base_address": base_address(address),
            "suppressed": found is not None,
        }
        await send(about if found is None else {**_suppression(found), **about})


def _domain(arguments: Mapping[str, Any], name: str) -> str:
    """A-labels or C{[ip]}; empty if none is given."""
    given = text_of(arguments, name, default="")
    if not given:
        return ""
    try:
        return parse_host(given).ascii
    except InvalidName as error:
        raise CommandFailed(f"{given} is not a domain: {error}") from None


def _rule(rule: HoldRule) -> dict[str, object]:
    return {
        "id": rule.id,
        "account": rule.account,
        "from_domain": _shown(rule.sender_domain),
        "to_domain": _shown(rule.recipient_domain),
        "created": time_text(rule.created),
    }


def _shown(domain: str) -> str:
    return parse_host(domain).unicode if domain else ""


def _suppression(entry: Suppression) -> dict[str, object]:
    return {
        "account": entry.account,
        "base_address": entry.base_address,
        "original_address": entry.original_address,
        "manual": entry.manual,
        "reason": entry.reason,
        "created": time_text(entry.created),
    }
