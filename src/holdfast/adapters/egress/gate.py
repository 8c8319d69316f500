"""Every request passes here: judged, counted, written down, and only then made."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from holdfast.core.egress import Target, dialable, is_literal, named, opened, permitted
from holdfast.core.error import HoldfastError, NotAllowed, Unavailable
from holdfast.core.reach import SECRET, Allowed, Reach
from holdfast.ports.clock import Clock
from holdfast.ports.egress import Visit, Visits

from .outside import Outside
from .quota import Meter, Meters

Secret = Callable[[str, Reach], Awaitable[str]]
"""The value of a secret for who is on the way. Raises `NotAllowed`."""

Kind = Literal["proxy", "fetch"]
TUNNEL = "CONNECT"
_LONGEST = 1_000


class Asked(Struct, frozen=True, kw_only=True):
    """What somebody wants. With the method `CONNECT` it is a tunnel that nobody looks into."""

    kind: Kind
    method: str
    target: Target

    @property
    def closed(self) -> bool:
        return self.method == TUNNEL


class Crossing:
    """A request that was let through, while it lasts."""

    def __init__(self, visit: Visit, meter: Meter, reach: Reach) -> None:
        self._visit, self._meter, self._reach = visit, meter, reach
        self.addresses: Sequence[str] = ()
        self.headers: Mapping[str, str] = {}
        self.hidden: tuple[str, ...] = ()
        self.address, self.status, self._sent, self._received = visit.address, 0, 0, 0

    def sent(self, size: int) -> None:
        """Raises `NotAllowed` when it is more than the task may."""
        self._sent += size
        self._meter.move(self._reach, size)

    def received(self, size: int) -> None:
        self._received += size
        self._meter.move(self._reach, size)

    def ended(self, code: str) -> Visit:
        return replace(
            self._visit,
            address=self.address,
            code=code,
            status=self.status,
            sent=self._sent,
            received=self._received,
        )


class Gate:
    """Nothing leaves but by `crossing`."""

    def __init__(self, *, outside: Outside, visits: Visits, secret: Secret, clock: Clock) -> None:
        self._outside, self._visits, self._secret, self._clock = outside, visits, secret, clock
        self._meters = Meters(visits)

    @asynccontextmanager
    async def crossing(self, asked: Asked, reach: Reach) -> AsyncGenerator[Crossing]:
        """Raises `NotAllowed` or `Unavailable`; either way it is written down."""
        target, meter = asked.target, await self._meters.of(reach)
        visit = self._visit(asked.kind, asked.method, reach)
        path = "" if asked.closed else target.path[:_LONGEST]
        visit = replace(visit, host=target.host, port=target.port, path=path)
        try:
            meter.enter(reach)
            way = _way(asked, reach)
            addresses = await self._outside.addresses(target) if not is_literal(target.host) else ()
            addresses = addresses or (target.host,)
            for address in addresses:
                dialable(reach, target.host, address)
        except (NotAllowed, Unavailable) as error:
            await self._note(visit, error, meter)
            raise
        names = tuple(dict.fromkeys(n for v in way.headers.values() for n in SECRET.findall(v)))
        visit = replace(visit, address=addresses[0], secrets=names)
        await self._visits.write(visit)
        crossing, code = Crossing(visit, meter, reach), "egress_cut"
        try:
            values = {name: await self._secret(name, reach) for name in names}
            crossing.addresses, crossing.hidden = addresses, tuple(values.values())
            crossing.headers = {
                key: SECRET.sub(lambda found: values[found[1]], text)
                for key, text in way.headers.items()
            }
            yield crossing
            code = ""
        except HoldfastError as error:
            code = error.code
            raise
        finally:
            self._visits.ended(replace(crossing.ended(code), ended_at=self._clock.now()))

    async def refused(
        self, kind: Kind, method: str, host: str, error: NotAllowed, reach: Reach
    ) -> None:
        """Write down what was turned away before anybody knew where it should go."""
        meter = await self._meters.of(reach)
        try:
            meter.enter(reach)
        except NotAllowed as used_up:
            error = used_up
        # As it was said, as far as it can be stored.
        method, host = (text.encode(errors="replace").decode() for text in (method, host))
        visit = replace(self._visit(kind, method, reach), host=host[:_LONGEST])
        await self._note(visit, error, meter)

    async def _note(self, visit: Visit, error: HoldfastError, meter: Meter) -> None:
        if error.code in {"egress_quota", "egress_bytes"}:
            if meter.told:
                return  # Once is enough: whoever has no more must not fill the disk.
            meter.told = True
        await self._visits.write(replace(visit, code=error.code, ended_at=self._clock.now()))

    def _visit(self, kind: Kind, method: str, reach: Reach) -> Visit:
        return Visit(
            id=self._clock.new_id("visit"),
            at=self._clock.now(),
            task=reach.task,
            agent=reach.agent,
            tool=reach.tool,
            kind=kind,
            method=method[:32],
            host="",
            port=0,
        )


def _way(asked: Asked, reach: Reach) -> Allowed:
    target = asked.target
    if asked.closed:
        opened(reach, target.host, target.port)
        return Allowed(host=target.host, port=target.port)
    way = permitted(reach, target, asked.method)
    at_home = way.port != 443 and named(reach.private, target.host)
    if way.headers and not target.secure and not at_home:
        what = f"what is put in for {target.host} only goes over TLS"
        raise NotAllowed(what, code="egress_plain")
    return way
