"""Makes C{twistd moxsmtp} known.  Imports nothing else: every twistd reads it."""

from twisted.application.service import ServiceMaker

moxsmtp = ServiceMaker(
    "moxsmtp", "moxsmtp.plugin", "A mail server: SMTP, queue, webhooks", "moxsmtp"
)
