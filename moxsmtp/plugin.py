"""
What C{twistd} asks for first.

To read the rest of our code takes half a second, and a SIGHUP that nobody
expects ends a process.  So it is expected before that code is read.
"""

from __future__ import annotations

from typing import Any

from twisted.application.service import Service
from twisted.python import usage

from moxsmtp.early_reload import expect_reload

__all__ = ["Options", "makeService"]


def Options() -> usage.Options:
    """See L{moxsmtp.options.Options}."""
    expect_reload()
    from moxsmtp.options import Options

    return Options()


def makeService(options: Any) -> Service:
    """See L{moxsmtp.tap.makeService}."""
    from moxsmtp.tap import makeService

    return makeService(options)
