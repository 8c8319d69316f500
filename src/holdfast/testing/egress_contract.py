"""What every way out must do when it fetches: one function per promise.

Each is given the way out, the address at which `PAGES` are, and a reach that allows no more than
GET and POST there. At `nowhere` nobody listens, though it is allowed too.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Awaitable, Callable

import anyio
from msgspec import Struct
from msgspec.structs import replace

from holdfast.core.error import HoldfastError, NotAllowed, Unavailable
from holdfast.ports.egress import Answer, Egress, Reach, Request

from .website import Reply

LONG = b"0123456789" * 5_000
PAGES = {
    "/hello": Reply(headers={"Content-Type": "text/plain", "X-Word": "yes"}, body=b"hello\n"),
    "/long": Reply(body=LONG),
    "/moved": Reply(status=302, headers={"Location": "/hello"}),
    "/round": Reply(status=302, headers={"Location": "/round"}),
    "/away": Reply(status=302, headers={"Location": "http://elsewhere.invalid/secret"}),
    "/away-home": Reply(status=307, headers={"Location": "http://127.0.0.1:1/"}),
    "/gone": Reply(status=410, body=b"no more\n"),
    "/silent": Reply(hold=True),
    "/drip": Reply(headers={"Content-Length": "1000"}, body=lambda: [b"enough"]),
    "/small": Reply(headers={"Content-Encoding": "gzip"}, body=gzip.compress(b"unfolded\n")),
    "/bomb": Reply(headers={"Content-Encoding": "gzip"}, body=gzip.compress(bytes(16 << 20))),
}
_PATIENCE = 20.0


class Ground(Struct, frozen=True, kw_only=True):
    """Where the promises are tried."""

    egress: Egress
    site: str
    nowhere: str
    reach: Reach

    async def fetch(self, path: str, **said: object) -> Answer:
        with anyio.fail_after(_PATIENCE):
            return await self.egress.fetch(_request(self.site + path, said), self.reach)


Clause = Callable[[Ground], Awaitable[None]]


async def an_answer_comes_back_as_it_was(ground: Ground) -> None:
    answer = await ground.fetch("/hello")
    assert (answer.status, answer.body, answer.cut) == (200, b"hello\n", False)
    assert answer.url == f"{ground.site}/hello"
    assert {name.lower(): text for name, text in answer.headers.items()}["x-word"] == "yes"


async def a_status_is_no_failure(ground: Ground) -> None:
    answer = await ground.fetch("/gone")
    assert (answer.status, answer.body) == (410, b"no more\n")


async def only_so_much_is_kept(ground: Ground) -> None:
    answer = await ground.fetch("/long", most=1_000)
    assert (answer.body, answer.cut) == (LONG[:1_000], True)
    answer = await ground.fetch("/long", most=len(LONG))
    assert hashlib.sha256(answer.body).digest() == hashlib.sha256(LONG).digest()
    assert not answer.cut


async def what_was_packed_is_unpacked_within_bounds(ground: Ground) -> None:
    assert (await ground.fetch("/small")).body == b"unfolded\n"
    answer = await ground.fetch("/bomb", most=100_000)
    assert (answer.body, answer.cut) == (bytes(100_000), True)


async def a_redirect_is_followed_and_told(ground: Ground) -> None:
    answer = await ground.fetch("/moved")
    assert (answer.status, answer.url) == (200, f"{ground.site}/hello")
    assert answer.hops == (f"{ground.site}/moved",)


async def a_redirect_is_not_followed_for_ever(ground: Ground) -> None:
    for path in ("/round", "/moved"):
        try:
            answer = await ground.fetch(path, hops=2 if path == "/round" else 0)
        except HoldfastError:
            continue
        assert answer.status == 302
        assert answer.url == ground.site + path


async def a_redirect_leads_nowhere_that_is_not_allowed(ground: Ground) -> None:
    for path in ("/away", "/away-home"):
        error = await _refusal(ground, ground.site + path)
        assert error.code.startswith("egress_")


async def what_is_not_allowed_is_refused(ground: Ground) -> None:
    for url in ("http://elsewhere.invalid/", "http://127.0.0.1:1/", "http://[::1]/"):
        assert (await _refusal(ground, url)).code.startswith("egress_")
    refused = await _refusal(ground, f"{ground.site}/hello", method="DELETE")
    assert refused.code == "egress_method"


async def who_does_not_answer_is_unavailable(ground: Ground) -> None:
    try:
        with anyio.fail_after(_PATIENCE):
            await ground.egress.fetch(Request(url=f"{ground.nowhere}/"), ground.reach)
    except Unavailable as error:
        assert error.code.startswith("egress_")
    else:
        raise AssertionError("somebody answered")


async def who_says_nothing_is_not_waited_for(ground: Ground) -> None:
    try:
        await ground.fetch("/silent", seconds=0.2)
    except Unavailable as error:
        assert error.code.startswith("egress_")
    else:
        raise AssertionError("silence was an answer")


async def a_body_is_heard_as_it_comes(ground: Ground) -> None:
    heard: list[bytes] = []

    def hear(piece: bytes) -> bool:
        heard.append(piece)
        return False

    answer = await ground.fetch("/long", hear=hear)
    assert b"".join(heard) == answer.body == LONG


async def no_more_is_read_than_is_enough(ground: Ground) -> None:
    def hear(piece: bytes) -> bool:
        return b"enough" in piece

    answer = await ground.fetch("/drip", hear=hear)
    assert (answer.body, answer.cut) == (b"enough", False)


async def _refusal(ground: Ground, url: str, **said: object) -> NotAllowed:
    try:
        with anyio.fail_after(_PATIENCE):
            await ground.egress.fetch(_request(url, said), ground.reach)
    except NotAllowed as error:
        return error
    raise AssertionError(f"{url} was reached")


def _request(url: str, said: dict[str, object]) -> Request:
    return replace(Request(url=url), **said)


CLAUSES: tuple[Clause, ...] = (
    an_answer_comes_back_as_it_was,
    a_status_is_no_failure,
    only_so_much_is_kept,
    what_was_packed_is_unpacked_within_bounds,
    a_redirect_is_followed_and_told,
    a_redirect_is_not_followed_for_ever,
    a_redirect_leads_nowhere_that_is_not_allowed,
    what_is_not_allowed_is_refused,
    who_does_not_answer_is_unavailable,
    who_says_nothing_is_not_waited_for,
    a_body_is_heard_as_it_comes,
    no_more_is_read_than_is_enough,
)
