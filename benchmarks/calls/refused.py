"""Sends what is refused over `lanes` connections for `seconds`; the plan is that of `load`.

Each answer must be a refusal of a caller (4xx); anything else ends it.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from itertools import cycle
from typing import Any

import uvloop

from benchmarks.measure import report


async def _asked(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, text: bytes) -> int:
    writer.write(text)
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = head.partition(b"content-length:")[2].split(b"\r\n", 1)[0]
    await reader.readexactly(int(length or 0))
    return int(head.split(b" ", 2)[1])


async def main(plan: dict[str, Any]) -> dict[str, float]:
    headers = "".join(f"{name}: {value}\r\n" for name, value in plan["headers"].items())
    texts: list[bytes] = []
    for method, path, body in plan["steps"]:
        data = b"" if body is None else json.dumps(body).encode()
        head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{headers}"
        head += f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
        texts.append(head.encode() + data)
    end, count = time.monotonic() + plan["seconds"], 0

    async def lane() -> None:
        nonlocal count
        reader, writer = await asyncio.open_connection("127.0.0.1", plan["port"])
        for text in cycle(texts):
            if time.monotonic() > end:
                return
            status = await _asked(reader, writer, text)
            if not 400 <= status < 500:
                raise RuntimeError(f"{status} instead of a refusal: {text[:200]!r}")
            count += 1
            await asyncio.sleep(0.1)

    async with asyncio.TaskGroup() as group:
        for _ in range(plan["lanes"]):
            group.create_task(lane())
    return {"refused": count}


if __name__ == "__main__":
    report(uvloop.run(main(json.loads(sys.argv[1]))))
