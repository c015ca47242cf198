"""Signatures of domains under messages, made and verified.  RFC 6376, RFC 8301, RFC 8463."""

from moxsmtp.dkim.result import Result, Results, Status

__all__ = ["Result", "Results", "Status"]
