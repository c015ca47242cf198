"""What works behind the doors, once they are open: who sends, and whom operators ask."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.application.service import IService

from moxsmtp.admin.control import ControlService
from moxsmtp.admin.health import monitoring_site
from moxsmtp.control_table import control_table
from moxsmtp.dispatch import Dispatch
from moxsmtp.parts import Parts
from moxsmtp.smtp.reply_id import ReplyIds

__all__ = ["monitoring_site", "office"]


def office(parts: Parts, reply_ids: ReplyIds) -> Sequence[IService]:
    """Not started yet."""
    dispatch = Dispatch(parts)
    table = control_table(parts, dispatch, reply_ids)
    return [dispatch, ControlService(str(parts.engine.folder.path), table, parts.reactor)]
