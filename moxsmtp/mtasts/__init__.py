"""MTA-STS: domains that demand TLS of who brings them mail.  RFC 8461."""
