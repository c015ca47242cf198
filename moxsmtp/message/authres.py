"""Authentication-Results, written and removed.  RFC 8601."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["MethodResult", "Property"]


@dataclass(frozen=True, slots=True)
class Property:
    """
    C{ptype.property=pvalue}.  RFC 8601 section 2.2.

    @ivar type: C{smtp}, C{header}, C{body} or C{policy}.
    @ivar comment: Stands in parentheses behind the value; empty: none does.
    """

    type: str
    name: str
    value: str
    comment: str = ""


@dataclass(frozen=True, slots=True)
class MethodResult:
    """
    What one method says.  RFC 8601 section 2.2.

    @ivar method: C{iprev}, C{dkim}, C{spf}, C{dmarc}, C{auth}.
    @ivar reason: Why; empty: not given.
    @ivar comment: For people; written only with a reason or a property (I-77).
    """

    method: str
    result: str
    reason: str = ""
    comment: str = ""
    properties: tuple[Property, ...] = ()
