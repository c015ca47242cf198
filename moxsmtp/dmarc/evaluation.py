"""
From the authors' domains and what SPF and DKIM said to what DMARC says.

RFC 9989 sections 4.4, 4.10 and 5.3.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as TooLate
from twisted.internet.interfaces import IReactorTime

from moxsmtp.dkim.result import Result as DKIMResult
from moxsmtp.dkim.result import Status as DKIMStatus
from moxsmtp.dmarc.record import InvalidRecord, Mode, Policy, Record
from moxsmtp.dmarc.result import Alignment, Result, Status
from moxsmtp.dmarc.tree import Found, Tree, Walk, is_below
from moxsmtp.dns.asking import Asking
from moxsmtp.dns.memory import Memory
from moxsmtp.interfaces import IResolver
from moxsmtp.names import Domain
from moxsmtp.spf.result import Result as SPFResult
from moxsmtp.spf.result import Status as SPFStatus

__all__ = ["MAXIMUM_AUTHORS", "verify"]

#: Author domains that are judged.  Each may cost a walk; RFC 9989 section 11.5.
MAXIMUM_AUTHORS: Final = 10

#: Seconds for each of several author domains: well within the minute that a check
#: may take (I-2), so that none of them is lost because another's DNS is slow.
_AUTHOR_LIMIT: Final = 20

#: Outcomes from the strictest to the mildest, behind any that rejects.  A failure
#: of the DNS may hide a rejection; and a domain without a record must not borrow
#: another's pass.
_STRICTEST: Final = (
    Status.TEMPERROR, Status.FAIL, Status.PERMERROR, Status.NONE, Status.PASS,
)  # fmt: skip

_POLICIES: Final = (Policy.REJECT, Policy.QUARANTINE, Policy.NONE, None)

_WEAKEST: Final = (Alignment.NONE, Alignment.RELAXED, Alignment.DMARC, Alignment.STRICT)


@dataclass(frozen=True, slots=True)
class _Identifier:
    """
    A domain that SPF or DKIM spoke of.

    @ivar passes: It is authenticated; else a failure of the DNS left that open.
    @ivar by_spf: Whose mode counts: C{aspf} or C{adkim}.
    """

    domain: str
    passes: bool
    by_spf: bool


@dataclass(frozen=True, slots=True)
class _Relatives:
    """
    Identifiers besides the author's domain itself.

    @ivar same: Those of the author's organization.
    @ivar unknown: Those that may be, and the failure that hides it.
    """

    same: Collection[str] = ()
    unknown: Mapping[str, str] = field(default_factory=dict)


_NO_RELATIVES: Final = _Relatives()


async def verify(
    resolver: IResolver,
    authors: Sequence[Domain],
    *,
    spf: SPFResult,
    dkim: Sequence[DKIMResult],
    clock: IReactorTime | None = None,
    memory: Memory[Result] | None = None,
) -> Result:
    """
    Judge whether the authors are who they say.

    Every author domain is judged by itself, all of them at once, and the
    strictest outcome is the result, with the weakest alignment.  An SPF or DKIM
    C{temperror} leaves the outcome open only where that domain, authenticated,
    would have been aligned.

    @param authors: The domains in the From field, in order; empty: there is no
        author to judge (I-7).
    @param clock: For the time limit of each of several author domains; L{None}:
        they have none but the resolver's.
    @param memory: Of the checks before; L{None}: nothing is kept.
    @return: A status in every case: a DNS that fails is C{TEMPERROR}.
    """
    domains = tuple(dict.fromkeys(authors))
    if not domains:
        return Result(Status.NONE)
    identifiers = tuple(_identifiers(spf, dkim))
    if len(domains) == 1:
        return await _judge_one(Asking(resolver), domains[0], identifiers, memory)
    tree = Tree(Asking(resolver))
    results = await _side_by_side(
        [
            (one, Deferred.fromCoroutine(_judge(tree.another(), one, identifiers)))
            for one in domains[:MAXIMUM_AUTHORS]
        ],
        clock,
    )
    if len(domains) > MAXIMUM_AUTHORS:
        problem = f"more than {MAXIMUM_AUTHORS} author domains"
        results.append(Result(Status.PERMERROR, author=domains[MAXIMUM_AUTHORS], problem=problem))
    return _strictest(results)


async def _judge_one(
    asking: Asking,
    author: Domain,
    identifiers: tuple[_Identifier, ...],
    memory: Memory[Result] | None,
) -> Result:
    """The only author.  Several have time limits, so more than the answers decides."""
    asked = author, identifiers
    result = None if memory is None else memory.recall(asked, asking.at_once)
    if result is None:
        result = await _judge(Tree(asking), author, identifiers)
        if memory is not None:
            memory.keep(asked, asking.read, result)
    return result


async def _side_by_side(
    judging: Sequence[tuple[Domain, Deferred[Result]]], clock: IReactorTime | None
) -> list[Result]:
    """What comes of each; of one that takes too long, that it does."""
    results = []
    if clock is not None:
        for _, one in judging:
            if not one.called:
                _ = one.addTimeout(_AUTHOR_LIMIT, clock)
    try:
        for author, one in judging:
            try:
                results.append(await one)
            except TooLate:
                problem = f"not judged within {_AUTHOR_LIMIT} seconds"
                results.append(Result(Status.TEMPERROR, author=author, problem=problem))
    except BaseException:
        for _, one in judging:
            _ = one.addErrback(lambda _: None)
            one.cancel()
        raise
    return results


def _identifiers(spf: SPFResult, dkim: Iterable[DKIMResult]) -> Iterator[_Identifier]:
    """
    Those that passed or might have.

    HELO stands in for a null reverse-path (RFC 9989 section 3.2.4), and SPF
    checks it in no other case.
    """
    if spf.domain is not None and spf.status in (SPFStatus.PASS, SPFStatus.TEMPERROR):
        yield _Identifier(spf.domain.ascii, spf.status is SPFStatus.PASS, by_spf=True)
    for one in dkim:
        if one.domain is not None and one.status in (DKIMStatus.PASS, DKIMStatus.TEMPERROR):
            yield _Identifier(one.domain.ascii, one.status is DKIMStatus.PASS, by_spf=False)


async def _judge(tree: Tree, author: Domain, identifiers: Sequence[_Identifier]) -> Result:
    """What one author domain's record, and the identifiers, make of the message."""
    walk = await tree.walk(author.ascii)
    strict = any(one.passes and one.domain == walk.start for one in identifiers)
    relatives = _NO_RELATIVES
    if walk.found and not strict:
        relatives = await _relatives(tree, walk, identifiers)
    applying = walk.policy
    status, problem = _outcome(walk, applying, identifiers, relatives)
    policy, authentic = None, walk.authentic
    record = None
    if applying is not None and not isinstance(applying.record, InvalidRecord):
        record = applying.record
        policy, authentic, failure = await _policy(
            tree, walk, applying.domain, record, known=strict or status is Status.TEMPERROR
        )
        if failure and status is Status.FAIL:
            status, problem = Status.TEMPERROR, failure
    alignment = Alignment.NONE
    if strict:
        alignment = Alignment.STRICT
    elif any(one.passes and one.domain in relatives.same for one in identifiers):
        alignment = Alignment.DMARC if status is Status.PASS else Alignment.RELAXED
    organization = walk.organizational_domain
    return Result(
        status=status,
        alignment=alignment,
        author=author,
        policy=policy,
        rejects=(
            status is Status.FAIL
            and record is not None
            and not record.testing
            and policy is not Policy.NONE
        ),
        record=record,
        policy_domain=None if applying is None else Domain(applying.domain),
        organizational_domain=None if organization is None else Domain(organization),
        problem=problem,
        walk=tuple(tree.steps.values()),
        authentic=authentic,
    )


