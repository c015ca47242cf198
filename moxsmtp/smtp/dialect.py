"""What a command line means depends on where it was said, and may mean nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

__all__ = ["BadSyntax", "Dialect"]


class BadSyntax(ValueError):
    """
    A known verb with arguments that are not its own.

    @ivar rest: What was not understood.
    """

    def __init__(self, rest: str) -> None:
        super().__init__(rest)
        self.rest = rest


@dataclass(frozen=True, slots=True)
class Dialect:
    """
    Where a line was said.

    @ivar submission: Nothing may stand behind the arguments, and the name given
        with HELO and EHLO is ignored; elsewhere spaces and tabs may (S-26, S-29).
    @ivar smtputf8: The transaction's MAIL had SMTPUTF8.
    @ivar pedantic: What many clients do against the grammar is refused (S-111).
    @ivar secure: TLS is on.
    @ivar require_tls: REQUIRETLS can be obeyed (S-4).
    @ivar maximum_size: Octets that SIZE may declare; L{None}: any number.
    @ivar now: Aware; how long mail is held is measured by it, here already so
        that errors are told in their order.
    """

    submission: bool
    smtputf8: bool = False
    pedantic: bool = False
    secure: bool = False
    require_tls: bool = False
    maximum_size: int | None = None
    now: Callable[[], datetime] | None = None
