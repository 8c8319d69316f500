"""What a model's text holds besides words, on its way and whole: thoughts, and calls as text."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from msgspec.structs import replace

from holdfast.core.context import Prompt
from holdfast.core.message import Reply, Thought
from holdfast.ports.model import Delta, ToolSpec

from .call_filter import CallFilter
from .text_calls import MOST_CALLS, numbered
from .thinking import Thinking, parted


class Reading:
    """Hears a reply and passes on its words, thoughts and calls, each as what it is."""

    def __init__(
        self, model: str, hear: Callable[[Delta], None], tools: tuple[ToolSpec, ...] = ()
    ) -> None:
        """`tools` are those that the model was told it can call in its text."""
        self._model, self._hear, self._tools = model, hear, tools
        self._begin()

    def _begin(self) -> None:
        self._thinking = Thinking()
        self._calls = _filter(self._tools) if self._tools else None

    def hear(self, delta: Delta) -> None:
        if delta.reset:
            self._begin()
        if delta.text:
            self._tell(self._thinking.feed(delta.text))
            delta = replace(delta, text="")
        if delta.thought or delta.call or delta.reset:
            self._hear(delta)

    def end(self) -> None:
        """The reply is whole: nothing is held back any more."""
        self._tell(self._thinking.end())
        if self._calls:
            self._pass(self._calls.end())

    def _tell(self, pieces: Iterable[Delta]) -> None:
        for piece in pieces:
            if piece.reset:
                self._calls = _filter(self._tools) if self._tools else None
                self._hear(Delta(reset=True, model=self._model))
            elif piece.text and self._calls:
                self._pass(self._calls.feed(piece.text))
            else:
                self._hear(piece)

    def _pass(self, pieces: Iterable[Delta]) -> None:
        for piece in pieces:
            self._hear(piece)


def understood(reply: Reply, prompt: Prompt, tools: tuple[ToolSpec, ...] = ()) -> Reply:
    """The whole reply with its thoughts, and its calls in `tools`, taken out of its text."""
    words, thought = parted(reply.text)
    thoughts = reply.thoughts
    if thought:
        thoughts = (*thoughts, Thought(text=thought, provider=reply.model.partition("/")[0]))
    if not tools:
        return replace(reply, text=words, thoughts=thoughts)
    calls = _filter(tools)
    pieces = (*calls.feed(words), *calls.end())
    found = numbered(calls.found, calls.left_out, prompt)
    return replace(
        reply,
        text="".join(piece.text for piece in pieces),
        thoughts=thoughts,
        calls=(*reply.calls, *found),
        finish="calls" if found and reply.finish == "stop" else reply.finish,
    )


def _filter(tools: tuple[ToolSpec, ...]) -> CallFilter:
    return CallFilter(frozenset(tool.name for tool in tools), MOST_CALLS)
