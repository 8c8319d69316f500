"""Connections to providers are kept in small pools: as many as are needed, the first used first."""

from __future__ import annotations

import httpx2
import pytest

from holdfast.adapters.models.pools import ROOM, Pools

pytestmark = pytest.mark.anyio
URL = "http://lab.test/"


class Transport(httpx2.AsyncBaseTransport):
    """Answers, or is lost, and counts what it was asked."""

    def __init__(self) -> None:
        self.asked, self.closed = 0, False

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        self.asked += 1
        if request.url.path == "/lost":
            raise httpx2.ReadError("lost")
        return httpx2.Response(200, stream=httpx2.ByteStream(b"yes"))

    async def aclose(self) -> None:
        self.closed = True


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_another_is_opened_when_the_first_is_full_and_not_before():
    made: list[Transport] = []

    def another() -> Transport:
        made.append(Transport())
        return made[-1]

    async with httpx2.AsyncClient(mounts={"all://": Pools(another)}) as client:
        for _ in range(2 * ROOM):  # one after the other: one is enough
            assert (await client.get(URL)).text == "yes"
            with pytest.raises(httpx2.ReadError):
                await client.get(URL + "lost")
        assert len(made) == 1
        open_ones = [
            await client.send(client.build_request("GET", URL), stream=True) for _ in range(ROOM)
        ]
        assert len(made) == 1
        await client.get(URL)
        assert len(made) == 2
        for one in open_ones:
            await one.aclose()
            await one.aclose()  # twice is as once
        asked = made[0].asked
        for _ in range(ROOM):
            await client.get(URL)
        assert (made[0].asked, len(made)) == (asked + ROOM, 2)
    assert all(one.closed for one in made)
