"""Sends requests over `lanes` connections for `seconds`, and prints what that took as JSON.

The plan is a JSON object: `port`, `steps`, `must`, `headers`, `lanes`, `seconds`. A step is a
method, a path and a body (null for none); `{field}` in a path is that field of the answer before.
One operation is all steps in order on one connection; a streamed answer counts once it has ended.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

import uvloop

from benchmarks.measure import Result, report, spread


class Line:
    """One connection, one request at a time."""

    def __init__(self, port: int, headers: str) -> None:
        self._port, self._headers = port, headers
        self._reader: asyncio.StreamReader | None = None

    async def ask(self, method: str, path: str, body: bytes) -> bytes:
        if self._reader is None:
            self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{self._port}\r\n{self._headers}"
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        self._writer.write(head.encode() + body)
        head_back = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        status = int(head_back.split(b" ", 2)[1])
        if b"transfer-encoding: chunked" in head_back:
            said = await self._chunks(self._reader)
        else:
            length = head_back.partition(b"content-length:")[2].split(b"\r\n", 1)[0]
            said = await self._reader.readexactly(int(length or 0))
        if b"connection: close" in head_back:
            self._writer.close()
            self._reader = None
        if status >= 400:
            raise RuntimeError(f"{method} {path}: {status} {said[:500]!r}")
        return said

    async def _chunks(self, reader: asyncio.StreamReader) -> bytes:
        said: list[bytes] = []
        while True:
            size = int(await reader.readuntil(b"\r\n"), 16)
            said.append(await reader.readexactly(size + 2))
            if not size:
                return b"".join(one[:-2] for one in said)


async def operation(line: Line, steps: list[list[Any]], must: bytes) -> None:
    said = b""
    for method, path, body in steps:
        where = path.format(**json.loads(said)) if "{" in path else path
        said = await line.ask(method, where, b"" if body is None else json.dumps(body).encode())
    if must not in said:
        raise RuntimeError(f"{must!r} is missing in {said[:1000]!r}")


async def main(plan: dict[str, Any]) -> Result:
    seconds: list[float] = []
    headers = "".join(f"{name}: {value}\r\n" for name, value in plan.get("headers", {}).items())
    began = time.perf_counter()
    end = began + plan["seconds"]

    async def lane() -> None:
        line = Line(plan["port"], headers)
        while (start := time.perf_counter()) < end:
            await operation(line, plan["steps"], plan["must"].encode())
            seconds.append(time.perf_counter() - start)

    async with asyncio.TaskGroup() as group:
        for _ in range(plan["lanes"]):
            group.create_task(lane())
    wall = time.perf_counter() - began
    return {"count": len(seconds), "wall_s": wall, "per_s": len(seconds) / wall, **spread(seconds)}


if __name__ == "__main__":
    report(uvloop.run(main(json.loads(sys.argv[1]))))
