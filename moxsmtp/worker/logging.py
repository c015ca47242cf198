"""Where the lines go that workers log."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from twisted.logger import Logger

from moxsmtp.logs import Form

__all__ = ["LogLines"]

_log: Final = Logger()


def _logged(lines: str) -> None:
    for line in lines.splitlines():
        _log.info("{line}", line=line)


@dataclass(frozen=True, slots=True)
class LogLines:
    """
    The server's log, as its workers use it: their lines have its form already.

    @ivar write: Takes whole lines.
    """

    form: Form = Form.TEXT
    write: Callable[[str], None] = _logged
