"""Where an account's webhooks go, with the secrets that their tables name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from moxsmtp.config.files import secret
from moxsmtp.config.mistakes import Findings, KeyPath
from moxsmtp.config.tables import IncomingHookTable, OutgoingHookTable
from moxsmtp.interfaces import HookTarget
from moxsmtp.webhooks.signing import InvalidSecret, parse_secret

__all__ = ["hook_target"]

#: Secrets for one webhook: the one in use, the next, and some that are forgotten there.
_MOST: Final = 10

_ADVICE: Final = 'echo "whsec_$(openssl rand -base64 32)"'


def hook_target(
    hook: IncomingHookTable | None,
    file: Callable[[str], str],
    at: KeyPath,
    findings: Findings,
) -> HookTarget | None:
    """
    @param file: The absolute name of a file that the configuration names.
    @return: L{None}: there is no such table.
    """
    if hook is None:
        return None
    authorization = hook.authorization
    if hook.authorization_file and not authorization:
        name = file(hook.authorization_file)
        authorization = secret(name, (*at, "authorization_file"), findings)
    return HookTarget(
        url=hook.url,
        authorization=authorization,
        events=hook.events if isinstance(hook, OutgoingHookTable) else frozenset(),
        secrets=_keys(hook, file, at, findings),
    )


def _keys(
    hook: IncomingHookTable, file: Callable[[str], str], at: KeyPath, findings: Findings
) -> tuple[bytes, ...]:
    """In the order given, those that stand in the table first; each once (Q-92)."""
    keys: dict[bytes, None] = {}
    for where, text in _given(hook, file, at, findings):
        try:
            keys[parse_secret(text)] = None
        except InvalidSecret as error:
            findings.add(where, f"{error}; make one with: {_ADVICE}")
    if len(keys) > _MOST:
        text = f"at most {_MOST} secrets sign a call; drop those that are not used any more"
        findings.add((*at, "secrets"), text)
    return tuple(keys)


def _given(
    hook: IncomingHookTable, file: Callable[[str], str], at: KeyPath, findings: Findings
) -> Iterator[tuple[KeyPath, str]]:
    for place, text in enumerate(hook.secrets):
        yield (*at, "secrets", place), text
    for place, name in enumerate(hook.secret_files):
        where: KeyPath = (*at, "secret_files", place)
        text = secret(file(name), where, findings)
        if text:
            yield where, text
