"""There is no way for mail."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["Unreachable"]


@dataclass(frozen=True, slots=True)
class Unreachable:
    """
    There is nowhere to connect to.

    @ivar status: Subject and detail of the enhanced status code.
    @ivar code: The SMTP code that a rule gives, or 0.
    @ivar steps: What was asked and answered before that was known, for people.
    """

    permanent: bool
    status: str
    error: str
    code: int = 0
    steps: tuple[str, ...] = field(default=(), compare=False)
