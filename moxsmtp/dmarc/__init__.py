"""Whether a message's author is who it says, and what its domain asks for.  RFC 9989."""

from moxsmtp.dmarc.record import Mode, Policy, PublicSuffix, Record
from moxsmtp.dmarc.result import Alignment, Result, Status, Step

__all__ = [
    "Alignment", "Mode", "Policy", "PublicSuffix", "Record", "Result", "Status", "Step",
]  # fmt: skip
