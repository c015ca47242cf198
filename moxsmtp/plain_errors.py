"""What keeps a server from running, in one line and without a traceback."""

from __future__ import annotations

import os
from typing import Final

from twisted.internet.error import CannotListenError

from moxsmtp.config import ConfigError
from moxsmtp.logs import printable
from moxsmtp.store.errors import StoreError
from moxsmtp.tls.server import CertificateError
from moxsmtp.worker.supervisor import WorkerFailed

__all__ = ["EXPECTED", "plain_error", "prefixed_error"]

#: What an operator can put right.  Anything else is a bug and keeps its traceback.
EXPECTED: Final = (
    ConfigError, StoreError, CertificateError, CannotListenError, WorkerFailed, OSError,
)  # fmt: skip


def plain_error(error: BaseException) -> str:
    """
    Say what is wrong in one line; a configuration's mistakes, one line each.
    """
    match error:
        case ConfigError():
            return str(error)
        case CannotListenError(interface=None, port=path, socketError=cause):
            return printable(f"cannot listen on {os.fsdecode(path)}: {_reason(cause)}")
        case CannotListenError(interface=interface, port=port, socketError=cause):
            where = f"[{interface}]:{port}" if ":" in str(interface) else f"{interface}:{port}"
            return printable(f"cannot listen on {where}: {_reason(cause)}")
        case OSError():
            name = f"{os.fsdecode(error.filename)}: " if error.filename is not None else ""
            return printable(f"{name}{_reason(error)}")
        case _:
            return printable(str(error) or type(error).__name__)


def prefixed_error(error: BaseException) -> str:
    """The same for a terminal, with our name before each line."""
    return "\n".join(f"moxsmtp: {line}" for line in plain_error(error).splitlines())


def _reason(error: BaseException) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
