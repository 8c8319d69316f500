"""Whatever a client sends as a body is read, or refused in words; nothing else ever comes of it."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import anyio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdfast.core.error import NotFound
from holdfast.core.message import File
from holdfast.doors.http.openai import items, messages
from holdfast.doors.http.openai.errors import NoSuchFile, Wrong

KINDS = [
    "text",
    "image_url",
    "input_image",
    "file",
    "input_file",
    "input_audio",
    "file_id",
    "function",
    "json_schema",
    "json_object",
    "message",
    "function_call",
    "function_call_output",
    "user",
    "assistant",
    "tool",
    "system",
    "auto",
    "required",
    "data:image/png;base64,YQ==",
    "{}",
]
WORDS = [
    "type",
    "role",
    "content",
    "text",
    "image_url",
    "url",
    "file",
    "file_data",
    "function",
    "name",
    "parameters",
    "arguments",
    "id",
    "call_id",
    "output",
    "tool_calls",
    "tool_call_id",
    "input_audio",
    "json_schema",
    "schema",
    "format",
    "effort",
]
PATIENT = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
VALUES: list[Any] = [None, True, False, 0, 1, -1, 1.5, 10**30, "", "a", [], {}, *KINDS]
LIKELY: Any = st.recursive(
    st.sampled_from(VALUES),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=5)
    ),
    max_leaves=8,
)


def bodies(known: frozenset[str]) -> Any:
    return st.dictionaries(st.sampled_from(sorted(known)), LIKELY, max_size=6)


class Desk:
    """Keeps whatever is shown, and has one file."""

    async def attach(self, name: str, media_type: str, data: bytes) -> File:
        return File(name=name, media_type=media_type, digest="0" * 64, size=len(data))

    async def uploaded(self, file_id: str) -> File:
        if file_id != "a":
            raise NotFound(f"there is no {file_id}")
        return await self.attach("a", "text/plain", b"a")


@PATIENT
@given(bodies(messages._KNOWN))  # pyright: ignore[reportPrivateUsage]
def test_any_chat_is_read_or_refused(body: Mapping[str, Any]):
    async def read() -> None:
        messages.stream_usage(body)
        told = {"model": "m", "messages": [{"role": "user", "content": "a"}], **body}
        with suppress(Wrong, NoSuchFile):
            await messages.wanted(told, "me", Desk())

    anyio.run(read)


@PATIENT
@given(bodies(items._KNOWN))  # pyright: ignore[reportPrivateUsage]
def test_any_response_is_read_or_refused(body: Mapping[str, Any]):
    async def read() -> None:
        told = {"model": "m", "input": "a", **body}
        with suppress(Wrong, NoSuchFile):
            wanted = await items.wanted(told, items.given(told), "me", Desk())
            items.echoed(told, wanted)

    anyio.run(read)
