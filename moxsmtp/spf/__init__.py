"""Whether a client may send in a domain's name.  RFC 7208."""

from moxsmtp.spf.check import verify
from moxsmtp.spf.result import Identity, Result, Scope, Status

__all__ = ["Identity", "Result", "Scope", "Status", "verify"]
