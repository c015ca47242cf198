"""
A check of SPF from an envelope to a result.  RFC 7208 sections 2 and 8.
"""

from __future__ import annotations

from contextlib import suppress

from twisted.internet.interfaces import IReactorTime

from moxsmtp.dns.memory import Memory
from moxsmtp.interfaces import IResolver
from moxsmtp.names import Domain
from moxsmtp.spf.evaluation import Evaluation, Subject
from moxsmtp.spf.lookups import TIME_LIMIT, Lookups, OutOfTime
from moxsmtp.spf.result import Identity, Result, Scope, Status

__all__ = ["verify"]

#: Statuses that a mechanism, or the lack of one, has decided.
_DECIDED = frozenset({Status.PASS, Status.FAIL, Status.SOFTFAIL, Status.NEUTRAL})


async def verify(
    resolver: IResolver,
    identity: Identity,
    *,
    clock: IReactorTime,
    memory: Memory[Result] | None = None,
) -> Result:
    """
    Say whether a client may send in the name that it gives.

    @param clock: For the time limit of 20 s, and the macro C{t}.
    @param memory: Of the checks before; L{None}: nothing is kept.
    @return: A status in every case; a DNS that fails is C{TEMPERROR}.
    """
    scope, local_part, domain = _checked(identity)
    if scope is None or domain is None:
        return Result(Status.NONE)
    if not _has_policy(domain):
        return Result(Status.NONE, scope, domain)
    lookups = Lookups(resolver, clock)
    asked = scope, domain.ascii, identity.address
    try:
        result = None if memory is None else memory.recall(asked, lookups.at_once)
        if result is not None:
            return result
        evaluation = Evaluation(
            Subject(
                address=identity.address,
                local_part=local_part,
                domain=domain.ascii,
                hello=identity.hello,
                hostname=identity.hostname.ascii,
                now=int(clock.seconds()),
            ),
            lookups,
        )
        result = await _evaluate(evaluation, lookups, scope, domain)
    except OutOfTime:
        problem = f"no result within {TIME_LIMIT:g} s"
        return Result(Status.TEMPERROR, scope, domain, problem=problem)
    finally:
        lookups.close()
    is_told = result.status is Status.FAIL and evaluation.explains
    if memory is not None and not is_told and not evaluation.is_personal:
        memory.keep(asked, lookups.read, result)
    return result


async def _evaluate(
    evaluation: Evaluation, lookups: Lookups, scope: Scope, domain: Domain
) -> Result:
    status = Status(await lookups.replay(evaluation.result))
    mechanism = evaluation.mechanism or "default" if status in _DECIDED else ""
    problem = evaluation.problem if status in {Status.TEMPERROR, Status.PERMERROR} else ""
    authentic = lookups.authentic
    explanation = ""
    if status is Status.FAIL:
        with suppress(OutOfTime):
            explanation = await lookups.replay(evaluation.explanation)
    return Result(
        status=status,
        scope=scope,
        domain=domain,
        mechanism=mechanism,
        explanation=explanation,
        problem=problem,
        # An explanation that cannot be told was not used.
        authentic=lookups.authentic if explanation else authentic,
    )


def _checked(identity: Identity) -> tuple[Scope | None, str, Domain | None]:
    """The scope, local-part and domain to check.  RFC 7208 section 2.4, I-14."""
    path = identity.reverse_path
    if path is not None and isinstance(path.domain, Domain):
        # A sender without local-part is section 4.3's postmaster.
        return Scope.MAIL_FROM, path.local_part or "postmaster", path.domain
    if isinstance(identity.hello, Domain):
        return Scope.HELO, "postmaster", identity.hello
    return None, "", None


def _has_policy(domain: Domain) -> bool:
    """
    Whether it is a domain that may have a policy: one of several labels (RFC
    7208 section 4.3).  C{localhost} may too: no public server answers for it
    (RFC 6761 section 6.3), so a record there is the operator's own.
    """
    return "." in domain.ascii or domain.ascii == "localhost"
