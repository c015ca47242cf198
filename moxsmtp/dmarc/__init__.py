"""Whether a message's author is who it says, and what its domain asks for.  RFC 9989."""

from moxsmtp.dmarc.evaluation import MAXIMUM_AUTHORS, verify
from moxsmtp.dmarc.record import InvalidRecord, Mode, Policy, PublicSuffix, Record, parse_record
from moxsmtp.dmarc.result import Alignment, Result, Status, Step

__all__ = [
    "MAXIMUM_AUTHORS", "Alignment", "InvalidRecord", "Mode", "Policy", "PublicSuffix", "Record",
    "Result", "Status", "Step", "parse_record", "verify",
]  # fmt: skip
