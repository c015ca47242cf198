"""Our checks for servers made with C{twisted.mail}."""

from moxsmtp.bridge.delivery import CheckedDelivery
from moxsmtp.bridge.transaction import Checked

__all__ = ["Checked", "CheckedDelivery"]
