"""Leave that people give beforehand: so many uses, until a moment, for one task or many."""

from __future__ import annotations

import secrets

from msgspec import Struct
from msgspec.structs import replace

from holdfast.core.command import Approve
from holdfast.core.error import Invalid, NotFound
from holdfast.core.gate.matter import Matter
from holdfast.core.gate.policy import LEASE_SCOPES, Lease, Rule
from holdfast.core.gate.suggest import allowing, suggested
from holdfast.core.ids import CallId, TaskId, sortable
from holdfast.core.view import Summary

from .answering import answered
from .house import House

DAY = 86_400


class Terms(Struct, frozen=True, kw_only=True):
    """How far a leave goes. `seconds` 0: it never ends by itself; `uses` 0: any number."""

    scope: str = "task"
    of: str = ""
    uses: int = 0
    seconds: int = DAY
    reason: str = ""


def made(house: House, rule: Rule, terms: Terms, *, by: str) -> Lease:
    """A lease that is not kept yet. Raises `Invalid`."""
    if terms.scope not in LEASE_SCOPES:
        known = ", ".join(LEASE_SCOPES)
        raise Invalid(f"a lease is for one of {known}, not {terms.scope!r}", code="bad_lease")
    if (terms.scope == "all") == bool(terms.of):
        message = "a lease for all names nobody" if terms.of else f"for which {terms.scope}?"
        raise Invalid(message, code="bad_lease", hint="write for example --for agent:default")
    now = house.clock.now()
    return Lease(
        id=sortable("lease", now, secrets.token_bytes(10)),
        rule=rule,
        scope=terms.scope,
        of=terms.of,
        uses=terms.uses,
        until=now + terms.seconds * 1000 if terms.seconds else 0,
        by=by,
        reason=terms.reason,
        at=now,
    )


async def grant(house: House, rule: str, terms: Terms, *, by: str) -> Lease:
    """Keep a lease; it counts at once, for running tasks too."""
    lease = made(house, allowing(rule), terms, by=by)
    await house.leases.write(lease)
    house.recorder.authority.put((lease,))
    return lease


class Yes(Struct, frozen=True, kw_only=True):
    """A yes to exactly one call, and to those that `rule` allows; empty: those like it."""

    call: CallId
    digest: str
    by: str
    rule: str = ""
    terms: Terms = Terms()


async def approve(house: House, task_id: TaskId, yes: Yes) -> Summary:
    """Say yes to a call, and do not ask again: the lease is kept in the same commit."""
    task = await house.recorder.load(task_id)
    opened = task.calls.get(yes.call)
    if opened is None:
        raise NotFound(f"task {task_id} has no open call {yes.call}", code="call_not_open")
    request, terms = task.request, yes.terms
    own = {"task": task.id, "session": request.session, "agent": request.agent.name, "all": ""}
    terms = replace(terms, of=terms.of or own.get(terms.scope, ""))
    rule = allowing(yes.rule) if yes.rule else suggested(opened.call)
    if not rule.matches(Matter(opened.call)):
        raise Invalid(f"{yes.rule!r} does not allow this call", code="bad_lease")
    lease = made(house, rule, terms, by=yes.by)
    command = Approve(call_id=yes.call, digest=yes.digest, by=yes.by, lease=lease)
    return await answered(house, task_id, command)


async def revoke(house: House, name: str) -> Lease:
    """No further use of a lease, at once. `name` may be the end of its id. Raises `NotFound`."""
    found = [one for one in await house.leases.all() if name and one.id.endswith(name)]
    if len(found) != 1:
        hint = "`holdfast policy show` lists them"
        raise NotFound(f"there is no lease {name!r}", code="lease_not_found", hint=hint)
    house.recorder.authority.drop(found[0].id)
    await house.leases.revoke(found[0].id)
    return found[0]


async def resume(house: House) -> None:
    """At the start: what is left of every lease."""
    house.recorder.authority.put(await house.leases.all())


def live(house: House) -> tuple[Lease, ...]:
    """The leases that may still be used by somebody."""
    now = house.clock.now()
    return tuple(
        one
        for one in house.recorder.authority.leases
        if not (one.uses and one.used >= one.uses) and not (one.until and one.until <= now)
    )
