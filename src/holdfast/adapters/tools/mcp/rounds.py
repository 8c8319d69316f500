"""A question that takes rounds: a server that keeps no state says what it wants to know first, and
is asked again with that."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import anyio
from msgspec import Raw, Struct

from holdfast.core.error import HoldfastError

from .asked import Host
from .messages import shaped
from .talk import Hear, Peer
from .trouble import Odd, Silent, Unmet

_MAY = frozenset({"tools/call", "prompts/get", "resources/read"})
_MOST, _WANTS = 10, 16
_PAUSE, _LONGEST_PAUSE = 0.05, 0.5
_STATE = 1 << 20


class _Wanted(Struct, frozen=True):
    method: str
    params: Raw = Raw(b"{}")


class _Result(Struct, frozen=True, rename="camel"):
    result_type: str = "complete"


class _Incomplete(Struct, frozen=True, rename="camel"):
    input_requests: dict[str, _Wanted] = {}
    request_state: str | None = None


async def answered(
    peer: Peer,
    method: str,
    params: Mapping[str, Any],
    *,
    seconds: float,
    hear: Hear | None = None,
    headers: Mapping[str, str] | None = None,
) -> Raw:
    """Ask, tell what it wants to know, and wait: `seconds` in all. Raises `Trouble`."""
    try:
        with anyio.fail_after(seconds):
            more: Mapping[str, Any] = {}
            for left in range(_MOST):
                told = {**params, **more}
                answer = await peer.call(method, told, seconds=seconds, hear=hear, headers=headers)
                if not peer.speech.stateless or _whole(answer, method):
                    return answer
                more = await _more(peer.host, answer, left)
    except TimeoutError:
        raise Silent(f"no answer to {method} within {seconds:g} s") from None
    raise Odd(f"it wants to know more before it answers {method}, again and again")


def _whole(answer: Raw, method: str) -> bool:
    kind = shaped(answer, _Result, f"its answer to {method}").result_type
    if kind == "input_required" and method in _MAY:
        return False
    if kind != "complete":
        raise Odd(f"its answer to {method} is of a kind that we do not know: {kind[:40]!r}")
    return True


async def _more(host: Host, answer: Raw, round_: int) -> Mapping[str, Any]:
    """What the next round says besides: what was wanted, and the server's own state unread."""
    wanted = shaped(answer, _Incomplete, "what it wants to know")
    if len(wanted.input_requests) > _WANTS or len(wanted.request_state or "") > _STATE:
        raise Odd("it wants to know more than can be asked")
    if not wanted.input_requests and wanted.request_state is None:
        raise Odd("it does not say what it wants to know")
    more: dict[str, Any] = {}
    if wanted.request_state is not None:
        more["requestState"] = wanted.request_state
    if wanted.input_requests:
        more["inputResponses"] = await _told(host, wanted.input_requests)
    else:
        await anyio.sleep(min(_PAUSE * 2**round_, _LONGEST_PAUSE))
    return more


async def _told(host: Host, wanted: Mapping[str, _Wanted]) -> dict[str, Any]:
    """All at once, as each may wait for a person. Raises `Unmet`."""
    told: dict[str, Any] = {}
    failed: list[Unmet] = []

    async def find(name: str, one: _Wanted) -> None:
        try:
            told[name] = await _found(host, one)
        except Unmet as why:
            failed.append(why)
            group.cancel_scope.cancel()

    async with anyio.create_task_group() as group:
        for name, one in wanted.items():
            group.start_soon(find, name, one)
    if failed:
        raise failed[0]
    return told


async def _found(host: Host, wanted: _Wanted) -> dict[str, Any]:
    if wanted.method != "ping" and (known := host.known(wanted.method)) is not None:
        return known
    if not host.may(wanted.method):
        raise Unmet(f"it wants what it was not offered: {wanted.method[:60]!r}")
    try:
        return await host.asked(wanted.method, wanted.params)
    except (HoldfastError, Odd) as error:
        raise Unmet(f"it wanted to know something first, but {error}") from None
