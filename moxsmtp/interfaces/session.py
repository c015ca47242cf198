"""The session's decisions, and what is counted of them."""

from __future__ import annotations

from collections.abc import Awaitable

from zope.interface import Interface

from moxsmtp.interfaces.clients import Client, Login
from moxsmtp.interfaces.content import ISpool, Spooled
from moxsmtp.interfaces.credentials import CertificateAttempt, LoginSecrets, PasswordAttempt
from moxsmtp.smtp.commands import Ehlo, Helo, Mail, Rcpt
from moxsmtp.smtp.login_secrets import SecretsWanted
from moxsmtp.smtp.reply import Reply

__all__ = ["IMetrics", "IReceiver"]


class IReceiver(Interface):
    """
    Answers one connection's commands.  Each gives a L{Reply}, or raises
    L{Refused}; a refusal changes nothing.  The protocol has checked grammar and
    order before, and never asks a second thing while the first is unanswered.
    """

    def hello(client: Client, command: Helo | Ehlo) -> Awaitable[None]:
        """Is this name acceptable (S-30)?  The protocol writes the reply."""

    def authenticate(
        client: Client, attempt: PasswordAttempt | CertificateAttempt
    ) -> Awaitable[Login | None]:
        """L{None}: the credentials are wrong."""

    def secrets(client: Client, wanted: SecretsWanted) -> Awaitable[LoginSecrets]:
        """What the client's claim to be somebody is verified with."""

    def mail(client: Client, command: Mail) -> Awaitable[Reply]:
        """Begin a transaction."""

    def recipient(client: Client, command: Rcpt) -> Awaitable[Reply]:
        """Add a recipient."""

    def data(client: Client) -> Awaitable[ISpool]:
        """DATA may be answered with 354; the content goes into the result (S-75)."""

    def message(client: Client, spooled: Spooled) -> Awaitable[Reply]:
        """
        The content is whole.  A positive reply means it is on disk.  The
        transaction is over either way; the protocol calls L{reset}.
        """

    def reset() -> None:
        """Forget the transaction, if there is one."""


class IMetrics(Interface):
    """Counts.  Names and labels are those of the table in C{moxsmtp.metrics}."""

    def count(name: str, **labels: str) -> None:
        """One more."""

    def observe(name: str, seconds: float, **labels: str) -> None:
        """It took this long."""

    def move(name: str, step: int, **labels: str) -> None:
        """A gauge goes up or down."""
