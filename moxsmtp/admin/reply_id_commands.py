"""The operator's command about reply ids, as the server carries it out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from moxsmtp.admin.control import Command, CommandFailed, Send

__all__ = ["ReplyIdCommands"]


class ReplyIdCommands:
    """Part of the table that the control socket serves."""

    def __init__(self, decode: Callable[[str], int]) -> None:
        """@param decode: Raises C{ValueError}: it is none of ours."""
        self._decode = decode

    def table(self) -> Mapping[str, Command]:
        """The command by its name."""
        return {"reply-id": self._tell}

    async def _tell(self, arguments: Mapping[str, Any], send: Send) -> None:
        """The session's number, which tells its time (S-9, S-10)."""
        text = arguments.get("id")
        if not isinstance(text, str) or not text:
            raise CommandFailed("id is missing")
        try:
            session = self._decode(text)
        except ValueError as error:
            raise CommandFailed(str(error)) from None
        try:
            begun = datetime.fromtimestamp(session / 1000, UTC).isoformat(timespec="milliseconds")
        except (OverflowError, ValueError, OSError):
            begun = ""
        await send({"session": session, "begun": begun})