async def _relatives(tree: Tree, walk: Walk, identifiers: Iterable[_Identifier]) -> _Relatives:
    """
    Who belongs to the author's organization.  RFC 9989 section 4.10.2.

    Those that passed come first, and nobody is walked behind one that suffices:
    somebody's slow DNS must not take a pass away.
    """
    same: list[str] = []
    unknown: dict[str, str] = {}
    organization = walk.organizational_domain
    top = walk.start.rpartition(".")[2]
    for one in sorted(identifiers, key=lambda one: not one.passes):
        domain = one.domain
        if organization is None:
            if is_below(domain, top):
                unknown[domain] = walk.failure
        # An organizational domain stands above all of its own: others need no walk.
        elif domain != walk.start and is_below(domain, organization):
            if domain not in same and domain not in unknown:
                other = await tree.walk(domain)
                if other.failure:
                    unknown[domain] = other.failure
                elif other.organizational_domain == organization:
                    same.append(domain)
            if one.passes and domain in same and _is_relaxed(walk.policy, one):
                break
    return _Relatives(same, unknown)


def _is_relaxed(applying: Found | None, identifier: _Identifier) -> bool:
    """Whether the record that applies is content with the same organization."""
    if applying is None or isinstance(applying.record, InvalidRecord):
        return False
    record = applying.record
    return (record.spf_mode if identifier.by_spf else record.dkim_mode) is Mode.RELAXED


def _outcome(
    walk: Walk,
    applying: Found | None,
    identifiers: Iterable[_Identifier],
    relatives: _Relatives,
) -> tuple[Status, str]:
    """The status, and what is wrong.  RFC 9989 sections 5.3.5 and 5.3.6."""
    if applying is None:
        return (Status.TEMPERROR, walk.failure) if walk.failure else (Status.NONE, "")
    record = applying.record
    if isinstance(record, InvalidRecord):
        return Status.PERMERROR, record.problem
    problem = ""
    for one in identifiers:
        relaxed = _is_relaxed(applying, one)
        if one.domain == walk.start or (relaxed and one.domain in relatives.same):
            if one.passes:
                return Status.PASS, ""
            problem = problem or f"{'SPF' if one.by_spf else 'DKIM'} of {one.domain}: temperror"
        elif relaxed and one.domain in relatives.unknown:
            problem = problem or relatives.unknown[one.domain]
    return (Status.TEMPERROR, problem) if problem else (Status.FAIL, "")


async def _policy(
    tree: Tree, walk: Walk, domain: str, record: Record, *, known: bool
) -> tuple[Policy, bool, str]:
    """
    Which policy of the record at C{domain} applies, whether what that rests on
    was validated, and the failure that leaves it open.

    @param known: The author's domain exists, or that is no matter.
    """
    if domain == walk.start:
        return record.policy, walk.first_authentic, ""
    existing = record.policy if record.subdomain_policy is None else record.subdomain_policy
    nonexistent = record.nonexistent_policy
    if known or walk.exists or nonexistent is None or nonexistent is existing:
        return existing, walk.authentic, ""
    exists, authentic, failure = await tree.existence(walk.start)
    return existing if exists else nonexistent, authentic and walk.authentic, failure


def _strictest(results: Sequence[Result]) -> Result:
    """That which rejects, else the worst; and the alignment that all authors have."""
    worst = min(
        results,
        key=lambda one: (
            not one.rejects,
            _STRICTEST.index(one.status),
            _POLICIES.index(one.policy),
            _WEAKEST.index(one.alignment),
        ),
    )
    weakest = min((one.alignment for one in results), key=_WEAKEST.index)
    return worst if worst.alignment is weakest else replace(worst, alignment=weakest)
