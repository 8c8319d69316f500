"""What a page asks for: a run of the agent, as the protocol's version 1.0 has it."""

from __future__ import annotations

import base64
import binascii
from typing import Any, Literal, cast

from msgspec import Struct

from holdfast.core.error import Invalid
from holdfast.core.task import Lent
from holdfast.doors.http.readable import READABLE, is_read


class Word(Struct, frozen=True, kw_only=True, rename="camel"):
    """Whatever a page says; what is not known is left alone."""


class Source(Word, frozen=True, kw_only=True):
    """Where something is: in base64, or at an address."""

    type: str = ""
    value: str = ""
    mime_type: str = ""


class Part(Word, frozen=True, kw_only=True):
    """A piece of a message: words, or something beside them."""

    type: str = ""
    text: str = ""
    source: Source | None = None


class Message(Word, frozen=True, kw_only=True):
    """One message of the conversation as the page has it."""

    id: str = ""
    role: str = ""
    content: str | tuple[Part, ...] | None = None
    tool_call_id: str = ""
    error: str | None = None


class Context(Word, frozen=True, kw_only=True):
    """What the page knows and the agent should."""

    description: str = ""
    value: str = ""


class Tool(Word, frozen=True, kw_only=True):
    """A tool that the page runs itself; its parameters are a JSON Schema."""

    name: str
    description: str = ""
    parameters: dict[str, Any] | None = None

    def lent(self) -> Lent:
        return Lent(name=self.name, description=self.description, schema=self.parameters or {})


class Resume(Word, frozen=True, kw_only=True):
    """An answer to what a run before waited for."""

    interrupt_id: str
    status: Literal["resolved", "cancelled"]
    payload: Any = None


class Run(Word, frozen=True, kw_only=True):
    """One run. Of the messages only the last counts: what was said before is kept here."""

    thread_id: str
    run_id: str
    messages: tuple[dict[str, Any], ...] = ()
    context: tuple[Context, ...] = ()
    resume: tuple[Resume, ...] = ()
    tools: tuple[Tool, ...] = ()
    state: Any = None


OURS = ("task", "status", "agent")
"""What the house adds to the state of a page."""


def own_state(state: Any) -> Any:
    """The state as the page made it."""
    if not isinstance(state, dict):
        return state
    fields = cast("dict[str, Any]", state)
    return {name: value for name, value in fields.items() if name not in OURS}


class Given(Struct, frozen=True, kw_only=True):
    """A file that came with a message."""

    name: str
    media_type: str
    data: bytes


def text_of(message: Message) -> str:
    """All its words, and where to find what is elsewhere."""
    content = message.content or ""
    if isinstance(content, str):
        return content
    said = [part.text for part in content if part.type == "text"]
    far = [part.source for part in content if part.source and part.source.type == "url"]
    return "\n\n".join([*said, *(f"[a file: {source.value}]" for source in far)])


def files_of(message: Message) -> list[Given]:
    """Raises `Invalid` for what cannot be read here."""
    content = message.content
    if content is None or isinstance(content, str):
        return []
    found: list[Given] = []
    for number, part in enumerate(content, 1):
        if part.source is None or part.source.type != "data":
            continue
        kind = part.source.mime_type
        if not is_read(kind):
            what = f"part {number} of the message: {kind or 'no media type'} is not read here"
            raise Invalid(what, code="content_type", hint=f"what is read: {READABLE}")
        try:
            data = base64.b64decode(part.source.value, validate=True)
        except (ValueError, binascii.Error):
            raise Invalid(f"part {number} of the message is not base64") from None
        found.append(Given(name=f"file-{number}", media_type=kind.lower(), data=data))
    return found
