"""
Root for binding ports only.

C{twistd --uid --gid} gives privileges up between the binding of ports and the
start of the work.  What is opened before that, the database and the log, has to
be the later user's already.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["acting_as"]


@contextmanager
def acting_as(uid: int | None, gid: int | None) -> Iterator[None]:
    """
    Open, make and read files as this user and group will, for a while.  Does
    nothing where there is no user to be, or where we are not root.

    @param gid: L{None}: the user's own.
    """
    if os.geteuid() != 0 or (uid is None and gid is None):
        yield
        return
    own, groups = os.getegid(), os.getgroups()
    try:
        _change(uid, gid)
        yield
    finally:
        os.seteuid(0)
        os.setegid(own)
        os.setgroups(groups)


def _change(uid: int | None, gid: int | None) -> None:
    """In the order that needs root longest."""
    if uid is not None:
        try:
            user = pwd.getpwuid(uid)
        except KeyError:
            os.setgroups([])
        else:
            gid = user.pw_gid if gid is None else gid
            os.initgroups(user.pw_name, gid)
    if gid is not None:
        os.setegid(gid)
    if uid is not None:
        os.seteuid(uid)
